//! Who asks, where a proxy stands in between. Pure.
//!
//! Anybody can write `X-Forwarded-For`, so it counts only in what comes from a proxy of ours, and in it only as far
//! as our proxies wrote it: from its end to the first address that is none of them.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// Set by nginx, Caddy and everybody else; their common standard (RFC 7239) is hardly spoken.
const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

/// Whether `address` is one of `proxies`.
pub(super) fn is_proxy(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|net| net.contains(&address.to_canonical()))
}

/// The client's address by the headers of a request that one of `proxies` passed on; `None` if it doesn't say, or
/// says something else.
pub(super) fn client(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let mut first = None;
    for value in headers.get_all(FOR).iter().rev() {
        // By bytes: what a client claims before it may be no text at all.
        for word in value.as_bytes().rsplit(|byte| *byte == b',') {
            let word = std::str::from_utf8(word).ok()?;
            let address = word.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !is_proxy(proxies, address) {
                return Some(address);
            }
            first = Some(address);
        }
    }
    first
}

/// Whether the client came to the proxy by HTTPS.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    let last = headers.get_all(PROTO).iter().next_back().and_then(|value| value.to_str().ok());
    last.and_then(|value| value.rsplit(',').next()).is_some_and(|proto| proto.trim() == "https")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_our_proxies_wrote_counts() {
        let proxies: Vec<IpNet> =
            ["127.0.0.0/8", "10.0.0.0/8"].map(|net| net.parse().unwrap()).into();
        for (sent, expected) in [
            (&["192.0.2.7"][..], Some("192.0.2.7")),
            // What the client itself claims stands before it.
            (&["198.51.100.1, 192.0.2.7"], Some("192.0.2.7")),
            (&["198.51.100.1", "192.0.2.7, 10.0.0.2"], Some("192.0.2.7")),
            (&["garbage, 192.0.2.7"], Some("192.0.2.7")),
            (&["\u{ff}, 192.0.2.7"], Some("192.0.2.7")),
            (&["::ffff:192.0.2.7"], Some("192.0.2.7")),
            (&["2001:db8::7"], Some("2001:db8::7")),
            (&["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            (&["192.0.2.7, garbage"], None),
            (&["192.0.2.7, "], None),
            (&["192.0.2.7:1234"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(client(&headers, &proxies), expected, "{sent:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_says_how_it_was_asked() {
        for (sent, secure) in
            [("https", true), ("http", false), ("http, https", true), ("https, http", false)]
        {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(PROTO),
                HeaderValue::from_static(sent),
            )]);
            assert_eq!(is_secure(&headers), secure, "{sent}");
        }
        assert!(!is_secure(&HeaderMap::new()));
    }
}
