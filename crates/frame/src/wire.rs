//! What agent and relay say to each other: header names, flags, and the binary header of the
//! `stillwatch.v1` WebSocket messages. docs/protocol.md describes the same for other languages.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;

use crate::{CaptureTime, Frame};

/// When the picture was taken: RFC 3339.
pub const CAPTURED_AT: &str = "frame-captured-at";
/// The number of the picture among its camera's.
pub const SEQ: &str = "frame-seq";
/// Which start of the agent it is of: 16 hexadecimal digits, random. Within one, [`SEQ`] alone says which frame is newer.
pub const BOOT: &str = "frame-boot";
/// Comma-separated words, see [`Flags`].
pub const FLAGS: &str = "frame-flags";
/// How old the picture is, in milliseconds.
pub const AGE_MS: &str = "frame-age-ms";
/// `live`, `stale`, `frozen`, `offline` or `empty`.
pub const STATE: &str = "frame-state";
/// While the camera is frozen: for how many ms every frame had the same content.
pub const UNCHANGED_MS: &str = "frame-unchanged-ms";
/// `captured` if [`CAPTURED_AT`] is the camera's own time, `arrived` if the camera's clock could
/// not be trusted and it is the time of arrival.
pub const TIME_SOURCE: &str = "frame-time-source";

/// In a relay's answer to an upload or a handshake: it keeps frames of the past, see
/// [`Flags::history`].
pub const WANTS_HISTORY: &str = "frame-history";

/// In a handshake or an upload: the sender wants to know how many watch. In the answer to an upload:
/// how many do.
pub const VIEWERS: &str = "frame-viewers";

/// A signed frame's signature, in an upload by POST.
pub const SIGNATURE: &str = "frame-signature";

/// What to sign the frames of this connection with, in the answer to a handshake.
pub const CHALLENGE: &str = "frame-challenge";

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "stillwatch.v1";

/// What is to be known about a frame beside its number and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `clock-unsynchronised`: the capture time is that of a clock nobody set.
    pub clock_unsynchronised: bool,
    /// `may-repeat`: equal content is no sign of a frozen camera.
    pub may_repeat: bool,
    /// `history`: a frame of the past, captured while the relay could not be reached. It is kept, and
    /// never shown as the newest.
    pub history: bool,
    /// `signed`: a [`crate::sign::Signature`] follows the head; by POST, it stands in [`SIGNATURE`].
    pub signed: bool,
}

const CLOCK_UNSYNCHRONISED: &str = "clock-unsynchronised";
const MAY_REPEAT: &str = "may-repeat";
const HISTORY: &str = "history";
const SIGNED: &str = "signed";

impl Flags {
    /// The header's value; `None` when there is nothing to say.
    pub fn to_header(self) -> Option<String> {
        let words = [
            (self.clock_unsynchronised, CLOCK_UNSYNCHRONISED),
            (self.may_repeat, MAY_REPEAT),
            (self.history, HISTORY),
            (self.signed, SIGNED),
        ];
        let said: Vec<&str> =
            words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// Reads the header's value. Unknown words are skipped: a newer agent may know more.
    pub fn from_header(value: &str) -> Flags {
        let mut flags = Flags::default();
        for word in value.split(',').map(str::trim) {
            flags.clock_unsynchronised |= word.eq_ignore_ascii_case(CLOCK_UNSYNCHRONISED);
            flags.may_repeat |= word.eq_ignore_ascii_case(MAY_REPEAT);
            flags.history |= word.eq_ignore_ascii_case(HISTORY);
            flags.signed |= word.eq_ignore_ascii_case(SIGNED);
        }
        flags
    }

    fn to_bits(self) -> u32 {
        let bit = |is: bool, place: u32| u32::from(is) << place;
        bit(self.clock_unsynchronised, 0)
            | bit(self.may_repeat, 1)
            | bit(self.history, 2)
            | bit(self.signed, 3)
    }

    fn from_bits(bits: u32) -> Flags {
        let is = |place: u32| bits >> place & 1 != 0;
        Flags { clock_unsynchronised: is(0), may_repeat: is(1), history: is(2), signed: is(3) }
    }
}

impl From<&Frame> for Flags {
    fn from(frame: &Frame) -> Flags {
        Flags {
            clock_unsynchronised: !frame.captured.synchronised,
            may_repeat: frame.may_repeat,
            ..Flags::default()
        }
    }
}

/// Formats microseconds since the Unix epoch as RFC 3339 in UTC with `digits` of a second.
/// A time beyond the years -9999 to 9999 is given as the nearest that can be written.
pub fn format_time(unix_us: i64, digits: u8) -> String {
    let time = Timestamp::from_microsecond(unix_us).unwrap_or(if unix_us < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    format!("{time:.*}", usize::from(digits))
}

/// Reads RFC 3339 with any offset into microseconds since the Unix epoch.
pub fn parse_time(text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// The fixed part before the JPEG in a binary `stillwatch.v1` message: capture time (`i64`, µs
/// since the Unix epoch), sequence number (`u64`), flags (`u32`: bit 0 clock not synchronised,
/// bit 1 may repeat, bit 2 history, bit 3 signed), reserved (`u32`, sent as 0, ignored), all big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Microseconds since the Unix epoch, UTC.
    pub captured_us: i64,
    /// The number of the picture among its camera's.
    pub seq: u64,
    /// See [`Flags`].
    pub flags: Flags,
}

impl Head {
    /// Its size on the wire in bytes.
    pub const LEN: usize = 24;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Head::LEN] {
        let mut out = [0; Head::LEN];
        let mut rest = out.as_mut_slice();
        rest.put_i64(self.captured_us);
        rest.put_u64(self.seq);
        rest.put_u32(self.flags.to_bits());
        out
    }

    /// Splits a message into its head and the JPEG; `None` if it is too short for a head.
    pub fn decode(mut message: Bytes) -> Option<(Head, Bytes)> {
        let (head, _) = message.split_first_chunk::<{ Head::LEN }>()?;
        let [c0, c1, c2, c3, c4, c5, c6, c7, s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = *head;
        let [f0, f1, f2, f3, _, _, _, _] = rest;
        let head = Head {
            captured_us: i64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            seq: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            flags: Flags::from_bits(u32::from_be_bytes([f0, f1, f2, f3])),
        };
        Some((head, message.split_off(Head::LEN)))
    }

    /// A whole message.
    pub fn message(&self, jpeg: &[u8]) -> Bytes {
        self.message_with(&[], jpeg)
    }

    /// The same with a signature's bytes between the two.
    pub fn message_with(&self, signature: &[u8], jpeg: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(Head::LEN + signature.len() + jpeg.len());
        out.put_slice(&self.encode());
        out.put_slice(signature);
        out.put_slice(jpeg);
        out.freeze()
    }

    /// The capture time with what the flags say of its clock.
    pub fn captured(&self) -> CaptureTime {
        CaptureTime { unix_us: self.captured_us, synchronised: !self.flags.clock_unsynchronised }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_header() {
        for us in [0, 1, -1, 1_552_907_804_662_123, 253_402_207_199_999_999] {
            assert_eq!(parse_time(&format_time(us, 6)), Some(us));
        }
        assert_eq!(format_time(1_552_907_804_662_123, 3), "2019-03-18T11:16:44.662Z");
        assert_eq!(parse_time("2019-03-18T12:16:44.662+01:00"), Some(1_552_907_804_662_000));
        for bad in ["", "yesterday", "1552907804662", "2019-03-18"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
        // Nothing a clock may hold makes it panic.
        for us in [i64::MIN, i64::MAX] {
            assert!(!format_time(us, 3).is_empty());
        }
    }

    #[test]
    fn flags_survive_header_and_bits() {
        for bits in 0..16 {
            let flags = Flags::from_bits(bits);
            assert_eq!(flags.to_bits(), bits);
            assert_eq!(Flags::from_header(&flags.to_header().unwrap_or_default()), flags);
        }
        assert_eq!(Flags::from_header("warp-drive,May-Repeat ").to_bits(), 2);
    }

    #[test]
    fn the_head_is_laid_out_as_documented() {
        let flags = Flags { clock_unsynchronised: true, ..Flags::default() };
        let head = Head { captured_us: 0x0102_0304_0506_0708, seq: 9, flags };
        let message = head.message(b"jpeg");
        let expected = b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x09\0\0\0\x01\0\0\0\0jpeg";
        assert_eq!(&message[..], expected);
        assert_eq!(Head::decode(message.clone()), Some((head, Bytes::from_static(b"jpeg"))));
        assert_eq!(Head::decode(message.slice(..23)), None);
    }
}
