//! Answers, and what they have in common.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use warp::Reply;

/// What routes answer with.
pub type Response = warp::reply::Response;

/// Methods of things that can only be looked at.
pub const LOOK: &str = "GET, HEAD";

/// An answer with a body.
pub fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
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

/// A text as it is and as browsers take it: `gzip` is `None` where that is no smaller.
#[derive(Debug)]
pub struct Body {
    /// As it is.
    pub plain: Bytes,
    /// Compressed.
    pub gzip: Option<Bytes>,
}

impl Body {
    /// Of something that is made for one answer.
    pub fn once(plain: Bytes) -> Body {
        Body { gzip: gzip(&plain, Compression::fast()), plain }
    }

    /// An answer with it, in the form that the request accepts.
    pub fn answer(&self, content_type: &'static str, request: &HeaderMap) -> Response {
        let packed = self.gzip.as_ref().filter(|_| accepts_gzip(request));
        let mut response =
            answer(StatusCode::OK, content_type, packed.unwrap_or(&self.plain).clone());
        if packed.is_some() {
            set(&mut response, CONTENT_ENCODING, "gzip");
        }
        if self.gzip.is_some() {
            set(&mut response, VARY, "Accept-Encoding");
        }
        set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }
}

/// `None` if it gets no smaller.
pub fn gzip(content: &[u8], level: Compression) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(content).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < content.len()).then(|| Bytes::from(packed))
}

/// RFC 9110, 12.5.3.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let lists = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(";q=").unwrap_or((coding, "1"));
        name.trim() == "gzip" && quality.trim().parse::<f32>().is_ok_and(|q| q > 0.0)
    })
}

/// RFC 9110, 13.1.2: whether the request names this entity tag among those it knows, compared
/// weakly.
pub fn is_known(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let lists = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // A comma inside another tag's quotes makes two halves of it, and none is ours.
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// 304.
pub fn not_modified() -> Response {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// An answer without one.
pub fn empty(status: StatusCode) -> Response {
    answer(status, "", Bytes::new())
}

/// An error, in one plain line.
pub fn line(status: StatusCode, text: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", Bytes::from(format!("{text}\n")))
}

/// An error that may pass.
pub fn later(text: &str) -> Response {
    retry(line(StatusCode::SERVICE_UNAVAILABLE, text))
}

/// Adds when to come again: a camera's next frame is usually less than a second away.
pub fn retry(mut response: Response) -> Response {
    set(&mut response, RETRY_AFTER, "1");
    response
}

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Our own structures always serialise.
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", Bytes::from(body))
}

/// To another page of the same camera. The location is relative, so it holds behind a proxy that
/// serves the relay below some path, too.
pub fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::FOUND);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// 404.
pub fn not_found(text: &str) -> Response {
    line(StatusCode::NOT_FOUND, text)
}

/// 405.
pub fn method_not_allowed(allow: &'static str) -> Response {
    let text = format!("this can be asked for with {allow} only");
    let mut response = line(StatusCode::METHOD_NOT_ALLOWED, &text);
    set(&mut response, ALLOW, allow);
    response
}

/// Sets a header.
pub fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_weakly() {
        let etag = HeaderValue::from_static("\"abc\"");
        for (lists, known) in [
            (&["\"abc\""] as &[&str], true),
            (&["W/\"abc\""], true),
            (&["\"x\", \"abc\""], true),
            (&["\"x\"", "\"y,z\" ,W/\"abc\""], true),
            (&["*"], true),
            (&[], false),
            (&["abc"], false),
            (&["\"abcd\""], false),
            (&["w/\"abc\""], false),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(list));
            }
            assert_eq!(is_known(&headers, &etag), known, "{lists:?}");
        }
    }

    #[test]
    fn who_gets_gzip() {
        for (accept, gets) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), gets, "{accept}");
        }
    }
}
