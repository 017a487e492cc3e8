//! What the agent needs of its machine beside camera and network: room on the disk, and memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ladder::Mono;
use nix::sys::statvfs::{FsFlags, statvfs};
use tokio::task::JoinHandle;

use crate::machine::bytes_of;

/// Less than this is full: a log line and a picture still fit.
const MIN_FREE_BYTES: u64 = 16 << 20;

/// Less available memory than one part in so many is too little: the kernel soon kills something.
const MIN_MEMORY_PART: u64 = 20;

/// How often it is tried whether the disk takes a file: an SD card wears.
const PROBE_EVERY: Duration = Duration::from_secs(600);

/// The kernel may wait for a dying card: who asks waits no longer.
const WITHIN: Duration = Duration::from_secs(1);

/// The state of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Disk {
    #[default]
    Fine,
    /// No room is left.
    Full,
    /// The kernel has given up writing to it.
    ReadOnly,
    /// It does not answer.
    Hangs,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct System {
    pub disk: Disk,
    pub memory_low: bool,
}

/// Where the agent keeps what has to survive: systemd's state directory.
pub(crate) fn state_directory() -> Option<PathBuf> {
    std::env::var_os("STATE_DIRECTORY").map(PathBuf::from)
}

/// Looks at the disk and at the memory.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The last look at the disk, if it has not ended: a disk that hangs is not asked again and again.
    pending: Option<JoinHandle<Disk>>,
    probed: Option<Mono>,
}

impl Looks {
    /// Looks at the disk that holds `folder`, and at the memory.
    pub(super) async fn look(&mut self, now: Mono, folder: Option<&Path>) -> System {
        let memory_low = fs::read_to_string("/proc/meminfo").is_ok_and(|text| is_low(&text));
        System { disk: self.disk(now, folder).await, memory_low }
    }

    async fn disk(&mut self, now: Mono, folder: Option<&Path>) -> Disk {
        let Some(folder) = folder else { return Disk::Fine };
        let late = self.pending.is_some();
        let mut look = match self.pending.take() {
            Some(look) => look,
            None => {
                let probe = self.probed.is_none_or(|probed| now.since(probed) >= PROBE_EVERY);
                if probe {
                    self.probed = Some(now);
                }
                let folder = folder.to_owned();
                tokio::task::spawn_blocking(move || disk(&folder, probe))
            }
        };
        match tokio::time::timeout(WITHIN, &mut look).await {
            Ok(found) => found.unwrap_or_default(),
            Err(_) => {
                self.pending = Some(look);
                // One late answer may be a busy machine's.
                if late { Disk::Hangs } else { Disk::Fine }
            }
        }
    }
}

fn disk(folder: &Path, probe: bool) -> Disk {
    let Ok(found) = statvfs(folder) else { return Disk::Fine };
    let is_read_only = found.flags().contains(FsFlags::ST_RDONLY);
    if is_read_only || (probe && refuses_writing(folder)) {
        return Disk::ReadOnly;
    }
    let free = bytes_of(found.blocks_available(), found.fragment_size());
    let total = bytes_of(found.blocks(), found.fragment_size());
    // A small partition is not full for being small.
    if free < MIN_FREE_BYTES.min(total / 20) { Disk::Full } else { Disk::Fine }
}

/// Since Linux 6.12 ext4 does not say any more that it is read-only after an error (`errors=remount-ro`):
/// it only refuses.
fn refuses_writing(folder: &Path) -> bool {
    let path = folder.join(".probe");
    let written = fs::write(&path, b"").and_then(|()| fs::remove_file(&path));
    let error = written.err().and_then(|error| error.raw_os_error());
    matches!(error, Some(libc::EROFS | libc::EIO))
}

/// proc_meminfo(5): in KiB.
fn is_low(meminfo: &str) -> bool {
    match (value(meminfo, "MemAvailable"), value(meminfo, "MemTotal")) {
        (Some(available), Some(total)) => available < total / MIN_MEMORY_PART,
        _ => false,
    }
}

fn value(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

/// All the memory there is, in KiB.
pub(super) fn total_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    value(&text, "MemTotal").unwrap_or(u64::MAX)
}

/// The memory that a process holds, in KiB; of a process that is gone, none.
pub(super) fn resident_kib(process: u32) -> u64 {
    let status: io::Result<String> = fs::read_to_string(format!("/proc/{process}/status"));
    let line = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    status.ok().and_then(|text| line(&text)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_low_below_a_twentieth() {
        let text = |available| format!("MemTotal: 1000000 kB\nMemAvailable: {available} kB\n");
        assert!(is_low(&text(49_000)) && !is_low(&text(51_000)));
        assert!(!is_low("") && !is_low("MemTotal: 7 kB\nMemAvailable: much\n"));
    }

    #[tokio::test]
    async fn this_machine_is_well() {
        let folder = tempfile::tempdir().unwrap();
        let mut looks = Looks::default();
        let found = looks.look(Mono::default(), Some(folder.path())).await;
        assert_eq!(found.disk, Disk::Fine);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the probe is gone");
        // No blocks at all, and no file can be made there: that is not full, nor does it say EROFS.
        assert_eq!(looks.look(Mono::default(), Some(Path::new("/proc"))).await.disk, Disk::Fine);
        assert!(resident_kib(std::process::id()) > 100 && total_kib() > 100_000);
        assert_eq!(resident_kib(u32::MAX), 0);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_asked_once() {
        let mut looks = Looks::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hang = move || {
            let _ = held.recv();
            Disk::Full
        };
        looks.pending = Some(tokio::task::spawn_blocking(hang));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(looks.look(Mono::default(), Some(folder.path())).await.disk, Disk::Hangs);
        release.send(()).unwrap();
        assert_eq!(looks.look(Mono::default(), Some(folder.path())).await.disk, Disk::Full);
        assert_eq!(looks.look(Mono::default(), Some(folder.path())).await.disk, Disk::Fine);
    }
}
