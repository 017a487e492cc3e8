//! Hears that a camera was plugged in: the next attempt to open it need not be waited for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where the kernel's device files appear.
const DEVICES: &str = "/dev";

/// What the names of cameras' device files begin with.
const NODE: &[u8] = b"video";

/// Watches for device files of cameras.
#[derive(Debug)]
pub(super) struct Hotplug(AsyncFd<Events>);

/// As tokio wants it.
#[derive(Debug)]
struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Hotplug {
    /// # Errors
    /// The system allows no more watches.
    pub(super) fn listen() -> io::Result<Hotplug> {
        Hotplug::of(Path::new(DEVICES))
    }

    fn of(folder: &Path) -> io::Result<Hotplug> {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags)?;
        // udev sets owner and mode after the file has appeared: only then can it be opened.
        inotify.add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB)?;
        #[expect(
            deprecated,
            reason = "its unsafe twin is for types that may lose their descriptor"
        )]
        let events = AsyncFd::with_interest(Events(inotify), Interest::READABLE)?;
        Ok(Hotplug(events))
    }

    /// Waits until a camera's device file appears, or its mode changes.
    ///
    /// # Errors
    /// It can't be watched any more.
    pub(super) async fn plugged(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?));
            let Ok(events) = read else { continue };
            let is_camera = |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(NODE);
            if events?.iter().any(|event| event.name.as_ref().is_some_and(is_camera)) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_device_that_appears_is_heard_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let hotplug = Hotplug::of(folder.path()).unwrap();
        fs::write(folder.path().join("ttyUSB0"), "").unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(50), hotplug.plugged()).await;
        assert!(silence.is_err());
        fs::write(folder.path().join("video0"), "").unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(30), hotplug.plugged()).await;
        heard.unwrap().unwrap();
    }
}
