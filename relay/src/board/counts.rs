//! How many uploads were accepted, dropped as older, or refused, and why.

use std::collections::BTreeMap;

use crate::metrics::{CameraMetrics, Kind, Refusals};

/// Why an upload was refused. What each means in HTTP is in `respond.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// This relay takes no uploads.
    NotHere,
    /// The camera is private at another relay, and not known for whom here.
    Private,
    /// A wrong `?password=`, or none at all.
    Password,
    /// A wrong `Authorization: Bearer`.
    Token,
    /// Too many wrong passwords from this address: it was not compared.
    Throttled,
    /// The passwords could not be read yet.
    NotReady,
    /// A browser sent it for another site's page.
    OtherSite,
    /// The camera has a key, and the frame is not signed with it.
    Signature,
    /// The body is longer than a frame may be.
    TooLarge,
    /// The body is no complete JPEG.
    NotJpeg,
    /// A message of a WebSocket that is none of the protocol's.
    NotFrame,
    /// Too many uploads at once.
    Busy,
    /// More frames a second than a camera may send.
    TooFast,
    /// One camera too many.
    TooManyCameras,
    /// The body took too long.
    TooSlow,
    /// The connection ended before the body did.
    Cut,
}

impl Refused {
    pub(crate) const ALL: [Refused; 16] = [
        Refused::NotHere,
        Refused::Private,
        Refused::Password,
        Refused::Token,
        Refused::Throttled,
        Refused::NotReady,
        Refused::OtherSite,
        Refused::Signature,
        Refused::TooLarge,
        Refused::NotJpeg,
        Refused::NotFrame,
        Refused::Busy,
        Refused::TooFast,
        Refused::TooManyCameras,
        Refused::TooSlow,
        Refused::Cut,
    ];

    /// The word in status, metrics and log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Refused::NotHere => "not_here",
            Refused::Private => "private",
            Refused::Password => "password",
            Refused::Token => "token",
            Refused::Throttled => "throttled",
            Refused::NotReady => "not_ready",
            Refused::OtherSite => "other_site",
            Refused::Signature => "signature",
            Refused::TooLarge => "too_large",
            Refused::NotJpeg => "not_jpeg",
            Refused::NotFrame => "not_frame",
            Refused::Busy => "busy",
            Refused::TooFast => "too_fast",
            Refused::TooManyCameras => "too_many_cameras",
            Refused::TooSlow => "too_slow",
            Refused::Cut => "cut",
        }
    }
}

impl Refusals {
    pub(crate) fn count(&self, why: Refused) {
        if let Some((_, count)) = self.0.iter().find(|(reason, _)| *reason == why) {
            count.inc();
        }
    }

    /// Refusals by reason, all reasons.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().map(|(reason, count)| (reason.word(), count.get())).collect()
    }
}

impl CameraMetrics {
    /// Viewers of streams by kind.
    pub(crate) fn viewers(&self) -> BTreeMap<&'static str, i64> {
        let viewers = |kind| self.out_so_far(kind).map_or(0, |out| out.viewers.get());
        [Kind::Mjpeg, Kind::WebSocket].map(|kind| (kind.word(), viewers(kind))).into()
    }
}
