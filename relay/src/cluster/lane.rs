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

/// What a picture is taken to have before anybody said.
const USUAL_BYTES: usize = 64 << 10;

/// After an answer that was no help; a replica of the stream is a few ms behind the one that announced.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// What the stream is known to hold of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Its number in the stream.
    pub number: u64,
    pub placed: Placed,
    /// It is not for everybody.
    pub private: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lane {
    /// The number of the newest message that the stream is known to hold; 0: none.
    known: u64,
    /// That message, if it is a frame.
    message: Option<Message>,
    publishing: bool,
    /// The stream holds something else than was known.
    astray: bool,
    fetches: u32,
    /// What was known when it was fetched last.
    asked: u64,
    /// What came of it: there is nothing more to be had of it.
    got: u64,
    /// How large its pictures are.
    bytes: usize,
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

/// What came of asking for the newest message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Frame(Message),
    /// What can't be read: the next frame replaces it.
    NoFrame(u64),
    /// The stream has none.
    Nothing,
    /// No answer.
    Silence,
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is all that there is.
    Done,
    /// The stream has less than was announced: what was announced can't be had any more.
    Retract,
    /// It was no help; to be asked again after so long.
    Again(Duration),
}

impl Default for Lane {
    fn default() -> Self {
        Lane {
            known: 0,
            message: None,
            publishing: false,
            astray: false,
            fetches: 0,
            asked: 0,
            got: 0,
            bytes: USUAL_BYTES,
            pause: PAUSE_MIN,
            not_before: None,
        }
    }
}

impl Lane {
    /// The stream announces a message with a picture of so many bytes, if it says so.
    pub(super) fn announced(&mut self, message: Message, bytes: Option<usize>) -> Heard {
        if message.number < self.known {
            return Heard::Again;
        }
        // Of its own it knows by the acknowledgement, as a rule.
        self.know(message);
        self.bytes = bytes.unwrap_or(self.bytes);
        Heard::New
    }

    /// How large the next picture is, as far as is known.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The stream holds a message that is no frame: the next frame replaces it.
    pub(super) fn unreadable(&mut self, number: u64) {
        if number >= self.known {
            (self.known, self.message, self.astray) = (number, None, false);
        }
    }

    fn know(&mut self, message: Message) {
        (self.known, self.message) = (message.number, Some(message));
        self.astray = false;
    }

    /// What to do with a frame of this place, which is private or not. [`Publish::Against`] counts as begun.
    pub(super) fn publish(&mut self, waiting: &Placed, private: bool, now_us: i64) -> Publish {
        if self.publishing || self.astray {
            return Publish::Wait;
        }
        if let Some(message) = self.message
            && !waiting.supersedes(&message.placed, now_us)
            // The same, but for whom it is.
            && !(message.placed == *waiting && message.private != private)
        {
            return Publish::Drop;
        }
        self.publishing = true;
        Publish::Against(self.known)
    }

    /// The stream has it.
    pub(super) fn published(&mut self, message: Message) {
        self.publishing = false;
        if message.number > self.known {
            self.know(message);
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
        let more = self.known > self.got || self.known == 0;
        let may = match self.fetches {
            0 => true,
            under_way => under_way < MOST_FETCHES && self.known > self.asked,
        };
        let rested = self.not_before.is_none_or(|at| now >= at);
        let fetch = ((wanted && more) || self.astray) && may && rested;
        if fetch {
            self.fetches += 1;
            self.asked = self.known;
        }
        fetch
    }

    /// An answer came, or none.
    pub(super) fn fetched(&mut self, got: Got, now: Mono) -> Then {
        self.fetches = self.fetches.saturating_sub(1);
        let then = match got {
            Got::Frame(message) if message.number >= self.known => {
                let announced = self.message.filter(|known| known.number == message.number);
                self.know(message);
                self.got = message.number;
                if announced.is_some_and(|known| known.placed == message.placed) {
                    Then::Done
                } else {
                    Then::Retract
                }
            }
            Got::NoFrame(number) if number >= self.known => {
                self.unreadable(number);
                self.got = number;
                Then::Done
            }
            Got::Nothing if self.astray || self.known == 0 => {
                (self.known, self.message, self.astray) = (0, None, false);
                Then::Retract
            }
            // A replica that lags, if others say that there is something; or nobody answers.
            Got::Frame(_) | Got::NoFrame(_) | Got::Nothing | Got::Silence => {
                let pause = self.pause;
                self.pause = pause.saturating_mul(2).min(PAUSE_MAX);
                self.not_before = Some(now.after(pause));
                return Then::Again(pause);
            }
        };
        (self.pause, self.not_before) = (PAUSE_MIN, None);
        then
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

    fn message(number: u64, us: i64) -> Message {
        Message { number, placed: placed(us), private: false }
    }

    fn publish(lane: &mut Lane, us: i64) -> Publish {
        lane.publish(&placed(us), false, NOW_US)
    }

    #[test]
    fn one_is_published_after_the_other_each_against_the_last() {
        let mut lane = Lane::default();
        assert_eq!(publish(&mut lane, 1), Publish::Against(0));
        assert_eq!(publish(&mut lane, 2), Publish::Wait, "one at a time");
        lane.published(message(7, 1));
        assert_eq!(lane.announced(message(7, 1), None), Heard::New, "after the acknowledgement");
        assert_eq!(publish(&mut lane, 2), Publish::Against(7));
        assert_eq!(lane.announced(message(8, 2), None), Heard::New, "before it");
        lane.published(message(8, 2));
        assert_eq!(publish(&mut lane, 2), Publish::Drop, "it is there already");
    }

    #[test]
    fn the_older_of_two_never_replaces_the_newer() {
        let mut lane = Lane::default();
        assert_eq!(publish(&mut lane, 5), Publish::Against(0));
        // Another relay was faster.
        lane.refused();
        assert_eq!(publish(&mut lane, 5), Publish::Wait, "until it is known what is there");
        assert!(lane.fetch(false, at(0)), "it looks");
        lane.fetched(Got::Frame(message(3, 6)), at(1));
        assert_eq!(publish(&mut lane, 5), Publish::Drop);
        assert_eq!(publish(&mut lane, 7), Publish::Against(3));
        // What was taken away by somebody is no reason to wait for ever.
        lane.refused();
        assert!(lane.fetch(false, at(2)));
        assert_eq!(lane.fetched(Got::Nothing, at(3)), Then::Retract);
        assert_eq!(publish(&mut lane, 7), Publish::Against(0));
    }

    #[test]
    fn a_frame_is_published_again_when_only_whom_it_is_for_has_changed() {
        let mut lane = Lane::default();
        lane.announced(message(3, 6), None);
        assert_eq!(publish(&mut lane, 6), Publish::Drop);
        assert_eq!(lane.publish(&placed(6), true, NOW_US), Publish::Against(3));
        lane.published(Message { private: true, ..message(4, 6) });
        assert_eq!(lane.publish(&placed(6), true, NOW_US), Publish::Drop);
        assert_eq!(lane.publish(&placed(5), false, NOW_US), Publish::Drop, "an older one");
    }

    #[test]
    fn old_announcements_are_known_as_such() {
        let mut lane = Lane::default();
        assert_eq!(lane.announced(message(9, 9), None), Heard::New);
        assert_eq!(lane.announced(message(8, 8), None), Heard::Again);
        assert_eq!(publish(&mut lane, 8), Publish::Drop);
        assert_eq!(publish(&mut lane, 10), Publish::Against(9));
    }

    #[test]
    fn what_is_no_frame_is_replaced() {
        let mut lane = Lane::default();
        lane.announced(message(9, 9), None);
        lane.unreadable(10);
        assert_eq!(publish(&mut lane, 1), Publish::Against(10));
        lane.refused();
        assert!(lane.fetch(false, at(0)));
        assert_eq!(lane.fetched(Got::NoFrame(11), at(1)), Then::Done);
        assert!(!lane.fetch(true, at(500)), "it gets no better");
        assert_eq!(publish(&mut lane, 1), Publish::Against(11));
        lane.unreadable(3);
        lane.published(message(12, 1));
        assert_eq!(publish(&mut lane, 2), Publish::Against(12));
    }

    #[test]
    fn the_newest_is_fetched_and_two_at_most_are_under_way() {
        let mut lane = Lane::default();
        lane.announced(message(1, 1), Some(5_000));
        assert_eq!(lane.bytes(), 5_000);
        assert!(!lane.fetch(false, at(0)), "nobody looks");
        assert!(lane.fetch(true, at(0)));
        assert!(!lane.fetch(true, at(0)), "nothing newer is known");
        lane.announced(message(2, 2), None);
        assert!(lane.fetch(true, at(1)));
        lane.announced(message(3, 3), None);
        assert!(!lane.fetch(true, at(2)), "two are under way");
        let then = lane.fetched(Got::Frame(message(3, 3)), at(3));
        assert_eq!(then, Then::Done, "the newest, not the one asked for");
        assert!(!lane.fetch(true, at(3)), "there is nothing more");
    }

    #[test]
    fn a_stream_that_holds_less_than_was_announced_is_asked_once() {
        let mut lane = Lane::default();
        lane.announced(message(5, 5), None);
        assert!(lane.fetch(true, at(0)));
        // It was lost, and a relay put back what it had kept.
        assert_eq!(lane.fetched(Got::Frame(message(6, 4)), at(1)), Then::Retract);
        assert!(!lane.fetch(true, at(2)));
        lane.announced(message(7, 8), None);
        assert!(lane.fetch(true, at(3)));
        let mut empty = Lane::default();
        assert!(empty.fetch(true, at(0)), "announced by an earlier connection");
        assert_eq!(empty.fetched(Got::Nothing, at(1)), Then::Retract);
    }

    #[test]
    fn an_answer_older_than_what_was_announced_is_asked_for_again_soon_and_then_less_often() {
        let mut lane = Lane::default();
        lane.announced(message(5, 5), None);
        assert!(lane.fetch(true, at(0)));
        let again = |ms| Then::Again(Duration::from_millis(ms));
        assert_eq!(lane.fetched(Got::Frame(message(4, 4)), at(1)), again(5));
        assert!(!lane.fetch(true, at(5)));
        assert!(lane.fetch(true, at(6)));
        assert_eq!(lane.fetched(Got::Nothing, at(7)), again(10));
        assert!(lane.fetch(true, at(17)));
        assert_eq!(lane.fetched(Got::Silence, at(18)), again(20));
        assert!(lane.fetch(true, at(38)));
        assert_eq!(lane.fetched(Got::Frame(message(5, 5)), at(39)), Then::Done);
        lane.announced(message(6, 6), None);
        assert!(lane.fetch(true, at(39)), "all is well again");
    }
}
