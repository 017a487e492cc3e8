//! How often passwords may be guessed from one address. Pure: it is told the time.
//!
//! An address (for IPv6 a /64, which is what one customer gets) may guess [`BURST`] times, and then once a second; what
//! is beyond is refused without being compared. But from where the right password came lately, everything is compared:
//! else somebody behind the same address could lock a camera out. Wrong ones from there are answered late.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ladder::Mono;
use web::serve::site;

use crate::rate::Rate;

/// Wrong passwords at once: a person's mistakes.
pub(super) const BURST: u32 = 10;

/// And then one in this time.
const EACH: Duration = Duration::from_secs(1);

/// So long an address counts as one that knew the right password.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Addresses that guessed, and ones that knew. When there is no place for one more, the one that has been quiet for
/// longest is forgotten: who comes new is never refused because of others. Who guesses from more networks than there are
/// places is held up by none of this. Only who knows a password gets into the second.
const MAX_GUESSING: usize = 16_384;
const MAX_KNOWING: usize = 4_096;

/// Guessing has ended when there was none for so long.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// What comes of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// From an address that knew it lately: to be answered late.
    WrongLate,
    /// It was not compared.
    Refused,
}

/// What is known of an address that guesses.
#[derive(Debug, Default)]
struct Guesses {
    rate: Rate,
    began: Mono,
    last: Mono,
    count: u64,
    /// It was said that it goes beyond what is allowed.
    beyond: bool,
}

/// Guessing that went beyond what is allowed, and has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub from: IpAddr,
    /// Wrong passwords, those included that were not compared.
    pub count: u64,
    pub lasted: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    guessing: HashMap<IpAddr, Guesses>,
    /// The same addresses by when they guessed last.
    quietest: BTreeSet<(Mono, IpAddr)>,
    knowing: HashMap<IpAddr, Mono>,
}

impl Guesses {
    /// One more; returns whether it is the first beyond what is allowed.
    fn one(&mut self, now: Mono, allowed: bool) -> bool {
        if self.count == 0 {
            self.began = now;
        }
        self.count += 1;
        let first = !allowed && !self.beyond;
        self.beyond |= !allowed;
        first
    }
}

impl Throttle {
    /// Judges a password from an address. Returns, too, whether guessing from there begins to go beyond what is allowed.
    pub(super) fn judge(
        &mut self,
        from: IpAddr,
        now: Mono,
        is_right: impl FnOnce() -> bool,
    ) -> (Verdict, bool) {
        let from = site(from);
        let knows = self.knowing.get(&from).is_some_and(|at| now.since(*at) < REMEMBERED);
        // The entry is made only by a guess: who knows the password needs none.
        let guesses = self.guessing.get(&from);
        let free = guesses.is_none_or(|guesses| guesses.rate.is_free(now, EACH, BURST));
        if (knows || free) && is_right() {
            self.knew(from, now);
            return (Verdict::Right, false);
        }
        let guesses = self.guesses_from(from, now);
        let allowed = guesses.rate.take(now, EACH, BURST);
        let begins = guesses.one(now, allowed);
        let verdict = match (allowed, knows) {
            (true, _) => Verdict::Wrong,
            (false, true) => Verdict::WrongLate,
            (false, false) => Verdict::Refused,
        };
        (verdict, begins)
    }

    /// What is known of an address that guesses now. Nothing is said of the end of one that is forgotten for it.
    fn guesses_from(&mut self, from: IpAddr, now: Mono) -> &mut Guesses {
        if let Some(guesses) = self.guessing.get(&from) {
            self.quietest.remove(&(guesses.last, from));
        } else if self.guessing.len() >= MAX_GUESSING
            && let Some((_, quietest)) = self.quietest.pop_first()
        {
            self.guessing.remove(&quietest);
        }
        self.quietest.insert((now, from));
        let guesses = self.guessing.entry(from).or_default();
        guesses.last = now;
        guesses
    }

    fn knew(&mut self, from: IpAddr, now: Mono) {
        if self.knowing.len() >= MAX_KNOWING && !self.knowing.contains_key(&from) {
            let oldest = self.knowing.iter().min_by_key(|(_, at)| **at).map(|(from, _)| *from);
            if let Some(oldest) = oldest {
                self.knowing.remove(&oldest);
            }
        }
        self.knowing.insert(from, now);
    }

    /// Forgets addresses that guess no more, and returns those of which it was said.
    pub(super) fn sweep(&mut self, now: Mono) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.guessing.retain(|from, guesses| {
            let over = now.since(guesses.last) >= OVER_AFTER;
            let Guesses { began, last, count, .. } = *guesses;
            if over {
                self.quietest.remove(&(last, *from));
            }
            if over && guesses.beyond {
                ended.push(Ended { from: *from, count, lasted: last.since(began) });
            }
            !over
        });
        self.knowing.retain(|_, at| now.since(*at) < REMEMBERED);
        ended
    }

    /// Addresses from which more was guessed than is allowed.
    pub(super) fn beyond(&self) -> usize {
        self.guessing.values().filter(|guesses| guesses.beyond).count()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(100_000 + ms))
    }

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    /// How many of `tries` are compared, one in `every_ms`.
    fn compared(throttle: &mut Throttle, from: IpAddr, tries: u64, every_ms: u64) -> usize {
        let mut compared = 0;
        for n in 0..tries {
            throttle.judge(from, at(n * every_ms), || {
                compared += 1;
                false
            });
        }
        compared
    }

    #[test]
    fn a_burst_and_then_one_a_second() {
        let mut throttle = Throttle::default();
        assert_eq!(compared(&mut throttle, address(1), 10_000, 1), 10 + 9);
        // Another one does not suffer from it.
        assert_eq!(throttle.judge(address(2), at(10_000), || true), (Verdict::Right, false));
        // Nor does who tries no faster than that.
        assert_eq!(compared(&mut throttle, address(3), 100, 1_000), 100);
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one() {
        let mut throttle = Throttle::default();
        let compared: usize = (0..100)
            .map(|n| {
                let from: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
                compared(&mut throttle, from, 1, 0)
            })
            .sum();
        assert_eq!(compared, 10);
        let other = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(throttle.judge(other, at(0), || true).0, Verdict::Right);
    }

    #[test]
    fn who_knew_the_password_is_heard_for_a_day() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.judge(address(1), at(0), || true).0, Verdict::Right);
        for _ in 0..10 {
            assert_eq!(throttle.judge(address(1), at(1), || false).0, Verdict::Wrong);
        }
        assert_eq!(throttle.judge(address(1), at(1), || false), (Verdict::WrongLate, true));
        assert_eq!(throttle.judge(address(1), at(1), || false), (Verdict::WrongLate, false));
        assert_eq!(throttle.judge(address(1), at(1), || true).0, Verdict::Right);
        let day = 24 * 3_600_000;
        compared(&mut throttle, address(1), 100, 0);
        throttle.sweep(at(day - 1));
        for (ms, verdict) in [(day, Verdict::Right), (3 * day, Verdict::Refused)] {
            let mut guess = |right: bool| throttle.judge(address(1), at(ms), || right).0;
            for _ in 0..20 {
                guess(false);
            }
            assert_eq!(guess(true), verdict, "{ms}");
        }
    }

    #[test]
    fn the_end_of_guessing_is_told_once() {
        let mut throttle = Throttle::default();
        compared(&mut throttle, address(1), 100, 10);
        compared(&mut throttle, address(2), 5, 10);
        assert_eq!((throttle.beyond(), throttle.sweep(at(30_000))), (1, vec![]));
        let lasted = Duration::from_millis(990);
        let ended = Ended { from: address(1), count: 100, lasted };
        assert_eq!(throttle.sweep(at(61_000)), [ended]);
        assert_eq!((throttle.beyond(), throttle.sweep(at(62_000))), (0, vec![]));
        assert!(throttle.guessing.is_empty());
    }

    #[test]
    fn a_crowd_keeps_nobody_out_and_takes_no_memory() {
        let mut throttle = Throttle::default();
        let network = |n: u32| {
            let bits = ((0x2001_0db8_0000_u128 << 16) | u128::from(n)) << 64;
            IpAddr::from(std::net::Ipv6Addr::from_bits(bits))
        };
        let (loud, crowd) = (address(1), u32::try_from(MAX_GUESSING).unwrap() + 20_000);
        let mut compared = 0;
        for n in 0..crowd {
            // All of one /48: one guess each, again and again.
            let now = at(u64::from(n));
            assert_eq!(throttle.judge(network(n), now, || false).0, Verdict::Wrong);
            if n % 100 == 0 {
                throttle.judge(loud, now, || {
                    compared += 1;
                    false
                });
                assert_eq!(throttle.judge(address(2 + n), now, || true).0, Verdict::Right, "{n}");
            }
        }
        assert_eq!(throttle.guessing.len(), MAX_GUESSING);
        assert_eq!(throttle.quietest.len(), MAX_GUESSING);
        // Only who was quiet is forgotten.
        assert!(!throttle.guessing.contains_key(&network(0)));
        assert!(throttle.guessing.contains_key(&network(crowd - 1)));
        assert!(compared <= u64::from(BURST) + u64::from(crowd) / 1_000, "{compared}");
        throttle.sweep(at(60_000 + u64::from(crowd)));
        assert_eq!((throttle.guessing.len(), throttle.quietest.len()), (0, 0));
    }

    #[test]
    fn who_knows_is_bounded_too() {
        let mut throttle = Throttle::default();
        for n in 0..u32::try_from(MAX_KNOWING).unwrap() + 100 {
            throttle.judge(address(n), at(u64::from(n)), || true);
        }
        assert_eq!(throttle.knowing.len(), MAX_KNOWING);
        assert!(!throttle.knowing.contains_key(&address(0)));
    }

    proptest! {
        /// Whatever anybody does, from wherever: what is right is accepted at once where it was right before.
        #[test]
        fn nobody_is_locked_out(
            steps in prop::collection::vec(
                (0_u32..4, prop_oneof![0_u64..20, 0_u64..2_000], any::<bool>()),
                0..400,
            ),
        ) {
            let mut throttle = Throttle::default();
            throttle.judge(address(0), at(0), || true);
            let mut now = 0;
            for (from, passed, sweep) in steps {
                now += passed;
                throttle.judge(address(from), at(now), || false);
                if sweep {
                    throttle.sweep(at(now));
                }
                let (verdict, _) = throttle.judge(address(0), at(now), || true);
                prop_assert_eq!(verdict, Verdict::Right);
            }
        }

        /// However it is tried: no more is compared than the burst and one a second.
        #[test]
        fn what_is_compared_is_bounded(
            steps in prop::collection::vec((prop_oneof![0_u64..20, 0_u64..3_000], any::<bool>()), 1..400),
        ) {
            let mut throttle = Throttle::default();
            let (mut now, mut compared) = (0_u64, 0_u64);
            for (passed, sweep) in steps {
                now += passed;
                if sweep {
                    throttle.sweep(at(now));
                }
                throttle.judge(address(1), at(now), || {
                    compared += 1;
                    false
                });
                prop_assert!(compared <= u64::from(BURST) + now / 1_000, "{} in {} ms", compared, now);
            }
        }
    }
}
