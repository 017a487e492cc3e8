//! When somebody is told of trouble, and of its end. Pure: it is told the time and how things are.
//!
//! * Trouble is told when it has lasted `after`, its end when all has been well for `recovered_after`. What is
//!   over before is never mentioned.
//! * What falls due within a few seconds goes into one message: when the relay's own network fails, or after its
//!   start, that is every camera.
//! * Of one subject there are at most `max_per_hour` messages in any hour. Before the bound is reached it is said
//!   once that it comes and goes; then there is a summary an hour, until it has stayed the same for a while.
//!
//! What is told in the end is always how things are, however often they changed on the way.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use frame::CameraId;
use ladder::Mono;

/// The time that `max_per_hour` is about.
const HOUR: Duration = Duration::from_secs(3600);

/// What comes and goes has to stay the same for so long.
const STEADY: Duration = Duration::from_secs(600);

/// How long the first of several waits for the others.
const GATHER: Duration = Duration::from_secs(5);

/// More outages in an hour are not counted.
const MAX_OUTAGES: usize = 1000;

/// What an earlier process told is not forgotten before, though nothing is seen of a camera: its pictures may be on a
/// disk that is slow, or lost, and then it is there with its next one only.
const AWAITED: Duration = Duration::from_secs(24 * 3600);

/// Two of an hour's messages are kept for saying that it comes and goes, and that it does no more.
const RESERVED: usize = 2;

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub after: Duration,
    pub recovered_after: Duration,
    pub max_per_hour: usize,
}

impl Rules {
    /// How long what comes and goes has to stay the same.
    pub(crate) fn steady(&self) -> Duration {
        STEADY.max(self.after).max(self.recovered_after)
    }
}

/// What can be in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Camera(CameraId),
    /// Of the relay: frames are kept on disk.
    Store,
    /// Of the relay: files are written for a web server.
    Export,
    /// Of the relay: it is valid for long enough.
    Certificate,
    /// Of the relay: frames are shared with all others.
    Cluster,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Stale,
    Frozen,
    Offline,
    /// Of the store, the export or the cluster.
    Degraded,
    /// Of the certificate.
    Expiring,
}

impl Trouble {
    const ALL: [Trouble; 5] =
        [Trouble::Stale, Trouble::Frozen, Trouble::Offline, Trouble::Degraded, Trouble::Expiring];

    /// The word in messages.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Trouble::Stale => "stale",
            Trouble::Frozen => "frozen",
            Trouble::Offline => "offline",
            Trouble::Degraded => "degraded",
            Trouble::Expiring => "expiring",
        }
    }

    /// The one of that word.
    pub(crate) fn of_word(word: &str) -> Option<Trouble> {
        Trouble::ALL.into_iter().find(|trouble| trouble.word() == word)
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub subject: Subject,
    pub what: What,
}

/// See [`Notice`]. `now` is how it is, `None` well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Trouble { now: Trouble, lasted: Duration },
    Again { was: Trouble, lasted: Duration },
    Flapping { now: Option<Trouble>, outages: usize },
    StillFlapping { now: Option<Trouble>, outages: usize },
    Steady { now: Option<Trouble>, lasted: Duration },
}

/// What was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Well,
    Trouble { what: Trouble, since: Mono },
    Flapping,
}

#[derive(Debug)]
struct Watched {
    /// How it is; `None`: well.
    now: Option<Trouble>,
    /// Since when it is just so.
    since: Mono,
    /// Since when it is well, or not.
    turned: Mono,
    told: Told,
    /// Since when it is known from an earlier process only.
    recalled: Option<Mono>,
    /// Messages of the last hour.
    sent: VecDeque<Mono>,
    /// Beginnings of trouble in the last hour.
    outages: VecDeque<Mono>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Damping {
    rules: Rules,
    watched: BTreeMap<Subject, Watched>,
    /// Since when the first of the next message waits.
    gathering: Option<Mono>,
}

impl Damping {
    pub(crate) fn new(rules: Rules) -> Damping {
        Damping { rules, watched: BTreeMap::new(), gathering: None }
    }

    /// An earlier process told this; how long it has been so, nobody saw.
    pub(crate) fn recall(&mut self, at: Mono, subject: Subject, told: Told, sent: VecDeque<Mono>) {
        let (now, since) = match told {
            Told::Trouble { what, since } => (Some(what), since),
            Told::Well | Told::Flapping => (None, at),
        };
        let outages = VecDeque::new();
        let recalled = Some(at);
        let watched = Watched { now, since, turned: since, told, recalled, sent, outages };
        self.watched.insert(subject, watched);
    }

    /// What a later process has to know.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&Subject, Told, &VecDeque<Mono>)> {
        self.watched.iter().map(|(subject, of)| (subject, of.told, &of.sent))
    }

    /// How all subjects are at `now`, and what is told of that in one message. Who is not mentioned is forgotten, unless
    /// it is awaited.
    pub(crate) fn turn(
        &mut self,
        now: Mono,
        all: &BTreeMap<Subject, Option<Trouble>>,
    ) -> Vec<Notice> {
        self.watched.retain(|subject, of| {
            let is_awaited = |at: Mono| now.since(at) < AWAITED;
            all.contains_key(subject) || of.recalled.is_some_and(is_awaited)
        });
        for (subject, is) in all {
            let new = || Watched::new(now);
            self.watched.entry(subject.clone()).or_insert_with(new).see(now, *is);
        }
        if !self.watched.values().any(|of| of.due(now, &self.rules).is_some()) {
            self.gathering = None;
            return Vec::new();
        }
        let gathering = *self.gathering.get_or_insert(now);
        if now.since(gathering) < GATHER.min(self.rules.after) {
            return Vec::new();
        }
        self.gathering = None;
        let mut notices = Vec::new();
        for (subject, of) in &mut self.watched {
            if let Some(what) = of.due(now, &self.rules) {
                of.tell(now, &what);
                notices.push(Notice { subject: subject.clone(), what });
            }
        }
        notices
    }
}

impl Watched {
    fn new(now: Mono) -> Watched {
        let (sent, outages) = Default::default();
        let told = Told::Well;
        Watched { now: None, since: now, turned: now, told, recalled: None, sent, outages }
    }

    fn see(&mut self, now: Mono, is: Option<Trouble>) {
        let within = |at: &Mono| now.since(*at) < HOUR;
        self.sent.retain(within);
        self.outages.retain(within);
        // Nobody saw it in between: health has lasted from now on.
        if self.recalled.take().is_some() && self.now.is_none() {
            (self.since, self.turned) = (now, now);
        }
        if is == self.now {
            return;
        }
        if is.is_some() != self.now.is_some() {
            self.turned = now;
            if is.is_some() && self.outages.len() < MAX_OUTAGES {
                self.outages.push_back(now);
            }
        }
        (self.now, self.since) = (is, now);
    }

    fn due(&self, at: Mono, rules: &Rules) -> Option<What> {
        let (now, lasted, sent) = (self.now, at.since(self.since), self.sent.len());
        let outages = self.outages.len();
        if sent >= rules.max_per_hour || self.recalled.is_some() {
            return None;
        }
        let what = match (self.told, now) {
            (Told::Flapping, now) if lasted >= rules.steady() => {
                return Some(What::Steady { now, lasted });
            }
            // Those of the last hour only are known.
            (Told::Flapping, now) if self.sent.is_empty() => {
                return Some(What::StillFlapping { now, outages });
            }
            (Told::Well, Some(now)) if at.since(self.turned) >= rules.after => {
                What::Trouble { now, lasted: at.since(self.turned) }
            }
            (Told::Trouble { what, since }, Some(now)) if now != what && lasted >= rules.after => {
                What::Trouble { now, lasted: at.since(since) }
            }
            (Told::Trouble { what: was, since }, None) if lasted >= rules.recovered_after => {
                What::Again { was, lasted: self.turned.since(since) }
            }
            _ => return None,
        };
        let flaps = sent + RESERVED >= rules.max_per_hour;
        Some(if flaps { What::Flapping { now, outages } } else { what })
    }

    fn tell(&mut self, at: Mono, what: &What) {
        self.sent.push_back(at);
        self.told = match (what, self.told) {
            // It is the same outage, of another kind.
            (What::Trouble { now, .. }, Told::Trouble { since, .. }) => {
                Told::Trouble { what: *now, since }
            }
            (What::Trouble { now, .. } | What::Steady { now: Some(now), .. }, _) => {
                Told::Trouble { what: *now, since: self.turned }
            }
            (What::Again { .. } | What::Steady { now: None, .. }, _) => Told::Well,
            (What::Flapping { .. } | What::StillFlapping { .. }, _) => Told::Flapping,
        };
    }
}

#[cfg(test)]
mod tests;
