//! What a boot finds of the one before it: the hardware's and the kernel's word, and our own files.
//!
//! Only reading; what it means is `boot.rs`' affair.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime::files::{Survives, replace};

use crate::record::{self, Record};
use crate::site::Site;
use runtime::child::plain;

/// The watchdog has reset the machine (include/uapi/linux/watchdog.h: `WDIOF_CARDRESET`).
const CARD_RESET: u32 = 0x20;

/// Where the kernel keeps its last words, and where systemd-pstore(8) moves them.
const PSTORE: [&str; 2] = ["/sys/fs/pstore", "/var/lib/systemd/pstore"];

/// Names of last words that were seen by an earlier boot: systemd-pstore keeps them for ever.
const SEEN: &str = "pstore-seen";

/// Bounds of what is read of them: more is not worth a late camera.
const MAX_FILES: usize = 64;
const MAX_BYTES: u64 = 256 << 10;
const MAX_DEPTH: usize = 3;

/// Longest line that is quoted.
const MAX_LINE: usize = 200;

/// What a line of last words begins with, the surest first.
const LAST_WORDS: [&str; 4] =
    ["Kernel panic", "Unable to handle kernel", "kernel BUG at", "Internal error: Oops"];

/// There since the machine was shut down in order.
pub(crate) const ORDERLY: &str = "orderly";

/// Holds the id of the boot that was looked into last.
pub(crate) const LOOKED_INTO: &str = "boot";

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Nothing of an earlier boot is there.
    pub first: bool,
    /// Why Stillwatch itself ended the boot before.
    pub pending: Option<Record>,
    /// This boot.
    pub boot_id: String,
    /// The hardware watchdog says that it has reset the machine.
    pub watchdog: bool,
    /// The kernel's last words.
    pub panic: Option<String>,
    /// The shutdown was in order.
    pub orderly: bool,
}

impl Evidence {
    /// Looks for it, and takes away what must not be found again by the next boot.
    pub(crate) fn take(site: &Site) -> Evidence {
        let evidence = Evidence {
            first: !["boot", "reboots", ORDERLY].iter().any(|name| site.state(name).exists()),
            pending: record::pending(site),
            boot_id: site.boot_id(),
            watchdog: watchdog(site),
            panic: panic(site),
            orderly: site.state(ORDERLY).exists(),
        };
        let happened = evidence.pending.as_ref().map(|it| it.boot_id != evidence.boot_id);
        record::settle(site, evidence.pending.clone().map(|it| Record { happened, ..it }));
        let gone = match fs::remove_file(site.state(ORDERLY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        // Synced with the folder: a marker that comes back would hide the next power cut.
        let written = gone.and_then(|()| {
            replace(&site.state(LOOKED_INTO), evidence.boot_id.as_bytes(), Survives::PowerCut)
        });
        if let Err(error) = written {
            tracing::warn!("the next boot may be explained wrongly: {error}");
        }
        evidence
    }
}

fn watchdog(site: &Site) -> bool {
    let all = fs::read_dir(site.below("/sys/class/watchdog")).into_iter().flatten().flatten();
    all.filter_map(|entry| fs::read_to_string(entry.path().join("bootstatus")).ok())
        .any(|status| number(status.trim()).is_some_and(|bits| bits & CARD_RESET != 0))
}

/// Decimal in today's kernels (`%u`), hexadecimal in some vendors'.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

fn panic(site: &Site) -> Option<String> {
    let mut files = Vec::new();
    for folder in PSTORE {
        collect(&site.below(folder), MAX_DEPTH, &mut files);
    }
    let seen = fs::read_to_string(site.state(SEEN)).unwrap_or_default();
    let names: Vec<String> = files.iter().filter_map(|path| identity(path)).collect();
    let new =
        |path: &&PathBuf| identity(path).is_some_and(|it| !seen.lines().any(|line| line == it));
    let found = files.iter().filter(new).find_map(|path| last_words(path));
    let names = names.join("\n");
    if names != seen
        && let Err(error) = replace(&site.state(SEEN), names.as_bytes(), Survives::PowerCut)
    {
        tracing::debug!("the kernel's last words will be found again: {error}");
    }
    found
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.take(MAX_FILES) {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, files);
        } else if kind.is_file()
            && files.len() < MAX_FILES
            && entry.file_name().to_string_lossy().starts_with("dmesg")
        {
            files.push(entry.path());
        }
    }
}

/// Names come again (`dmesg-ramoops-0`), times and sizes do not.
fn identity(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    Some(format!("{} {} {}", path.display(), metadata.mtime(), metadata.len()))
}

fn last_words(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words = LAST_WORDS.iter().find_map(|words| {
        text.lines().find_map(|line| line.find(words).and_then(|at| line.get(at..)))
    })?;
    Some(plain(words.as_bytes()).chars().take(MAX_LINE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{file, site};

    const DMESG: &str = "Panic#1 Part1\n<6>[   12.0] usb 1-1: new device\n<0>[   13.9] Kernel panic - \
                         not syncing: sysrq triggered crash\n";

    #[test]
    fn last_words_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "/sys/fs/pstore/console-ramoops-0", DMESG);
        assert_eq!(panic(&site), None);
        file(folder.path(), "/var/lib/systemd/pstore/7129/001/dmesg.txt", DMESG);
        let words = "Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(panic(&site).as_deref(), Some(words));
        assert_eq!(panic(&site), None);
        file(folder.path(), "/sys/fs/pstore/dmesg-ramoops-0", &"x".repeat(300 << 10));
        assert_eq!(panic(&site), None);
        file(folder.path(), "/sys/fs/pstore/dmesg-ramoops-0", "\x01Kernel panic\x1b\u{fffd} ÿ");
        assert_eq!(panic(&site).as_deref(), Some("Kernel panic\u{fffd} ÿ"));
    }

    #[test]
    fn the_watchdogs_word_is_one_bit() {
        for (status, reset) in
            [("32\n", true), ("0\n", false), ("33024", false), ("0x8020", true), ("?", false)]
        {
            let folder = tempfile::tempdir().unwrap();
            let site = site(folder.path());
            file(folder.path(), "/sys/class/watchdog/watchdog0/bootstatus", "0");
            file(folder.path(), "/sys/class/watchdog/watchdog1/bootstatus", status);
            assert_eq!(watchdog(&site), reset, "{status}");
        }
    }
}
