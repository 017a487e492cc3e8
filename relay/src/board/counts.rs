//! How many uploads were accepted, dropped as older, or refused, and why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an upload was refused. What each means in HTTP is in `respond.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// A wrong `?password=`, or none at all.
    Password,
    /// A wrong `Authorization: Bearer`.
    Token,
    /// The body is longer than a frame may be.
    TooLarge,
    /// The body is no complete JPEG.
    NotJpeg,
    /// Too many uploads at once.
    Busy,
    /// One camera too many.
    TooManyCameras,
    /// The body took too long.
    TooSlow,
    /// The connection ended before the body did.
    Cut,
}

impl Refused {
    const ALL: [Refused; 8] = [
        Refused::Password,
        Refused::Token,
        Refused::TooLarge,
        Refused::NotJpeg,
        Refused::Busy,
        Refused::TooManyCameras,
        Refused::TooSlow,
        Refused::Cut,
    ];

    /// The word in status and log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Refused::Password => "password",
            Refused::Token => "token",
            Refused::TooLarge => "too_large",
            Refused::NotJpeg => "not_jpeg",
            Refused::Busy => "busy",
            Refused::TooManyCameras => "too_many_cameras",
            Refused::TooSlow => "too_slow",
            Refused::Cut => "cut",
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub accepted: AtomicU64,
    pub older: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

impl Counts {
    pub(crate) fn refuse(&self, why: Refused) {
        for (reason, count) in Refused::ALL.iter().zip(&self.refused) {
            if *reason == why {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Refusals by reason, all reasons.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        let read = |(reason, count): (&Refused, &AtomicU64)| {
            (reason.word(), count.load(Ordering::Relaxed))
        };
        Refused::ALL.iter().zip(&self.refused).map(read).collect()
    }
}
