//! The SD card's first partition: mounted read-only, and written to for a moment.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// The card, writable for as long as this lives. A folder that is no mount of its own is as it is.
#[derive(Debug)]
pub struct Writable<'a>(&'a Path);

impl<'a> Writable<'a> {
    /// Makes it writable; what can't be done is said, and shows when it is written to.
    pub fn new(card: &'a Path) -> Writable<'a> {
        remount(card, MsFlags::empty());
        Writable(card)
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        remount(self.0, MsFlags::MS_RDONLY);
    }
}

fn remount(card: &Path, more: MsFlags) {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(None::<&str>, card, None::<&str>, flags | more, None::<&str>) {
        // EINVAL: it is no mount of its own.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => tracing::warn!("{}: can't be remounted: {error}", card.display()),
    }
}
