//! What the local viewer answers: the page, `live.jpeg`, the status.
//!
//! `live.jpeg` is a live picture or none: one that is stale or frozen is refused with the reason. What
//! was drawn before stays on the page, grey, with its age.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use frame::wire::{self, Flags};
use frame::{CameraId, Frame};
use http::header::{CACHE_CONTROL, ETAG, HOST, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use runtime::clock;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use web::answer::{self, LOOK, Response};
use web::asset::{Asset, CSS, JAVASCRIPT, STYLE};
use web::freshness::State;
use web::serve;

use super::host::is_local;
use super::newest::{LIMITS, Newest, Shown};
use crate::health::{Health, rounded};
use crate::phones::html;
use crate::status::{self, Found};

/// Nothing from elsewhere, nothing inline, no form, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' blob:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The status file is in memory.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// What answers are made of.
#[derive(Debug)]
pub(super) struct Pages {
    camera: CameraId,
    newest: Arc<Newest>,
    health: Arc<Health>,
    status_file: PathBuf,
    style: Asset,
    script: Asset,
}

#[derive(Template)]
#[template(path = "viewer.html")]
struct Page<'a> {
    camera: &'a str,
    style: &'a str,
    script: &'a str,
    state: &'static str,
    patience_ms: u64,
    width: u16,
    height: u16,
}

/// All routes.
pub(super) fn routes(pages: Arc<Pages>) -> BoxedFilter<(Response,)> {
    serve::asked()
        .then(move |method: Method, path: FullPath, query: String, headers: HeaderMap| {
            let pages = Arc::clone(&pages);
            async move { pages.answer(&method, path.as_str(), &query, &headers).await }
        })
        .boxed()
}

impl Pages {
    pub(super) fn new(
        camera: CameraId,
        newest: Arc<Newest>,
        health: Arc<Health>,
        status_file: PathBuf,
    ) -> Pages {
        let script = concat!(
            "(() => {\n\"use strict\";\n",
            include_str!("../../../crates/web/assets/badge.js"),
            "\n",
            include_str!("../../assets/viewer.js"),
            "\n})();\n"
        );
        Pages {
            camera,
            newest,
            health,
            status_file,
            style: Asset::new("style.css", CSS, STYLE.as_bytes(), true),
            script: Asset::new("viewer.js", JAVASCRIPT, script.as_bytes(), true),
        }
    }

    async fn answer(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Response {
        let hosts = headers.get_all(HOST);
        if !hosts.iter().all(|host| host.to_str().is_ok_and(is_local)) {
            return answer::line(
                StatusCode::MISDIRECTED_REQUEST,
                "the local viewer is found by its address, or as NAME.local",
            );
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::method_not_allowed(LOOK);
        }
        let mut response = match path {
            "/" => self.page(headers),
            "/live.jpeg" => self.picture(headers),
            "/status" => self.status(false).await,
            "/status.json" => self.status(true).await,
            "/style.css" => self.style.answer(query, headers),
            "/viewer.js" => self.script.answer(query, headers),
            "/favicon.ico" => answer::empty(StatusCode::NO_CONTENT),
            _ => answer::not_found("there is nothing at this path; the picture is at /"),
        };
        // No other site's page shows what this camera sees.
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        answer::set(&mut response, policy, "same-origin");
        response
    }

    fn page(&self, headers: &HeaderMap) -> Response {
        let shown = self.newest.at(clock::mono());
        let picture = shown.frame.as_ref().map(|frame| &frame.picture);
        let page = Page {
            camera: self.camera.as_str(),
            style: &self.style.url,
            script: &self.script.url,
            state: shown.state.word(),
            patience_ms: millis(shown.patience),
            width: picture.map_or(4, frame::Picture::width),
            height: picture.map_or(3, frame::Picture::height),
        };
        // A template of plain texts can't fail.
        html(page.render().unwrap_or_default(), POLICY, "no-referrer", headers)
    }

    fn picture(&self, headers: &HeaderMap) -> Response {
        let shown = self.newest.at(clock::mono());
        let mut response = match (&shown.frame, shown.state) {
            (Some(frame), State::Live) => live(frame, headers),
            _ => answer::later(&self.why(&shown)),
        };
        let said = response.headers_mut();
        if let Some(frame) = &shown.frame {
            said.insert(name(wire::SEQ), frame.seq.into());
            said.insert(name(wire::AGE_MS), millis(shown.age).into());
            let captured = wire::format_time(frame.captured.unix_us, 3);
            for (key, value) in
                [(wire::CAPTURED_AT, Some(captured)), (wire::FLAGS, Flags::from(frame).to_header())]
            {
                if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                    said.insert(name(key), value);
                }
            }
        }
        if let (State::Frozen, Some(unchanged)) = (shown.state, shown.unchanged) {
            said.insert(name(wire::UNCHANGED_MS), millis(unchanged).into());
        }
        said.insert(name(wire::STATE), HeaderValue::from_static(shown.state.word()));
        response
    }

    /// Why there is no live picture: the camera's trouble, if it has said any.
    fn why(&self, shown: &Shown) -> String {
        let seconds = |time: Duration| format!("{} s", rounded(time).as_secs());
        let seen = match shown.state {
            State::Empty => "no picture yet".to_owned(),
            State::Frozen => {
                let unchanged = shown.unchanged.unwrap_or(LIMITS.frozen_after);
                format!("the same picture again and again for {}", seconds(unchanged))
            }
            State::Live | State::Stale | State::Offline => {
                format!("the newest picture is {} old", seconds(shown.age))
            }
        };
        match self.health.camera.trouble() {
            Some(trouble) => format!("{seen}: {}", trouble.failure.cause),
            None => seen,
        }
    }

    async fn status(&self, json: bool) -> Response {
        let path = self.status_file.clone();
        let found = tokio::task::spawn_blocking(move || status::find(&path));
        let text = match tokio::time::timeout(READ_WITHIN, found).await {
            Ok(Ok(Found::Running(status))) if json => {
                return answer::json(StatusCode::OK, &status);
            }
            Ok(Ok(Found::Running(status))) => status::text(&status),
            Ok(Ok(Found::NotRunning(why) | Found::Unreadable(why))) => {
                return answer::later(&why);
            }
            Ok(Err(_)) | Err(_) => return answer::later("the status can't be read"),
        };
        let kind = "text/plain; charset=utf-8";
        answer::answer(StatusCode::OK, kind, Bytes::from(text))
    }
}

fn live(frame: &Frame, headers: &HeaderMap) -> Response {
    let etag = HeaderValue::try_from(format!("\"{}\"", frame.picture.hash()));
    let etag = etag.unwrap_or(HeaderValue::from_static("\"\""));
    let mut response = match answer::is_known(headers, &etag) {
        true => answer::not_modified(),
        false => answer::answer(StatusCode::OK, "image/jpeg", frame.picture.bytes().clone()),
    };
    response.headers_mut().insert(ETAG, etag);
    answer::set(&mut response, CACHE_CONTROL, "no-cache");
    response
}

fn name(header: &'static str) -> HeaderName {
    HeaderName::from_static(header)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
