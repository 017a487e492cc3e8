//! Files that are either the old or the new, never half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The end of this process; for files on a tmpfs, or that are written again soon.
    Exit,
    /// A power cut: file and directory are synced before this returns.
    PowerCut,
}

/// Replaces `path` by `content` in one step, through a temporary file beside it.
///
/// # Errors
/// Whatever the file system says; `path` is untouched then.
pub fn replace(path: &Path, content: &[u8], survives: Survives) -> io::Result<()> {
    replace_with(path, content, survives, None)
}

/// The same for a file that other users' programs serve: all may read it, whatever the umask.
///
/// # Errors
/// Whatever the file system says; `path` is untouched then.
pub fn publish(path: &Path, content: &[u8], survives: Survives) -> io::Result<()> {
    replace_with(path, content, survives, Some(0o644))
}

/// The same for a file that holds secrets: only its owner may read it, at no moment anybody else.
///
/// # Errors
/// Whatever the file system says; `path` is untouched then.
pub fn keep_secret(path: &Path, content: &[u8], survives: Survives) -> io::Result<()> {
    replace_with(path, content, survives, Some(0o600))
}

fn replace_with(
    path: &Path,
    content: &[u8],
    survives: Survives,
    mode: Option<u32>,
) -> io::Result<()> {
    let temporary = beside(path)?;
    let written =
        write(&temporary, content, survives, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    match (survives, path.parent()) {
        (Survives::PowerCut, Some(directory)) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

fn write(path: &Path, content: &[u8], survives: Survives, mode: Option<u32>) -> io::Result<()> {
    // Whatever lies there, a crash's leavings or somebody's link to another file, is not written to.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if let Some(mode) = mode {
        options.mode(mode);
    }
    let mut file = options.open(path)?;
    if let Some(mode) = mode {
        // Neither the umask nor a file that was there already has a say in it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.write_all(content)?;
    match survives {
        Survives::Exit => Ok(()),
        Survives::PowerCut => file.sync_all(),
    }
}

/// `.NAME.tmp` in the same directory: hidden from whoever serves it, and one per file, so that
/// what a crash left behind is removed the next time.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.json");
        for (content, survives) in [("one", Survives::Exit), ("two", Survives::PowerCut)] {
            replace(&path, content.as_bytes(), survives).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_secret_can_be_read_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, "old").unwrap();
        keep_secret(&path, b"new", Survives::Exit).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_published_can_be_read_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.jpeg");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        publish(&path, b"new", Survives::Exit).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn links_are_replaced_and_never_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("live.jpeg"), directory.path().join("other"));
        fs::write(&other, "theirs").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        for link in [&path, &directory.path().join(".live.jpeg.tmp")] {
            std::os::unix::fs::symlink(&other, link).unwrap();
            publish(&path, b"new", Survives::Exit).unwrap();
            assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
            assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        // A directory can't be replaced by a file.
        fs::create_dir_all(path.join("inside")).unwrap();
        assert!(replace(&path, b"new", Survives::Exit).is_err());
        assert!(path.join("inside").exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
