//! Time since boot, as a type of its own, so that the wall clock (which lies on a machine without
//! a battery-backed one) can't be passed by mistake.

use std::time::Duration;

/// Time since the machine booted, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(Duration);

impl Mono {
    /// The moment `since_boot` after boot.
    pub const fn from_boot(since_boot: Duration) -> Mono {
        Mono(since_boot)
    }

    /// How long after boot this is.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub const fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `wait` later.
    pub const fn after(self, wait: Duration) -> Mono {
        Mono(self.0.saturating_add(wait))
    }
}
