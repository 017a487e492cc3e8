//! `stillwatch-relay export` and `import`: a relay moves to another machine, or lies aside for the day when its own
//! is gone. docs/backup.md says what is in an archive.
//!
//! `manifest.rs` says what is in one, `pack.rs` makes it, `unpack.rs` takes it apart, and `files.rs` knows which files
//! there are. All of it waits for the disk.

mod files;
mod manifest;
mod pack;
mod unpack;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::User;
use runtime::settings::ConfigError;

use crate::config::Places;
use crate::store::StoreError;
use manifest::BadManifest;
pub(crate) use pack::export;
pub(crate) use unpack::import;

/// Whom the relay runs as.
#[derive(Debug)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Whoever has its data, else the package's user; `None`: root, or nobody else is known.
    fn of_relay(data: &Path) -> Option<Owner> {
        let of_folder = std::fs::metadata(data).ok();
        let of_folder = of_folder.map(|about| Owner { user: about.uid(), group: about.gid() });
        let package = || {
            let user = User::from_name("stillwatch-relay").ok().flatten()?;
            Some(Owner { user: user.uid.as_raw(), group: user.gid.as_raw() })
        };
        of_folder.filter(|owner| owner.user != 0).or_else(package)
    }
}

/// What can go wrong with either.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path}: {error}{hint}", path = .0.display(), error = .1, hint = hint(.1))]
    Io(PathBuf, io::Error),
    #[error("{path}: it exists already, and is not written over; name another file, or move it away", path = .0.display())]
    Exists(PathBuf),
    #[error("{path}: {error}; {advice}", path = .0.display(), error = .1, advice = .1.kind.advice())]
    Store(PathBuf, StoreError),
    #[error("{path}: {why}. Nothing was written", path = .0.display(), why = .1)]
    Manifest(PathBuf, BadManifest),
    #[error("{path}: it is damaged: {why}. Nothing was written; fetch it again", path = .0.display(), why = .1)]
    Damaged(PathBuf, String),
    #[error(
        "{path}: there is something already, and an import writes over nothing. It is for a machine on which no relay \
         ran yet: move this away first. Nothing was written",
        path = .0.display()
    )]
    InTheWay(PathBuf),
    #[error(
        "{path}: {needed} MB are needed here, and {free} MB are free. Nothing was written",
        path = .path.display(), needed = .needed.div_ceil(1_000_000), free = .free / 1_000_000
    )]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("it was changed while it was read; what was written so far is in {path}, and can be removed", path = .0.display())]
    Changed(PathBuf),
}

fn hint(error: &io::Error) -> &'static str {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if denied { "; do this as root, or as the relay's user" } else { "" }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |error| BackupError::Io(path.into(), error)
}

/// `12.3 MB`
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
