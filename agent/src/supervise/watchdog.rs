//! A watchdog of the agent's own, beside systemd's: a second hardware one, or the kernel's softdog.
//!
//! It is fed together with systemd's, so by progress. An agent that ends in order takes the hand away
//! from it; one that is killed, or hangs, does not. So it is armed only by an agent that has lived for a
//! while: one that crashes again and again must not reset the machine outside the budget.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// include/uapi/linux/watchdog.h, WDIOC_SETTIMEOUT: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: (u8, u8) = (b'W', 6);

/// After so long without being fed it resets the machine. The agent's unit gives systemd 30 s to
/// restart the agent, which has to come first; and a Raspberry Pi's own knows no more than 15 s, so that
/// one is systemd's.
const TIMEOUT_S: i32 = 60;

/// Documentation/watchdog/watchdog-api.rst, "Magic Close feature".
const MAGIC_CLOSE: &[u8] = b"V";

nix::ioctl_readwrite!(set_timeout, SET_TIMEOUT.0, SET_TIMEOUT.1, i32);

/// An armed watchdog.
#[derive(Debug)]
pub(super) struct Watchdog(File);

impl Watchdog {
    /// Arms the watchdog. Says so if it can't be.
    pub(super) fn arm(device: &Path) -> Option<Watchdog> {
        let name = device.display();
        let armed = Watchdog::open(device).inspect_err(|error| {
            tracing::warn!("watchdog.device: {name} can't be armed: {error}; going on without");
        });
        let (watchdog, timeout) = armed.ok()?;
        tracing::info!("watchdog {name} armed: it resets the machine after {timeout} s");
        Some(watchdog)
    }

    fn open(device: &Path) -> io::Result<(Watchdog, i32)> {
        let file = File::options().write(true).open(device)?;
        let mut timeout = TIMEOUT_S;
        // SAFETY: the file is open, and the kernel reads and writes one int there.
        #[expect(unsafe_code, reason = "an ioctl has no safe form")]
        let set = unsafe { set_timeout(file.as_raw_fd(), &raw mut timeout) };
        let mut watchdog = Watchdog(file);
        if let Err(error) = set {
            watchdog.disarm();
            return Err(error.into());
        }
        Ok((watchdog, timeout))
    }

    /// All is well.
    pub(super) fn feed(&mut self) {
        if let Err(error) = self.0.write_all(b"\0") {
            tracing::debug!("the watchdog could not be fed: {error}");
        }
    }

    /// The agent ends on purpose.
    pub(super) fn disarm(&mut self) {
        if let Err(error) = self.0.write_all(MAGIC_CLOSE) {
            tracing::warn!("the watchdog could not be disarmed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_watchdog_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "precious").unwrap();
        assert!(Watchdog::arm(file.path()).is_none());
        assert!(Watchdog::arm(Path::new("/nowhere")).is_none());
    }
}
