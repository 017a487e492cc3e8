//! Decisions about health, as pure functions of time and events.
//!
//! Nothing here reads a clock, sleeps, or does what it decides: the caller says what time it is
//! ([`Mono`]) and what happened, and gets an answer. So every healing path can be tested with
//! simulated time. Waiting and acting belong to `runtime` and to the binaries.

#![forbid(unsafe_code)]

mod backoff;
mod budget;
mod episode;
mod gate;
mod ladder;
mod mark;
mod mono;

pub use backoff::Backoff;
pub use budget::{Budget, NoBudget};
pub use episode::{Entered, Episode};
pub use gate::{Verdict, Watched, judge};
pub use ladder::{Ladder, Plan, Rung, Step};
pub use mark::Mark;
pub use mono::Mono;
