//! Which time counts for an uploaded frame, and whether it is newer than the one held. Pure.
//!
//! The camera's own time counts if the upload names one, does not call its clock unsynchronised,
//! and is not more than [`TOLERANCE_US`] ahead of our clock. A camera clock may run ahead and be set
//! back later; had its time counted, every frame after that would be older than the one held, and
//! the picture would stand still until the future had come. So such a frame is judged by the time
//! it arrived, and so is one of a client that names no time, like the tutorial's.
//!
//! A delayed retry must not turn time back: a frame captured before the one held is *older*, and
//! the caller acknowledges and drops it. The held frame's time is only held against it while it is
//! believable itself: after our own clock was set back, or when the store holds a frame from a time
//! when it was wrong, it is not.
//!
//! An agent that says which of its starts a frame is of ([`frame::wire::BOOT`]) needs no clock for that: within one
//! start its numbers say which is newer, whatever relay took them.

/// How far a camera's clock may be ahead of ours: NTP keeps clocks within a fraction of it.
const TOLERANCE_US: i64 = 5_000_000;

/// How far another relay's clock may be ahead of ours: they are told apart by more than a few seconds (see
/// `cluster/beacon.rs`), and nobody looks for minutes.
const FUTURE_US: i64 = 600_000_000;

/// What an upload says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Claim {
    /// When it was captured, µs since the Unix epoch.
    pub captured_us: Option<i64>,
    /// The camera's clock was not synchronised.
    pub clock_unsynchronised: bool,
    /// Its number.
    pub seq: Option<u64>,
    /// Of which start of its agent.
    pub boot: Option<u64>,
}

/// Whose clock a frame's time is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeSource {
    /// The camera's.
    Captured,
    /// Ours, at arrival.
    Arrived,
}

impl TimeSource {
    /// The word in headers, status and database.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            TimeSource::Captured => "captured",
            TimeSource::Arrived => "arrived",
        }
    }
}

/// A frame's place in its camera's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// µs since the Unix epoch.
    pub unix_us: i64,
    pub source: TimeSource,
    pub seq: u64,
    /// Of which start of its agent, if that says so.
    pub boot: Option<u64>,
}

impl Stamp {
    /// Whether both are of one start of the agent: then their numbers say all.
    fn shares_boot(&self, other: &Stamp) -> bool {
        self.boot.is_some() && self.boot == other.boot
    }
}

/// A frame's place among those that any relay took, with when that was, in µs since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub stamp: Stamp,
    pub arrived_us: i64,
}

impl Placed {
    /// Whether this one is newer. Both were admitted where they arrived; where nothing else says, the relays' clocks
    /// decide, and one that is far ahead of ours, which is at `now_us`, decides nothing: what a relay took whose clock
    /// ran away must not stand until that time has come.
    pub(crate) fn supersedes(&self, other: &Placed, now_us: i64) -> bool {
        let (new, old) = (&self.stamp, &other.stamp);
        if new.shares_boot(old) {
            return new.seq > old.seq;
        }
        let from_future = |placed: &Placed| {
            placed.arrived_us.max(placed.stamp.unix_us) > now_us.saturating_add(FUTURE_US)
        };
        match (from_future(self), from_future(other)) {
            (false, true) => return true,
            (true, false) => return false,
            _ => {}
        }
        if (new.source, old.source) == (TimeSource::Captured, TimeSource::Captured) {
            return (new.unix_us, new.seq) > (old.unix_us, old.seq);
        }
        (self.arrived_us, new.seq) > (other.arrived_us, old.seq)
    }
}

/// Stamps a frame that arrived at `arrived_us`; `None` if it is older than the one held.
pub(crate) fn admit(claim: Claim, held: Option<Stamp>, arrived_us: i64) -> Option<Stamp> {
    let believable = |unix_us: i64| unix_us <= arrived_us.saturating_add(TOLERANCE_US);
    // Clients that don't count get counted.
    let next = held.map_or(0, |held| held.seq.wrapping_add(1));
    let seq = claim.seq.unwrap_or(next);
    let captured = claim.captured_us.filter(|us| !claim.clock_unsynchronised && believable(*us));
    let stamp = match captured {
        Some(unix_us) => Stamp { unix_us, source: TimeSource::Captured, seq, boot: claim.boot },
        None => Stamp { unix_us: arrived_us, source: TimeSource::Arrived, seq, boot: claim.boot },
    };
    if let Some(held) = held.filter(|held| stamp.shares_boot(held)) {
        return (seq > held.seq).then_some(stamp);
    }
    if stamp.source == TimeSource::Arrived {
        return Some(stamp);
    }
    let before =
        held.filter(|held| held.source == TimeSource::Captured && believable(held.unix_us));
    before.is_none_or(|held| (held.unix_us, held.seq) < (stamp.unix_us, seq)).then_some(stamp)
}

/// When a frame that was admitted after `before` arrived, as all relays are told it: later than that one, which a relay
/// may have taken whose clock is ahead of ours. Else what is newer here would be older elsewhere.
pub(crate) fn arrival(before: Option<Placed>, arrived_us: i64) -> i64 {
    let latest = before.map(|before| before.arrived_us);
    let latest = latest.filter(|us| *us <= arrived_us.saturating_add(FUTURE_US));
    latest.map_or(arrived_us, |latest| arrived_us.max(latest.saturating_add(1)))
}

/// When a frame of the past was captured, in µs since the Unix epoch; `None` if that can't be
/// believed: then there is no place for it.
pub(crate) fn admit_past(claim: Claim, arrived_us: i64) -> Option<i64> {
    let known = claim.captured_us.filter(|_| !claim.clock_unsynchronised)?;
    (known <= arrived_us.saturating_add(TOLERANCE_US)).then_some(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const SECOND: i64 = 1_000_000;

    fn captured(at: i64, seq: u64) -> Claim {
        Claim { captured_us: Some(at), seq: Some(seq), ..Claim::default() }
    }

    fn held(at: i64, source: TimeSource, seq: u64) -> Option<Stamp> {
        Some(Stamp { unix_us: at, source, seq, boot: None })
    }

    #[test]
    fn which_time_counts() {
        let unsynchronised = Claim { clock_unsynchronised: true, ..captured(NOW - SECOND, 7) };
        let ahead = NOW + TOLERANCE_US;
        for (case, claim, unix_us, source) in [
            ("the camera's", captured(NOW - SECOND, 7), NOW - SECOND, TimeSource::Captured),
            ("none given", Claim { seq: Some(7), ..Claim::default() }, NOW, TimeSource::Arrived),
            ("not synchronised", unsynchronised, NOW, TimeSource::Arrived),
            ("at the tolerance", captured(ahead, 7), ahead, TimeSource::Captured),
            ("beyond it", captured(ahead + 1, 7), NOW, TimeSource::Arrived),
            ("very old", captured(0, 7), 0, TimeSource::Captured),
        ] {
            let stamp = Stamp { unix_us, source, seq: 7, boot: None };
            assert_eq!(admit(claim, None, NOW), Some(stamp), "{case}");
        }
    }

    #[test]
    fn the_past_has_to_be_believable() {
        let unsynchronised = Claim { clock_unsynchronised: true, ..captured(NOW - SECOND, 7) };
        for (claim, known) in [
            (captured(NOW - SECOND, 7), Some(NOW - SECOND)),
            (captured(NOW + TOLERANCE_US, 7), Some(NOW + TOLERANCE_US)),
            (captured(NOW + TOLERANCE_US + 1, 7), None),
            (unsynchronised, None),
            (Claim::default(), None),
        ] {
            assert_eq!(admit_past(claim, NOW), known, "{claim:?}");
        }
    }

    #[test]
    fn which_frame_is_newer() {
        use TimeSource::{Arrived, Captured};
        let t = NOW - SECOND;
        for (case, claim, held, newer) in [
            ("later", captured(t + 1, 0), held(t, Captured, 9), true),
            ("earlier", captured(t - 1, 10), held(t, Captured, 9), false),
            ("same time, next number", captured(t, 10), held(t, Captured, 9), true),
            ("same time, same number", captured(t, 9), held(t, Captured, 9), false),
            (
                "same time, no number",
                Claim { seq: None, ..captured(t, 0) },
                held(t, Captured, 9),
                true,
            ),
            (
                "by arrival, whatever is held",
                Claim::default(),
                held(NOW + SECOND, Captured, 9),
                true,
            ),
            ("earlier than an arrival", captured(t, 0), held(NOW, Arrived, 9), true),
            ("held from the future", captured(t, 0), held(NOW + 6 * SECOND, Captured, 9), true),
            ("held from just ahead", captured(t, 0), held(NOW + 4 * SECOND, Captured, 9), false),
        ] {
            assert_eq!(admit(claim, held, NOW).is_some(), newer, "{case}");
        }
    }

    #[test]
    fn within_one_start_of_the_agent_numbers_decide() {
        let of = |boot, seq, at| Claim { boot: Some(boot), ..captured(at, seq) };
        let unsynchronised = |claim| Claim { clock_unsynchronised: true, ..claim };
        let held = admit(of(1, 7, NOW), None, NOW);
        for (case, claim, newer) in [
            ("next", of(1, 8, NOW + 1), true),
            ("next, after its clock was set back", of(1, 8, NOW - 3600 * SECOND), true),
            ("next, with a clock that nobody set", unsynchronised(of(1, 8, 0)), true),
            ("late", of(1, 6, NOW + 1), false),
            ("late, with a clock that nobody set", unsynchronised(of(1, 6, 0)), false),
            ("the same again", of(1, 7, NOW), false),
            ("the next start", of(2, 0, NOW + 1), true),
            ("late, of the start before", of(2, 9, NOW - 1), false),
        ] {
            assert_eq!(admit(claim, held, NOW).is_some(), newer, "{case}");
        }
    }

    #[test]
    fn which_of_two_frames_wins_on_every_relay() {
        let at = |unix_us, source, seq, boot, arrived_us| Placed {
            stamp: Stamp { unix_us, source, seq, boot },
            arrived_us,
        };
        let captured = |us, seq, boot, arrived| at(us, TimeSource::Captured, seq, boot, arrived);
        let arrived = |seq, boot, us| at(us, TimeSource::Arrived, seq, boot, us);
        for (case, newer, older) in [
            ("captured later", captured(2, 1, None, 5), captured(1, 9, None, 9)),
            ("same time, higher number", captured(1, 2, None, 5), captured(1, 1, None, 5)),
            (
                "same start, the clocks say otherwise",
                arrived(8, Some(1), 5),
                arrived(7, Some(1), 9),
            ),
            ("other start", captured(2, 0, Some(2), 5), captured(1, 9, Some(1), 9)),
            ("by arrival", arrived(1, None, 9), captured(99, 1, None, 5)),
            ("not from the future", arrived(1, None, 9), arrived(1, None, NOW + 2 * FUTURE_US)),
            (
                "both are",
                arrived(1, None, NOW + 3 * FUTURE_US),
                arrived(1, None, NOW + 2 * FUTURE_US),
            ),
        ] {
            assert!(newer.supersedes(&older, NOW), "{case}");
            assert!(!older.supersedes(&newer, NOW), "{case}");
            assert!(!newer.supersedes(&newer, NOW), "{case}: itself");
        }
    }

    #[test]
    fn clients_that_do_not_count_are_counted() {
        let first = admit(Claim::default(), None, NOW).unwrap();
        let second = admit(Claim::default(), Some(first), NOW + 1).unwrap();
        assert_eq!((first.seq, second.seq), (0, 1));
        let last = Stamp { seq: u64::MAX, ..first };
        assert_eq!(admit(Claim::default(), Some(last), NOW).unwrap().seq, 0);
    }

    proptest! {
        /// Among frames with believed times, what is shown never goes back; and whatever is held,
        /// a correct camera is shown again within the tolerance.
        #[test]
        fn time_never_turns_back_and_never_stands_still(
            offsets in prop::collection::vec((-20_i64..20, any::<Option<u64>>()), 1..40),
        ) {
            let mut now = NOW;
            let mut held: Option<Stamp> = None;
            for (offset, seq) in offsets {
                now += SECOND;
                let claim = Claim { seq, ..captured(now + offset * SECOND, 0) };
                let Some(stamp) = admit(claim, held, now) else { continue };
                if let Some(before) = held
                    && (before.source, stamp.source) == (TimeSource::Captured, TimeSource::Captured)
                {
                    prop_assert!(stamp.unix_us >= before.unix_us);
                }
                held = Some(stamp);
            }
            now += TOLERANCE_US + SECOND;
            prop_assert!(admit(captured(now, 0), held, now).is_some());
        }

        /// Whatever the other relay's clock says: what is newer where it arrives is newer everywhere.
        #[test]
        fn what_is_admitted_wins_elsewhere(
            ahead in -900_i64..900, age in 0_i64..10, unsynchronised: bool, boots in (any::<Option<bool>>(), any::<Option<bool>>()),
            seqs in (0_u64..5, 0_u64..5),
        ) {
            // To the µs at the bound nothing is promised.
            prop_assume!(ahead != FUTURE_US / SECOND);
            let boot = |boot: Option<bool>| boot.map(u64::from);
            let there = NOW + ahead * SECOND;
            let first = Claim { boot: boot(boots.0), clock_unsynchronised: unsynchronised, ..captured(NOW - age * SECOND, seqs.0) };
            let stamp = admit(first, None, there).unwrap();
            let held = Placed { stamp, arrived_us: arrival(None, there) };
            let second = Claim { boot: boot(boots.1), clock_unsynchronised: true, ..captured(NOW, seqs.1) };
            let Some(stamp) = admit(second, Some(held.stamp), NOW) else { return Ok(()) };
            let newer = Placed { stamp, arrived_us: arrival(Some(held), NOW) };
            prop_assert!(newer.supersedes(&held, NOW), "{newer:?} {held:?}");
            prop_assert!(!held.supersedes(&newer, NOW));
        }

        #[test]
        fn no_numbers_make_it_panic(at: i64, now: i64, seq: u64, other: i64) {
            let _ = admit(captured(at, seq), held(other, TimeSource::Captured, seq), now);
        }
    }
}
