//! Waiting for what should become true, naming it, and saying what was seen last when it does not.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Calls `look` until it succeeds.
///
/// # Panics
/// It does not within `deadline`; the message holds the last error.
#[expect(clippy::disallowed_methods, reason = "waiting for other processes takes real time")]
pub fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) if began.elapsed() > deadline => {
                panic!("waited {deadline:?} for {what}; last seen: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// As [`eventually`], for a plain condition.
///
/// # Panics
/// It is not true within `deadline`.
pub fn becomes_true(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) {
    eventually(what, deadline, || if look() { Ok(()) } else { Err("not yet") });
}

/// Waits so long: for what takes its time by itself, such as a slow link. Never for something to
/// become true.
#[expect(clippy::disallowed_methods, reason = "it is what this is for")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
