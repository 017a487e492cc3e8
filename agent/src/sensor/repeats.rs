//! Tells a camera that repeats itself from one that looks at something still: a real sensor's
//! noise never yields the same bytes twice. Pure: the time comes with the picture.

use std::time::Duration;

use frame::ContentHash;
use ladder::Mono;

/// Equal pictures for this long, and so many of them, are a fault. Shorter than the relay's own
/// limit for *frozen* (15 s), so that a cure can begin before viewers are told.
const PATIENCE: Duration = Duration::from_secs(5);
const MIN_FRAMES: u32 = 5;

/// What one more picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing wrong.
    Good,
    /// The picture that was repeated before the last cure, still: no evidence that it worked.
    Doubtful,
    /// The same picture for so long is a fault. Counting begins anew.
    Fault(Duration),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    run: Option<(ContentHash, Mono, u32)>,
    suspect: Option<ContentHash>,
}

impl Repeats {
    /// Takes the next picture's hash.
    pub(super) fn see(&mut self, now: Mono, hash: ContentHash) -> Seen {
        let (since, frames) = match self.run {
            Some((same, since, frames)) if same == hash => (since, frames.saturating_add(1)),
            _ => (now, 1),
        };
        let lasted = now.since(since);
        if lasted >= PATIENCE && frames >= MIN_FRAMES {
            self.run = None;
            self.suspect = Some(hash);
            return Seen::Fault(lasted);
        }
        self.run = Some((hash, since, frames));
        if self.suspect == Some(hash) {
            return Seen::Doubtful;
        }
        self.suspect = None;
        Seen::Good
    }
}

#[cfg(test)]
mod tests {
    use frame::Picture;

    use super::*;

    fn hash(of: u8) -> ContentHash {
        const JPEG: &[u8] = b"\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\
            \xff\xda\0\x08\x01\x01\0\0\x3f\0";
        let bytes = [JPEG, &[of, 1], b"\xff\xd9"].concat();
        Picture::accept(bytes.into()).unwrap().hash()
    }

    fn first_report(interval_ms: u64, change_every: u64) -> Option<u64> {
        let mut repeats = Repeats::default();
        (0..600_000 / interval_ms).find_map(|n| {
            let at = n * interval_ms;
            let picture = hash(u8::try_from(n / change_every % 250).unwrap());
            let seen = repeats.see(Mono::from_boot(Duration::from_millis(at)), picture);
            matches!(seen, Seen::Fault(_)).then_some(at)
        })
    }

    #[test]
    fn reports_after_five_seconds_and_five_pictures() {
        assert_eq!(first_report(200, u64::MAX), Some(5_000));
        assert_eq!(first_report(10_000, u64::MAX), Some(40_000));
    }

    #[test]
    fn pictures_that_change_are_never_reported() {
        assert_eq!(first_report(200, 1), None);
        assert_eq!(first_report(200, 20), None);
    }

    #[test]
    fn after_a_fault_only_another_picture_is_good() {
        let mut repeats = Repeats::default();
        let mut see = |at_s, of| repeats.see(Mono::from_boot(Duration::from_secs(at_s)), hash(of));
        for second in 0..5 {
            assert_eq!(see(second, 1), Seen::Good);
        }
        assert_eq!(see(5, 1), Seen::Fault(Duration::from_secs(5)));
        assert_eq!(see(7, 1), Seen::Doubtful);
        assert_eq!(see(8, 2), Seen::Good);
        assert_eq!(see(9, 1), Seen::Good);
    }
}
