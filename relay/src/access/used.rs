//! Which password was used when, by which camera: so that it can be seen who still has an old one. Pure.

use std::collections::BTreeMap;

use frame::CameraId;
use serde::{Deserialize, Serialize};

/// It is noted no finer than this: the file is not written with each picture.
const FINENESS_US: i64 = 3_600 * 1_000_000;

/// Cameras of which a use of one password is remembered.
const MAX_CAMERAS: usize = 1_000;

/// From the first to the last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub first_us: i64,
    pub last_us: i64,
}

/// By the password's name, and by camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Used(BTreeMap<String, BTreeMap<CameraId, Span>>);

impl Used {
    /// Reads what [`Used::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn parse(json: &str) -> Result<Used, String> {
        let read: BTreeMap<String, BTreeMap<String, Span>> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let mut used = Used::default();
        for (name, cameras) in read {
            for (id, span) in cameras {
                let id = id.parse().map_err(|error: frame::BadCameraId| error.to_string())?;
                used.0.entry(name.clone()).or_default().insert(id, span);
            }
        }
        Ok(used)
    }

    pub(super) fn to_json(&self) -> String {
        let named = |cameras: &BTreeMap<CameraId, Span>| -> BTreeMap<String, Span> {
            cameras.iter().map(|(id, span)| (id.to_string(), *span)).collect()
        };
        let all: BTreeMap<&str, _> =
            self.0.iter().map(|(name, cameras)| (name.as_str(), named(cameras))).collect();
        // Our own structure always serialises.
        serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
    }

    /// Whether a use at `now_us` is worth noting.
    pub(super) fn is_news(&self, name: &str, camera: &CameraId, now_us: i64) -> bool {
        let cameras = self.0.get(name);
        let known = cameras.and_then(|cameras| cameras.get(camera));
        let full = cameras.is_some_and(|cameras| cameras.len() >= MAX_CAMERAS);
        // A clock that was set back is noted as well.
        known.map_or(!full, |span| now_us.abs_diff(span.last_us) >= FINENESS_US.unsigned_abs())
    }

    pub(super) fn note(&mut self, name: &str, camera: &CameraId, now_us: i64) {
        let fresh = Span { first_us: now_us, last_us: now_us };
        let cameras = self.0.entry(name.to_owned()).or_default();
        let span = cameras.entry(camera.clone()).or_insert(fresh);
        *span = Span { first_us: span.first_us.min(now_us), last_us: now_us };
    }

    pub(super) fn is_used(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Of all cameras together.
    pub(super) fn span(&self, name: &str) -> Option<(i64, i64)> {
        let spans = self.0.get(name)?.values();
        let first = spans.clone().map(|span| span.first_us).min()?;
        Some((first, spans.map(|span| span.last_us).max()?))
    }

    /// Who used it, and when last.
    pub(super) fn cameras(&self, name: &str) -> impl Iterator<Item = (&CameraId, Span)> {
        self.0.get(name).into_iter().flatten().map(|(id, span)| (id, *span))
    }

    /// Forgets passwords that are no more.
    pub(super) fn keep_only(&mut self, is: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_and_kept() {
        let (garden, door): (CameraId, CameraId) =
            ("garden".parse().unwrap(), "door".parse().unwrap());
        let mut used = Used::default();
        assert!(used.is_news("a", &garden, 5) && !used.is_used("a"));
        used.note("a", &garden, 5);
        assert!(!used.is_news("a", &garden, 5 + FINENESS_US - 1));
        assert!(used.is_news("a", &garden, 5 + FINENESS_US) && used.is_news("a", &door, 5));
        used.note("a", &garden, 5 + FINENESS_US);
        used.note("a", &door, 99);
        assert_eq!(used.span("a"), Some((5, 5 + FINENESS_US)));
        assert_eq!(used.cameras("a").count(), 2);
        used.note("b", &door, 1);
        assert_eq!(Used::parse(&used.to_json()), Ok(used.clone()));
        used.keep_only(|name| name == "b");
        assert_eq!((used.span("a"), used.span("b")), (None, Some((1, 1))));
        for bad in ["", "[]", r#"{"a":{"Garden 1":{"first_us":1,"last_us":1}}}"#] {
            assert!(Used::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cameras_of_one_password_are_bounded() {
        let mut used = Used::default();
        for n in 0..MAX_CAMERAS {
            used.note("a", &format!("c{n}").parse().unwrap(), 1);
        }
        assert!(!used.is_news("a", &"one-more".parse().unwrap(), 1));
        assert!(used.is_news("a", &"c1".parse().unwrap(), 1 + FINENESS_US));
    }
}
