//! How much of a bundle is fetched at once, and when: so little that the live picture keeps its place.
//! Pure: it is told the time, what was fetched, and how pictures get through.
//!
//! Pieces of about a quarter of a second, and then a wait that is at least as long. What pictures need
//! while nothing is fetched is what is usual; one that takes clearly longer ends the fetching until
//! pictures are in time again, and a smaller share of the time is used from then on, which grows again
//! slowly.

use std::time::Duration;

use ladder::Mono;

use crate::upload::Seen;

/// How long a piece should be under way: so long it may be in a picture's way.
const PIECE: Duration = Duration::from_millis(250);

/// Bounds of a piece, and the first one, in bytes.
pub(super) const SHORTEST: u64 = 8 << 10;
pub(super) const LONGEST: u64 = 1 << 20;
const FIRST: u64 = 16 << 10;

/// The greatest and the smallest part of the time that is used.
const MOST: f64 = 0.5;
const LEAST: f64 = 1.0 / 64.0;

/// What grows back, each time nobody was late for so long.
const GROWTH: f64 = 1.25;
const CALM: Duration = Duration::from_secs(4);

/// What a piece leaves in the routers on the way is gone then.
const SETTLED: Duration = Duration::from_millis(300);

/// Before the first piece: how pictures get through without.
const LISTEN: Duration = Duration::from_secs(3);

/// A picture is late that takes so many times as long as usual, and so much longer besides.
const TIMES_AS_LONG: f64 = 1.5;
const GRACE: Duration = Duration::from_millis(200);

/// What one picture says of what is usual.
const WEIGHT: f64 = 0.3;

/// Whatever is usual: a picture that takes longer than this is not waited for any more.
const NEVER_LATE: Duration = Duration::from_secs(10);

/// The longest wait after a piece.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Fetch so many bytes.
    Fetch(u64),
    /// Nothing before then; and then ask again.
    Wait(Mono),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Pace {
    max_rate: Option<u64>,
    length: u64,
    share: f64,
    next: Mono,
    /// The end of the last piece.
    ended: Option<Mono>,
    /// The soonest answer so far: the way there and back.
    round_trip: Option<Duration>,
    /// How long a picture takes while nothing is fetched.
    usual: Option<Duration>,
    /// The last picture that was looked at.
    looked: Option<Mono>,
    /// Pictures are late.
    late: bool,
    /// Since then none was; or the share grew.
    calm: Mono,
}

impl Pace {
    pub(super) fn new(now: Mono, max_rate: Option<u64>) -> Pace {
        Pace {
            max_rate: max_rate.map(|rate| rate.max(1)),
            length: FIRST,
            share: MOST,
            next: now.after(LISTEN),
            ended: None,
            round_trip: None,
            usual: None,
            looked: None,
            late: false,
            calm: now,
        }
    }

    /// What to do, with pictures getting through like that.
    pub(super) fn turn(&mut self, now: Mono, seen: &Seen) -> Turn {
        const AGAIN: Duration = Duration::from_millis(50);
        self.look(now, seen);
        if self.late {
            return Turn::Wait(now.after(AGAIN));
        }
        if now < self.next {
            // Pictures have to be looked at meanwhile.
            return Turn::Wait(self.next.min(now.after(AGAIN * 2)));
        }
        Turn::Fetch(self.length)
    }

    /// So many bytes came; the answer began after `head`, and ended after `whole`.
    pub(super) fn fetched(&mut self, now: Mono, bytes: u64, head: Duration, whole: Duration) {
        let round_trip = self.round_trip.map_or(head, |known| known.min(head));
        self.round_trip = Some(round_trip);
        self.ended = Some(now);
        // The question waits behind the picture that is being sent: that is not the answer's way.
        let body = whole.saturating_sub(head);
        let carried = body.max(Duration::from_millis(5));
        let fits = as_f64(bytes) * PIECE.as_secs_f64() / carried.as_secs_f64();
        let fits = whole_bytes(fits).min(self.length.saturating_mul(2));
        self.length = fits.clamp(SHORTEST, LONGEST);
        if let Some(rate) = self.max_rate {
            // A second's worth, where the rest of the bounds allows it.
            self.length = self.length.min(rate.max(SHORTEST));
        }
        let used = round_trip + body;
        let for_share = used.mul_f64(1.0 / self.share.clamp(LEAST, MOST) - 1.0).min(LONGEST_WAIT);
        let for_rate = self.max_rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(as_f64(bytes) / as_f64(rate)).saturating_sub(whole)
        });
        self.next = now.after(for_share.max(for_rate));
    }

    /// Nothing was fetched, and is not tried again before then.
    pub(super) fn hold(&mut self, now: Mono, wait: Duration) {
        self.next = self.next.max(now.after(wait));
        self.length = FIRST.min(self.length);
    }

    fn look(&mut self, now: Mono, seen: &Seen) {
        let waits = seen.under_way.map(|sent| now.since(sent));
        let through = seen.through.filter(|(_, answered)| Some(*answered) != self.looked);
        if let Some((sent, answered)) = through {
            self.looked = Some(answered);
            let took = answered.since(sent);
            self.see(now, self.is_late(took));
            let undisturbed = self.ended.is_none_or(|ended| sent.since(ended) >= SETTLED);
            let quicker = self.usual.is_none_or(|usual| took < usual);
            if undisturbed || quicker {
                self.usual = Some(
                    self.usual
                        .map_or(took, |usual| usual.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT)),
                );
            }
        }
        // One that is still on its way is only ever bad news.
        if waits.is_some_and(|waits| self.is_late(waits)) {
            self.see(now, true);
        } else if self.late && seen.under_way.is_none() && through.is_none() {
            // It was given up, or its answer was seen before: the camera may be idle, too.
            let over = seen.through.is_none_or(|(_, answered)| now.since(answered) >= SETTLED);
            if over {
                self.see(now, false);
            }
        }
        if !self.late && now.since(self.calm) >= CALM {
            self.share = (self.share * GROWTH).min(MOST);
            self.calm = now;
        }
    }

    fn is_late(&self, took: Duration) -> bool {
        let usual = self.usual.unwrap_or(Duration::from_secs(1));
        took > usual.mul_f64(TIMES_AS_LONG) + GRACE && took < NEVER_LATE.max(usual * 2)
    }

    fn see(&mut self, now: Mono, late: bool) {
        if late && !self.late && self.ended.is_some_and(|ended| now.since(ended) < LONGEST_WAIT) {
            self.share = (self.share / 2.0).max(LEAST);
        }
        if late {
            self.calm = now;
        }
        self.late = late;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bundle is far below 2^52")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole_bytes(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(MS(1_000_000 + ms))
    }

    /// A link of so many bytes a second, a way there and back, and a camera whose pictures take
    /// `picture` alone, and `disturbed` while a piece is under way; simulated.
    struct World {
        pace: Pace,
        now: Mono,
        rate: f64,
        way: Duration,
        picture: Duration,
        disturbed: Duration,
        seen: Seen,
        bytes: u64,
        busy: Duration,
        lengths: Vec<u64>,
    }

    impl World {
        fn new(rate: f64, way: Duration, picture: Duration, max_rate: Option<u64>) -> World {
            World {
                pace: Pace::new(at(0), max_rate),
                now: at(0),
                rate,
                way,
                picture,
                disturbed: picture,
                seen: Seen::default(),
                bytes: 0,
                busy: Duration::ZERO,
                lengths: Vec::new(),
            }
        }

        fn picture(&mut self, took: Duration) {
            let sent = Mono::from_boot(self.now.since_boot() - took);
            self.seen.through = Some((sent, self.now));
        }

        fn run(&mut self, time: Duration) {
            let until = self.now.after(time);
            while self.now < until {
                match self.pace.turn(self.now, &self.seen) {
                    Turn::Wait(next) => {
                        assert!(next > self.now, "it does not spin");
                        assert!(next.since(self.now) <= MS(100));
                        self.now = next;
                        let took = self.picture;
                        self.picture(took);
                    }
                    Turn::Fetch(length) => {
                        assert!((SHORTEST..=LONGEST).contains(&length));
                        let whole = self.way + Duration::from_secs_f64(as_f64(length) / self.rate);
                        self.now = self.now.after(whole);
                        self.bytes += length;
                        self.busy += whole;
                        self.lengths.push(length);
                        let took = self.disturbed;
                        self.picture(took);
                        self.pace.fetched(self.now, length, self.way, whole);
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_become_a_quarter_of_a_second_long() {
        for (rate, way, expected) in [
            (50_000.0, 20, 12_500),
            (50_000.0, 600, 12_500),
            (10_000.0, 20, SHORTEST),
            (1e6, 20, 250_000),
            (1e8, 20, LONGEST),
        ] {
            let mut world = World::new(rate, MS(way), MS(150), None);
            world.run(Duration::from_secs(60));
            let last = *world.lengths.last().unwrap();
            assert_eq!(world.lengths[0], FIRST);
            let off = as_f64(last.abs_diff(expected)) / as_f64(expected);
            assert!(off < 0.02, "{rate} {way}: {last}, and not {expected}");
        }
    }

    #[test]
    fn it_takes_nearly_half_of_a_calm_link_and_no_more() {
        let mut world = World::new(50_000.0, MS(20), MS(150), None);
        world.run(Duration::from_secs(300));
        let share = as_f64(world.bytes) / 300.0 / 50_000.0;
        assert!((0.4..=0.5).contains(&share), "{share}");
    }

    #[test]
    fn while_pictures_are_late_it_uses_less_and_later_more_again() {
        let mut world = World::new(50_000.0, MS(20), MS(150), None);
        world.run(Duration::from_secs(30));
        world.disturbed = MS(900);
        let before = world.bytes;
        world.run(Duration::from_secs(60));
        let disturbed = as_f64(world.bytes - before) / 60.0 / 50_000.0;
        world.disturbed = MS(150);
        world.run(Duration::from_secs(60));
        let before = world.bytes;
        world.run(Duration::from_secs(60));
        let calm = as_f64(world.bytes - before) / 60.0 / 50_000.0;
        assert!(disturbed < 0.15 && calm > 0.4, "{disturbed}, then {calm}");
    }

    #[test]
    fn a_picture_that_does_not_come_through_ends_it_until_it_is_over() {
        let mut world = World::new(50_000.0, MS(20), MS(150), None);
        world.run(Duration::from_secs(30));
        let mut now = world.now;
        let sent = now;
        world.seen.under_way = Some(sent);
        while now.since(sent) < Duration::from_secs(5) {
            now = now.after(MS(100));
            let turn = world.pace.turn(now, &world.seen);
            let waits = matches!(turn, Turn::Wait(_));
            assert!(waits || now.since(sent) <= MS(450), "{turn:?} after {:?}", now.since(sent));
        }
        world.seen.under_way = None;
        world.seen.through = Some((sent, now));
        assert!(matches!(world.pace.turn(now, &world.seen), Turn::Wait(_)), "it was late");
        now = now.after(MS(200));
        world.seen.through = Some((now, now.after(MS(150))));
        now = now.after(MS(150));
        assert!(matches!(world.pace.turn(now, &world.seen), Turn::Fetch(_)));
    }

    #[test]
    fn a_link_that_is_slower_for_good_is_the_new_usual() {
        let mut world = World::new(50_000.0, MS(20), MS(150), None);
        world.run(Duration::from_secs(30));
        (world.picture, world.disturbed) = (MS(800), MS(900));
        world.run(Duration::from_secs(60));
        let before = world.bytes;
        world.run(Duration::from_secs(120));
        let share = as_f64(world.bytes - before) / 120.0 / 50_000.0;
        assert!(share > 0.3, "{share}");
    }

    #[test]
    fn a_camera_that_is_idle_or_silent_is_in_nobodys_way() {
        let mut pace = Pace::new(at(0), None);
        assert!(matches!(pace.turn(at(0), &Seen::default()), Turn::Wait(_)), "it listens");
        assert_eq!(pace.turn(at(3_000), &Seen::default()), Turn::Fetch(FIRST));
        // The last picture is long gone, and was late.
        let mut seen = Seen { under_way: Some(at(3_000)), ..Seen::default() };
        assert!(matches!(pace.turn(at(6_000), &seen), Turn::Wait(_)));
        seen = Seen { through: Some((at(3_000), at(6_100))), ..Seen::default() };
        assert!(matches!(pace.turn(at(6_100), &seen), Turn::Wait(_)));
        assert_eq!(pace.turn(at(6_500), &seen), Turn::Fetch(FIRST));
    }

    proptest! {
        /// Whatever the link, the way, and how pictures get through: never more than half of it, and
        /// never more than was allowed.
        #[test]
        fn never_more_than_half_of_the_link(
            rate in 1_000.0_f64..1e8,
            way in 0_u64..2_000,
            picture in 1_u64..2_000,
            disturbed in 1_u64..5_000,
            max_rate in prop::option::of(1_000_u64..1_000_000),
        ) {
            let mut world = World::new(rate, MS(way), MS(picture), max_rate);
            world.disturbed = MS(disturbed);
            world.run(Duration::from_secs(120));
            let took = world.now.since(at(0)).as_secs_f64();
            let longest = as_f64(world.lengths.iter().copied().max().unwrap_or(0));
            prop_assert!(as_f64(world.bytes) <= rate * took / 2.0 + longest);
            prop_assert!(world.busy.as_secs_f64() <= took / 2.0 + MS(way).as_secs_f64() + longest / rate);
            if let Some(max_rate) = max_rate {
                prop_assert!(as_f64(world.bytes) <= as_f64(max_rate) * took + longest);
            }
        }
    }
}
