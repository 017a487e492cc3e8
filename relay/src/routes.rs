//! Requests to answers: the URL table. Each line of it is one target and what it does.
//!
//! warp sees one route that takes every request apart; which target a path names is
//! `view::path`'s decision, so there are no rejections that try the next route.

use std::sync::Arc;

use futures_util::Stream;
use http::{HeaderMap, Method};
use ladder::Mono;
use runtime::clock;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::{Buf, Filter};

use crate::board::{Board, Camera};
use crate::ingest::{Ingest, Upload};
use crate::respond::{self, LOOK, Response};
use crate::serve::{Connections, Peer};
use crate::status;
use crate::store::Store;
use crate::view::path::{Target, parse};
use crate::view::{page, still};

/// Methods of a camera itself.
const LOOK_AND_UPLOAD: &str = "GET, HEAD, POST";

/// What answers are made of.
#[derive(Debug)]
pub(crate) struct Site {
    pub board: Arc<Board>,
    pub ingest: Ingest,
    pub store: Store,
    pub connections: Connections,
    pub started: Mono,
}

/// All routes.
pub(crate) fn all(site: Arc<Site>) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Peer>())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query: String, headers, peer, body| {
            let site = Arc::clone(&site);
            let request = Request { method, query, headers, peer };
            async move { site.answer(request, &path, body).await }
        })
        .boxed()
}

struct Request {
    method: Method,
    query: String,
    headers: HeaderMap,
    peer: Peer,
}

impl Request {
    fn looks(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

impl Site {
    async fn answer<B: Buf>(
        &self,
        request: Request,
        path: &FullPath,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        let Some(target) = parse(path.as_str()) else {
            return respond::not_found("there is nothing at this path");
        };
        if request.method == Method::POST {
            return match target {
                Target::Camera(id) => {
                    let Request { headers, query, peer, .. } = &request;
                    let upload = Upload { camera: &id, headers, query, peer: peer.address.ip() };
                    match self.ingest.take(upload, body, || peer.body_was_read()).await {
                        Ok(()) => respond::acknowledged(),
                        Err(refusal) => respond::refused(&refusal),
                    }
                }
                Target::Still(_)
                | Target::TestPage(_)
                | Target::CameraHealth(_)
                | Target::Health
                | Target::Status => respond::method_not_allowed(LOOK),
            };
        }
        if !request.looks() {
            let upload = matches!(target, Target::Camera(_));
            return respond::method_not_allowed(if upload { LOOK_AND_UPLOAD } else { LOOK });
        }
        self.look(target, path.as_str(), &request)
    }

    fn look(&self, target: Target, path: &str, request: &Request) -> Response {
        let now = clock::mono();
        match target {
            Target::Camera(id) => self.with(&id, |_| {
                // Relative to the path, which may or may not end with a slash.
                let to = if path.ends_with('/') { "test" } else { &format!("{id}/test") };
                respond::redirect(to)
            }),
            Target::Still(id) => self
                .with(&id, |camera| still::answer(camera, &request.query, &request.headers, now)),
            Target::TestPage(id) => self.with(&id, |_| page::test()),
            Target::CameraHealth(id) => self.with(&id, |c| status::camera_health(c, now)),
            Target::Health => status::health(&self.store),
            Target::Status => status::status(self, now),
        }
    }

    fn with(&self, id: &frame::CameraId, answer: impl FnOnce(&Camera) -> Response) -> Response {
        match self.board.find(id) {
            Some(camera) => answer(&camera),
            None => respond::not_found(&format!("there is no camera {id} here")),
        }
    }
}
