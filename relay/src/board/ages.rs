//! How old a camera's picture was in the last hour. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use ladder::Mono;

/// Length of a step.
pub(crate) const STEP: Duration = Duration::from_secs(30);

/// An hour.
pub(crate) const STEPS: usize = 120;

/// The greatest age in each step; see the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Of the steps before [`Ages::step`], oldest first; `None` where nobody looked, or there was
    /// no picture.
    past: VecDeque<Option<Duration>>,
    step: u64,
    greatest: Option<Duration>,
}

impl Ages {
    /// The picture is `age` old at `now`.
    pub(super) fn record(&mut self, now: Mono, age: Option<Duration>) {
        self.advance(now);
        self.greatest = self.greatest.max(age);
    }

    /// The last [`STEPS`] steps, oldest first, the one that `now` is in included.
    pub(super) fn ages(&mut self, now: Mono) -> Vec<Option<Duration>> {
        self.advance(now);
        let unknown = STEPS.saturating_sub(self.past.len() + 1);
        let past = self.past.iter().copied();
        std::iter::repeat_n(None, unknown).chain(past).chain([self.greatest]).collect()
    }

    fn advance(&mut self, now: Mono) {
        let step = now.since_boot().as_secs() / STEP.as_secs();
        // More than there is room for would only push each other out.
        for _ in self.step.max(step.saturating_sub(STEPS as u64))..step {
            if self.past.len() == STEPS - 1 {
                self.past.pop_front();
            }
            self.past.push_back(self.greatest.take());
        }
        self.step = self.step.max(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(seconds))
    }

    fn ages(history: &mut Ages, now: u64) -> Vec<Option<u64>> {
        history.ages(at(now)).into_iter().map(|age| age.map(|age| age.as_secs())).collect()
    }

    #[test]
    fn the_greatest_age_of_each_step_of_the_last_hour() {
        let mut history = Ages::default();
        let seconds = |s| Some(Duration::from_secs(s));
        for (now, age) in [(1_000_000, 1), (1_000_001, 5), (1_000_002, 2), (1_000_021, 3)] {
            history.record(at(now), seconds(age));
        }
        let found = ages(&mut history, 1_000_021);
        assert_eq!(found.len(), STEPS);
        assert_eq!(found[STEPS - 3..], [None, Some(5), Some(3)]);
        // Nobody looked for two steps.
        history.record(at(1_000_082), None);
        assert_eq!(ages(&mut history, 1_000_082)[STEPS - 4..], [Some(5), Some(3), None, None]);
    }

    #[test]
    fn it_never_holds_more_than_an_hour() {
        let mut history = Ages::default();
        for minute in 0..1_000 {
            history.record(at(minute * 30), Some(Duration::from_secs(minute)));
        }
        assert_eq!(history.past.len(), STEPS - 1);
        assert_eq!(ages(&mut history, 999 * 30)[0], Some(1_000 - STEPS as u64));
        // A jump over years costs nothing.
        history.record(at(1 << 40), Some(Duration::ZERO));
        let found = ages(&mut history, 1 << 40);
        assert_eq!((found.len(), found[STEPS - 2], found[STEPS - 1]), (STEPS, None, Some(0)));
    }
}
