//! The relay's data folder: whose it is, for command lines that write beside the running relay; whether a file in it is
//! another one than before, and what was read of it last, for the relay that sees that; and a disk that may hang.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fs, io};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// How long a disk may take for one thing.
const DISK_WITHIN: Duration = Duration::from_secs(10);

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

/// What was read last, for all who ask: they wait for no disk.
#[derive(Debug, Default)]
pub(crate) struct LastRead<T>(RwLock<Arc<T>>);

impl<T> LastRead<T> {
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, read: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
    }
}

/// Does something that waits for the disk, but not for ever, and on no async thread.
pub(crate) async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::time::timeout(DISK_WITHIN, tokio::task::spawn_blocking(act)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(io::Error::other("it was interrupted")),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")),
    }
}
