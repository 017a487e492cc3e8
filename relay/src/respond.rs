//! The relay's answers: the only place that gives a refusal its HTTP status.

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
pub(crate) use web::answer::{
    Body, LOOK, Response, answer, empty, is_known, json, later, line, method_not_allowed,
    not_found, not_modified, redirect, retry, set,
};

use crate::board::Refused;
use crate::ingest::Refusal;

/// Prometheus' text format, version 0.0.4.
pub(crate) fn metrics(text: Vec<u8>) -> Response {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(text))
}

/// A password is asked for (HTTP Basic); the realm is a plain word, or some.
pub(crate) fn unauthorised(realm: &str, line_: &str) -> Response {
    let mut response = line(StatusCode::UNAUTHORIZED, line_);
    let ask = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    if let Ok(ask) = ask {
        response.headers_mut().insert(WWW_AUTHENTICATE, ask);
    }
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
        Refused::Signature | Refused::OtherSite | Refused::NotHere | Refused::Private => {
            StatusCode::FORBIDDEN
        }
        Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::TooFast | Refused::Throttled => {
            return retry(line(StatusCode::TOO_MANY_REQUESTS, &refusal.line));
        }
        Refused::NotJpeg | Refused::NotFrame => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refused::Busy | Refused::TooManyCameras | Refused::NotReady => return later(&refusal.line),
        Refused::TooSlow => StatusCode::REQUEST_TIMEOUT,
        // Nobody reads it.
        Refused::Cut => StatusCode::BAD_REQUEST,
    };
    line(status, &refusal.line)
}
