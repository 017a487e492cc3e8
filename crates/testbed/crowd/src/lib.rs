//! Thousands of viewers, or of cameras, in one process and one thread, so that they cost much less than the server at
//! the other end: they keep no picture, and look at nothing but lengths and the stamp inside each.

#![forbid(unsafe_code)]

pub mod cameras;
mod parse;
pub mod viewers;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};

const SECOND: u64 = 1_000_000_000;

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map_or(std::time::Duration::ZERO, std::time::Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Each connection is a file.
fn allow_files() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// A client's short frame, with a mask of zeros: RFC 6455 wants one, and does not say which.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len().min(125)).unwrap_or(125);
    let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload.get(..usize::from(length)).unwrap_or_default());
    frame
}

/// The value at a quantile; 0 if there is none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a quantile from 0 to 1"
)]
fn at(sorted: &[u64], quantile: f64) -> u64 {
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * quantile) as usize).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
