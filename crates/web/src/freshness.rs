//! When a camera's picture is live, stale, frozen or offline. Pure: it is told the time.
//!
//! The three failures look alike to somebody who only sees a still picture, and have different
//! cures, so they are told apart by evidence:
//!
//! * **stale**: no new frame for `stale_after`, or for five of the camera's own intervals if that
//!   is longer;
//! * **frozen**: new frames, but for `frozen_after` and at least `frozen_uploads` of them the same
//!   bytes, from a source that says nothing of repeating itself;
//! * **offline**: no authorised upload at all for `offline_after`, or as soon as the camera counts as
//!   stale if its agent had a connection and has none any more. Never before it is stale: a camera
//!   that sends a picture an hour is not gone between two of them. While an agent is connected, its
//!   camera is not offline.
//!
//! Where several apply, the one that explains the others is named: offline, stale, frozen.
//!
//! What does not belong here: how old a *picture* is. That is a matter of its capture time, stands
//! in every answer, and changes no state: a delayed picture on a slow uplink is still a live camera.

use std::fmt;
use std::time::Duration;

use frame::ContentHash;
use ladder::Mono;

/// How many of its own intervals a camera may miss.
const INTERVALS: u32 = 5;

/// How many gaps between frames are remembered; their median resists single pauses.
const GAPS: usize = 9;

/// A single gap may be an outage; two that agree are a rhythm.
const GAPS_NEEDED: usize = 2;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Without a new frame.
    pub stale_after: Duration,
    /// With the same bytes.
    pub frozen_after: Duration,
    /// And at least in so many frames.
    pub frozen_uploads: u32,
    /// Without any sign of the agent.
    pub offline_after: Duration,
}

impl Limits {
    /// The relay's, unless it is configured otherwise, and the agent's own viewer's.
    pub const USUAL: Limits = Limits {
        stale_after: Duration::from_secs(10),
        frozen_after: Duration::from_secs(15),
        frozen_uploads: 5,
        offline_after: Duration::from_secs(60),
    };
}

/// What a viewer is told about a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No picture yet.
    Empty,
    /// A new one came lately.
    Live,
    /// None came lately.
    Stale,
    /// They come, and are all the same.
    Frozen,
    /// Nothing comes at all.
    Offline,
}

impl State {
    /// All of them.
    pub const ALL: [State; 5] =
        [State::Empty, State::Live, State::Stale, State::Frozen, State::Offline];

    /// The word in headers, status and log.
    pub const fn word(self) -> &'static str {
        match self {
            State::Empty => "empty",
            State::Live => "live",
            State::Stale => "stale",
            State::Frozen => "frozen",
            State::Offline => "offline",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was seen of a camera. `None` times are before anybody remembers.
#[derive(Debug, Clone, Default)]
pub struct Signs {
    has_picture: bool,
    heard: Option<Mono>,
    /// WebSockets of agents that are open.
    attached: usize,
    /// The last of them was closed, and nothing was heard since.
    left: bool,
    shown: Option<Mono>,
    gaps: Vec<Duration>,
    same: Option<Same>,
}

/// A row of frames with equal content.
#[derive(Debug, Clone, Copy)]
struct Same {
    hash: ContentHash,
    first: Mono,
    last: Mono,
    uploads: u32,
}

impl Signs {
    /// An authorised upload began: somebody is there.
    pub fn heard(&mut self, now: Mono) {
        self.heard = Some(now);
        self.left = false;
    }

    /// An agent opened a WebSocket.
    pub fn attach(&mut self, now: Mono) {
        self.attached += 1;
        self.heard(now);
    }

    /// An agent's WebSocket was closed.
    pub fn detach(&mut self, now: Mono) {
        self.attached = self.attached.saturating_sub(1);
        self.heard = Some(now);
        self.left = self.attached == 0;
    }

    /// Who takes the camera's uploads says how its agent stands: something was `heard` of it last, its connection is
    /// open (`attached`), or was closed.
    pub fn told(&mut self, heard: Mono, attached: bool, left: bool, now: Mono) {
        if self.attached > 0 {
            return;
        }
        if attached {
            self.heard(now);
        } else if self.heard.is_none_or(|known| known <= heard) {
            self.heard = Some(heard);
            self.left = left;
        }
    }

    /// How the agent stands: whether its connection is open, was closed and nothing heard since, and when something
    /// was heard.
    pub fn presence(&self) -> (bool, bool, Option<Mono>) {
        (self.attached > 0, self.left, self.heard)
    }

    /// A frame went onto the board.
    pub fn shown(&mut self, now: Mono, hash: ContentHash, may_repeat: bool) {
        if let Some(before) = self.shown.filter(|_| self.has_picture) {
            if self.gaps.len() == GAPS {
                self.gaps.remove(0);
            }
            self.gaps.push(now.since(before));
        }
        self.same = match self.same {
            _ if may_repeat => None,
            Some(same) if same.hash == hash => {
                Some(Same { last: now, uploads: same.uploads.saturating_add(1), ..same })
            }
            _ => Some(Same { hash, first: now, last: now, uploads: 1 }),
        };
        self.has_picture = true;
        self.heard(now);
        self.shown = Some(now);
    }

    /// A frame that an earlier process had received at `arrived`, as far as that is known.
    pub fn restored(arrived: Option<Mono>) -> Signs {
        Signs { has_picture: true, heard: arrived, shown: arrived, ..Signs::default() }
    }

    /// The state at `now`.
    pub fn state(&self, now: Mono, limits: &Limits) -> State {
        let patience = self.patience(limits);
        let beyond = |last: Option<Mono>, limit| last.is_none_or(|last| now.since(last) > limit);
        if !self.has_picture {
            State::Empty
        } else if self.attached == 0
            && (beyond(self.heard, limits.offline_after.max(patience))
                || (self.left && beyond(self.shown, patience)))
        {
            State::Offline
        } else if beyond(self.shown, patience) {
            State::Stale
        } else if self.repeats(limits) {
            State::Frozen
        } else {
            State::Live
        }
    }

    /// How long a new frame may take.
    pub fn patience(&self, limits: &Limits) -> Duration {
        let gap = self.gap().unwrap_or_default();
        limits.stale_after.max(gap * INTERVALS)
    }

    /// The time between two frames, as it was lately; `None` as long as there is no rhythm.
    pub fn gap(&self) -> Option<Duration> {
        let mut gaps = self.gaps.clone();
        if gaps.len() < GAPS_NEEDED {
            return None;
        }
        gaps.sort_unstable();
        // The lower one of the two in the middle: doubt speaks for the shorter patience.
        gaps.get((gaps.len() - 1) / 2).copied()
    }

    /// For how long every frame had the same content; `None` if it may, or there is no frame.
    pub fn unchanged(&self, now: Mono) -> Option<Duration> {
        self.same.map(|same| now.since(same.first))
    }

    fn repeats(&self, limits: &Limits) -> bool {
        self.same.is_some_and(|same| {
            same.uploads >= limits.frozen_uploads
                && same.last.since(same.first) >= limits.frozen_after
        })
    }
}

#[cfg(test)]
mod tests;
