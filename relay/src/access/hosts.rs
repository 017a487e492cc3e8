//! By which names the relay is asked for, and by whose pages. Pure.
//!
//! A page of another site can point its own name at this relay's address (DNS rebinding); the browser then takes the
//! relay's answers for that site's, and its script reads them. So where the relay knows its name, it answers to no
//! other. And a browser sends along what it knows (cookies, passwords) with what other sites' pages ask for.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, ORIGIN};
use http::{Uri, uri::Authority};

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// Small letters; empty: whatever it is asked for.
    names: Vec<String>,
    /// Where the pages are, if the configuration says; with a slash at its end.
    url: Option<String>,
}

fn authority(url: &str) -> Option<Authority> {
    url.parse::<Uri>().ok()?.into_parts().authority
}

impl Hosts {
    /// `more` are names beside that of `url`.
    pub(crate) fn new(url: Option<&str>, more: Vec<String>) -> Hosts {
        let own = url.and_then(authority).map(|own| own.host().to_owned());
        // Without a name of its own it can't know that another one is none.
        let names = own.into_iter().chain(more).map(|name| name.to_ascii_lowercase()).collect();
        Hosts { names, url: url.map(str::to_owned) }
    }

    /// Whether a request is for a name of this relay. What comes through a proxy, the proxy has looked at.
    pub(crate) fn is_for_us(&self, headers: &HeaderMap, by_proxy: bool) -> bool {
        if self.names.is_empty() || by_proxy {
            return true;
        }
        // Browsers always say it.
        let Some(host) = headers.get(HOST) else { return true };
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let Some(host) = host else { return false };
        let name = host.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok() || name == "localhost" || self.names.contains(&name)
    }

    /// The path of the relay's root, as browsers see it.
    pub(crate) fn root(&self) -> String {
        let url = self.url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        url.map_or_else(|| "/".to_owned(), |url| url.path().to_owned())
    }

    /// Whether a request is sent by the relay's own page, or by no browser at all.
    pub(crate) fn is_own(&self, headers: &HeaderMap) -> bool {
        // Not over plain HTTP, except from the same machine.
        if let Some(site) = headers.get("sec-fetch-site") {
            return site == "same-origin";
        }
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Some(origin) = origin.to_str().ok().and_then(authority) else { return false };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        // A proxy may ask for another host than the browser did.
        let own = [host, self.url.as_deref().and_then(authority)];
        own.into_iter().flatten().any(|own| own == origin)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    fn hosts(url: Option<&str>, more: &[&str]) -> Hosts {
        let more = more.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(url, more)
    }

    const URL: Option<&str> = Some("https://cam.example.org/garden/");

    #[test]
    fn it_answers_to_its_names_and_addresses_only() {
        let (known, lan) = (hosts(URL, &[]), hosts(URL, &["Relay.lan"]));
        for (host, expected, with_lan) in [
            ("cam.example.org", true, true),
            ("Cam.Example.Org.:5000", true, true),
            ("192.0.2.1:5000", true, true),
            ("[2001:db8::1]:5000", true, true),
            ("localhost:5000", true, true),
            ("relay.lan", false, true),
            ("evil.example", false, false),
            ("cam.example.org.evil.example", false, false),
            ("evil.example:443", false, false),
            ("a b", false, false),
            ("", false, false),
        ] {
            let sent = headers(&[("host", host)]);
            assert_eq!(known.is_for_us(&sent, false), expected, "{host}");
            assert_eq!(lan.is_for_us(&sent, false), with_lan, "{host}");
            assert!(known.is_for_us(&sent, true) && hosts(None, &[]).is_for_us(&sent, false));
        }
        assert!(known.is_for_us(&headers(&[]), false), "no browser");
    }

    #[test]
    fn other_sites_pages_are_told_from_our_own() {
        let host = ("host", "192.0.2.1:5000");
        for (sent, own) in [
            (&[host][..], true),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("sec-fetch-site", "none")], false),
            (&[host, ("origin", "http://192.0.2.1:5000")], true),
            (&[host, ("origin", "http://192.0.2.1:5000"), ("sec-fetch-site", "cross-site")], false),
            (&[host, ("origin", "https://cam.example.org")], true),
            (&[host, ("origin", "https://cam.example.org.evil.net")], false),
            (&[host, ("origin", "http://192.0.2.1")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "https://evil.net")], false),
        ] {
            assert_eq!(hosts(URL, &[]).is_own(&headers(sent)), own, "{sent:?}");
        }
    }

    #[test]
    fn where_the_root_is() {
        assert_eq!(hosts(URL, &[]).root(), "/garden/");
        assert_eq!(hosts(Some("https://cam.example.org/"), &[]).root(), "/");
        assert_eq!(hosts(None, &[]).root(), "/");
    }
}
