//! Frames as files: one each, whole or not there, with what is known of it in its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ladder::Mono;
use runtime::files::{Survives, replace};

use super::ring::{Entry, Place};

/// Linux, Documentation/admin-guide/sysctl/kernel.rst: another one with each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A folder of files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
    failed: Arc<AtomicBool>,
}

/// `UNIX_US-SEQ-FLAGS-BOOT-MS_SINCE_BOOT.jpeg`; flags: `s` the clock was right, or `u`, and `r` for a
/// picture that may repeat.
pub(super) fn name_of(entry: &Entry) -> String {
    let Entry { seq, may_repeat, unix_us, synchronised, captured, .. } = entry;
    let clock = if *synchronised { "s" } else { "u" };
    let repeat = if *may_repeat { "r" } else { "" };
    let since_boot = captured.since_boot().as_millis();
    let unix_us = (*unix_us).max(0);
    format!("{unix_us:017}-{seq}-{clock}{repeat}-{}-{since_boot}.jpeg", boot())
}

fn boot() -> String {
    let id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).collect()
}

/// Reads a name; `None` if it is none, or of a frame whose time nobody can know any more.
fn read_name(path: &Path, boot: &str) -> Option<Entry> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".jpeg")?.split('-');
    let unix_us = parts.next()?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    let flags = parts.next()?;
    let this_boot = parts.next()? == boot;
    let since_boot = Duration::from_millis(parts.next()?.parse().ok()?);
    let synchronised = flags.starts_with('s');
    if parts.next().is_some() || !(synchronised || this_boot) {
        return None;
    }
    // Another boot's clock says nothing about this one's.
    let captured = Mono::from_boot(if this_boot { since_boot } else { Duration::ZERO });
    let place = Place::File(path.to_owned());
    Some(Entry { seq, may_repeat: flags.contains('r'), unix_us, synchronised, captured, place })
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Files {
        Files { folder, failed: Arc::default() }
    }

    /// What an earlier agent left, in the order of capture, each with its bytes. What nobody can use
    /// any more is deleted.
    pub(super) fn list(&self) -> io::Result<Vec<(Entry, u64)>> {
        std::fs::create_dir_all(&self.folder)?;
        let boot = boot();
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.folder)? {
            let path = file?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            // Only what has our names, and what a crash left of it.
            if !name.ends_with(".jpeg") && !name.ends_with(".jpeg.tmp") {
                continue;
            }
            match (read_name(&path, &boot), path.metadata()) {
                (Some(entry), Ok(metadata)) => found.push((entry, metadata.len())),
                _ => std::fs::remove_file(&path)?,
            }
        }
        found.sort_unstable_by_key(|(entry, _)| (entry.unix_us, entry.seq));
        Ok(found)
    }

    /// Writes a file that survives a power cut; `None` if that can't be done, which is said once.
    pub(super) fn write(&self, name: &str, jpeg: &[u8]) -> Option<PathBuf> {
        let path = self.folder.join(name);
        let written = replace(&path, jpeg, Survives::PowerCut);
        let failed = self.failed.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            Err(error) if !failed => {
                let folder = self.folder.display();
                tracing::warn!(
                    "offline.dir: can't write to {folder}: {error}; frames of the time without \
                     network are kept in memory"
                );
            }
            Ok(()) if failed => tracing::info!("offline.dir: frames are written again"),
            _ => {}
        }
        written.ok().map(|()| path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(unix_us: i64, synchronised: bool, may_repeat: bool) -> Entry {
        let captured = Mono::from_boot(Duration::from_millis(12_345));
        let place = Place::File(PathBuf::new());
        Entry { seq: 7, may_repeat, unix_us, synchronised, captured, place }
    }

    #[test]
    fn what_was_written_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("offline"));
        assert_eq!(files.list().unwrap(), []);
        let entries = [entry(2_000, true, false), entry(1_000, false, true)];
        for entry in &entries {
            files.write(&name_of(entry), b"jpeg").unwrap();
        }
        let found = files.list().unwrap();
        let times: Vec<_> =
            found.iter().map(|(e, bytes)| (e.unix_us, e.may_repeat, *bytes)).collect();
        assert_eq!(times, [(1_000, true, 4), (2_000, false, 4)]);
        assert_eq!(found[0].0.captured, entries[1].captured, "the same boot");
    }

    #[test]
    fn what_nobody_can_use_is_deleted_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let old = name_of(&entry(1_000, false, false)).replace(&boot(), "0123abcd");
        let kept = name_of(&entry(1_000, true, false)).replace(&boot(), "0123abcd");
        for name in [&old, &kept, ".x.jpeg.tmp", "x.jpeg", "notes.txt"] {
            std::fs::write(path(name), "x").unwrap();
        }
        let found = Files::new(folder.path().to_owned()).list().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.captured, Mono::from_boot(Duration::ZERO), "another boot");
        assert!(!path(&old).exists() && !path(".x.jpeg.tmp").exists());
        assert!(path(&kept).exists() && path("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_takes_nothing_is_said_and_survived() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "a file").unwrap();
        assert!(Files::new(taken.clone()).list().is_err());
        assert_eq!(Files::new(taken).write("1-1-s-a-1.jpeg", b"jpeg"), None);
        let read_only = folder.path().join("read-only");
        std::fs::create_dir(&read_only).unwrap();
        std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o500)).unwrap();
        // Root may write anywhere; everybody else may not.
        let written = Files::new(read_only).write("1-1-s-a-1.jpeg", b"jpeg");
        assert!(written.is_none() || nix::unistd::geteuid().is_root());
    }

    #[test]
    fn a_full_disk_takes_nothing_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let mount = |program: &str, arguments: &[&str]| {
            let mut command = std::process::Command::new(program);
            command.args(arguments).arg(folder.path()).output().unwrap().status.success()
        };
        if !mount("mount", &["-t", "tmpfs", "-o", "size=16k", "none"]) {
            eprintln!("only root can try a full disk");
            return;
        }
        let files = Files::new(folder.path().to_owned());
        let kept = name_of(&entry(1_000, true, false));
        let written = [
            files.write(&kept, &[0; 8_000]),
            files.write(&name_of(&entry(2_000, true, false)), &[0; 40_000]),
        ];
        let found = files.list().unwrap().len();
        let all = std::fs::read_dir(folder.path()).unwrap().count();
        mount("umount", &[]);
        assert!(written[0].is_some() && written[1].is_none(), "{written:?}");
        assert_eq!((found, all), (1, 1));
    }
}
