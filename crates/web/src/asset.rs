//! What pages are made of beside HTML: made once at start, compressed, named with their content's
//! checksum so that browsers may keep them for ever.

use bytes::Bytes;
use flate2::{Compression, Crc};
use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue};

use crate::answer::{self, Body, Response};

/// Browsers may keep it for a year, and never ask again: a change has another name.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Ask each time.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Without the slash before it, and without a version.
    pub path: &'static str,
    /// From the site's root, with its version.
    pub url: String,
    version: String,
    content_type: &'static str,
    body: Body,
}

/// The look of all pages.
pub const STYLE: &str = include_str!("../assets/style.css");

/// A JPEG that says so.
pub const NO_PICTURE_YET: &[u8] = include_bytes!("../assets/no-picture-yet.jpeg");

/// The content types of scripts and style sheets.
pub const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// See [`JAVASCRIPT`].
pub const CSS: &str = "text/css; charset=utf-8";

impl Asset {
    /// `compressible`: it is a text.
    pub fn new(
        path: &'static str,
        content_type: &'static str,
        content: &'static [u8],
        compressible: bool,
    ) -> Asset {
        let mut sum = Crc::new();
        sum.update(content);
        let version = format!("{:08x}", sum.sum());
        let url = format!("{path}?v={version}");
        let gzip = if compressible { answer::gzip(content, Compression::best()) } else { None };
        let body = Body { plain: Bytes::from_static(content), gzip };
        Asset { path, url, version, content_type, body }
    }

    /// The answer to a request with this query and these headers.
    pub fn answer(&self, query: &str, headers: &HeaderMap) -> Response {
        let etag = HeaderValue::try_from(format!("\"{}\"", self.version));
        let etag = etag.unwrap_or(HeaderValue::from_static("\"\""));
        let mut response = if answer::is_known(headers, &etag) {
            answer::not_modified()
        } else {
            self.body.answer(self.content_type, headers)
        };
        let named = query.strip_prefix("v=") == Some(&self.version);
        let keep = if named { FOR_EVER } else { ASK };
        response.headers_mut().insert(CACHE_CONTROL, keep);
        response.headers_mut().insert(ETAG, etag);
        response
    }
}
