//! From HTTP to HTTPS.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HOST};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use web::serve::Peer;

use super::{Shown, TlsConfig};
use crate::respond::{self, Response};

/// Where an authority looks for a proof (RFC 8555, 8.3).
const PROOFS: &str = "/.well-known/acme-challenge/";

/// What a plain request gets where there is HTTPS.
#[derive(Debug)]
pub(crate) struct Plain {
    pub shown: Arc<Shown>,
    host: Option<String>,
    port: u16,
    answered: bool,
}

impl Plain {
    pub(crate) fn new(config: &TlsConfig, shown: Arc<Shown>) -> Plain {
        let TlsConfig { listen, plain_http, host, .. } = config;
        Plain { shown, host: host.clone(), port: listen.port(), answered: *plain_http }
    }

    /// `None`: it is answered as any.
    pub(crate) fn answer(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> Option<Response> {
        if let Some(token) = path.strip_prefix(PROOFS) {
            let authorization = self.shown.authorization(token)?;
            return Some(respond::line(StatusCode::OK, &authorization));
        }
        if peer.secure || peer.by_proxy || self.answered {
            return None;
        }
        let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(to) = target(self.host.as_deref(), asked, self.port, path, query) else {
            return Some(respond::line(StatusCode::BAD_REQUEST, "this relay speaks HTTPS"));
        };
        // With the method, and the body: a camera's upload, too, goes where it should.
        let mut response = respond::redirect(&to);
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        respond::set(&mut response, CACHE_CONTROL, "no-store");
        Some(response)
    }
}

/// Where a plain request is sent to: the same at HTTPS; `None` if that can't be said. Pure.
///
/// `host` is the configured one, `asked` what the request says (`Host`), `port` that of HTTPS.
fn target(
    host: Option<&str>,
    asked: Option<&str>,
    port: u16,
    path: &str,
    query: &str,
) -> Option<String> {
    let host = match host {
        Some(host) => host.to_owned(),
        None => {
            // It stands in a header, so only what is a host.
            let asked: Authority =
                asked?.parse().ok().filter(|host: &Authority| !host.as_str().contains('@'))?;
            match port {
                443 => asked.host().to_owned(),
                port => format!("{}:{port}", asked.host()),
            }
        }
    };
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Some(format!("https://{host}{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_at_https() {
        for (host, asked, port, path, query, expected) in [
            (
                Some("cam.example.org"),
                Some("evil.net"),
                443,
                "/",
                "",
                Some("https://cam.example.org/"),
            ),
            (
                Some("cam.example.org:8443"),
                None,
                8443,
                "/live.jpeg",
                "1",
                Some("https://cam.example.org:8443/live.jpeg?1"),
            ),
            (None, Some("cam.example.org"), 443, "/", "", Some("https://cam.example.org/")),
            (
                None,
                Some("cam.example.org:5000"),
                443,
                "/test",
                "",
                Some("https://cam.example.org/test"),
            ),
            (None, Some("[2001:db8::1]:80"), 8443, "/", "", Some("https://[2001:db8::1]:8443/")),
            (None, Some("user@cam.example.org"), 443, "/", "", None),
            (None, Some("a b"), 443, "/", "", None),
            (None, None, 443, "/", "", None),
        ] {
            let found = target(host, asked, port, path, query);
            assert_eq!(found.as_deref(), expected, "{host:?} {asked:?}");
        }
    }
}
