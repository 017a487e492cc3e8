//! The ambient world, for both binaries: what time it is, what to log, how tasks live and die,
//! which settings apply.
//!
//! Nothing about pictures, cameras or HTTP belongs here, and no decision about health (that is
//! `ladder`): only the thin, bounded effects that both programs need in the same way.

pub mod card;
pub mod child;
pub mod clock;
pub mod event;
pub mod files;
pub mod heal;
pub mod inherited;
pub mod log;
pub mod manual;
pub mod mark;
pub mod network;
pub mod notify;
pub mod program;
pub mod secret;
pub mod settings;
pub mod setup;
pub mod signal;
pub mod slot;
pub mod socket;
pub mod tasks;
pub mod update;
pub mod version;
