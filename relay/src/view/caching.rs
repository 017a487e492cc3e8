//! What caches may do with a still. Pure; docs/cdn.md has the reasons and who reads what.
//!
//! A shared cache (a CDN, nginx) may show one for as long as `site.shared_cache` says, so that any number of viewers
//! are one request in that time. A browser asks each time. Nobody shows an old one because the relay is gone.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

/// How long a shared cache may go on showing one while it asks for the next. One that does not know this lets
/// everybody wait meanwhile, and nginx has all of them ask.
const WHILE_ASKING_S: u64 = 1;

/// What CDNs add to requests (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Ask each time.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// How a still may be kept: its `Cache-Control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedCache(HeaderValue);

impl SharedCache {
    /// Shared caches show a still for `keep`; 0: they ask each time, as browsers do.
    ///
    /// # Errors
    /// It is no whole number of seconds, and HTTP has no others.
    pub(crate) fn new(keep: Duration) -> Result<SharedCache, &'static str> {
        if keep.subsec_nanos() != 0 {
            return Err("caches count in whole seconds; write such as 1s, or 0s for none");
        }
        if keep.is_zero() {
            return Ok(SharedCache(ASK));
        }
        let seconds = keep.as_secs();
        // must-revalidate: or else browsers, too, would show one while they ask for the next.
        let text = format!(
            "public, max-age=0, must-revalidate, s-maxage={seconds}, \
             stale-while-revalidate={WHILE_ASKING_S}, stale-if-error=0"
        );
        // Plain ASCII.
        Ok(SharedCache(HeaderValue::try_from(text).unwrap_or(ASK)))
    }

    /// The header's value.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// Says it in an answer with a still. One that depends on how old the picture is at this moment (`max_age`) is
    /// true for nobody who asks later.
    pub(crate) fn say(&self, has_max_age: bool, answer: &mut HeaderMap) {
        answer.insert(CACHE_CONTROL, if has_max_age { ASK } else { self.0.clone() });
    }
}

/// Whether a CDN asks. It is never told "not modified": on that some begin to count `Age` anew and go on showing the
/// `Frame-Age-Ms` they had, so that a camera that is silent would seem to be live (docs/cdn.md).
pub(crate) fn is_cdn(request: &HeaderMap) -> bool {
    request.contains_key(CDN_LOOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caches_are_told() {
        let said = |keep, has_max_age| {
            let mut answer = HeaderMap::new();
            SharedCache::new(keep).unwrap().say(has_max_age, &mut answer);
            answer.get(CACHE_CONTROL).unwrap().to_str().unwrap().to_owned()
        };
        let second = Duration::from_secs(1);
        assert_eq!(
            said(second, false),
            "public, max-age=0, must-revalidate, s-maxage=1, stale-while-revalidate=1, stale-if-error=0"
        );
        assert!(said(60 * second, false).contains(" s-maxage=60, stale-while-revalidate=1,"));
        assert_eq!(said(Duration::ZERO, false), "no-cache");
        assert_eq!(said(second, true), "no-cache");
        assert!(SharedCache::new(Duration::from_millis(1_500)).is_err());
    }
}
