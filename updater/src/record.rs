//! What is remembered of updates, over reboots and power cuts: the one under way, and what became of earlier ones.
//!
//! It lies on the data partition, which both systems have: the old one reads there why the new one was taken back.
//! So each has to understand the other's: keys are only ever added, and what is not known is ignored.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use frame::version::Version;
use runtime::files::{Survives, replace};
use runtime::update::Rejected;
use serde::{Deserialize, Serialize};

use crate::slot::Slot;

/// In the state directory.
const FILE: &str = "updates.json";

/// Earlier updates that are remembered; the oldest go.
const MAX_PAST: usize = 20;

/// So often the same one is tried to be installed: a power cut says nothing of it, a card that can't be written
/// does not mend itself.
const MAX_TRIES: usize = 3;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub under_way: Option<UnderWay>,
    /// Oldest first.
    pub past: Vec<Past>,
}

/// An update that is neither kept nor taken back yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    pub version: Version,
    /// Where it is installed.
    pub slot: Slot,
    /// The slot is written whole, and chosen for the next boot.
    pub installed: bool,
    /// How the machine was before: what did not work then need not work after it.
    #[serde(default)]
    pub baseline: Baseline,
    /// How often it was started, as far as it could say so itself.
    #[serde(default)]
    pub starts: u32,
    /// How often it was about to be started, where nobody else counts that ([`crate::bootloader`]).
    #[serde(default)]
    pub tries: u32,
    /// Why it is to be taken back, once that was decided.
    #[serde(default)]
    pub failed: Option<Failure>,
    /// The kernel's id of the boot in which it was installed.
    #[serde(default)]
    pub boot: String,
}

/// What the old system managed when the update was installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Baseline {
    /// Pictures arrived at the relay.
    pub uploads: bool,
    /// Units that had failed.
    pub failed: Vec<String>,
}

/// Why a system is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// One sentence.
    pub why: String,
    /// Nothing was wrong but that the relay could not be reached, which may be nobody's fault here.
    pub network_only: bool,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    pub version: Version,
    pub became: Became,
    /// One sentence; none if it was kept.
    pub why: Option<String>,
    /// Seconds since the epoch, by a clock that may have been wrong.
    pub wall_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Became {
    /// It runs.
    Kept,
    /// It did not prove itself: it is not tried again.
    TakenBack,
    /// It did not either, but neither did the old one: that says nothing of it.
    Unproven,
    /// It is none for this camera: it is not tried again.
    Refused,
    /// It could not be installed, or was interrupted.
    NotInstalled,
    /// What a later version calls it.
    #[serde(other)]
    Later,
}

impl Record {
    /// What is on the disk. What can't be read counts as nothing, and is said: no update is worth a camera that
    /// does not start.
    pub(crate) fn read(folder: &Path) -> Record {
        let path = file(folder);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!("{}: what was known of updates is lost: {error}", path.display());
                Record::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                Record::default()
            }
        }
    }

    /// Writes it, so that a power cut leaves it or the one before.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        replace(&file(folder), &text, Survives::PowerCut)
    }

    /// The update that is under way has ended.
    pub(crate) fn end(&mut self, became: Became, why: Option<String>, wall_s: i64) {
        if let Some(UnderWay { version, .. }) = self.under_way.take() {
            self.remember(Past { version, became, why, wall_s });
        }
    }

    pub(crate) fn remember(&mut self, past: Past) {
        self.past.push(past);
        let too_many = self.past.len().saturating_sub(MAX_PAST);
        self.past.drain(..too_many);
    }

    /// Why this version is not tried again, if it is not.
    pub(crate) fn rejects(&self, version: &Version) -> Option<Rejected> {
        let tried = self.past.iter().filter(|past| past.version == *version);
        let mut failed = 0;
        let mut last = None;
        for past in tried {
            let rejected = |ran| {
                let why =
                    past.why.clone().unwrap_or_else(|| "for a reason that is not known".to_owned());
                Some(Rejected { version: version.to_string(), why, ran })
            };
            failed = if past.became == Became::NotInstalled { failed + 1 } else { 0 };
            last = match past.became {
                Became::TakenBack => rejected(true),
                Became::Refused => rejected(false),
                Became::NotInstalled if failed >= MAX_TRIES => rejected(false),
                Became::NotInstalled | Became::Unproven | Became::Kept | Became::Later => None,
            };
        }
        last
    }

    /// All that are not tried again, oldest first.
    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        let mut versions: Vec<&Version> = Vec::new();
        for past in self.past.iter().rev() {
            if !versions.contains(&&past.version) {
                versions.push(&past.version);
            }
        }
        versions.into_iter().rev().filter_map(|version| self.rejects(version)).collect()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn under_way(version: &str) -> UnderWay {
        UnderWay {
            version: version.parse().unwrap(),
            slot: Slot::B,
            installed: true,
            baseline: Baseline { uploads: true, failed: Vec::new() },
            starts: 0,
            tries: 0,
            failed: None,
            boot: String::new(),
        }
    }

    fn ended(record: &mut Record, version: &str, became: Became, why: &str) {
        record.under_way = Some(under_way(version));
        record.end(became, Some(why.to_owned()), 7);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), Record::default());
        let mut record = Record::default();
        ended(&mut record, "0.2.0-20260101.0000", Became::TakenBack, "it did not start");
        record.under_way = Some(under_way("0.3.0-20260101.0000"));
        record.write(&folder.path().join("new")).unwrap();
        assert_eq!(Record::read(&folder.path().join("new")), record);
    }

    #[test]
    fn a_torn_one_is_none_and_a_later_one_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"under_way\":{\"vers").unwrap();
        assert_eq!(Record::read(folder.path()), Record::default());
        let later =
            r#"{"new":1,"past":[{"version":"0.2.0-20260101.0000","became":"sold","wall_s":1}]}"#;
        fs::write(folder.path().join(FILE), later).unwrap();
        assert_eq!(Record::read(folder.path()).past.len(), 1);
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut record = Record::default();
        for day in 0..50 {
            ended(&mut record, &format!("0.1.0-{day}.0"), Became::Kept, "");
        }
        assert_eq!(record.past.len(), MAX_PAST);
        assert_eq!(record.past.last().unwrap().version.to_string(), "0.1.0-00000049.0000");
    }

    #[test]
    fn what_did_not_prove_itself_is_not_tried_again() {
        let mut record = Record::default();
        let bad = "0.2.0-20260101.0000";
        ended(&mut record, bad, Became::Unproven, "no network");
        assert_eq!(record.rejects(&bad.parse().unwrap()), None);
        ended(&mut record, bad, Became::TakenBack, "no picture");
        ended(&mut record, "0.3.0-20260101.0000", Became::Refused, "not signed");
        ended(&mut record, "0.4.0-20260101.0000", Became::Kept, "");
        let rejected = record.rejected();
        let whys: Vec<_> = rejected.iter().map(|it| (it.why.as_str(), it.ran)).collect();
        assert_eq!(whys, [("no picture", true), ("not signed", false)]);
        // On purpose, and then it was right.
        ended(&mut record, bad, Became::Kept, "");
        assert_eq!(record.rejects(&bad.parse().unwrap()), None);
    }

    #[test]
    fn a_card_that_cant_be_written_is_tried_three_times() {
        let mut record = Record::default();
        let version: Version = "0.2.0-20260101.0000".parse().unwrap();
        for tries in 1..=MAX_TRIES {
            ended(&mut record, &version.to_string(), Became::NotInstalled, "I/O error");
            assert_eq!(record.rejects(&version).is_some(), tries == MAX_TRIES);
        }
    }
}
