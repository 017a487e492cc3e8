//! What is published: `index.json` in the folder of updates. Pure; `folder.rs` reads and writes it.

use std::fmt;
use std::str::FromStr;

use frame::update::{MAX_BUNDLE, is_compatible, is_sha256};
use frame::version::Version;
use serde::{Deserialize, Serialize};

/// Most updates that are published at the same time.
pub(crate) const MAX_PUBLISHED: usize = 100;

/// Longest name of a channel.
const MAX_CHANNEL: usize = 32;

/// Where cameras get their updates from: `stable`, and what else their owner calls one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Channel(String);

/// It is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a channel: use 1 to {MAX_CHANNEL} of a-z, 0-9 and '-'")]
pub(crate) struct NoChannel(String);

impl Default for Channel {
    fn default() -> Channel {
        Channel("stable".to_owned())
    }
}

impl FromStr for Channel {
    type Err = NoChannel;

    fn from_str(text: &str) -> Result<Channel, NoChannel> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let right = (1..=MAX_CHANNEL).contains(&text.len()) && text.bytes().all(allowed);
        if right { Ok(Channel(text.to_owned())) } else { Err(NoChannel(text.to_owned())) }
    }
}

impl TryFrom<String> for Channel {
    type Error = NoChannel;

    fn try_from(text: String) -> Result<Channel, NoChannel> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> String {
        channel.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An update that cameras may get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub version: Version,
    /// What it runs on.
    pub compatible: String,
    pub bytes: u64,
    /// In hexadecimal; its file is called so.
    pub sha256: String,
    pub channel: Channel,
    /// How many of a hundred cameras get it.
    pub percent: u8,
    /// Nobody gets it, and why.
    pub paused: Option<String>,
}

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Oldest first.
    pub published: Vec<Published>,
}

/// What `add` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    New,
    /// The same bytes were there.
    Again,
}

/// What it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// The version is there with another content.
    OtherContent,
    TooMany,
}

impl Index {
    /// Reads what [`Index::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse(json: &str) -> Result<Index, String> {
        let index: Index = serde_json::from_str(json).map_err(|error| error.to_string())?;
        match index.published.iter().find(|update| !update.is_right()) {
            Some(wrong) => Err(format!("what it says of {} can't be right", wrong.version)),
            None => Ok(index),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        // Our own structure always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Adds one, in its place.
    ///
    /// # Errors
    /// It may not be; nothing is changed then.
    pub(crate) fn add(&mut self, new: &Published) -> Result<Added, NotAdded> {
        let same =
            |known: &&Published| known.version == new.version && known.compatible == new.compatible;
        match self.published.iter().find(same) {
            Some(known) if known.sha256 != new.sha256 => return Err(NotAdded::OtherContent),
            Some(_) => return Ok(Added::Again),
            None if self.published.len() >= MAX_PUBLISHED => return Err(NotAdded::TooMany),
            None => {}
        }
        self.published.push(new.clone());
        let place = |update: &Published| (update.version.clone(), update.compatible.clone());
        self.published.sort_by_key(place);
        Ok(Added::New)
    }

    pub(crate) fn has(&self, version: &Version) -> bool {
        self.published.iter().any(|update| update.version == *version)
    }

    /// Changes all updates of a version, there may be one for each kind of machine; says how many.
    pub(crate) fn change(
        &mut self,
        version: &Version,
        mut change: impl FnMut(&mut Published),
    ) -> usize {
        let all = self.published.iter_mut().filter(|update| update.version == *version);
        all.map(&mut change).count()
    }

    pub(crate) fn find(&self, sha256: &str) -> Option<&Published> {
        self.published.iter().find(|update| update.sha256 == sha256)
    }
}

impl Published {
    fn is_right(&self) -> bool {
        (1..=MAX_BUNDLE).contains(&self.bytes)
            && is_sha256(&self.sha256)
            && is_compatible(&self.compatible)
            && self.percent <= 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(version: &str) -> Published {
        Published {
            version: version.parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
            bytes: 7,
            sha256: "0f".repeat(32),
            channel: Channel::default(),
            percent: 10,
            paused: None,
        }
    }

    #[test]
    fn a_version_has_one_content() {
        let mut index = Index::default();
        let one = published("1.0.0-1.1");
        assert_eq!(index.add(&published("2.0.0-1.1")), Ok(Added::New));
        assert_eq!(index.add(&one), Ok(Added::New));
        assert_eq!(index.add(&one), Ok(Added::Again));
        let other = Published { sha256: "aa".repeat(32), ..one.clone() };
        assert_eq!(index.add(&other), Err(NotAdded::OtherContent));
        let elsewhere = Published { compatible: "stillwatch-bare".to_owned(), ..other };
        assert_eq!(index.add(&elsewhere), Ok(Added::New));
        assert_eq!(
            index.published.first().map(|update| &update.compatible),
            Some(&elsewhere.compatible)
        );
        assert_eq!(index.change(&one.version, |update| update.percent = 50), 2);
        assert_eq!(Index::parse(&index.to_json()), Ok(index));
    }

    #[test]
    fn there_may_be_so_many_and_no_more() {
        let mut index = Index::default();
        for n in 0..MAX_PUBLISHED {
            assert_eq!(index.add(&published(&format!("1.0.{n}-1.1"))), Ok(Added::New));
        }
        assert_eq!(index.add(&published("2.0.0-1.1")), Err(NotAdded::TooMany));
    }

    #[test]
    fn what_is_no_index() {
        let index = Index { published: vec![published("1.0.0-1.1")] };
        let good = index.to_json();
        assert!(Index::parse(&good).is_ok());
        let torn = good.get(..good.len() / 2).unwrap();
        for (one, other) in
            [("10,", "101,"), ("0f0f", "0F0F"), ("-debian", " "), ("1.0.0-", "1.0-")]
        {
            assert!(Index::parse(&good.replace(one, other)).is_err(), "{other}");
        }
        for garbage in ["", "{}", "null", "[]", torn] {
            assert!(Index::parse(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn names_of_channels() {
        for good in ["stable", "beta-2", "0"] {
            assert_eq!(good.parse::<Channel>().unwrap().to_string(), good);
        }
        for bad in ["", "Beta", "a b", &"x".repeat(MAX_CHANNEL + 1)] {
            assert!(bad.parse::<Channel>().is_err(), "{bad}");
        }
    }
}
