//! What is known of a camera whose frames other relays take: that a newer frame exists, before, or without, its picture.
//!
//! A relay hears of every frame of every camera, and has the pictures of those that somebody watches here
//! (`cluster/`). States and ages come from what was heard; what is shown comes with its own age, and a picture that is
//! missing for too long while somebody looks is *stale*, whatever was heard.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frame::{CameraId, ContentHash};
use ladder::Mono;
use tokio::sync::Notify;
use web::freshness::{Limits, Signs, State};

use super::Now;
use super::held::{self, Held};
use crate::ingest::admit::{Placed, TimeSource};

/// A frame that another relay took.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub placed: Placed,
    pub hash: ContentHash,
    pub may_repeat: bool,
    /// The relay that took it; `None` is this one, which has lost it.
    pub home: Option<Arc<str>>,
}

/// What is known of the newest frame, whether its picture is here or not.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub age: Duration,
    pub seq: u64,
    pub source: TimeSource,
    /// µs since the Unix epoch.
    pub unix_us: i64,
    /// The relay that took it; `None` is this one.
    pub home: Option<Arc<str>>,
}

impl Newest {
    /// The capture time as viewers see it.
    pub(crate) fn captured_at(&self) -> String {
        held::shown_time(self.unix_us)
    }
}

/// How an agent stands with the relay that it uploads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Its connection is open.
    pub attached: bool,
    /// It was closed, and nothing was heard since.
    pub left: bool,
    /// How long ago something was heard.
    pub heard_ago: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub signs: Signs,
    announced: Option<(Announced, Now)>,
    /// Since when a picture that was announced is missing, and somebody waits for it.
    missing: Option<Mono>,
    starts: Starts,
    /// The place of one whose picture is no good: it will not come.
    refused: Option<Placed>,
    /// Whoever takes its frames can't be heard, and it was not offline before.
    pub unsure: bool,
}

/// Which starts of an agent frames came from. One that is over never comes back; where two take turns, two agents have
/// one name, and what is shown jumps between them.
#[derive(Debug, Default)]
struct Starts {
    now: Option<u64>,
    before: Option<u64>,
    turns: u32,
}

/// So often may one come back: a frame that was on its way for long.
const TURNS: u32 = 3;

impl Starts {
    fn saw(&mut self, boot: Option<u64>) {
        if boot.is_none() || boot == self.now {
            return;
        }
        self.turns += u32::from(boot == self.before && self.turns < TURNS);
        (self.before, self.now) = (self.now, boot);
    }
}

impl Known {
    /// A frame of this start of its agent is the newest.
    pub(super) fn saw(&mut self, boot: Option<u64>) {
        self.starts.saw(boot);
    }

    /// Whether two agents have this camera's name.
    pub(super) fn has_two_agents(&self) -> bool {
        self.starts.turns >= TURNS
    }

    /// The frame that was announced, if its picture is not here.
    fn ahead(&self, held: Option<&Held>) -> Option<&(Announced, Now)> {
        let newer = |announced: &Announced, at: &Now| {
            held.is_none_or(|held| announced.placed.supersedes(&held.placed(), at.unix_us))
        };
        self.announced.as_ref().filter(|(announced, at)| newer(announced, at))
    }

    pub(super) fn is_behind(&self, held: Option<&Held>) -> bool {
        self.ahead(held).is_some()
    }

    /// Whether the picture that is missing may still come.
    pub(super) fn waits(&self, held: Option<&Held>) -> bool {
        self.ahead(held).is_some_and(|(announced, _)| Some(announced.placed) != self.refused)
    }

    /// The picture at this place is no good.
    pub(super) fn refuse(&mut self, placed: Placed) {
        self.refused = Some(placed);
    }

    /// The place of the newest frame that is known of.
    pub(super) fn placed(&self, held: Option<&Held>) -> Option<Placed> {
        let ahead = self.ahead(held).map(|(announced, _)| announced.placed);
        ahead.or_else(|| held.map(Held::placed))
    }

    pub(super) fn newest(&self, held: Option<&Held>, now: Mono) -> Option<Newest> {
        let Some((Announced { placed, home, .. }, at)) = self.ahead(held) else {
            return held.map(|held| Newest {
                age: held.age(now),
                seq: held.frame.seq,
                source: held.source,
                unix_us: held.frame.captured.unix_us,
                home: held.home.clone(),
            });
        };
        let then = held::between(placed.stamp.unix_us, at.unix_us).unwrap_or_default();
        Some(Newest {
            age: then.saturating_add(now.since(at.mono)),
            seq: placed.stamp.seq,
            source: placed.stamp.source,
            unix_us: placed.stamp.unix_us,
            home: home.clone(),
        })
    }

    /// Another relay has this frame; `false` if it is no news. One that was announced to others `earlier` says nothing
    /// about now.
    pub(super) fn announce(
        &mut self,
        announced: Announced,
        held: Option<&Held>,
        earlier: bool,
        now: Now,
    ) -> bool {
        let known = self.placed(held);
        if known.is_some_and(|known| !announced.placed.supersedes(&known, now.unix_us)) {
            return false;
        }
        let arrived = held::moment(announced.placed.arrived_us, now);
        match (earlier, arrived) {
            (false, _) => self.signs.shown(now.mono, announced.hash, announced.may_repeat),
            (true, Some(at)) if known.is_some() => {
                self.signs.shown(at, announced.hash, announced.may_repeat);
            }
            // Nobody remembers what was before.
            (true, _) => self.signs = Signs::restored(arrived),
        }
        self.saw(announced.placed.stamp.boot);
        self.missing.get_or_insert(now.mono);
        self.announced = Some((announced, now));
        true
    }

    /// What was announced can't be had any more; what can is at this place, if anywhere.
    pub(super) fn retract(&mut self, there: Option<Placed>, now_us: i64) {
        let gone = |announced: &Announced| {
            there.is_none_or(|there| announced.placed.supersedes(&there, now_us))
        };
        if self.announced.as_ref().is_some_and(|(announced, _)| gone(announced)) {
            (self.announced, self.missing) = (None, None);
        }
    }

    /// Whoever takes its frames has not been heard since then: what was not offline is not called so meanwhile.
    pub(super) fn unsure(&mut self, since: Mono, limits: &Limits) {
        self.unsure |= self.signs.state(since, limits) != State::Offline;
    }

    /// Somebody begins to look: what was not fetched before is not late.
    pub(super) fn begins(&mut self, now: Mono) {
        self.missing = self.missing.map(|_| now);
    }

    /// Another picture is shown.
    pub(super) fn shows(&mut self, held: &Held, now: Mono) {
        self.missing = self.is_behind(Some(held)).then_some(now);
    }

    /// The state; for those who look, if `waits` says whether what is missing may still come.
    pub(super) fn state(&self, now: Mono, limits: &Limits, waits: Option<bool>) -> State {
        let late = |since: Mono| waits.is_some_and(|w| !w || now.since(since) > limits.stale_after);
        match self.signs.state(now, limits) {
            State::Live | State::Frozen if self.missing.is_some_and(late) => State::Stale,
            State::Offline if self.unsure => State::Stale,
            state
            @ (State::Empty | State::Live | State::Stale | State::Frozen | State::Offline) => state,
        }
    }
}

/// Cameras of which somebody is to hear, each once until it looks. As many as there are, at most.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    ids: Mutex<BTreeSet<CameraId>>,
    noted: Notify,
}

impl Noted {
    pub(crate) fn note(&self, id: &CameraId) {
        if self.ids().insert(id.clone()) {
            self.noted.notify_one();
        }
    }

    /// Waits for some.
    pub(crate) async fn next(&self) -> BTreeSet<CameraId> {
        loop {
            let noted = self.noted.notified();
            let ids = std::mem::take(&mut *self.ids());
            if !ids.is_empty() {
                return ids;
            }
            noted.await;
        }
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<CameraId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cameras that somebody looks at here whose picture is elsewhere; read by whoever fetches them.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Whether anybody can fetch now.
    open: AtomicBool,
    asked: Noted,
}

impl Wanted {
    /// Says whether pictures can be had.
    pub(crate) fn open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn ask(&self, id: &CameraId) {
        self.asked.note(id);
    }

    /// Waits for somebody to ask.
    pub(crate) async fn next(&self) -> BTreeSet<CameraId> {
        self.asked.next().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use frame::Picture;

    use super::*;
    use crate::ingest::admit::Stamp;

    const EPOCH_US: i64 = 1_700_000_000_000_000;

    fn now(s: u64) -> Now {
        Now {
            mono: Mono::from_boot(Duration::from_secs(1_000 + s)),
            unix_us: EPOCH_US + i64::try_from(s).unwrap() * 1_000_000,
        }
    }

    fn picture() -> Picture {
        Picture::accept(Bytes::from_static(include_bytes!(
            "../../../crates/web/assets/no-picture-yet.jpeg"
        )))
        .unwrap()
    }

    fn placed(s: u64) -> Placed {
        let us = now(s).unix_us;
        let stamp = Stamp { unix_us: us, source: TimeSource::Captured, seq: s, boot: None };
        Placed { stamp, arrived_us: us }
    }

    fn announced(s: u64) -> Announced {
        let (hash, home) = (picture().hash(), Some("b".into()));
        Announced { placed: placed(s), hash, may_repeat: true, home }
    }

    fn held(s: u64) -> Held {
        let fetched = announced(s);
        Held::fetched(CameraId::default(), picture(), &fetched, now(s))
    }

    #[test]
    fn what_was_heard_makes_it_live_and_its_age_is_that_frames() {
        let mut known = Known::default();
        assert!(known.announce(announced(0), None, true, now(20)));
        assert_eq!(
            known.state(now(20).mono, &Limits::USUAL, None),
            State::Stale,
            "it was long ago"
        );
        assert!(known.announce(announced(30), None, false, now(30)));
        assert_eq!(known.state(now(31).mono, &Limits::USUAL, None), State::Live);
        let newest = known.newest(None, now(32).mono).unwrap();
        assert_eq!((newest.age, newest.home.as_deref()), (Duration::from_secs(2), Some("b")));
    }

    #[test]
    fn older_announcements_change_nothing() {
        let mut known = Known::default();
        let held = held(10);
        assert!(!known.announce(announced(9), Some(&held), false, now(11)));
        assert!(!known.announce(announced(10), Some(&held), false, now(11)), "the same");
        assert!(!known.is_behind(Some(&held)));
        assert!(known.announce(announced(12), Some(&held), false, now(12)));
        assert!(!known.announce(announced(11), Some(&held), false, now(13)));
        assert_eq!(known.placed(Some(&held)), Some(placed(12)));
    }

    #[test]
    fn a_picture_that_does_not_come_is_stale_for_those_who_look() {
        let mut known = Known::default();
        let old = held(0);
        for s in 1..=20 {
            assert!(known.announce(announced(s), Some(&old), false, now(s)));
        }
        let state = |known: &Known, s, waits| known.state(now(s).mono, &Limits::USUAL, waits);
        assert_eq!(state(&known, 20, None), State::Live, "nobody looks");
        assert_eq!(state(&known, 20, Some(true)), State::Stale, "the picture is 20 s behind");
        known.begins(now(20).mono);
        assert_eq!(state(&known, 20, Some(true)), State::Live, "they have only begun");
        assert_eq!(state(&known, 20, Some(false)), State::Stale, "and nobody can fetch it");
        known.shows(&held(19), now(20).mono);
        assert!(known.is_behind(Some(&held(19))));
        known.shows(&held(20), now(20).mono);
        assert!(!known.is_behind(Some(&held(20))));
        assert_eq!(state(&known, 29, Some(true)), State::Live);
    }

    #[test]
    fn what_was_announced_and_is_gone_is_waited_for_no_longer() {
        let mut known = Known::default();
        known.announce(announced(20), None, false, now(20));
        let there = held(10);
        known.retract(Some(placed(20)), now(21).unix_us);
        assert!(known.is_behind(Some(&there)), "it is there");
        known.retract(Some(placed(10)), now(21).unix_us);
        assert!(!known.is_behind(Some(&there)));
        assert_eq!(known.placed(Some(&there)), Some(placed(10)));
    }

    #[test]
    fn two_agents_with_one_name_are_known_by_their_turns() {
        let mut starts = Starts::default();
        for boot in [None, Some(1), Some(1), Some(2), Some(3), Some(2), Some(3)] {
            starts.saw(boot);
        }
        assert_eq!(starts.turns, 2, "restarts, and a frame that was late");
        starts.saw(Some(4));
        starts.saw(Some(3));
        starts.saw(Some(4));
        assert_eq!(starts.turns, TURNS);
    }

    #[test]
    fn nobody_waits_for_a_picture_that_is_no_good() {
        let mut known = Known::default();
        known.announce(announced(5), None, false, now(5));
        assert!(known.waits(None));
        known.refuse(placed(5));
        assert!(known.is_behind(None) && !known.waits(None));
        known.announce(announced(6), None, false, now(6));
        assert!(known.waits(None));
    }

    #[test]
    fn nobody_is_offline_while_nobody_can_be_heard() {
        let mut known = Known::default();
        known.announce(announced(0), None, false, now(0));
        let state = |known: &Known| known.state(now(100).mono, &Limits::USUAL, None);
        known.unsure(now(90).mono, &Limits::USUAL);
        assert_eq!(state(&known), State::Offline, "it was before");
        known.unsure(now(30).mono, &Limits::USUAL);
        known.unsure(now(90).mono, &Limits::USUAL);
        assert_eq!(state(&known), State::Stale);
    }

    #[test]
    fn what_came_before_this_machine_started_is_not_live() {
        let mut known = Known::default();
        let old = held(0);
        let long_ago = Announced {
            placed: Placed { arrived_us: now(1).unix_us - 5_000_000_000, ..placed(1) },
            ..announced(1)
        };
        assert!(known.announce(long_ago, Some(&old), true, now(2)));
        assert_ne!(known.state(now(2).mono, &Limits::USUAL, None), State::Live);
    }

    #[tokio::test]
    async fn who_asks_twice_is_heard_once() {
        let wanted = Wanted::default();
        let (a, b): (CameraId, CameraId) = ("a".parse().unwrap(), "b".parse().unwrap());
        for id in [&a, &b, &a] {
            wanted.ask(id);
        }
        assert_eq!(wanted.next().await, BTreeSet::from([a.clone(), b]));
        wanted.ask(&a);
        assert_eq!(wanted.next().await, BTreeSet::from([a]));
    }
}
