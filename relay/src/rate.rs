//! How many frames a camera may send in a second, or messages a viewer. Pure.

use std::time::Duration;

use ladder::Mono;

/// Whoever was held up may catch up with so many seconds' worth at once.
const BURST: f64 = 2.0;

/// A token bucket.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When the bucket would be full, if nothing is taken. `None`: it is full.
    full_at: Option<Mono>,
}

impl Rate {
    /// Takes the place of one, if there is one.
    pub(crate) fn take(&mut self, now: Mono, max_per_second: u32) -> bool {
        let full_at = self.full_after_one(now, max_per_second);
        if full_at.is_some() {
            self.full_at = full_at;
        }
        full_at.is_some()
    }

    /// Whether there is a place for one.
    pub(crate) fn is_free(&self, now: Mono, max_per_second: u32) -> bool {
        self.full_after_one(now, max_per_second).is_some()
    }

    fn full_after_one(&self, now: Mono, max_per_second: u32) -> Option<Mono> {
        let each = Duration::from_secs(1) / max_per_second.max(1);
        let full_at = self.full_at.filter(|at| *at > now).unwrap_or(now).after(each);
        (full_at.since(now).as_secs_f64() <= BURST).then_some(full_at)
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
            (from..to).filter(|ms| rate.take(at(*ms), 10)).count()
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
            assert!(rate.take(Mono::from_boot(Duration::from_millis(frame * 100)), 10), "{frame}");
        }
    }
}
