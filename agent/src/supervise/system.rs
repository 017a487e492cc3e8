//! What the agent needs of its machine beside camera and network: room on the disk, and memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};

/// Less than this is full: a log line and a picture still fit.
const MIN_FREE_BYTES: u64 = 16 << 20;

/// Less available memory than one part in so many is too little: the kernel soon kills something.
const MIN_MEMORY_PART: u64 = 20;

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
pub(super) fn state_directory() -> Option<PathBuf> {
    std::env::var_os("STATE_DIRECTORY").map(PathBuf::from)
}

/// Looks at the disk that holds `folder`, and at the memory.
pub(super) async fn look(folder: Option<PathBuf>) -> System {
    let look = tokio::task::spawn_blocking(move || folder.as_deref().map(disk));
    let disk = match tokio::time::timeout(WITHIN, look).await {
        Ok(Ok(disk)) => disk.unwrap_or_default(),
        Ok(Err(_)) => Disk::Fine,
        Err(_) => Disk::Hangs,
    };
    let memory_low = fs::read_to_string("/proc/meminfo").is_ok_and(|text| is_low(&text));
    System { disk, memory_low }
}

fn disk(folder: &Path) -> Disk {
    let Ok(found) = statvfs(folder) else { return Disk::Fine };
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Disk::ReadOnly;
    }
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    let total = found.blocks().saturating_mul(found.fragment_size());
    // A small partition is not full for being small.
    if free < MIN_FREE_BYTES.min(total / 20) { Disk::Full } else { Disk::Fine }
}

/// proc_meminfo(5): in KiB.
fn is_low(meminfo: &str) -> bool {
    let value = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    match (value("MemAvailable"), value("MemTotal")) {
        (Some(available), Some(total)) => available < total / MIN_MEMORY_PART,
        _ => false,
    }
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
        let found = look(Some(folder.path().to_owned())).await;
        assert_eq!(found.disk, Disk::Fine);
        assert_eq!(look(Some("/proc".into())).await.disk, Disk::Fine, "no blocks at all");
        assert!(resident_kib(std::process::id()) > 100);
        assert_eq!(resident_kib(u32::MAX), 0);
    }
}
