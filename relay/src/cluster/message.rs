//! A frame as a message of the bus: the JPEG as it was uploaded, so that any NATS client can look at it, and what is
//! known of it as headers, which are sent without it to all relays.

use async_nats::HeaderMap;
use frame::CameraId;
use frame::wire::{self, Flags};

use crate::board::{Announced, Held};
use crate::ingest::admit::{Placed, Stamp, TimeSource};

/// When the relay that took it got it: RFC 3339.
const ARRIVED_AT: &str = "frame-arrived-at";
/// The picture's hash: `frame::ContentHash`.
const HASH: &str = "frame-hash";
/// Whose it is: what stands at another camera's place is not that camera's.
const CAMERA: &str = "frame-camera";
/// The relay that took it.
const RELAY: &str = "frame-relay";
/// It is not for everybody.
const PRIVATE: &str = "frame-private";

/// Longest name of a relay.
const MAX_NAME: usize = 64;

/// Digits of a second in the times.
const DIGITS: u8 = 6;

/// What the headers say.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub announced: Announced,
    /// Who does not know for whom it is may not show it.
    pub private: bool,
}

/// The subject of a camera's frames. The name of a camera is one word of a subject, and no wildcard
/// (`frame::CameraId`).
pub(super) fn subject(stream: &str, camera: &CameraId) -> String {
    format!("{stream}.frame.{camera}")
}

/// The subject of all cameras' frames.
pub(super) fn subjects(stream: &str) -> String {
    format!("{stream}.frame.*")
}

/// Which camera's subject that is.
pub(super) fn camera(stream: &str, subject: &str) -> Option<CameraId> {
    subject.strip_prefix(stream)?.strip_prefix(".frame.")?.parse().ok()
}

/// Whether a relay can be called that: it is a word of subjects and labels.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain)
}

/// The headers of a frame that the relay `name` took.
pub(super) fn headers(held: &Held, name: &str, private: bool) -> HeaderMap {
    let Placed { stamp, arrived_us } = held.placed();
    let flags = Flags::from(&held.frame);
    let flags = Flags { clock_unsynchronised: false, ..flags };
    let mut headers = HeaderMap::new();
    headers.insert(wire::CAPTURED_AT, wire::format_time(stamp.unix_us, DIGITS));
    headers.insert(wire::SEQ, stamp.seq.to_string());
    headers.insert(wire::TIME_SOURCE, stamp.source.word());
    headers.insert(ARRIVED_AT, wire::format_time(arrived_us, DIGITS));
    headers.insert(HASH, held.frame.picture.hash().to_string());
    headers.insert(CAMERA, held.frame.camera.as_str());
    headers.insert(RELAY, name);
    if let Some(boot) = stamp.boot {
        headers.insert(wire::BOOT, format!("{boot:016x}"));
    }
    if let Some(flags) = flags.to_header() {
        headers.insert(wire::FLAGS, flags);
    }
    if private {
        headers.insert(PRIVATE, "yes");
    }
    headers
}

/// How large the picture is, of which only the headers were sent (JetStream, `headers_only`).
pub(super) fn bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get("Nats-Msg-Size")?.as_str().parse().ok()
}

/// Reads what the relay `own` has to know of a frame of this camera.
///
/// # Errors
/// The header that is missing or wrong.
pub(super) fn read(
    headers: &HeaderMap,
    camera: &CameraId,
    own: &str,
) -> Result<Told, &'static str> {
    let text = |name: &'static str| headers.get(name).map(|value| value.as_str());
    let needed = |name: &'static str| text(name).ok_or(name);
    let time = |name: &'static str| wire::parse_time(needed(name)?).ok_or(name);
    let source = match needed(wire::TIME_SOURCE)? {
        word if word == TimeSource::Captured.word() => TimeSource::Captured,
        word if word == TimeSource::Arrived.word() => TimeSource::Arrived,
        _ => return Err(wire::TIME_SOURCE),
    };
    let boot = text(wire::BOOT).map(|boot| wire::parse_boot(boot).ok_or(wire::BOOT)).transpose()?;
    let stamp = Stamp {
        unix_us: time(wire::CAPTURED_AT)?,
        source,
        seq: needed(wire::SEQ)?.parse().map_err(|_| wire::SEQ)?,
        boot,
    };
    if needed(CAMERA)? != camera.as_str() {
        return Err(CAMERA);
    }
    let home = needed(RELAY).ok().filter(|name| is_name(name)).ok_or(RELAY)?;
    let announced = Announced {
        placed: Placed { stamp, arrived_us: time(ARRIVED_AT)? },
        hash: needed(HASH)?.parse().map_err(|_| HASH)?,
        may_repeat: text(wire::FLAGS).map(Flags::from_header).unwrap_or_default().may_repeat,
        // Which an earlier process took, and its disk has lost.
        home: (home != own).then(|| home.into()),
    };
    Ok(Told { announced, private: text(PRIVATE).is_some() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (wire::CAPTURED_AT, "2026-11-28T12:00:00.000001Z"),
            (wire::SEQ, "7"),
            (wire::TIME_SOURCE, "captured"),
            (ARRIVED_AT, "2026-11-28T12:00:00.25Z"),
            (HASH, "00112233445566778899aabbccddeeff"),
            (RELAY, "alps-1"),
            (CAMERA, "garden"),
            (wire::BOOT, "00000000000000ff"),
            (wire::FLAGS, "may-repeat"),
        ] {
            headers.insert(name, value);
        }
        headers
    }

    #[test]
    fn what_is_told_is_read() {
        let garden = "garden".parse().unwrap();
        let Told { announced, private } = read(&told(), &garden, "sea").unwrap();
        let Placed { stamp, arrived_us } = announced.placed;
        assert_eq!((stamp.seq, stamp.boot, private), (7, Some(255), false));
        assert_eq!(arrived_us - stamp.unix_us, 249_999);
        assert!(announced.may_repeat && announced.home.as_deref() == Some("alps-1"));
        assert_eq!(read(&told(), &garden, "alps-1").unwrap().announced.home, None, "its own");
        assert_eq!(read(&told(), &"roof".parse().unwrap(), "sea").unwrap_err(), CAMERA);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, bad) in [
            (wire::CAPTURED_AT, "yesterday"),
            (wire::SEQ, "-1"),
            (wire::TIME_SOURCE, "guessed"),
            (ARRIVED_AT, ""),
            (HASH, "abc"),
            (RELAY, "a.b"),
            (CAMERA, "roof"),
            (wire::BOOT, "1"),
        ] {
            let mut headers = told();
            headers.insert(name, bad);
            assert_eq!(read(&headers, &"garden".parse().unwrap(), "sea").unwrap_err(), name);
        }
        assert!(read(&HeaderMap::new(), &CameraId::default(), "sea").is_err());
    }

    proptest! {
        /// No name of a camera reaches another one's subject, or several.
        #[test]
        fn a_camera_is_one_word_of_a_subject(name in "\\PC{0,40}") {
            if let Ok(id) = name.parse::<CameraId>() {
                let subject = subject("stillwatch", &id);
                prop_assert_eq!(subject.split('.').count(), 3);
                prop_assert!(!subject.contains(['*', '>', ' ', '\r', '\n', '\t']));
                prop_assert_eq!(camera("stillwatch", &subject), Some(id));
            }
            let deeper = format!("stillwatch.frame.a.{name}");
            prop_assert!(camera("stillwatch", &deeper).is_none());
        }
    }

    #[test]
    fn other_subjects_are_no_cameras() {
        for subject in [
            "stillwatch.frame.",
            "stillwatch.frame.*",
            "stillwatch.relay.a",
            "other.frame.a",
            "stillwatch2.frame.a",
        ] {
            assert_eq!(camera("stillwatch", subject), None, "{subject}");
        }
    }
}
