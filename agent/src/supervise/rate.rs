//! Frames per second over the last few seconds. Pure: count and time are given.

use std::collections::VecDeque;
use std::time::Duration;

use ladder::Mono;

/// Long enough to be steady, short enough to show a change soon.
const WINDOW: Duration = Duration::from_secs(5);

/// Looks kept, at most: two a second fill the window, and whoever looks more often gets less of it.
const MAX_LOOKS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Rate {
    looks: VecDeque<(Mono, u64)>,
}

impl Rate {
    /// Takes the count so far and returns the rate per second.
    pub(super) fn see(&mut self, now: Mono, count: u64) -> f64 {
        let outdated = |look: &(Mono, u64)| now.since(look.0) > WINDOW;
        while self.looks.len() >= MAX_LOOKS || self.looks.front().is_some_and(outdated) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, count));
        let Some((since, before)) = self.looks.front() else { return 0.0 };
        let seconds = now.since(*since).as_secs_f64();
        let more = u32::try_from(count.saturating_sub(*before)).unwrap_or(u32::MAX);
        if seconds > 0.0 { f64::from(more) / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_last_seconds() {
        let mut rate = Rate::default();
        let mut at = |ms, count| rate.see(Mono::from_boot(Duration::from_millis(ms)), count);
        assert_eq!(at(0, 0), 0.0);
        for tick in 1..=20 {
            assert_eq!(at(tick * 500, tick * 5), 10.0);
        }
        let rates: Vec<_> = (21..=32).map(|tick| at(tick * 500, 100)).collect();
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
        assert_eq!(rates.last(), Some(&0.0));
    }
}
