//! Which other sites' pages may show the viewer in a frame, and read pictures by script. Pure.
//!
//! An `<img>` needs no permission; browsers ask for one before they show a page within a page
//! (Content-Security-Policy, `frame-ancestors`) or hand an answer to a script (CORS).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};

/// Headers of an answer that a script may read, beside those that any may.
const EXPOSED: &str = "Age, Date, ETag, Frame-Age-Ms, Frame-Captured-At, Frame-Seq, Frame-State, \
                       Frame-Time-Source, Frame-Unchanged-Ms, Retry-After";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    /// All.
    Any,
    /// These, beside the relay's own pages.
    These(Vec<String>),
}

impl Origins {
    /// Reads origins separated by spaces, `*` or `none`.
    ///
    /// # Errors
    /// What is wrong, for whoever wrote it.
    pub(crate) fn read(text: &str) -> Result<Origins, String> {
        let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "none").collect();
        if words == ["*"] {
            return Ok(Origins::Any);
        }
        words.into_iter().map(origin).collect::<Result<_, _>>().map(Origins::These)
    }

    /// With some more, which may read.
    pub(crate) fn and(self, more: Vec<String>) -> Origins {
        match self {
            Origins::Any => Origins::Any,
            Origins::These(list) => Origins::These([list, more].concat()),
        }
    }

    /// The sources of `frame-ancestors`.
    pub(crate) fn frame_ancestors(&self) -> String {
        match self {
            Origins::Any => "*".to_owned(),
            Origins::These(list) => [&["'self'".to_owned()], list.as_slice()].concat().join(" "),
        }
    }

    /// Adds to an answer that a script of the site `asking` (the header `Origin`) may read it, if so.
    pub(crate) fn share(&self, asking: Option<&HeaderValue>, response: &mut HeaderMap) {
        let allowed = match self {
            Origins::Any => Some(HeaderValue::from_static("*")),
            // The same for all who ask, or else shared caches would keep a copy for each of them. The browser compares.
            Origins::These(list) if list.len() == 1 => {
                list.first().and_then(|one| HeaderValue::try_from(one).ok())
            }
            Origins::These(list) => {
                if !list.is_empty() {
                    response.append(VARY, HeaderValue::from_static("Origin"));
                }
                asking
                    .filter(|asking| list.iter().any(|one| asking.as_bytes() == one.as_bytes()))
                    .cloned()
            }
        };
        if let Some(origin) = allowed {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// The same for the question before a request with headers of its own.
    pub(crate) fn preflight(&self, asking: Option<&HeaderValue>, response: &mut HeaderMap) {
        self.share(asking, response);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match"),
            // The longest that a browser takes (Chromium).
            (ACCESS_CONTROL_MAX_AGE, "7200"),
        ] {
            response.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// An origin as browsers write it: scheme, host, perhaps a port, nothing else.
///
/// # Errors
/// It is none.
pub(crate) fn origin(word: &str) -> Result<String, String> {
    let wrong =
        || format!("\"{word}\" is no site; write such as https://example.org, or * alone, or none");
    let (scheme, rest) = word.split_once("://").ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if !matches!(scheme, "http" | "https") || host.is_empty() || !host.chars().all(plain) {
        return Err(wrong());
    }
    let (host, default) =
        (host.to_ascii_lowercase(), if scheme == "http" { ":80" } else { ":443" });
    Ok(format!("{scheme}://{}", host.strip_suffix(default).unwrap_or(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(origins: &str, asking: Option<&str>) -> HeaderMap {
        let asking = asking.map(|asking| HeaderValue::from_str(asking).unwrap());
        let mut response = HeaderMap::new();
        Origins::read(origins).unwrap().share(asking.as_ref(), &mut response);
        response
    }

    fn allowed(origins: &str, asking: &str) -> Option<String> {
        let response = answer(origins, Some(asking));
        let allowed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(allowed.to_str().unwrap().to_owned())
    }

    #[test]
    fn caches_keep_one_copy_unless_several_sites_may_read() {
        for origins in ["none", "*", "https://example.org"] {
            let all = [None, Some("https://example.org"), Some("https://elsewhere.org")];
            let all = all.map(|asking| answer(origins, asking));
            assert!(all.iter().all(|one| *one == all[0]), "{origins}: {all:?}");
            assert!(!all[0].contains_key(VARY), "{origins}");
        }
        let several = answer("https://example.org https://example.com", None);
        assert_eq!(several.get(VARY).unwrap(), "Origin");
    }

    #[test]
    fn who_may_frame_and_read() {
        for (origins, ancestors, asking, expected) in [
            ("none", "'self'", "https://example.org", None),
            ("", "'self'", "null", None),
            ("*", "*", "https://example.org", Some("*")),
            (
                "https://Example.org:443/ http://127.0.0.1:8000",
                "'self' https://example.org http://127.0.0.1:8000",
                "https://example.org",
                Some("https://example.org"),
            ),
            // Its browser compares, and it is not the same.
            (
                "https://example.org",
                "'self' https://example.org",
                "https://example.org.evil.net",
                Some("https://example.org"),
            ),
            (
                "https://example.org https://a.org",
                "'self' https://example.org https://a.org",
                "https://example.org.evil.net",
                None,
            ),
            (
                "https://example.org https://a.org",
                "'self' https://example.org https://a.org",
                "http://example.org",
                None,
            ),
        ] {
            assert_eq!(Origins::read(origins).unwrap().frame_ancestors(), ancestors);
            assert_eq!(allowed(origins, asking).as_deref(), expected, "{origins} {asking}");
        }
    }

    #[test]
    fn what_is_no_site() {
        for bad in [
            "example.org",
            "ftp://example.org",
            "https://",
            "https://example.org/path",
            "https://a;b",
            "https://*.example.org",
            "* https://example.org",
            "https://a'b",
        ] {
            assert!(Origins::read(bad).is_err(), "{bad}");
        }
    }
}
