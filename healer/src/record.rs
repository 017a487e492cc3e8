//! What is left for the next boot: why the machine is about to go down. And the history of that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use runtime::clock;
use runtime::files::{Survives, replace};
use serde::{Deserialize, Serialize};

use crate::site::Site;

/// Written before a reboot, read after it.
const PENDING: &str = "last-reboot.json";

/// All of them that were read, oldest first, one a line.
const HISTORY: &str = "reboot-history.jsonl";

/// Older lines are dropped.
const MAX_HISTORY: usize = 50;

/// Where the kernel takes a line that may survive what files don't (Documentation/admin-guide/ramoops.rst).
const PSTORE: &str = "/dev/pmsg0";

/// Why the machine goes down, as of then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// `reboot` or `poweroff` if the agent asked for it; `start-limit` if it could not.
    pub rung: String,
    /// One sentence.
    pub reason: String,
    /// The boot that was ended.
    pub boot_id: String,
    /// How long it had run.
    pub uptime_s: u64,
    /// Seconds since the epoch, by a clock that may be wrong unless it was synchronised.
    pub wall_s: i64,
    pub synchronised: bool,
    /// Reboots left, and spent, this one included.
    pub left: u32,
    pub spent: u64,
    /// Whether the machine did go down. `None`: not known yet.
    pub happened: Option<bool>,
}

impl Record {
    pub(crate) fn now(site: &Site, rung: &str, reason: &str) -> Record {
        Record {
            rung: rung.to_owned(),
            reason: reason.to_owned(),
            boot_id: site.boot_id(),
            uptime_s: clock::mono().since_boot().as_secs(),
            wall_s: clock::wall_us() / 1_000_000,
            synchronised: clock::synchronised(),
            ..Record::default()
        }
    }

    /// Leaves it for the next boot, on the disk.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn leave(&self, site: &Site) -> io::Result<()> {
        replace(&site.state(PENDING), &line(self)?, Survives::PowerCut)?;
        let pstore = OpenOptions::new().write(true).open(site.below(PSTORE));
        if let Ok(mut pstore) = pstore {
            // A second place, for kernels that have it; the file is what counts.
            let _ = writeln!(pstore, "stillwatch: going down ({}): {}", self.rung, self.reason);
        }
        Ok(())
    }
}

/// What the boot before this one left; `None` if nothing, or nothing that can be read.
pub(crate) fn pending(site: &Site) -> Option<Record> {
    serde_json::from_slice(&fs::read(site.state(PENDING)).ok()?).ok()
}

/// Moves what is pending into the history.
pub(crate) fn settle(site: &Site, record: Option<Record>) {
    let kept = record.map_or(Ok(()), |record| remember(site, &record));
    let gone = fs::remove_file(site.state(PENDING)).and_then(|()| sync_folder(site));
    match kept.and(gone) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("the history of reboots could not be written: {error}");
        }
        _ => {}
    }
}

fn remember(site: &Site, record: &Record) -> io::Result<()> {
    let path = site.state(HISTORY);
    let before = fs::read(&path).unwrap_or_default();
    let mut lines: Vec<&[u8]> = before.split_inclusive(|byte| *byte == b'\n').collect();
    let new = line(record)?;
    lines.push(&new);
    let first = lines.len().saturating_sub(MAX_HISTORY);
    let kept: Vec<u8> = lines.into_iter().skip(first).flatten().copied().collect();
    replace(&path, &kept, Survives::PowerCut)
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

fn sync_folder(site: &Site) -> io::Result<()> {
    File::open(site.state(""))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{file, site};

    #[test]
    fn the_history_is_bounded_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "/dev/pmsg0", "");
        for reason in 0..MAX_HISTORY + 3 {
            Record::now(&site, "reboot", &reason.to_string()).leave(&site).unwrap();
            settle(&site, pending(&site));
            assert_eq!(pending(&site), None);
        }
        let history = fs::read_to_string(site.state(HISTORY)).unwrap();
        let reasons: Vec<String> = history
            .lines()
            .map(|line| serde_json::from_str::<Record>(line).unwrap().reason)
            .collect();
        let expected: Vec<String> = (3..MAX_HISTORY + 3).map(|it| it.to_string()).collect();
        assert_eq!(reasons, expected);
        let pmsg = fs::read_to_string(folder.path().join("dev/pmsg0")).unwrap();
        assert!(pmsg.contains("stillwatch: going down (reboot): 5"), "{pmsg}");
    }

    #[test]
    fn garbage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "state/last-reboot.json", "{\"rung\":");
        assert_eq!(pending(&site), None);
        settle(&site, None);
        assert!(!site.state(PENDING).exists());
    }
}
