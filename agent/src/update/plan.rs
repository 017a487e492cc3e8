//! When the relay is asked for an update next. Pure: it is told the time, what the relay said, and a
//! random number.

use std::time::Duration;

use ladder::Mono;

/// After the start: the camera has its picture first, and a thousand of them do not ask at once.
const FIRST: Duration = Duration::from_secs(60);

/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Whoever knows nothing of updates, as the tutorial's server, is not bothered more often.
const RARELY: Duration = Duration::from_secs(24 * 3_600);

/// What the relay said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// That there is one, or none.
    Something,
    /// It knows nothing of updates.
    Unknown,
    /// Nothing, or an error; and how long it wants to be left alone.
    Failed(Option<Duration>),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Plan {
    every: Duration,
    failures: u32,
    next: Mono,
}

impl Plan {
    /// `random` is from 0 to 1, here and below.
    pub(super) fn new(now: Mono, every: Duration, random: f64) -> Plan {
        let first = FIRST.mul_f64(1.0 + fraction(random)).min(every);
        Plan { every, failures: 0, next: now.after(first) }
    }

    pub(super) fn next_at(&self) -> Mono {
        self.next
    }

    pub(super) fn heard(&mut self, now: Mono, said: Said, random: f64) {
        // A quarter more or less.
        let about = |time: Duration| time.mul_f64(0.75 + fraction(random) / 2.0);
        let wait = match said {
            Said::Something => {
                self.failures = 0;
                about(self.every)
            }
            Said::Unknown => {
                self.failures = 0;
                about(RARELY)
            }
            Said::Failed(asked) => {
                let doubled = self.every.saturating_mul(1 << self.failures.min(16));
                self.failures = self.failures.saturating_add(1);
                let longest = LONGEST.max(self.every);
                about(doubled.min(longest)).max(asked.unwrap_or_default().min(LONGEST))
            }
        };
        self.next = now.after(wait);
    }
}

fn fraction(random: f64) -> f64 {
    random.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(300);

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    fn wait(plan: &mut Plan, said: Said, random: f64) -> u64 {
        plan.heard(at(0), said, random);
        plan.next_at().since(at(0)).as_secs()
    }

    #[test]
    fn the_first_time_comes_after_a_minute_or_two() {
        for (random, seconds) in [(0.0, 60), (0.5, 90), (1.0, 120), (7.0, 120)] {
            let plan = Plan::new(at(0), EVERY, random);
            assert_eq!(plan.next_at(), at(seconds));
        }
        assert_eq!(Plan::new(at(0), Duration::from_secs(5), 0.5).next_at(), at(5));
    }

    #[test]
    fn then_every_so_often_and_ever_more_rarely_while_it_fails() {
        let mut plan = Plan::new(at(0), EVERY, 0.5);
        let waits = |random| {
            let mut plan = Plan::new(at(0), EVERY, 0.5);
            wait(&mut plan, Said::Something, random)
        };
        assert_eq!([0.0, 0.5, 1.0].map(waits), [225, 300, 375]);
        let failed: Vec<u64> = (0..6).map(|_| wait(&mut plan, Said::Failed(None), 0.5)).collect();
        assert_eq!(failed, [300, 600, 1_200, 2_400, 3_600, 3_600]);
        assert_eq!(wait(&mut plan, Said::Something, 0.5), 300);
        assert_eq!(wait(&mut plan, Said::Failed(None), 0.5), 300, "it begins anew");
    }

    #[test]
    fn who_asks_for_peace_gets_it_but_not_for_ever() {
        let mut plan = Plan::new(at(0), EVERY, 0.5);
        let asked = |s| Said::Failed(Some(Duration::from_secs(s)));
        assert_eq!(wait(&mut plan, asked(900), 0.5), 900);
        assert_eq!(wait(&mut plan, asked(1), 0.5), 600);
        assert_eq!(wait(&mut plan, asked(u64::MAX), 0.5), 3_600);
    }

    #[test]
    fn who_knows_nothing_of_updates_is_asked_once_a_day() {
        let mut plan = Plan::new(at(0), EVERY, 0.5);
        assert_eq!(wait(&mut plan, Said::Unknown, 0.5), 86_400);
        assert!(wait(&mut plan, Said::Unknown, 0.0) >= 64_800);
    }

    proptest! {
        #[test]
        fn it_never_hammers_and_never_gives_up(
            every_s in 1_u64..86_400,
            said in prop::collection::vec((0..3, any::<u64>(), 0.0_f64..=1.0), 1..60),
        ) {
            let every = Duration::from_secs(every_s);
            let mut plan = Plan::new(at(0), every, 0.5);
            for (kind, asked, random) in said {
                let said = match kind {
                    0 => Said::Something,
                    1 => Said::Unknown,
                    _ => Said::Failed(Some(Duration::from_secs(asked))),
                };
                plan.heard(at(0), said, random);
                let wait = plan.next_at().since(at(0));
                prop_assert!(wait >= every * 3 / 4 || every > RARELY, "{wait:?}");
                prop_assert!(wait <= RARELY * 5 / 4, "{wait:?}");
            }
        }
    }
}
