//! A frame on the board, with everything that is derived from it: built once, shared by all
//! viewers.

use std::sync::Arc;
use std::time::Duration;

use frame::wire::{self, Flags, Head};
use frame::{CameraId, CaptureTime, Frame, Picture};
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use ladder::Mono;

use super::sizes::Scaled;
use super::{Announced, Now, Rendition};
use crate::ingest::admit::{Placed, Stamp, TimeSource};

/// Digits of a second in the times that viewers see.
const TIME_DIGITS: u8 = 3;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Held {
    pub frame: Frame,
    pub source: TimeSource,
    /// When it arrived, µs since the Unix epoch.
    pub arrived_us: i64,
    /// Counts the frames this process has shown of this camera.
    pub number: u64,
    /// An earlier process received it.
    pub restored: bool,
    /// The relay that took it; `None` is this one.
    pub home: Option<Arc<str>>,
    /// The picture as it was uploaded.
    pub full: Arc<Rendition>,
    pub(super) scaled: Scaled,
    boot: Option<u64>,
    since: Mono,
    age_then: Duration,
}

/// A frame from a database.
#[derive(Debug)]
pub(crate) struct Kept {
    pub camera: CameraId,
    pub picture: Picture,
    pub stamp: Stamp,
    pub may_repeat: bool,
    pub arrived_us: i64,
}

impl Held {
    pub(super) fn new(
        camera: CameraId,
        picture: Picture,
        stamp: Stamp,
        may_repeat: bool,
        now: Now,
    ) -> Held {
        let synchronised = stamp.source == TimeSource::Captured;
        let captured = CaptureTime { unix_us: stamp.unix_us, synchronised };
        let frame = Frame { camera, seq: stamp.seq, captured, may_repeat, picture };
        let head = Head { captured_us: stamp.unix_us, seq: stamp.seq, flags: Flags::from(&frame) };
        let (jpeg, size) =
            (frame.picture.bytes().clone(), (frame.picture.width(), frame.picture.height()));
        let full = Rendition::new(jpeg, size, headers(&frame, stamp.source), head);
        Held {
            frame,
            source: stamp.source,
            arrived_us: now.unix_us,
            number: 0,
            restored: false,
            home: None,
            boot: stamp.boot,
            full: Arc::new(full),
            scaled: Scaled::default(),
            since: now.mono,
            // A time just ahead of ours is no age below zero.
            age_then: between(stamp.unix_us, now.unix_us).unwrap_or_default(),
        }
    }

    /// As other relays are told it; see [`crate::ingest::admit::arrival`].
    pub(super) fn arrived(self, arrived_us: i64) -> Held {
        Held { arrived_us, ..self }
    }

    pub(super) fn numbered(self, number: u64) -> Held {
        Held { number, ..self }
    }

    pub(super) fn restored(camera: CameraId, kept: Kept, now: Now) -> Held {
        let Kept { picture, stamp, may_repeat, arrived_us, .. } = kept;
        let held = Held::new(camera, picture, stamp, may_repeat, now);
        Held { arrived_us, restored: true, ..held }
    }

    /// One that another relay took.
    pub(super) fn fetched(
        camera: CameraId,
        picture: Picture,
        announced: &Announced,
        now: Now,
    ) -> Held {
        let Announced { placed, may_repeat, home, .. } = announced;
        let held = Held::new(camera, picture, placed.stamp, *may_repeat, now);
        Held { arrived_us: placed.arrived_us, home: home.clone(), ..held }
    }

    /// How old the picture is. Our wall clock is asked once per frame, at its arrival: a clock that
    /// is set later makes no picture older or younger.
    pub(crate) fn age(&self, now: Mono) -> Duration {
        self.age_then.saturating_add(now.since(self.since))
    }

    /// How many frames a viewer did not get between the number it got last and this one.
    pub(crate) fn skipped_since(&self, last: Option<u64>) -> u64 {
        last.map_or(0, |last| self.number.saturating_sub(last.saturating_add(1)))
    }

    /// A size could not be queued: the next who asks tries again.
    pub(crate) fn forget_scaled(&self, size: (u16, u16)) {
        self.scaled.forget(size);
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let Frame { captured, seq, .. } = &self.frame;
        Stamp { unix_us: captured.unix_us, source: self.source, seq: *seq, boot: self.boot }
    }

    pub(crate) fn placed(&self) -> Placed {
        Placed { stamp: self.stamp(), arrived_us: self.arrived_us }
    }

    /// The capture time as viewers see it.
    pub(crate) fn captured_at(&self) -> String {
        shown_time(self.frame.captured.unix_us)
    }
}

/// A time as viewers see it.
pub(super) fn shown_time(unix_us: i64) -> String {
    wire::format_time(unix_us, TIME_DIGITS)
}

/// When something happened by the wall clock, in time since boot; `None` if that was before boot,
/// or is yet to come.
pub(super) fn moment(unix_us: i64, now: Now) -> Option<Mono> {
    let ago = between(unix_us, now.unix_us)?;
    now.mono.since_boot().checked_sub(ago).map(Mono::from_boot)
}

pub(super) fn between(earlier_us: i64, later_us: i64) -> Option<Duration> {
    let micros = i128::from(later_us) - i128::from(earlier_us);
    u64::try_from(micros).ok().map(Duration::from_micros)
}

fn headers(frame: &Frame, source: TimeSource) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(CONTENT_LENGTH, frame.picture.bytes().len().into());
    let words = [
        (ETAG, Some(format!("\"{}\"", frame.picture.hash()))),
        (LAST_MODIFIED, http_date(frame.captured.unix_us)),
        (
            HeaderName::from_static(wire::CAPTURED_AT),
            Some(wire::format_time(frame.captured.unix_us, TIME_DIGITS)),
        ),
        (HeaderName::from_static(wire::SEQ), Some(frame.seq.to_string())),
        (HeaderName::from_static(wire::TIME_SOURCE), Some(source.word().to_owned())),
    ];
    for (name, text) in words {
        // All of these are ASCII without line breaks.
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// RFC 9110, 5.6.7; `None` for a time with a year that this format can't hold.
fn http_date(unix_us: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(unix_us).ok()?;
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_look_as_the_rfc_says() {
        assert_eq!(http_date(784_111_777_999_999).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        for us in [i64::MIN, i64::MAX] {
            let _ = http_date(us);
        }
    }

    #[test]
    fn moments_before_boot_or_ahead_are_unknown() {
        let now = Now { mono: Mono::from_boot(Duration::from_secs(100)), unix_us: 1_000_000_000 };
        assert_eq!(moment(1_000_000_000, now), Some(now.mono));
        assert_eq!(moment(990_000_000, now), Some(Mono::from_boot(Duration::from_secs(90))));
        assert_eq!(moment(899_000_000, now), None);
        assert_eq!(moment(1_000_000_001, now), None);
        assert_eq!(moment(i64::MIN, now), None);
    }
}
