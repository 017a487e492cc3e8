//! The relay's data folder, for command lines that write beside the running relay: whose it is, and whether a file in
//! it is another one than before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Why a command line can't work in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error(
        "{path}: {error}; it is the relay's data folder: start the relay once, or name another with --data-dir",
        path = .0.display(), error = .1
    )]
    Missing(PathBuf, io::Error),
    #[error("can't become the user to whom {path} belongs: {error}", path = .0.display(), error = .1)]
    NotOwner(PathBuf, nix::Error),
}

/// Root's command line goes on as the user to whom the relay's data belongs: what it writes is the relay's, and
/// nothing that the relay may have put there leads it elsewhere. For good.
pub(crate) fn become_owner(data: &Path) -> Result<(), DataError> {
    let about = fs::metadata(data).map_err(|error| DataError::Missing(data.into(), error))?;
    let (user, group) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
    if !geteuid().is_root() || user.is_root() {
        return Ok(());
    }
    let became = setgroups(&[group]).and_then(|()| setgid(group)).and_then(|()| setuid(user));
    became.map_err(|error| DataError::NotOwner(data.into(), error))
}

/// What may be done about an error of the file system, behind the error.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if denied { "; do this as root, or as the relay's user" } else { "" }
}

/// Tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no file.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let about = fs::metadata(path).ok()?;
        let changed = (about.mtime(), about.mtime_nsec());
        Some(Stamp { inode: about.ino(), bytes: about.len(), changed })
    }
}
