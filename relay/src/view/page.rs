//! The tutorial's page: an image refreshed every 150 ms.

use bytes::Bytes;
use http::StatusCode;

use crate::respond::{self, Response};

/// The same for every camera: its links are relative.
pub(crate) fn test() -> Response {
    let page = Bytes::from_static(include_bytes!("../../assets/test.html"));
    respond::answer(StatusCode::OK, "text/html; charset=utf-8", page)
}
