//! Which frames of the time without a relay are kept, and when they are sent. Pure: it is told the
//! time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ladder::Mono;

/// Where a frame's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Memory(Bytes),
    File(PathBuf),
}

/// A frame that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub seq: u64,
    pub may_repeat: bool,
    /// Capture time by the wall clock of then, µs since the Unix epoch.
    pub unix_us: i64,
    /// Whether that clock was right.
    pub synchronised: bool,
    /// The same by the clock that nobody sets, of this boot.
    pub captured: Mono,
    pub place: Place,
}

/// What is sent of it beside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The true time.
    pub unix_us: i64,
    pub seq: u64,
    pub may_repeat: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Ring {
    interval: Duration,
    max_bytes: u64,
    /// In the order of capture, each with its name and its bytes.
    entries: VecDeque<(u64, u64, Entry)>,
    bytes: u64,
    next_name: u64,
    kept: Option<Mono>,
}

impl Ring {
    pub(super) fn new(interval: Duration, max_bytes: u64) -> Ring {
        let (entries, bytes, next_name, kept) = (VecDeque::new(), 0, 0, None);
        Ring { interval, max_bytes, entries, bytes, next_name, kept }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the frame of now is to be kept, if none has got through since `since`.
    pub(super) fn wants(&self, now: Mono, since: Mono) -> bool {
        let last = self.kept.map_or(since, |kept| kept.max(since));
        now.since(last) >= self.interval
    }

    /// Keeps an entry of `bytes`; returns what had to go for it, which may be itself.
    pub(super) fn put(&mut self, entry: Entry, bytes: u64) -> Vec<Place> {
        self.kept = Some(self.kept.map_or(entry.captured, |kept| kept.max(entry.captured)));
        self.entries.push_back((self.next_name, bytes, entry));
        self.next_name += 1;
        self.bytes += bytes;
        let mut gone = Vec::new();
        while self.bytes > self.max_bytes {
            let Some((_, bytes, entry)) = self.entries.pop_front() else { break };
            self.bytes -= bytes;
            gone.push(entry.place);
        }
        gone
    }

    /// The oldest: its name, what is said of it, and where it is. `now` is the time since boot, the
    /// wall clock's, and whether that is right; `None` as long as a frame's time is not known.
    pub(super) fn first(&self, now: (Mono, i64, bool)) -> Option<(u64, Taken, Place)> {
        let (mono, wall_us, synchronised) = now;
        let (name, _, entry) = self.entries.front()?;
        let Entry { seq, may_repeat, unix_us, captured, .. } = *entry;
        let unix_us = if entry.synchronised {
            unix_us
        } else if synchronised {
            let ago = i64::try_from(mono.since(captured).as_micros()).unwrap_or(i64::MAX);
            wall_us.saturating_sub(ago)
        } else {
            return None;
        };
        Some((*name, Taken { unix_us, seq, may_repeat }, entry.place.clone()))
    }

    /// Takes an entry out; `None` if it had to go meanwhile.
    pub(super) fn remove(&mut self, name: u64) -> Option<Place> {
        let at = self.entries.iter().position(|(known, ..)| *known == name)?;
        let (_, bytes, entry) = self.entries.remove(at)?;
        self.bytes -= bytes;
        Some(entry.place)
    }
}

/// When the next frame of the past may be sent: they get a part of the time, and no more.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    not_before: Option<Mono>,
}

impl Pace {
    /// After a frame of the past took so long, the link belongs to the present for so many times
    /// that.
    const PRESENT: u32 = 4;

    /// At least so long: a relay takes only so many frames a second.
    const SPACING: Duration = Duration::from_millis(100);

    /// One got through, or was refused, after so long.
    pub(crate) fn took(&mut self, now: Mono, took: Duration) {
        self.not_before = Some(now.after((took * Pace::PRESENT).max(Pace::SPACING)));
    }

    /// The relay wants none for a while.
    pub(crate) fn hold(&mut self, now: Mono, hold: Duration) {
        self.not_before = Some(now.after(hold));
    }

    /// From when on.
    pub(crate) fn next_at(&self, now: Mono) -> Mono {
        self.not_before.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    fn entry(s: u64, synchronised: bool) -> Entry {
        Entry {
            seq: s,
            may_repeat: false,
            unix_us: i64::try_from(s).unwrap() * 1_000_000,
            synchronised,
            captured: at(s),
            place: Place::File(s.to_string().into()),
        }
    }

    fn ring(max_bytes: u64) -> Ring {
        Ring::new(Duration::from_secs(10), max_bytes)
    }

    #[test]
    fn one_in_an_interval_and_none_while_uploads_succeed() {
        let mut ring = ring(1_000);
        let mut kept = Vec::new();
        for s in 0..60 {
            // The network is away from 15 to 47.
            let through = if (15..47).contains(&s) { 15 } else { s };
            if ring.wants(at(s), at(through)) {
                ring.put(entry(s, true), 1);
                kept.push(s);
            }
        }
        assert_eq!(kept, [25, 35, 45]);
    }

    #[test]
    fn the_oldest_goes_first_in_every_sense() {
        let mut ring = ring(25);
        let place = |s: u64| Place::File(s.to_string().into());
        for s in 0..2 {
            assert_eq!(ring.put(entry(s, true), 10), []);
        }
        assert_eq!(ring.put(entry(2, true), 10), [place(0)]);
        let now = (at(100), 0, true);
        let (name, taken, _) = ring.first(now).unwrap();
        assert_eq!((taken.seq, taken.unix_us), (1, 1_000_000));
        assert_eq!(ring.remove(name), Some(place(1)));
        assert_eq!(ring.remove(name), None);
        assert_eq!((ring.len(), ring.bytes()), (1, 10));
        // One that is larger than everything there may be.
        assert_eq!(ring.put(entry(3, true), 26), [place(2), place(3)]);
        assert_eq!((ring.len(), ring.bytes(), ring.first(now)), (0, 0, None));
    }

    #[test]
    fn a_frame_from_before_the_clock_was_set_gets_its_true_time_later() {
        let mut ring = ring(100);
        ring.put(entry(5, false), 1);
        assert_eq!(ring.first((at(6), 6, false)), None, "nobody knows what time it was");
        let wall_us = 1_700_000_000_000_000;
        let (_, taken, _) = ring.first((at(65), wall_us, true)).unwrap();
        assert_eq!(taken.unix_us, wall_us - 60_000_000);
    }

    #[test]
    fn the_past_gets_a_fifth_of_the_time() {
        let mut pace = Pace::default();
        assert_eq!(pace.next_at(at(0)), at(0));
        pace.took(at(1), Duration::from_secs(1));
        assert_eq!(pace.next_at(at(1)), at(5));
        pace.took(at(6), Duration::from_millis(1));
        assert_eq!(pace.next_at(at(6)), at(6).after(Duration::from_millis(100)));
        pace.hold(at(7), Duration::from_secs(60));
        assert_eq!(pace.next_at(at(8)), at(67));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(
            frames in prop::collection::vec(0_u64..50, 1..100), max_bytes in 0_u64..200,
        ) {
            let mut ring = ring(max_bytes);
            for (s, bytes) in (0..).zip(frames) {
                ring.put(entry(s, true), bytes);
                prop_assert!(ring.bytes() <= max_bytes);
                let sum: u64 = ring.entries.iter().map(|(_, bytes, _)| bytes).sum();
                prop_assert_eq!(ring.bytes(), sum);
            }
        }
    }
}
