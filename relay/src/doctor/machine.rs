//! The machine: clock, memory, disk, and the database on it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use runtime::clock;

use super::finding::Finding;
use crate::store::{self, StoreError};

/// Less than this is soon used up.
const LITTLE: u64 = 64 << 20;

/// SQLite makes a file or two, each picture none.
const FEW_INODES: u64 = 100;

/// What is known of the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub folder: PathBuf,
    pub free: u64,
    /// `None` where the file system has no fixed number of them.
    pub free_inodes: Option<u64>,
    /// The most that the history may take, and what it takes.
    pub history_limit: u64,
    pub history: u64,
}

/// Whether the clock can be believed.
pub(super) fn clock() -> Finding {
    judge_clock(clock::synchronised())
}

fn judge_clock(synchronised: bool) -> Finding {
    if synchronised {
        return Finding::ok("clock", "synchronised");
    }
    Finding::warning(
        "clock",
        "the kernel does not know that anybody keeps this clock right: pictures may seem older or newer than they are, \
         and certificates invalid",
        "apt install systemd-timesyncd (or chrony); timedatectl shows how it is. In a container the host sees to it",
    )
}

/// Whether there is room for what is received at the same time.
pub(super) fn memory(wanted: u64) -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    judge_memory(available(&text), wanted)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn judge_memory(available: Option<u64>, wanted: u64) -> Finding {
    let megabytes = |bytes: u64| bytes >> 20;
    match available {
        None => Finding::ok("memory", "the kernel does not say how much is free"),
        Some(free) if free < wanted => Finding::warning(
            "memory",
            format!(
                "{} MiB are free; uploads at the same time may take {} MiB (relay.max_uploads times \
                 relay.max_frame_bytes)",
                megabytes(free),
                megabytes(wanted)
            ),
            "lower one of them, or give the machine more",
        ),
        Some(free) => Finding::ok("memory", format!("{} MiB are free", megabytes(free))),
    }
}

/// Whether frames can be kept, and for how long.
pub(super) fn disk(folder: &Path, history_limit: u64) -> Vec<Finding> {
    let database = folder.join(store::FILE);
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(folder);
    let looked = database.exists().then(|| store::look_at(&database));
    let history =
        looked.as_ref().and_then(|looked| looked.as_ref().ok()).map_or(0, |(_, bytes)| *bytes);
    let mut findings = Vec::new();
    match statvfs(there) {
        Ok(space) => {
            let free_inodes = (space.files() > 0).then(|| space.files_available());
            let free = space.blocks_available() * space.fragment_size();
            let folder = folder.to_owned();
            findings.push(judge_disk(&Disk { folder, free, free_inodes, history_limit, history }));
        }
        Err(error) => findings.push(Finding::wrong(
            "disk",
            format!("{}: {}", there.display(), std::io::Error::from(error)),
            "name a folder that can be read: relay.data_dir, --data-dir",
        )),
    }
    findings.push(judge_database(&database, looked.as_ref().map(Result::as_ref)));
    findings
}

fn judge_disk(disk: &Disk) -> Finding {
    let Disk { folder, free, free_inodes, history_limit, history } = disk;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let (place, mb) = (folder.display(), megabytes(*free));
    if *free_inodes == Some(0) || *free < (1 << 20) {
        return Finding::wrong(
            "disk",
            format!(
                "{place}: the disk is full ({mb} MB, {} files free)",
                free_inodes.unwrap_or_default()
            ),
            "make space on it (df -h, df -i), or move the folder: relay.data_dir. The live picture goes on; none is kept",
        );
    }
    if *free < LITTLE || free_inodes.is_some_and(|inodes| inodes < FEW_INODES) {
        let inodes = free_inodes.map(|inodes| format!(", {inodes} files")).unwrap_or_default();
        return Finding::warning(
            "disk",
            format!("{place}: only {mb} MB{inodes} are free"),
            "make space on it (df -h, df -i)",
        );
    }
    let more = history_limit.saturating_sub(*history);
    if more > *free {
        return Finding::warning(
            "disk",
            format!(
                "{place}: {mb} MB are free, and the history may still grow by {} MB (history.max_bytes)",
                megabytes(more)
            ),
            "lower history.max_bytes, or make space",
        );
    }
    Finding::ok(
        "disk",
        format!(
            "{place}: {mb} MB are free; history: {} of at most {} MB",
            megabytes(*history),
            megabytes(*history_limit)
        ),
    )
}

fn judge_database(path: &Path, looked: Option<Result<&(i64, u64), &StoreError>>) -> Finding {
    let place = path.display();
    match looked {
        None => Finding::ok(
            "database",
            format!("{place} is not there yet; it is begun with the first picture"),
        ),
        Some(Ok((version, _))) if *version < store::SCHEMA => Finding::ok(
            "database",
            format!(
                "{place}: version {version}; it becomes version {} when the relay starts",
                store::SCHEMA
            ),
        ),
        Some(Ok((version, _))) => Finding::ok("database", format!("{place}: version {version}")),
        Some(Err(error)) => {
            Finding::wrong("database", format!("{place}: {error}"), error.kind.advice())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn disk_of(free: u64, free_inodes: Option<u64>) -> Disk {
        Disk {
            folder: "/d".into(),
            free,
            free_inodes,
            history_limit: 256 << 20,
            history: 100 << 20,
        }
    }

    #[test]
    fn disks() {
        for (free, inodes, verdict, says) in [
            (1 << 30, Some(1000), Verdict::Ok, "1073 MB are free; history: 104 of at most 268 MB"),
            (1 << 30, None, Verdict::Ok, "1073 MB"),
            (100 << 20, Some(1000), Verdict::Warning, "may still grow by 163 MB"),
            (20 << 20, None, Verdict::Warning, "only 20 MB are free"),
            (1 << 30, Some(20), Verdict::Warning, "20 files"),
            (1 << 30, Some(0), Verdict::Wrong, "the disk is full"),
            (4096, Some(1000), Verdict::Wrong, "the disk is full"),
        ] {
            let found = judge_disk(&disk_of(free, inodes));
            assert!(found.verdict == verdict && found.says.contains(says), "{found:?}");
            assert_eq!(found.fix.is_none(), verdict == Verdict::Ok);
        }
    }

    #[test]
    fn clocks_and_memory() {
        assert_eq!(judge_clock(true).verdict, Verdict::Ok);
        assert_eq!(judge_clock(false).verdict, Verdict::Warning);
        assert_eq!(available("MemTotal: 1 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(judge_memory(Some(1 << 20), 2 << 20).verdict, Verdict::Warning);
        assert_eq!(judge_memory(Some(2 << 20), 2 << 20).verdict, Verdict::Ok);
        assert_eq!(judge_memory(None, 1).verdict, Verdict::Ok);
    }

    #[test]
    fn databases() {
        let path = Path::new("/d/stillwatch.db");
        assert_eq!(judge_database(path, None).verdict, Verdict::Ok);
        assert_eq!(judge_database(path, Some(Ok(&(2, 0)))).says, "/d/stillwatch.db: version 2");
        assert!(judge_database(path, Some(Ok(&(1, 0)))).says.contains("it becomes version 2"));
        let full = StoreError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let found = judge_database(path, Some(Err(&full)));
        assert_eq!(
            (found.verdict, found.fix.as_deref()),
            (Verdict::Wrong, Some("make space on that disk"))
        );
    }
}
