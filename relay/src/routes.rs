//! Requests to answers: the URL table. Each line of it is one target and what it does.
//!
//! warp sees one route that takes every request apart; which target a path names is
//! `view::path`'s decision, so there are no rejections that try the next route.

use std::sync::Arc;
use std::time::Duration;

use frame::report::REPORT;
use frame::sign::to_hex;
use frame::{CameraId, wire};
use futures_util::Stream;
use http::header::{ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use ladder::Mono;
use runtime::clock;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::{Buf, Filter};
use web::serve::{self, Connections, Peer};

use crate::access::Access;
use crate::access::viewing::{Eyes, keep_private};
use crate::board::{Board, Camera, NoSize, Refused, Size};
use crate::cluster::Cluster;
use crate::export::ExportStatus;
use crate::ingest::{Ingest, Upload};
use crate::metrics::Metrics;
use crate::notification::Notifications;
use crate::origins::Origins;
use crate::respond::{self, LOOK, Response};
use crate::scale::Scaler;
use crate::status;
use crate::store::Store;
use crate::tls::redirect::Plain;
use crate::updates::{Folder, Published, Served, Updates};
use crate::upgrade::Offer;
use crate::view::caching::SharedCache;
use crate::view::owner;
use crate::view::page::{Asked, Pages};
use crate::view::path::{Page, Target, parse};
use crate::view::{history, mjpeg, page, push, still};

/// Methods of a camera itself.
const LOOK_AND_UPLOAD: &str = "GET, HEAD, POST";

/// What answers are made of.
#[derive(Debug)]
pub(crate) struct Site {
    pub board: Arc<Board>,
    pub ingest: Arc<Ingest>,
    pub store: Store,
    pub updates: Arc<Updates>,
    pub scaler: Scaler,
    pub metrics: Arc<Metrics>,
    pub export: Option<ExportStatus>,
    pub notifications: Notifications,
    pub pages: Pages,
    pub access: Arc<Access>,
    /// Whose scripts may read pictures and states.
    pub origins: Origins,
    pub shared_cache: SharedCache,
    pub connections: Connections,
    /// With other relays.
    pub cluster: Option<Arc<Cluster>>,
    /// Where there is HTTPS: what others get.
    pub plain: Option<Plain>,
    /// A viewer that takes or says nothing for so long is disconnected.
    pub peer_timeout: Duration,
    pub started: Mono,
    /// Somebody reads the metrics.
    pub measuring: tokio::sync::Mutex<()>,
}

/// All routes.
pub(crate) fn all(site: Arc<Site>) -> BoxedFilter<(Response,)> {
    serve::asked()
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query: String, headers, peer, upgrade, body| {
            let site = Arc::clone(&site);
            let request = Request { method, query, headers, peer, upgrade };
            // Boxed: hyper keeps the place of this future for as long as the connection is open.
            Box::pin(async move { site.answer(request, &path, body).await })
        })
        .boxed()
}

struct Request {
    method: Method,
    query: String,
    headers: HeaderMap,
    peer: Peer,
    upgrade: Option<OnUpgrade>,
}

impl Request {
    fn looks(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// The query's `size`, for streams.
    fn size(&self) -> Result<Option<Size>, NoSize> {
        let mut query = form_urlencoded::parse(self.query.as_bytes());
        query.find(|(name, _)| name == "size").map(|(_, size)| size.parse()).transpose()
    }
}

impl Site {
    async fn answer<B: Buf>(
        &self,
        request: Request,
        path: &FullPath,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        if let Some(plain) = &self.plain {
            let Request { peer, headers, query, .. } = &request;
            if let Some(answer) = plain.answer(peer, headers, path.as_str(), query) {
                return answer;
            }
        }
        let Some(target) = parse(path.as_str()) else {
            return respond::not_found("there is nothing at this path");
        };
        if let Some(refused) = self.is_misdirected(&target, &request) {
            return refused;
        }
        if request.method == Method::POST {
            return self.post(&target, &request, body).await;
        }
        if request.method == Method::OPTIONS && target.is_shared() {
            let mut response = respond::empty(StatusCode::NO_CONTENT);
            self.origins.preflight(request.headers.get(ORIGIN), response.headers_mut());
            return response;
        }
        if matches!(target, Target::Page(Page::OwnerUpdate(_))) {
            return respond::method_not_allowed("POST");
        }
        if !request.looks() {
            let upload = target.uploads_to().is_some();
            return respond::method_not_allowed(if upload { LOOK_AND_UPLOAD } else { LOOK });
        }
        let (shared, asking) = (target.is_shared(), request.headers.get(ORIGIN).cloned());
        let views = target.views().cloned();
        let Request { headers, query, peer, .. } = &request;
        let eyes = if views.is_some() || target.shows_all() {
            self.access.eyes(headers, query, peer.address.ip(), views.as_ref()).await
        } else {
            Eyes::default()
        };
        let private = views.as_ref().is_some_and(|id| self.access.is_private(id));
        let mut response = match &views {
            // It is as if it did not exist.
            Some(id) if self.access.is_hidden(id) => unknown(id),
            Some(id) if !eyes.sees(&self.access, id) => eyes.refusal(&self.access, Some(id)),
            _ => self.look(target, path.as_str(), request, &eyes).await,
        };
        if private {
            keep_private(&mut response);
        }
        if shared {
            self.origins.share(asking.as_ref(), response.headers_mut());
        }
        response
    }

    async fn post<B: Buf>(
        &self,
        target: &Target,
        request: &Request,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        if let Target::Page(Page::OwnerUpdate(id)) = target {
            let Request { headers, peer, .. } = request;
            let asked = (headers, peer.address.ip());
            return owner::decide(self, id, asked, body, || peer.body_was_read()).await;
        }
        match target.uploads_to() {
            Some(id) => {
                let Request { headers, query, peer, .. } = request;
                if let Some(refused) = self.is_of_other_site(&id, request) {
                    return refused;
                }
                let upload = Upload { camera: &id, headers, query, peer: peer.address.ip() };
                match self.ingest.take(upload, body, || peer.body_was_read()).await {
                    Ok(()) => {
                        let mut response = self.offered(respond::acknowledged());
                        if headers.contains_key(wire::VIEWERS)
                            && let Some(camera) = self.board.find(&id)
                        {
                            let viewers = camera.viewers(clock::mono());
                            let name = HeaderName::from_static(wire::VIEWERS);
                            response.headers_mut().insert(name, viewers.into());
                        }
                        response
                    }
                    Err(refusal) => respond::refused(&refusal),
                }
            }
            None => respond::method_not_allowed(LOOK),
        }
    }

    /// The answer for a name that is none of the relay's (DNS rebinding). Agents bring what they need, and monitors
    /// learn nothing that is worth it.
    fn is_misdirected(&self, target: &Target, request: &Request) -> Option<Response> {
        let Request { method, headers, peer, .. } = request;
        let upload = *method == Method::POST && target.uploads_to().is_some();
        let health = matches!(target, Target::Health | Target::CameraHealth(_));
        let browser = headers.contains_key(ORIGIN);
        if (upload || health || target.is_of_agents()) && !browser {
            return None;
        }
        let ours = self.access.hosts.is_for_us(headers, peer.by_proxy);
        let line = "this relay has another name (site.url, site.hosts)";
        (!ours).then(|| respond::line(StatusCode::MISDIRECTED_REQUEST, line))
    }

    /// The answer for an upload that a browser sends for a page of another site.
    fn is_of_other_site(&self, id: &CameraId, request: &Request) -> Option<Response> {
        let Request { headers, peer, .. } = request;
        let refuse = || self.ingest.refuse(id, peer.address.ip(), Refused::OtherSite);
        (!self.access.hosts.is_own(headers)).then(|| respond::refused(&refuse()))
    }

    async fn look(&self, target: Target, path: &str, request: Request, eyes: &Eyes) -> Response {
        let now = clock::mono();
        match target {
            Target::Still(id, size) => match self.board.find(&id) {
                Some(camera) => {
                    let asked = (request.query.as_str(), &request.headers);
                    still::answer(&camera, &self.scaler, size, asked, &self.shared_cache, now).await
                }
                None => unknown(&id),
            },
            Target::History(id) => match self.board.find(&id) {
                Some(camera) => {
                    let Request { query, headers, .. } = &request;
                    history::list(&camera, &self.store, query, headers).await
                }
                None => unknown(&id),
            },
            Target::Past(id, captured_us) => match self.board.find(&id) {
                Some(camera) => {
                    history::picture(&camera, &self.store, captured_us, &request.headers).await
                }
                None => unknown(&id),
            },
            Target::NoSize => respond::line(StatusCode::BAD_REQUEST, &NoSize.to_string()),
            Target::Mjpeg(id) => self.stream(&id, &request, |camera, size| {
                if request.method == Method::HEAD {
                    return mjpeg::head();
                }
                let Request { headers, peer, .. } = &request;
                let wire = (&peer.wire, self.peer_timeout);
                let permit = eyes.permit(&self.access, &camera.id);
                mjpeg::answer(camera, &self.scaler, size, headers, wire, permit)
            }),
            Target::Push(id) => self.push(&id, &request, eyes),
            Target::UploadSocket(id) => self.upload_socket(&id, request).await,
            Target::Update(id) => self.offer(&id, &request).await,
            Target::Bundle(sha256) => self.download(&sha256, Served::bundle, &request).await,
            Target::Blocks(sha256) => self.download(&sha256, Served::blocks, &request).await,
            Target::CameraHealth(id) => self.with(&id, |c| status::camera_health(c, now)),
            Target::Health => status::health(&self.store, self.cluster.as_deref()),
            Target::Status => self.status(eyes, now),
            Target::Page(page) => {
                let mut response = self.page(page, path, &request, eyes, now).await;
                let (root, secure) = (self.access.hosts.root(), request.peer.secure);
                if let Some(cookie) = eyes.cookie(path, &root, secure) {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                response
            }
            Target::Metrics => self.measured(now).await,
        }
    }

    /// One at a time, and on a thread of its own: of ten thousand cameras it takes a while.
    async fn measured(&self, now: Mono) -> Response {
        let _turn = self.measuring.lock().await;
        let open = self.connections.open();
        if let Some(cluster) = &self.cluster {
            cluster.measure();
        }
        let shown = self.plain.as_ref().and_then(|plain| plain.shown.certificate());
        let until = shown.map(|certificate| certificate.validity.until);
        let (metrics, board, store) =
            (Arc::clone(&self.metrics), Arc::clone(&self.board), self.store.clone());
        let updates = Arc::clone(&self.updates);
        let text = tokio::task::spawn_blocking(move || {
            metrics.text(&board, now, open, until, &store, &updates.known())
        });
        match text.await {
            Ok(text) => respond::metrics(text),
            Err(_) => respond::later("the relay is about to stop"),
        }
    }

    fn push(&self, id: &CameraId, request: &Request, eyes: &Eyes) -> Response {
        self.stream(id, request, |camera, size| {
            let offer = match Offer::read(&request.headers, request.upgrade.clone()) {
                Ok(offer) => offer,
                Err(not_offered) => return not_offered.answer(),
            };
            // No browser asks for a WebSocket's permission: its page could be anybody's.
            if self.access.is_private(&camera.id)
                && eyes.is_ambient(&camera.id)
                && !self.access.hosts.is_own(&request.headers)
            {
                let line = "another site's page sees a private camera only by a link (?key=)";
                return respond::line(StatusCode::FORBIDDEN, line);
            }
            let permit = eyes.permit(&self.access, &camera.id);
            let (camera, scaler) = (Arc::clone(camera), self.scaler.clone());
            let wire = (Arc::clone(&request.peer.wire), self.peer_timeout);
            offer.accept(push::MAY_SEND, move |socket| {
                push::run(socket, camera, scaler, size, wire, permit)
            })
        })
    }

    fn status(&self, eyes: &Eyes, now: Mono) -> Response {
        let mut cameras = self.board.all();
        cameras.retain(|camera| eyes.sees(&self.access, &camera.id));
        // There is always one: it is not that there are none.
        if cameras.is_empty() {
            return eyes.refusal(&self.access, None);
        }
        status::status(self, &cameras, now)
    }

    /// What people look at.
    async fn page(
        &self,
        page: Page,
        path: &str,
        request: &Request,
        eyes: &Eyes,
        now: Mono,
    ) -> Response {
        let Request { headers, query, peer, .. } = request;
        let access = &*self.access;
        let asked = Asked { path, headers, query, peer, now, access, eyes };
        match page {
            Page::Home => {
                let home = self.pages.home(&self.board, asked);
                home.unwrap_or_else(|| eyes.refusal(&self.access, None))
            }
            Page::Camera(id) => self.with(&id, |camera| {
                if path.ends_with('/') {
                    return self.pages.camera(camera, &self.board, asked);
                }
                // Its page's links are relative to it.
                let query = if query.is_empty() { String::new() } else { format!("?{query}") };
                respond::redirect(&format!("{id}/{query}"))
            }),
            Page::Embed(id) => self.with(&id, |c| self.pages.embed(c, &self.board, asked)),
            Page::Asset => {
                let file = path.strip_prefix('/').unwrap_or_default();
                self.pages.asset(file, query, headers)
            }
            Page::Favicon => self.pages.favicon(query, headers),
            Page::Manifest => self.pages.manifest(headers),
            Page::Owner => match self.access.owner(headers, peer.address.ip()).await {
                Ok(()) => self.pages.owner(headers),
                Err(refused) => *refused,
            },
            Page::OwnerData => match self.access.owner(headers, peer.address.ip()).await {
                Ok(()) => owner::data(self, now),
                Err(refused) => *refused,
            },
            Page::Test(id) => self.with(&id, |_| page::test()),
            // Only sent to.
            Page::OwnerUpdate(_) => respond::method_not_allowed("POST"),
        }
    }

    /// Which update a camera may have.
    async fn offer(&self, id: &CameraId, request: &Request) -> Response {
        match self.may_update(Some(id), request).await {
            Ok(()) => self.updates.offer(id, &request.query),
            Err(refused) => *refused,
        }
    }

    async fn download(
        &self,
        sha256: &str,
        file: fn(&Folder, &Published) -> Served,
        request: &Request,
    ) -> Response {
        match self.may_update(None, request).await {
            Ok(()) => {
                let Request { method, headers, .. } = request;
                self.updates.download(sha256, file, method, headers).await
            }
            Err(refused) => *refused,
        }
    }

    async fn may_update(
        &self,
        id: Option<&CameraId>,
        request: &Request,
    ) -> Result<(), Box<Response>> {
        let Request { headers, query, peer, .. } = request;
        let may = self.ingest.may_update(id, headers, query, peer.address.ip()).await;
        may.map_err(|refusal| Box::new(respond::refused(&refusal)))
    }

    fn with(&self, id: &CameraId, answer: impl FnOnce(&Camera) -> Response) -> Response {
        match self.board.find(id) {
            Some(camera) => answer(&camera),
            None => unknown(id),
        }
    }

    fn stream(
        &self,
        id: &CameraId,
        request: &Request,
        answer: impl FnOnce(&Arc<Camera>, Option<Size>) -> Response,
    ) -> Response {
        match (self.board.find(id), request.size()) {
            (None, _) => unknown(id),
            (_, Err(no_size)) => respond::line(StatusCode::BAD_REQUEST, &no_size.to_string()),
            (Some(camera), Ok(size)) => answer(&camera, size),
        }
    }

    /// Tells an agent what it may send beside frames.
    fn offered(&self, mut response: Response) -> Response {
        if self.ingest.wants_history() {
            response.headers_mut().insert(HeaderName::from_static(wire::WANTS_HISTORY), WANTED);
        }
        response
    }

    async fn upload_socket(&self, id: &CameraId, request: Request) -> Response {
        if let Some(refused) = self.is_of_other_site(id, &request) {
            return refused;
        }
        let Request { headers, query, peer, upgrade, .. } = request;
        let offer = match Offer::read(&headers, upgrade) {
            Ok(offer) => offer,
            Err(not_offered) => return not_offered.answer(),
        };
        let (headers, query) = (&headers, query.as_str());
        let upload = Upload { camera: id, headers, query, peer: peer.address.ip() };
        match self.ingest.admit_socket(upload, &peer.wire).await {
            Ok(session) => {
                let may_send = self.ingest.may_send();
                let challenge = HeaderValue::try_from(to_hex(&session.challenge)).ok();
                let mut response = offer.accept(may_send, move |socket| session.run(socket));
                // Agents of earlier versions send none, and other relays take none.
                let wanted = (HeaderName::from_static(REPORT), WANTED);
                response.headers_mut().extend([wanted]);
                if let Some(challenge) = challenge {
                    response
                        .headers_mut()
                        .insert(HeaderName::from_static(wire::CHALLENGE), challenge);
                }
                self.offered(response)
            }
            Err(refusal) => respond::refused(&refusal),
        }
    }
}

/// What a header says that offers something.
const WANTED: HeaderValue = HeaderValue::from_static("wanted");

fn unknown(id: &CameraId) -> Response {
    respond::not_found(&format!("there is no camera {id} here"))
}
