//! Trouble that lasts: entered once, said once, left by evidence.
//!
//! A loop that fails ten times a second must not write ten lines a second. It tells its episode
//! about every failure and every success, and logs only what comes back. A cause that changes is
//! said anew, but not more often than once per `spacing`, so that a flapping fault fills no disk.

use std::time::Duration;

use crate::Mono;

/// See the module's documentation. `C` is the cause.
#[derive(Debug, Clone)]
pub struct Episode<C> {
    spacing: Duration,
    open: Option<Open<C>>,
    last_said: Option<Mono>,
}

#[derive(Debug, Clone)]
struct Open<C> {
    since: Mono,
    failures: u64,
    said: Option<C>,
}

/// The trouble is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// How long it has lasted.
    pub lasted: Duration,
    /// Failures since it began, this one included.
    pub failures: u64,
}

impl<C: PartialEq> Episode<C> {
    /// No trouble yet; at most one line per `spacing`.
    pub const fn new(spacing: Duration) -> Episode<C> {
        Episode { spacing, open: None, last_said: None }
    }

    /// It failed because of `cause`. Returns what to log, if this is news.
    pub fn enter(&mut self, now: Mono, cause: C) -> Option<Entered> {
        let open = self.open.get_or_insert(Open { since: now, failures: 0, said: None });
        open.failures += 1;
        let known = open.said.as_ref() == Some(&cause);
        let too_soon = self.last_said.is_some_and(|said| now.since(said) < self.spacing);
        if known || too_soon {
            return None;
        }
        open.said = Some(cause);
        self.last_said = Some(now);
        Some(Entered { lasted: now.since(open.since), failures: open.failures })
    }

    /// It works. Returns how long the trouble lasted, if its beginning was logged.
    pub fn leave(&mut self, now: Mono) -> Option<Duration> {
        let open = self.open.take()?;
        open.said.is_some().then(|| now.since(open.since))
    }

    /// Since when there has been trouble, if there is.
    pub fn since(&self) -> Option<Mono> {
        self.open.as_ref().map(|open| open.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(secs))
    }

    fn said(lasted: u64, failures: u64) -> Option<Entered> {
        Some(Entered { lasted: Duration::from_secs(lasted), failures })
    }

    #[test]
    fn said_once_and_its_end_once() {
        let mut episode = Episode::new(Duration::from_secs(10));
        assert_eq!(episode.leave(at(0)), None);
        assert_eq!(episode.enter(at(1), "refused"), said(0, 1));
        for second in 2..100 {
            assert_eq!(episode.enter(at(second), "refused"), None);
        }
        assert_eq!(episode.since(), Some(at(1)));
        assert_eq!(episode.leave(at(100)), Some(Duration::from_secs(99)));
        assert_eq!(episode.leave(at(101)), None);
    }

    #[test]
    fn a_new_cause_is_news_but_not_too_often() {
        let mut episode = Episode::new(Duration::from_secs(10));
        assert_eq!(episode.enter(at(1), "refused"), said(0, 1));
        assert_eq!(episode.enter(at(2), "timed out"), None);
        assert_eq!(episode.enter(at(11), "timed out"), said(10, 3));
        assert_eq!(episode.enter(at(30), "refused"), said(29, 4));
    }

    #[test]
    fn flapping_is_bounded_by_the_spacing() {
        let mut episode = Episode::new(Duration::from_secs(60));
        let mut lines = 0;
        for second in 0..3600 {
            lines += u32::from(episode.enter(at(second), "refused").is_some());
            lines += u32::from(episode.leave(at(second)).is_some());
        }
        assert_eq!(lines, 2 * 60);
    }
}
