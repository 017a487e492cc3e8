//! What pages are made of beside HTML: made once at start, compressed, named with their content's
//! checksum so that browsers may keep them for ever.

use bytes::Bytes;
use flate2::{Compression, Crc};
use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue};

use crate::respond::{self, Body, Response};

/// Browsers may keep it for a year, and never ask again: a change has another name.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Ask each time.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    path: &'static str,
    /// From the site's root, with its version.
    pub url: String,
    version: String,
    content_type: &'static str,
    body: Body,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Assets {
    pub viewer: Asset,
    pub owner: Asset,
    pub howto: Asset,
    pub style: Asset,
    pub icon: Asset,
    pub touch_icon: Asset,
    pub icon_192: Asset,
    pub icon_512: Asset,
    /// What other sites' pages load, so it has a plain name.
    pub embed: Asset,
}

/// Joins script files to one; they share a scope that nothing else sees.
macro_rules! script {
    ($($file:literal),+) => {
        concat!("(() => {\n\"use strict\";\n",
            $(include_str!(concat!("../../../assets/js/", $file)), "\n",)+ "})();\n")
    };
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const PNG: &str = "image/png";

impl Assets {
    pub(crate) fn new() -> Assets {
        let text = |path, kind, text: &'static str| Asset::new(path, kind, text.as_bytes(), true);
        let icon = |path, png: &'static [u8]| Asset::new(path, PNG, png, false);
        Assets {
            viewer: text(
                "assets/viewer.js",
                JAVASCRIPT,
                script!(
                    "texts.js",
                    "address.js",
                    "clock.js",
                    "badge.js",
                    "ladder.js",
                    "multipart.js",
                    "paint.js",
                    "transports.js",
                    "camera.js",
                    "past.js",
                    "viewer.js"
                ),
            ),
            owner: text(
                "assets/owner.js",
                JAVASCRIPT,
                script!("texts.js", "address.js", "owner.js"),
            ),
            howto: text("assets/howto.js", JAVASCRIPT, script!("texts.js", "howto.js")),
            embed: text("embed.js", JAVASCRIPT, script!("embed.js")),
            style: text(
                "assets/style.css",
                "text/css; charset=utf-8",
                include_str!("../../../assets/style.css"),
            ),
            icon: text(
                "assets/icon.svg",
                "image/svg+xml",
                include_str!("../../../assets/icon.svg"),
            ),
            touch_icon: icon("assets/icon-180.png", include_bytes!("../../../assets/icon-180.png")),
            icon_192: icon("assets/icon-192.png", include_bytes!("../../../assets/icon-192.png")),
            icon_512: icon("assets/icon-512.png", include_bytes!("../../../assets/icon-512.png")),
        }
    }

    /// The file at `path`, without the slash before it.
    pub(crate) fn find(&self, path: &str) -> Option<&Asset> {
        let Assets { viewer, owner, howto, style, icon, touch_icon, icon_192, icon_512, embed } =
            self;
        let all = [viewer, owner, howto, style, icon, touch_icon, icon_192, icon_512, embed];
        all.into_iter().find(|asset| asset.path == path)
    }
}

impl Asset {
    fn new(
        path: &'static str,
        content_type: &'static str,
        content: &'static [u8],
        compressible: bool,
    ) -> Asset {
        let mut sum = Crc::new();
        sum.update(content);
        let version = format!("{:08x}", sum.sum());
        let url = format!("{path}?v={version}");
        let gzip = if compressible { respond::gzip(content, Compression::best()) } else { None };
        let body = Body { plain: Bytes::from_static(content), gzip };
        Asset { path, url, version, content_type, body }
    }

    pub(crate) fn answer(&self, query: &str, headers: &HeaderMap) -> Response {
        let etag = HeaderValue::try_from(format!("\"{}\"", self.version));
        let etag = etag.unwrap_or(HeaderValue::from_static("\"\""));
        let mut response = if respond::is_known(headers, &etag) {
            respond::not_modified()
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
