//! How long to wait before the next attempt.
//!
//! Exponential with jitter: the wait doubles from `min` to `max`, and each is drawn from its upper
//! half, so that a thousand cameras don't return in the same instant after a relay's restart, and
//! none ever hammers. It is an endless iterator: `tokio_retry::Retry` takes it as its strategy.

use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits from `min` up to `max` (raised to `min` if it is below); equal seeds give equal waits.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Backoff {
        let max = max.max(min);
        Backoff { min, max, next: min, random: fastrand::Rng::with_seed(seed) }
    }

    /// Begins at `min` again: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let ceiling = self.next;
        self.next = ceiling.saturating_mul(2).min(self.max);
        Some(ceiling.mul_f64(0.5 + self.random.f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_wait_lies_in_the_upper_half_of_its_step(
            min_ms in 1_u64..5_000, max_ms in 1_u64..100_000, seed: u64,
        ) {
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            let mut ceiling = min;
            for wait in Backoff::new(min, max, seed).take(40) {
                prop_assert!(wait <= ceiling && wait >= ceiling / 2, "{wait:?} of {ceiling:?}");
                ceiling = (ceiling * 2).min(max.max(min));
            }
        }
    }

    #[test]
    fn two_seeds_do_not_march_in_step() {
        let waits = |seed| {
            Backoff::new(Duration::from_millis(200), Duration::from_secs(5), seed)
                .take(8)
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_thousand_cameras_do_not_return_in_the_same_moment() {
        // All lost the relay at the same moment, and it is back after 10 s.
        let back = Duration::from_secs(10);
        let returns = (0..1_000).map(|seed| {
            let mut now = Duration::ZERO;
            let waits = Backoff::new(Duration::from_millis(200), Duration::from_secs(2), seed);
            for wait in waits {
                now += wait;
                if now >= back {
                    break;
                }
            }
            now - back
        });
        let mut in_tenth = [0; 20];
        for late in returns {
            in_tenth[usize::try_from(late.as_millis() / 100).unwrap()] += 1;
        }
        assert!(in_tenth.iter().all(|cameras| *cameras <= 150), "{in_tenth:?}");
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5), 1);
        let _ = backoff.by_ref().take(10).count();
        backoff.reset();
        assert!(backoff.next().unwrap() <= Duration::from_millis(200));
    }
}
