//! The only place that asks what time it is.

use std::time::Duration;

use ladder::Mono;
use nix::time::{ClockId, clock_gettime};

/// Time since boot, suspended time included.
pub fn mono() -> Mono {
    Mono::from_boot(read(ClockId::CLOCK_BOOTTIME))
}

/// Microseconds since the Unix epoch, by a wall clock that may be wrong: see [`synchronised`].
pub fn wall_us() -> i64 {
    micros(read(ClockId::CLOCK_REALTIME))
}

/// Microseconds of `CLOCK_MONOTONIC`, the clock of V4L2's buffer timestamps.
pub fn monotonic_us() -> i64 {
    micros(read(ClockId::CLOCK_MONOTONIC))
}

/// The processor time this process has used.
pub fn process_cpu() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: ClockId) -> Duration {
    // These clocks exist on every Linux since 2.6.39, and the call can't fail otherwise.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Whether the kernel says that something (an NTP client) keeps the wall clock right.
pub fn synchronised() -> bool {
    // SAFETY: all-zero is a valid `timex`, and `modes` 0 makes the call read only.
    #[expect(unsafe_code, reason = "no safe wrapper: neither std nor nix has adjtimex")]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward_and_agree() {
        let before = (mono(), monotonic_us());
        let after = (mono(), monotonic_us());
        assert!(after.0 >= before.0 && after.1 >= before.1);
        // 2020-01-01: any machine that runs this was set later.
        assert!(wall_us() > 1_577_836_800_000_000);
        let _ = synchronised();
    }
}
