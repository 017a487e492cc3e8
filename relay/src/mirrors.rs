//! Further relays that show the same cameras: where a page's script goes on when the page's own relay is gone. Pure.

use http::Uri;

use crate::origins;

/// Each is in every page, and asked by every viewer of a relay that is gone.
const MAX_MIRRORS: usize = 16;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mirrors(Vec<Mirror>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    /// With a slash at its end.
    url: String,
    /// As browsers write it.
    origin: String,
}

impl Mirrors {
    /// Reads addresses separated by spaces. That of this relay itself, `own`, may stand among them: then all relays can
    /// have the same list.
    ///
    /// # Errors
    /// What is wrong, for whoever wrote it.
    pub(crate) fn read(text: &str, own: Option<&str>) -> Result<Mirrors, String> {
        let mut mirrors = Vec::new();
        for word in text.split_whitespace().filter(|word| *word != "none") {
            let mirror = Mirror::read(word)?;
            if own.is_some_and(|own| own.starts_with("https:")) && mirror.url.starts_with("http:") {
                return Err(format!(
                    "\"{word}\": browsers let no page of https:// ask http://; that relay needs HTTPS, too"
                ));
            }
            if own != Some(&mirror.url) && !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        match mirrors.len() {
            0..=MAX_MIRRORS => Ok(Mirrors(mirrors)),
            n => Err(format!("{n} relays; {MAX_MIRRORS} at most")),
        }
    }

    /// Their addresses, with spaces between.
    pub(crate) fn urls(&self) -> String {
        self.0.iter().map(|mirror| mirror.url.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whose pages go on here, if they name this relay as well.
    pub(crate) fn origins(&self) -> Vec<String> {
        self.0.iter().map(|mirror| mirror.origin.clone()).collect()
    }

    /// What a page has to be allowed to ask, as sources of its policy: by HTTP, and by WebSocket.
    pub(crate) fn sources(&self) -> Vec<String> {
        let both =
            |mirror: &Mirror| [mirror.origin.clone(), mirror.origin.replacen("http", "ws", 1)];
        self.0.iter().flat_map(both).collect()
    }
}

impl Mirror {
    fn read(word: &str) -> Result<Mirror, String> {
        let wrong = || format!("\"{word}\" is no address; write such as https://b.example.org/");
        let parsed: Uri = word.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else {
            return Err(wrong());
        };
        // Whoever looks at a page would read a password in it.
        let plain = parsed.query().is_none() && !word.contains(['#', '@', '"', '\'', '<', '>']);
        if !plain {
            return Err(wrong());
        }
        if authority.host().starts_with('[') {
            return Err(format!(
                "\"{word}\": a page can't be allowed to ask an IPv6 address (Content-Security-Policy); write a name"
            ));
        }
        let origin = origins::origin(&format!("{scheme}://{authority}")).map_err(|_| wrong())?;
        let path = parsed.path().trim_end_matches('/');
        Ok(Mirror { url: format!("{origin}{path}/"), origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_browsers_do_and_each_once() {
        let own = Some("https://a.example.org/cams/");
        for (text, own, urls, sources) in [
            ("", own, "", ""),
            ("none", own, "", ""),
            (
                "https://B.example.org:443 https://b.example.org/ https://c.example.org:8443/cams/",
                own,
                "https://b.example.org/ https://c.example.org:8443/cams/",
                "https://b.example.org wss://b.example.org https://c.example.org:8443 wss://c.example.org:8443",
            ),
            // The same list on all relays.
            ("https://a.example.org/cams https://b.example.org", own, "https://b.example.org/", ""),
            (
                "http://192.0.2.1:5000",
                None,
                "http://192.0.2.1:5000/",
                "http://192.0.2.1:5000 ws://192.0.2.1:5000",
            ),
        ] {
            let mirrors = Mirrors::read(text, own).unwrap();
            assert_eq!(mirrors.urls(), urls, "{text}");
            if !sources.is_empty() {
                assert_eq!(mirrors.sources().join(" "), sources, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_relays_address_is_named() {
        for (bad, says) in [
            ("b.example.org", "\"b.example.org\" is no address"),
            ("https://good.example.org ftp://b", "\"ftp://b\" is no address"),
            ("https://", "is no address"),
            ("https://b.example.org/?key=1", "is no address"),
            ("https://b.example.org/#x", "is no address"),
            ("https://user:password@b.example.org/", "is no address"),
            ("https://b.example.org;", "is no address"),
            ("https://*.example.org/", "is no address"),
            ("https://[2001:db8::1]/", "write a name"),
            ("http://b.example.org/", "needs HTTPS, too"),
        ] {
            let wrong = Mirrors::read(bad, Some("https://a.example.org/")).unwrap_err();
            assert!(wrong.contains(says), "{bad}: {wrong}");
        }
        let many: Vec<String> = (0..=MAX_MIRRORS).map(|n| format!("http://b{n}/")).collect();
        assert!(Mirrors::read(&many[1..].join(" "), None).is_ok());
        assert_eq!(Mirrors::read(&many.join(" "), None), Err("17 relays; 16 at most".into()));
    }
}
