//! CLOCK_MONOTONIC in nanoseconds: what drivers stamp buffers with.

use libc::{CLOCK_MONOTONIC, TIMER_ABSTIME, timespec, timeval};

pub(crate) const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Now.
pub(crate) fn now() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    unsafe { libc::clock_gettime(CLOCK_MONOTONIC, &raw mut time) };
    let part = |value| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * SECOND + part(time.tv_nsec)
}

/// Sleeps until `deadline`, or until a signal comes.
pub(crate) fn sleep_until(deadline: u64) {
    let time = timespec {
        tv_sec: (deadline / SECOND).try_into().unwrap_or(0),
        tv_nsec: (deadline % SECOND).try_into().unwrap_or(0),
    };
    // SAFETY: `time` outlives the call, and what is left of the sleep is not asked for.
    unsafe {
        libc::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &raw const time, std::ptr::null_mut())
    };
}

/// As buffers hold it.
pub(crate) fn timeval(time: u64) -> timeval {
    timeval {
        tv_sec: (time / SECOND).try_into().unwrap_or(0),
        tv_usec: (time % SECOND / 1000).try_into().unwrap_or(0),
    }
}
