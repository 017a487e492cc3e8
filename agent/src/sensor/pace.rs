//! Which of a camera's pictures to keep: none while it warms up, then as many per second as asked
//! for. Pure: the time comes with the picture.

use std::time::Duration;

/// See the module's documentation. Times are microseconds of any one clock.
#[derive(Debug)]
pub(super) struct Pace {
    configured_us: i64,
    interval_us: i64,
    warm_up_us: i64,
    warm_at: Option<i64>,
    warm: bool,
    due: Option<i64>,
}

impl Pace {
    pub(super) fn new(interval: Duration, warm_up: Duration) -> Self {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        let (interval_us, warm_up_us) = (micros(interval), micros(warm_up));
        Pace {
            configured_us: interval_us,
            interval_us,
            warm_up_us,
            warm_at: None,
            warm: false,
            due: None,
        }
    }

    /// Keeps one picture in `divisor` intervals from now on.
    pub(super) fn slow(&mut self, divisor: u32) {
        self.interval_us = self.configured_us.saturating_mul(i64::from(divisor));
    }

    /// Whether to keep the picture taken at `taken_us`.
    pub(super) fn keep(&mut self, taken_us: i64) -> bool {
        let warm_at = *self.warm_at.get_or_insert(taken_us.saturating_add(self.warm_up_us));
        // Once warm it stays so, wherever the clock jumps.
        self.warm |= taken_us >= warm_at;
        if !self.warm {
            return false;
        }
        let due = self.due.unwrap_or(taken_us);
        // A camera at just the rate asked for jitters around it: half an interval of grace keeps
        // every one of its pictures.
        let grace = self.interval_us / 2;
        let offset = taken_us.saturating_sub(due);
        // A jump of the clock, or a gap: count anew from here.
        let lost = offset.saturating_abs() > self.interval_us.saturating_mul(2);
        if offset < -grace && !lost {
            return false;
        }
        let from = if lost { taken_us } else { due };
        self.due = Some(from.saturating_add(self.interval_us));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(pace: &mut Pace, times: impl IntoIterator<Item = i64>) -> i64 {
        times.into_iter().map(|time| i64::from(pace.keep(time))).sum()
    }

    #[test]
    fn thirty_become_five_and_five_stay_five() {
        for (camera_us, wanted) in [(33_333, 5), (200_000, 5), (100_000, 5), (66_667, 5)] {
            let mut pace = Pace::new(Duration::from_millis(200), Duration::ZERO);
            let per_10_s = kept(&mut pace, (0..10_000_000 / camera_us).map(|n| n * camera_us));
            assert!((per_10_s - wanted * 10).abs() <= 1, "{camera_us}: {per_10_s}");
        }
    }

    #[test]
    fn slowed_down_it_keeps_fewer_and_then_all_again() {
        let mut pace = Pace::new(Duration::from_millis(100), Duration::ZERO);
        let per_10_s =
            |pace: &mut Pace, from: i64| kept(pace, (0..100).map(|n| from + n * 100_000));
        assert_eq!(per_10_s(&mut pace, 0), 100);
        pace.slow(4);
        let slow = per_10_s(&mut pace, 10_000_000);
        assert!((slow - 25).abs() <= 2, "{slow}");
        pace.slow(1);
        let fast = per_10_s(&mut pace, 20_000_000);
        assert!((fast - 100).abs() <= 4, "{fast}");
    }

    #[test]
    fn nothing_is_kept_while_warming_up() {
        let mut pace = Pace::new(Duration::from_millis(100), Duration::from_secs(2));
        assert_eq!(kept(&mut pace, (0..20).map(|n| n * 100_000)), 0);
        assert!(pace.keep(2_000_000));
    }

    #[test]
    fn a_jump_of_the_clock_does_not_stop_it() {
        let mut pace = Pace::new(Duration::from_millis(100), Duration::ZERO);
        assert!(pace.keep(1_000_000_000));
        assert!(pace.keep(0));
        assert!(pace.keep(100_000));
        assert!(pace.keep(9_000_000_000));
    }

    proptest! {
        #[test]
        fn a_camera_at_the_rate_asked_for_loses_nothing(
            jitter in prop::collection::vec(-8_000_i64..8_000, 1..300),
        ) {
            let mut pace = Pace::new(Duration::from_micros(33_333), Duration::ZERO);
            let times = (0_i64..).zip(&jitter).map(|(n, j)| 100_000 + n * 33_333 + j);
            prop_assert_eq!(kept(&mut pace, times), i64::try_from(jitter.len()).unwrap());
        }
    }
}
