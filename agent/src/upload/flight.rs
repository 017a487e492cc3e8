//! Frames on their way over one connection, not answered yet. Pure: it is told the time.
//!
//! Over a long way an answer takes longer than a frame. So the next frame may follow about when the
//! one before should be through, by what the link carried before, and as many may be on their way as
//! the way holds: then nothing queues, and no frame is older for it. An answer that is overdue means that the connection is dead, long before TCP
//! says so.

use std::collections::VecDeque;
use std::time::Duration;

use ladder::Mono;

/// Frames on their way at the same time, at most.
const MAX_FLIGHTS: usize = 4;

/// A lost packet is sent again after RFC 6298's least timer of 1 s (Linux: 200 ms, and a round trip);
/// that may happen once.
const GRACE: Duration = Duration::from_secs(1);

/// And everything may take so many times as long as usual.
const TIMES_AS_LONG: u32 = 3;

/// What a frame on its way is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    pub seq: u64,
    pub sent: Mono,
    /// Bytes on the wire, and of the picture as it was captured.
    pub bytes: usize,
    pub original: usize,
    /// Of the captured picture, in pixels.
    pub width: u16,
    /// How long it should take to get through, without the way back; `None`: nobody knows.
    pub expected: Option<Duration>,
    /// It is of the past: its name there.
    pub past: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: VecDeque<Flight>,
    /// What an answer takes that has nothing to carry.
    round_trip: Duration,
    /// The last answer.
    answered: Option<Mono>,
}

impl Flights {
    pub(super) fn new(round_trip: Duration) -> Flights {
        Flights { round_trip, ..Flights::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<&Flight> {
        self.flights.front()
    }

    pub(super) fn sent(&mut self, flight: Flight) {
        self.flights.push_back(flight);
    }

    /// The frame `seq` was answered. Returns it, and how long it took to get through; `None` if no
    /// such frame is on its way. Frames before it are forgotten: a relay answers in order.
    pub(super) fn answered(&mut self, seq: u64, now: Mono) -> Option<(Flight, Duration)> {
        let place = self.flights.iter().position(|flight| flight.seq == seq)?;
        let flight = self.flights.drain(..=place).next_back()?;
        // It had to wait for the one before it, whose way it shared.
        let began = self.answered.map_or(flight.sent, |last| last.max(flight.sent));
        let way = if began > flight.sent { Duration::ZERO } else { self.round_trip };
        self.answered = Some(now);
        Some((flight, now.since(began).saturating_sub(way)))
    }

    /// From when on another frame may follow; `None`: not before an answer.
    pub(super) fn next_at(&self, now: Mono) -> Option<Mono> {
        let Some(last) = self.flights.back() else { return Some(now) };
        let expected = last.expected?;
        if self.flights.len() >= self.room(expected) {
            return None;
        }
        // What the time of a frame holds beside the bytes is waiting for lost ones to come again: over
        // a long way the next may use that.
        Some(last.sent.after(expected.saturating_sub(self.round_trip).max(expected / 3)))
    }

    /// How many frames the way holds, if one takes `expected`, and one more. Over a short one each waits
    /// for the answer to the one before: it would only wait on the way instead.
    fn room(&self, expected: Duration) -> usize {
        if self.round_trip < expected / 2 {
            return 1;
        }
        let micros = expected.as_micros().max(1);
        let held = self.round_trip.as_micros().div_ceil(micros);
        usize::try_from(held).map_or(MAX_FLIGHTS, |held| (held + 1).min(MAX_FLIGHTS))
    }

    /// When the connection counts as dead if nothing was answered by then; see [`Patience`].
    pub(super) fn overdue_at(&self, patience: &Patience) -> Option<Mono> {
        let oldest = self.flights.front()?;
        let began = self.answered.map_or(oldest.sent, |last| last.max(oldest.sent));
        Some(began.after(patience.with(oldest.expected, self.round_trip)))
    }
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The longest that anything may take.
    limit: Duration,
    /// Answers in a row that were overdue.
    overdue: u32,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Patience {
        Patience { limit, overdue: 0 }
    }

    /// An answer is overdue. The next one gets twice the time: so even a way on which TCP needs
    /// seconds to find out what gets through is found in the end. Returns how many were overdue in a
    /// row.
    pub(super) fn overdue(&mut self) -> u32 {
        self.overdue = self.overdue.saturating_add(1);
        self.overdue
    }

    /// An answer came.
    pub(super) fn answered(&mut self) {
        self.overdue = 0;
    }

    /// For a frame that should take `expected`; `None`: nobody knows.
    pub(super) fn with(&self, expected: Option<Duration>, round_trip: Duration) -> Duration {
        let Some(expected) = expected else { return self.limit };
        let usual = GRACE + (expected.saturating_add(round_trip)).saturating_mul(TIMES_AS_LONG);
        self.limit.min(usual.saturating_mul(1 << self.overdue.min(8)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(MS(1_000_000 + ms))
    }

    fn flight(seq: u64, sent_ms: u64, expected_ms: Option<u64>) -> Flight {
        let expected = expected_ms.map(MS);
        let (bytes, original, width, past) = (10, 10, 640, None);
        Flight { seq, sent: at(sent_ms), bytes, original, width, expected, past }
    }

    #[test]
    fn the_next_follows_when_the_last_should_be_through() {
        let mut flights = Flights::new(MS(40));
        assert_eq!(flights.next_at(at(0)), Some(at(0)));
        flights.sent(flight(1, 0, Some(70)));
        assert_eq!(flights.next_at(at(10)), Some(at(30)));
        flights.sent(flight(2, 200, None));
        assert_eq!(flights.next_at(at(10)), None, "nobody knows how long it takes");
        assert_eq!(flights.answered(2, at(600)), Some((flight(2, 200, None), MS(360))));
        assert_eq!(flights.next_at(at(700)), Some(at(700)));
    }

    #[test]
    fn as_many_as_the_way_holds() {
        // Round trip, what a frame takes, and how many may be on their way at last.
        for (round_trip, expected, room) in
            [(300, 300, 2), (300, 100, 4), (300, 290, 3), (600, 500, 3), (20, 250, 1), (300, 1, 4)]
        {
            let mut flights = Flights::new(MS(round_trip));
            let mut now = at(0);
            while let Some(next) = flights.next_at(now) {
                now = next;
                let sent = now.since(at(0)).as_millis().try_into().unwrap();
                flights.sent(flight(sent, sent, Some(expected)));
            }
            assert_eq!(flights.flights.len(), room, "{round_trip} {expected}");
        }
    }

    #[test]
    fn only_so_many_are_on_their_way() {
        let mut flights = Flights::new(MS(300));
        for n in 0..MAX_FLIGHTS as u64 {
            assert!(flights.next_at(at(n)).is_some());
            flights.sent(flight(n, n, Some(0)));
        }
        assert_eq!(flights.next_at(at(10)), None);
        assert_eq!(flights.answered(77, at(11)), None, "a number nobody sent");
        assert!(flights.answered(0, at(11)).is_some());
        assert!(flights.next_at(at(12)).is_some());
    }

    #[test]
    fn what_took_how_long() {
        let mut flights = Flights::new(MS(300));
        flights.sent(flight(1, 0, Some(100)));
        flights.sent(flight(2, 100, Some(100)));
        let took = |flights: &mut Flights, seq, ms| flights.answered(seq, at(ms)).unwrap().1;
        assert_eq!(took(&mut flights, 1, 400), MS(100));
        // Its answer came 50 ms after the one before: so long it had the link for itself.
        assert_eq!(took(&mut flights, 2, 450), MS(50));
        flights.sent(flight(3, 1_000, Some(100)));
        assert_eq!(took(&mut flights, 3, 1_200), Duration::ZERO);
    }

    #[test]
    fn overdue_is_a_matter_of_what_is_usual() {
        let mut flights = Flights::new(MS(300));
        let mut limit = Patience::new(MS(10_000));
        assert_eq!(flights.overdue_at(&limit), None);
        flights.sent(flight(1, 0, None));
        assert_eq!(flights.overdue_at(&limit), Some(at(10_000)), "the first");
        flights.answered(1, at(400));
        flights.sent(flight(2, 500, Some(100)));
        flights.sent(flight(3, 700, Some(100)));
        assert_eq!(flights.overdue_at(&limit), Some(at(500 + 1_000 + 1_200)));
        // While answers come, however late, it lives.
        flights.answered(2, at(3_000));
        assert_eq!(flights.overdue_at(&limit), Some(at(3_000 + 1_000 + 1_200)));
        assert_eq!(limit.with(Some(MS(9_000)), MS(0)), MS(10_000));
        // Each further one may take twice as long.
        assert_eq!((limit.overdue(), limit.with(Some(MS(0)), MS(0))), (1, GRACE * 2));
        assert_eq!((limit.overdue(), limit.with(Some(MS(0)), MS(0))), (2, GRACE * 4));
        limit.answered();
        assert_eq!(limit.with(Some(MS(0)), MS(0)), GRACE);
    }

    proptest! {
        /// Whatever a relay answers, in whatever order: the bound holds and nothing stays for ever.
        #[test]
        fn any_answers(events in prop::collection::vec((any::<bool>(), 0_u64..20, 0_u64..400), 1..200)) {
            let mut flights = Flights::new(MS(50));
            let (mut now, mut seq) = (0, 0);
            for (answer, number, pause) in events {
                now += pause;
                if answer {
                    flights.answered(number, at(now));
                } else if flights.next_at(at(now)).is_some_and(|next| next <= at(now)) {
                    flights.sent(flight(seq % 20, now, (number % 3 != 0).then_some(number * 10)));
                    seq += 1;
                }
                prop_assert!(flights.flights.len() <= MAX_FLIGHTS);
                let overdue = flights.overdue_at(&Patience::new(MS(10_000)));
                prop_assert_eq!(overdue.is_none(), flights.is_empty());
            }
        }
    }
}
