//! What is to be done for one camera on the bus: whether its frame is published, and against what, and whether its
//! newest picture is fetched. Pure.
//!
//! A frame is published against the one that the stream is known to hold, so of two relays with a frame of the same
//! camera one is refused; it looks what is there, and tries again only if its own is newer. Fetching asks for
//! the newest, whatever number that has: a relay behind a thin link skips frames, and is never late by a queue.

use std::time::Duration;

use ladder::Mono;

use crate::ingest::admit::Placed;

/// Requests for one camera's picture at the same time: while one is on its way, the next may be asked for.
const MOST_FETCHES: u32 = 2;

/// After an answer that was no help; a replica of the stream is a few ms behind the one that announced.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lane {
    /// The number of the newest message that the stream is known to hold; 0: none.
    known: u64,
    /// The place of its frame.
    placed: Option<Placed>,
    publishing: bool,
    /// The stream holds something else than was known.
    astray: bool,
    fetches: u32,
    /// What was known when it was fetched last.
    asked: u64,
    pause: Duration,
    not_before: Option<Mono>,
}

/// What to do with a frame that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// It waits on.
    Wait,
    /// The stream has a newer one, or this one.
    Drop,
    /// If the stream's newest of this camera is this message.
    Against(u64),
}

/// What an announcement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    New,
    /// It was heard before: the bus repeats itself.
    Again,
}

impl Default for Lane {
    fn default() -> Self {
        Lane {
            known: 0,
            placed: None,
            publishing: false,
            astray: false,
            fetches: 0,
            asked: 0,
            pause: PAUSE_MIN,
            not_before: None,
        }
    }
}

impl Lane {
    /// The stream announces a message.
    pub(super) fn announced(&mut self, number: u64, placed: Placed) -> Heard {
        if number < self.known {
            return Heard::Again;
        }
        // Of its own it knows by the acknowledgement, as a rule.
        self.know(number, placed);
        Heard::New
    }

    /// The stream holds a message that is no frame: the next frame replaces it.
    pub(super) fn unreadable(&mut self, number: u64) {
        if number >= self.known {
            (self.known, self.placed, self.astray) = (number, None, false);
        }
    }

    fn know(&mut self, number: u64, placed: Placed) {
        (self.known, self.placed) = (number, Some(placed));
        self.astray = false;
    }

    /// What to do with a frame of this place. [`Publish::Against`] counts as begun.
    pub(super) fn publish(&mut self, waiting: &Placed, now_us: i64) -> Publish {
        if self.publishing || self.astray {
            return Publish::Wait;
        }
        if self.placed.is_some_and(|placed| !waiting.supersedes(&placed, now_us)) {
            return Publish::Drop;
        }
        self.publishing = true;
        Publish::Against(self.known)
    }

    /// The stream has it.
    pub(super) fn published(&mut self, number: u64, placed: Placed) {
        self.publishing = false;
        if number > self.known {
            self.know(number, placed);
        }
    }

    /// The stream holds another than the one it was published against.
    pub(super) fn refused(&mut self) {
        self.publishing = false;
        self.astray = true;
    }

    /// It could not be published; the caller says when to try again.
    pub(super) fn failed(&mut self) {
        self.publishing = false;
    }

    /// Whether to fetch now; `true` counts as begun.
    pub(super) fn fetch(&mut self, wanted: bool, now: Mono) -> bool {
        let may = match self.fetches {
            0 => true,
            under_way => under_way < MOST_FETCHES && self.known > self.asked,
        };
        let rested = self.not_before.is_none_or(|at| now >= at);
        let fetch = (wanted || self.astray) && may && rested;
        if fetch {
            self.fetches += 1;
            self.asked = self.known;
        }
        fetch
    }

    /// The stream gave this message; `None`: it has none. Returns how long to wait before it is asked again, if that
    /// was no help.
    pub(super) fn fetched(&mut self, got: Option<(u64, Placed)>, now: Mono) -> Option<Duration> {
        self.fetches = self.fetches.saturating_sub(1);
        match got {
            Some((number, placed)) if number >= self.known => self.know(number, placed),
            // A replica that lags, if others say that there is something.
            Some(_) => return Some(self.rest(now)),
            None if self.astray => (self.known, self.placed, self.astray) = (0, None, false),
            None => return Some(self.rest(now)),
        }
        (self.pause, self.not_before) = (PAUSE_MIN, None);
        None
    }

    /// It gave nothing that is of use. Returns how long to wait before it is asked again.
    pub(super) fn not_fetched(&mut self, now: Mono) -> Duration {
        self.fetches = self.fetches.saturating_sub(1);
        self.rest(now)
    }

    fn rest(&mut self, now: Mono) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(PAUSE_MAX);
        self.not_before = Some(now.after(pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::admit::{Stamp, TimeSource};

    const NOW_US: i64 = 1_000_000;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(1_000_000 + ms))
    }

    fn placed(us: i64) -> Placed {
        let stamp = Stamp { unix_us: us, source: TimeSource::Captured, seq: 0, boot: None };
        Placed { stamp, arrived_us: us }
    }

    #[test]
    fn one_is_published_after_the_other_each_against_the_last() {
        let mut lane = Lane::default();
        assert_eq!(lane.publish(&placed(1), NOW_US), Publish::Against(0));
        assert_eq!(lane.publish(&placed(2), NOW_US), Publish::Wait, "one at a time");
        lane.published(7, placed(1));
        assert_eq!(lane.announced(7, placed(1)), Heard::New, "its own, after the acknowledgement");
        assert_eq!(lane.publish(&placed(2), NOW_US), Publish::Against(7));
        assert_eq!(lane.announced(8, placed(2)), Heard::New, "before it");
        lane.published(8, placed(2));
        assert_eq!(lane.publish(&placed(2), NOW_US), Publish::Drop, "it is there already");
    }

    #[test]
    fn the_older_of_two_never_replaces_the_newer() {
        let mut lane = Lane::default();
        assert_eq!(lane.publish(&placed(5), NOW_US), Publish::Against(0));
        // Another relay was faster.
        lane.refused();
        assert_eq!(
            lane.publish(&placed(5), NOW_US),
            Publish::Wait,
            "until it is known what is there"
        );
        assert!(lane.fetch(false, at(0)), "it looks");
        assert_eq!(lane.fetched(Some((3, placed(6))), at(1)), None);
        assert_eq!(lane.publish(&placed(5), NOW_US), Publish::Drop);
        assert_eq!(lane.publish(&placed(7), NOW_US), Publish::Against(3));
        // What was taken away by somebody is no reason to wait for ever.
        lane.refused();
        assert!(lane.fetch(false, at(2)));
        assert_eq!(lane.fetched(None, at(3)), None);
        assert_eq!(lane.publish(&placed(7), NOW_US), Publish::Against(0));
    }

    #[test]
    fn old_announcements_are_known_as_such() {
        let mut lane = Lane::default();
        assert_eq!(lane.announced(9, placed(9)), Heard::New);
        assert_eq!(lane.announced(8, placed(8)), Heard::Again);
        assert_eq!(lane.publish(&placed(8), NOW_US), Publish::Drop);
        assert_eq!(lane.publish(&placed(10), NOW_US), Publish::Against(9));
    }

    #[test]
    fn what_is_no_frame_is_replaced() {
        let mut lane = Lane::default();
        lane.announced(9, placed(9));
        lane.unreadable(10);
        assert_eq!(lane.publish(&placed(1), NOW_US), Publish::Against(10));
        lane.refused();
        assert!(lane.fetch(false, at(0)));
        lane.unreadable(11);
        lane.not_fetched(at(1));
        assert_eq!(lane.publish(&placed(1), NOW_US), Publish::Against(11));
        lane.unreadable(3);
        lane.published(12, placed(1));
        assert_eq!(lane.publish(&placed(2), NOW_US), Publish::Against(12));
    }

    #[test]
    fn the_newest_is_fetched_and_two_at_most_are_under_way() {
        let mut lane = Lane::default();
        lane.announced(1, placed(1));
        assert!(!lane.fetch(false, at(0)), "nobody looks");
        assert!(lane.fetch(true, at(0)));
        assert!(!lane.fetch(true, at(0)), "nothing newer is known");
        lane.announced(2, placed(2));
        assert!(lane.fetch(true, at(1)));
        lane.announced(3, placed(3));
        assert!(!lane.fetch(true, at(2)), "two are under way");
        assert_eq!(
            lane.fetched(Some((3, placed(3))), at(3)),
            None,
            "the newest, not the one asked for"
        );
        assert!(!lane.fetch(false, at(3)));
    }

    #[test]
    fn an_answer_older_than_what_was_announced_is_asked_for_again_soon_and_then_less_often() {
        let mut lane = Lane::default();
        lane.announced(5, placed(5));
        assert!(lane.fetch(true, at(0)));
        assert_eq!(lane.fetched(Some((4, placed(4))), at(1)), Some(Duration::from_millis(5)));
        assert!(!lane.fetch(true, at(5)));
        assert!(lane.fetch(true, at(6)));
        assert_eq!(lane.fetched(None, at(7)), Some(Duration::from_millis(10)));
        assert!(lane.fetch(true, at(17)));
        assert_eq!(lane.not_fetched(at(18)), Duration::from_millis(20));
        assert!(lane.fetch(true, at(38)));
        assert_eq!(lane.fetched(Some((5, placed(5))), at(39)), None);
        lane.announced(6, placed(6));
        assert!(lane.fetch(true, at(39)), "all is well again");
    }
}
