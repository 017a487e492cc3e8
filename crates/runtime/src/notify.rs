//! What systemd is told (sd_notify(3)). Outside systemd each of these does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Start-up is complete.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// All is well: start the watchdog's time-out again.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// The program is about to end, on purpose.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The unit's `WatchdogSec`, if it applies to this process.
pub fn watchdog_timeout() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        // Nothing depends on it, except the watchdog, and that reports in its own way.
        tracing::debug!("systemd could not be told {what:?}: {error}");
    }
}
