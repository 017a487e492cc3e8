//! When an authority is asked for a certificate. Pure.
//!
//! Let's Encrypt gives up a name for an hour after five failures in it, and an attempt may be two; and a certificate is renewed while a third of its life is left, which leaves a month for whatever goes wrong.

use std::time::Duration;

use ladder::Mono;

use super::certificate::Validity;

/// After the first failure, and doubled with each further one.
const RETRY_MIN: Duration = Duration::from_secs(20 * 60);
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

/// Least time between two certificates: Let's Encrypt gives five for the same names in a week.
const AGAIN: Duration = Duration::from_secs(2 * 86_400);

/// The wall clock may be set at any time, so it is looked at so often.
const LOOK: Duration = Duration::from_secs(3600);

/// From so much life on a certificate that was not renewed is news for its owner.
const LATE: i64 = 7 * 86_400;

/// What went wrong so far.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    failures: u32,
    failed: Option<Mono>,
    succeeded: Option<Mono>,
}

impl Renewal {
    /// How long to wait before the next attempt; zero: now. It is to be asked again after an hour at most.
    pub(super) fn wait(&self, validity: Option<Validity>, unix_s: i64, now: Mono) -> Duration {
        let due = validity.map_or(Duration::ZERO, |validity| {
            let due = validity.until - (validity.until - validity.from) / 3;
            Duration::from_secs(u64::try_from(due - unix_s).unwrap_or(0))
        });
        let doubled = RETRY_MIN.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let retry = self.failed.map_or(Duration::ZERO, |failed| {
            doubled.min(RETRY_MAX).saturating_sub(now.since(failed))
        });
        // One that is due as soon as it is there: a clock is wrong, and asking again brings no other.
        let renewed = self.succeeded.map_or(Duration::ZERO, |at| {
            let third = validity.map_or(0, |validity| (validity.until - validity.from) / 3);
            let least = AGAIN.min(Duration::from_secs(u64::try_from(third).unwrap_or(0)));
            least.saturating_sub(now.since(at))
        });
        due.max(retry).max(renewed).min(LOOK)
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: Mono) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// One succeeded.
    pub(super) fn succeeded(&mut self, now: Mono) {
        *self = Renewal { succeeded: Some(now), ..Renewal::default() };
    }
}

/// Whether so little is left that the owner should look.
pub(crate) fn is_late(validity: Validity, unix_s: i64) -> bool {
    validity.until - unix_s < LATE.min((validity.until - validity.from) / 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000_000 + s))
    }

    const QUARTER: Validity = Validity { from: 0, until: 90 * DAY };

    #[test]
    fn a_third_of_its_life_before_its_end() {
        let renewal = Renewal::default();
        assert_eq!(renewal.wait(None, 0, at(0)), Duration::ZERO, "there is none yet");
        assert_eq!(renewal.wait(Some(QUARTER), DAY, at(0)), LOOK);
        assert_eq!(renewal.wait(Some(QUARTER), 60 * DAY - 60, at(0)), Duration::from_secs(60));
        assert_eq!(renewal.wait(Some(QUARTER), 60 * DAY, at(0)), Duration::ZERO);
        assert_eq!(renewal.wait(Some(QUARTER), 200 * DAY, at(0)), Duration::ZERO, "it ran out");
        // A clock that nobody set yet.
        assert_eq!(renewal.wait(Some(QUARTER), -365 * DAY, at(0)), LOOK);
    }

    #[test]
    fn failures_are_minutes_apart_and_then_hours() {
        let mut renewal = Renewal::default();
        let (mut now, mut attempts) = (0_u64, Vec::new());
        while now < 30 * 86_400 {
            let wait = renewal.wait(None, 0, at(now));
            if wait.is_zero() {
                attempts.push(now);
                renewal.failed(at(now));
            }
            now += wait.as_secs().max(1);
        }
        let minutes: Vec<u64> = attempts.iter().take(5).map(|at| at / 60).collect();
        assert_eq!(minutes, [0, 20, 60, 140, 300]);
        let in_an_hour =
            |from: u64| attempts.iter().filter(|at| (from..from + 3600).contains(at)).count();
        assert!(attempts.iter().all(|at| in_an_hour(*at) <= 2), "{attempts:?}");
        assert!(attempts.len() > 60, "it goes on: {}", attempts.len());
        renewal.succeeded(at(now));
        assert_eq!(renewal.wait(Some(QUARTER), DAY, at(now)), LOOK);
        assert_eq!(renewal.wait(Some(QUARTER), 60 * DAY, at(now + 3 * 86_400)), Duration::ZERO);
    }

    /// The relay's clock runs two months ahead: a new certificate is due at once, and so is the next.
    #[test]
    fn a_wrong_clock_does_not_order_again_and_again() {
        let mut renewal = Renewal::default();
        let (mut now, mut orders) = (0, 0);
        while now < 7 * 86_400 {
            let wait = renewal.wait(Some(QUARTER), 70 * DAY, at(now));
            if wait.is_zero() {
                orders += 1;
                renewal.succeeded(at(now));
            }
            now += wait.as_secs().max(1);
        }
        assert_eq!(orders, 4);
        // Short ones are not held up.
        let minute = Validity { from: 0, until: 60 };
        renewal.succeeded(at(now));
        assert_eq!(renewal.wait(Some(minute), 45, at(now + 45)), Duration::ZERO);
    }

    #[test]
    fn the_owner_hears_of_it_in_time() {
        assert!(!is_late(QUARTER, 82 * DAY));
        assert!(is_late(QUARTER, 84 * DAY));
        let week = Validity { from: 0, until: 6 * DAY };
        assert!(!is_late(week, 4 * DAY), "short ones are renewed every few days");
        assert!(is_late(week, 5 * DAY + 1));
    }
}
