//! Answers: the only place that gives a refusal its HTTP status, and what answers have in common.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use warp::Reply;

use crate::board::Refused;
use crate::ingest::Refusal;

pub(crate) type Response = warp::reply::Response;

/// Methods of things that can only be looked at.
pub(crate) const LOOK: &str = "GET, HEAD";

/// An answer with a body.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let length = body.len();
    let mut response = http::Response::new(body).into_response();
    *response.status_mut() = status;
    // hyper would leave a length of 0 out of the answer to HEAD.
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    if !content_type.is_empty() {
        set(&mut response, CONTENT_TYPE, content_type);
    }
    // What is no picture is true at this moment only.
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

/// An answer without one.
pub(crate) fn empty(status: StatusCode) -> Response {
    answer(status, "", Bytes::new())
}

/// An error, in one plain line.
pub(crate) fn line(status: StatusCode, text: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", Bytes::from(format!("{text}\n")))
}

/// An error that may pass.
pub(crate) fn later(text: &str) -> Response {
    retry(line(StatusCode::SERVICE_UNAVAILABLE, text))
}

/// Adds when to come again: a camera's next frame is usually less than a second away.
pub(crate) fn retry(mut response: Response) -> Response {
    set(&mut response, RETRY_AFTER, "1");
    response
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Our own structures always serialise.
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", Bytes::from(body))
}

/// Prometheus' text format, version 0.0.4.
pub(crate) fn metrics(text: Vec<u8>) -> Response {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(text))
}

/// To another page of the same camera. The location is relative, so it holds behind a proxy that
/// serves the relay below some path, too.
pub(crate) fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::FOUND);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(crate) fn not_found(text: &str) -> Response {
    line(StatusCode::NOT_FOUND, text)
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Response {
    let text = format!("this can be asked for with {allow} only");
    let mut response = line(StatusCode::METHOD_NOT_ALLOWED, &text);
    set(&mut response, ALLOW, allow);
    response
}

/// As the tutorial's server does it: no word.
pub(crate) fn acknowledged() -> Response {
    empty(StatusCode::OK)
}

/// What an upload that was refused gets.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.why {
        // As the tutorial's server answers it: no word why.
        Refused::Password => return empty(StatusCode::BAD_REQUEST),
        Refused::Token => {
            let mut response = line(StatusCode::UNAUTHORIZED, &refusal.line);
            set(&mut response, WWW_AUTHENTICATE, "Bearer realm=\"stillwatch\"");
            return response;
        }
        Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::TooFast => return retry(line(StatusCode::TOO_MANY_REQUESTS, &refusal.line)),
        Refused::NotJpeg | Refused::NotFrame => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refused::Busy | Refused::TooManyCameras => return later(&refusal.line),
        Refused::TooSlow => StatusCode::REQUEST_TIMEOUT,
        // Nobody reads it.
        Refused::Cut => StatusCode::BAD_REQUEST,
    };
    line(status, &refusal.line)
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
