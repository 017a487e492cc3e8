//! What the HTTP sides of relay and agent share.
//!
//! * [`serve`]: an accept loop with time-outs, limits and a bounded end.
//! * [`answer`]: answers, and what they have in common.
//! * [`asset`]: scripts and style sheets, under names that browsers may keep.
//! * [`freshness`]: when a picture is live, stale, frozen or offline. Pure.
//!
//! Which paths there are, and what is answered, belongs to the programs.

#![forbid(unsafe_code)]

pub mod answer;
pub mod asset;
pub mod freshness;
pub mod serve;
