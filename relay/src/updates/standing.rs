//! What is known of each camera: what its owner decided, and which versions it did not keep. `cameras.json` in the
//! folder of updates, which only this program writes.

use std::collections::BTreeMap;

use frame::CameraId;
use frame::version::Version;
use serde::{Deserialize, Serialize};

/// What the owner decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wish {
    /// No updates.
    Hold,
    /// The newest, now.
    Start,
}

/// A version that a camera did not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejection {
    pub version: Version,
    pub why: String,
    /// It ran there and was taken back.
    pub ran: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wish>,
    /// Of versions that are published here, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
}

impl Standing {
    pub(crate) fn has_rejected(&self, version: &Version) -> bool {
        self.rejected.iter().any(|rejection| rejection.version == *version)
    }

    /// Whether there is nothing to remember.
    fn is_empty(&self) -> bool {
        *self == Standing::default()
    }

    /// Whether a camera's word says more than what is known.
    pub(crate) fn lacks(&self, rejection: &Rejection) -> bool {
        let knows =
            |known: &Rejection| known.version == rejection.version && (known.ran || !rejection.ran);
        !self.rejected.iter().any(knows)
    }

    /// What was asked for on purpose has failed: it is not asked for again and again.
    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.rejected.retain(|known| known.version != rejection.version);
        self.rejected.push(rejection);
        if self.wish == Some(Wish::Start) {
            self.wish = None;
        }
    }
}

/// All cameras of which there is something to remember.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standings(BTreeMap<CameraId, Standing>);

impl Standings {
    /// Reads what [`Standings::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse(json: &str) -> Result<Standings, String> {
        let read: BTreeMap<String, Standing> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let named = |(id, standing): (String, Standing)| {
            Ok((id.parse::<CameraId>().map_err(|error| error.to_string())?, standing))
        };
        read.into_iter().map(named).collect::<Result<_, String>>().map(Standings)
    }

    pub(crate) fn to_json(&self) -> String {
        let named: BTreeMap<&str, &Standing> =
            self.0.iter().map(|(id, standing)| (id.as_str(), standing)).collect();
        // Our own structure always serialises.
        serde_json::to_string_pretty(&named).unwrap_or_default() + "\n"
    }

    pub(crate) fn of(&self, camera: &CameraId) -> Standing {
        self.0.get(camera).cloned().unwrap_or_default()
    }

    pub(crate) fn change(&mut self, camera: &CameraId, change: impl FnOnce(&mut Standing)) {
        let standing = self.0.entry(camera.clone()).or_default();
        change(standing);
        if standing.is_empty() {
            self.0.remove(camera);
        }
    }

    /// Nobody is to start the newest any more. Returns whether somebody was.
    pub(crate) fn forget_starts(&mut self) -> bool {
        let were = self.0.values().any(|standing| standing.wish == Some(Wish::Start));
        self.0.retain(|_, standing| {
            standing.wish = standing.wish.filter(|wish| *wish != Wish::Start);
            !standing.is_empty()
        });
        were
    }

    /// Forgets rejections of versions that are not `published` any more: a version may come back with another
    /// content.
    pub(crate) fn keep_only(&mut self, published: impl Fn(&Version) -> bool) {
        self.0.retain(|_, standing| {
            standing.rejected.retain(|rejection| published(&rejection.version));
            !standing.is_empty()
        });
    }

    /// The cameras on which a version ran and was taken back.
    pub(crate) fn took_back(&self, version: &Version) -> Vec<&CameraId> {
        let back = |rejection: &Rejection| rejection.ran && rejection.version == *version;
        let cameras = self.0.iter().filter(|(_, standing)| standing.rejected.iter().any(back));
        cameras.map(|(id, _)| id).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&CameraId, &Standing)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(version: &str, ran: bool) -> Rejection {
        Rejection { version: version.parse().unwrap(), why: "no picture came".to_owned(), ran }
    }

    #[test]
    fn it_comes_back_as_it_was_and_nothing_is_kept_of_nobody() {
        let (garden, shed) = ("garden".parse().unwrap(), "shed".parse().unwrap());
        let mut standings = Standings::default();
        standings.change(&garden, |standing| standing.wish = Some(Wish::Hold));
        standings.change(&garden, |standing| standing.reject(rejection("1.0.0-1.1", true)));
        standings.change(&shed, |_| {});
        assert_eq!(Standings::parse(&standings.to_json()), Ok(standings.clone()));
        assert_eq!(standings.all().count(), 1);
        assert_eq!(standings.took_back(&"1.0.0-1.1".parse().unwrap()), [&garden]);
        standings.change(&garden, |standing| standing.wish = None);
        standings.keep_only(|_| false);
        assert_eq!(standings, Standings::default());
        for garbage in ["", "{", "[]", r#"{"A b":{}}"#, r#"{"a":{"wish":"evil"}}"#] {
            assert!(Standings::parse(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn a_failure_ends_what_was_asked_for_and_is_counted_once() {
        let mut standing = Standing { wish: Some(Wish::Start), ..Standing::default() };
        let (never_ran, ran) = (rejection("1.0.0-1.1", false), rejection("1.0.0-1.1", true));
        assert!(standing.lacks(&never_ran));
        standing.reject(never_ran.clone());
        assert_eq!(standing.wish, None);
        assert!(!standing.lacks(&never_ran) && standing.lacks(&ran));
        standing.reject(ran.clone());
        assert!(!standing.lacks(&never_ran) && !standing.lacks(&ran));
        assert_eq!(standing.rejected, [ran]);
        let mut held = Standing { wish: Some(Wish::Hold), ..Standing::default() };
        held.reject(never_ran);
        assert_eq!(held.wish, Some(Wish::Hold));
    }
}
