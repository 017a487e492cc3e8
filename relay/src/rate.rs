//! How many of something may come in a time: frames of a camera, messages of a viewer, guesses from an address. Pure.

use std::time::Duration;

use ladder::Mono;

/// A token bucket.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When the bucket would be full, if nothing is taken. `None`: it is full.
    full_at: Option<Mono>,
}

impl Rate {
    /// Takes the place of one, if there is one: one in `each`, and `burst` at once.
    pub(crate) fn take(&mut self, now: Mono, each: Duration, burst: u32) -> bool {
        let full_at = self.full_after_one(now, each, burst);
        if full_at.is_some() {
            self.full_at = full_at;
        }
        full_at.is_some()
    }

    /// The same for so many a second; whoever was held up may catch up with two seconds' worth at once.
    pub(crate) fn take_per_second(&mut self, now: Mono, max_per_second: u32) -> bool {
        let each = Duration::from_secs(1) / max_per_second.max(1);
        self.take(now, each, max_per_second.saturating_mul(2))
    }

    /// Whether there is a place for one.
    pub(crate) fn is_free(&self, now: Mono, each: Duration, burst: u32) -> bool {
        self.full_after_one(now, each, burst).is_some()
    }

    fn full_after_one(&self, now: Mono, each: Duration, burst: u32) -> Option<Mono> {
        let full_at = self.full_at.filter(|at| *at > now).unwrap_or(now).after(each);
        (full_at.since(now) <= each.saturating_mul(burst)).then_some(full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_time_whatever_is_tried() {
        let at = |ms| Mono::from_boot(Duration::from_millis(5_000 + ms));
        let mut rate = Rate::default();
        let taken = |rate: &mut Rate, from: u64, to: u64| {
            (from..to).filter(|ms| rate.take_per_second(at(*ms), 10)).count()
        };
        // 1000 attempts a second: the burst, and then 10 a second.
        assert_eq!(taken(&mut rate, 0, 1), 1);
        let first = taken(&mut rate, 1, 1_000);
        assert!((28..=30).contains(&first), "{first}");
        assert_eq!(taken(&mut rate, 1_000, 11_000), 100);
        // After a rest the burst is there again.
        let burst = taken(&mut rate, 60_000, 60_100);
        assert!((20..=21).contains(&burst), "{burst}");
    }

    #[test]
    fn a_camera_within_the_limit_never_notices() {
        let mut rate = Rate::default();
        for frame in 0..1_000 {
            assert!(
                rate.take_per_second(Mono::from_boot(Duration::from_millis(frame * 100)), 10),
                "{frame}"
            );
        }
    }
}
