//! A ladder: cures of one organ, from the cheapest to the most drastic, one at a time.
//!
//! It is told the time and what is seen of the organ, and says what to do. Success is evidence, a frame
//! or an acknowledged upload, and never an action's exit code; it has to last before it counts. Each
//! rung gets its patience and its tries; when all are climbed, the ladder rests and begins anew, for
//! ever: nobody can climb to where the camera hangs. An organ that falls ill again soon after gets more
//! patience each time, so that a fault that comes and goes is not answered with a storm of cures.

use std::time::Duration;

use crate::Mono;

/// One rung of a ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung<A> {
    /// What is done.
    pub action: A,
    /// How long after it was done the organ may take to get well.
    pub patience: Duration,
    /// How often it is done before the next rung; at least once.
    pub tries: u32,
    /// The shortest time from one climb of this rung to the next, in whatever illness: if it has not
    /// passed, the ladder waits.
    pub cool_down: Duration,
}

/// How an organ is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<A> {
    /// How long it may be ill before anything is done.
    pub detect: Duration,
    /// From the cheapest to the most drastic.
    pub rungs: Vec<Rung<A>>,
    /// How long it has to be well before that counts.
    pub proof: Duration,
    /// How long to wait after the last rung before beginning anew; doubled with each climb in vain, up
    /// to eight times.
    pub rest: Duration,
}

/// What to do, or to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<A> {
    /// Do this, and call [`Ladder::done`] when it is done, or given up.
    Act {
        /// Which rung, from 0.
        rung: usize,
        /// Which try, from 1.
        attempt: u32,
        /// How often the ladder is being climbed in this illness, from 1.
        climb: u32,
        /// What to do.
        action: A,
    },
    /// It is well again.
    Recovered {
        /// The rung that did it, as it seems: the last one, if its patience was not over. `None`: it
        /// got well by itself.
        rung: Option<usize>,
        /// From the first sign of illness to the first of health.
        lasted: Duration,
    },
    /// All rungs were climbed in vain.
    Rests {
        /// Nothing is done for so long.
        rest: Duration,
        /// How often the ladder was climbed in this illness, from 1.
        climb: u32,
    },
}

/// The most that relapses stretch patience by, and climbs in vain the rest after them.
const MAX_STRETCH: u32 = 8;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Ladder<A> {
    plan: Plan<A>,
    state: State,
    /// Relapses stretch patience.
    stretch: u32,
    /// It was well at some time: what is ill from the start has no relapse.
    was_well: bool,
    /// When it recovered last.
    recovered: Option<Mono>,
    /// When each rung was climbed last.
    climbed: Vec<Option<Mono>>,
    /// How often the ladder is being climbed in this illness.
    climb: u32,
    /// Somebody else's trouble explains this organ's; since when.
    held: Option<Mono>,
}

/// A rung, and which of its tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    rung: usize,
    attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Ill since; nothing was done yet.
    Ill {
        since: Mono,
    },
    /// An action is under way.
    Acting {
        since: Mono,
        at: At,
    },
    /// It was done; the organ has until then.
    Waiting {
        since: Mono,
        at: At,
        until: Mono,
        /// Health would be its doing.
        cured: bool,
    },
    /// Well since `well`, and not yet believed.
    Proving {
        since: Mono,
        at: Option<At>,
        /// It got well within that rung's patience.
        cured: bool,
        well: Mono,
        /// All was tried, and nothing was to be done until then.
        rest: Option<Mono>,
    },
    /// All was tried, up to `at`.
    Resting {
        since: Mono,
        at: Option<At>,
        until: Mono,
    },
}

impl<A: Clone> Ladder<A> {
    /// A ladder on its ground.
    pub fn new(plan: Plan<A>) -> Ladder<A> {
        let climbed = vec![None; plan.rungs.len()];
        Ladder {
            plan,
            state: State::Well,
            stretch: 1,
            was_well: false,
            recovered: None,
            climbed,
            climb: 1,
            held: None,
        }
    }

    /// What it climbs.
    pub fn plan(&self) -> &Plan<A> {
        &self.plan
    }

    /// Since when the organ is ill; `None` while it is well.
    pub fn ill_since(&self) -> Option<Mono> {
        match self.state {
            State::Well => None,
            State::Ill { since }
            | State::Acting { since, .. }
            | State::Waiting { since, .. }
            | State::Proving { since, .. }
            | State::Resting { since, .. } => Some(since),
        }
    }

    /// Whether an action is under way.
    pub fn is_acting(&self) -> bool {
        matches!(self.state, State::Acting { .. })
    }

    /// Whether something is being done about it, or was and its patience is not over.
    pub fn is_healing(&self) -> bool {
        matches!(self.state, State::Acting { .. } | State::Waiting { .. })
    }

    /// Whether all was tried in vain.
    pub fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting { .. })
    }

    /// Which rung was climbed last in this illness.
    pub fn rung(&self) -> Option<usize> {
        match self.state {
            State::Well | State::Ill { .. } => None,
            State::Acting { at, .. } | State::Waiting { at, .. } => Some(at.rung),
            State::Proving { at, .. } | State::Resting { at, .. } => at.map(|at| at.rung),
        }
    }

    /// Another organ's trouble explains this one's, or does not any more: time stands still meanwhile.
    pub fn hold(&mut self, now: Mono, hold: bool) {
        match (hold, self.held) {
            (true, None) => self.held = Some(now),
            (false, Some(held)) => {
                self.held = None;
                self.shift(now, held);
            }
            _ => {}
        }
    }

    fn shift(&mut self, now: Mono, held: Mono) {
        let later = |moment: &mut Mono| {
            // What began meanwhile was held from then on only.
            let by = now.since(held.max(*moment));
            *moment = moment.after(by);
        };
        match &mut self.state {
            State::Ill { since } => later(since),
            State::Waiting { since, until, .. } | State::Resting { since, until, .. } => {
                later(since);
                *until = until.after(now.since(held));
            }
            State::Well | State::Acting { .. } | State::Proving { .. } => {}
        }
    }

    /// What was seen so far says nothing any more: if it is ill, it is so from now on, and is climbed from
    /// the ground. What is being done goes on.
    pub fn begin_anew(&mut self, now: Mono) {
        if matches!(self.state, State::Ill { .. } | State::Waiting { .. } | State::Resting { .. }) {
            self.climb = 1;
            self.state = State::Ill { since: now };
        }
    }

    /// The action that was asked for is done, or was given up. If there was nothing to do it to
    /// (`available` is false), there is nothing to wait for either.
    pub fn done(&mut self, now: Mono, available: bool) {
        let State::Acting { since, at } = self.state else { return };
        let Some(rung) = self.plan.rungs.get(at.rung) else { return };
        self.state = if available {
            let until = now.after(rung.patience.saturating_mul(self.stretch));
            State::Waiting { since, at, until, cured: true }
        } else {
            let at = At { attempt: rung.tries.max(1), ..at };
            State::Waiting { since, at, until: now, cured: false }
        };
    }

    /// What is seen of the organ at this moment, and what to do then; rungs that `may` is false for
    /// are left out. To be called again and again.
    pub fn see(&mut self, now: Mono, well: bool, may: impl Fn(&A) -> bool) -> Option<Step<A>> {
        match self.state {
            // One cure at a time: whatever is seen now, it may be its doing.
            State::Acting { .. } => None,
            State::Well if well => {
                self.was_well = true;
                None
            }
            State::Well => {
                self.climb = 1;
                self.relapse(now);
                self.state = State::Ill { since: now };
                self.see(now, well, may)
            }
            State::Proving { since, at, cured, well: first, .. } if well => {
                if now.since(first) < self.plan.proof {
                    return None;
                }
                self.state = State::Well;
                self.recovered = Some(now).filter(|_| self.was_well);
                self.was_well = true;
                let rung = at.filter(|_| cured).map(|at| at.rung);
                Some(Step::Recovered { rung, lasted: first.since(since) })
            }
            State::Proving { since, at, rest, .. } => {
                // It goes on where it was: this health was none. But a hiccup is no reason either.
                let until = now.after(self.plan.detect);
                self.state = match (at, rest) {
                    (at, Some(until)) => State::Resting { since, at, until },
                    (Some(at), None) => State::Waiting { since, at, until, cured: false },
                    (None, None) => State::Ill { since: now },
                };
                None
            }
            State::Ill { since } if well => self.prove(now, since, None, false, None),
            State::Waiting { since, at, cured, .. } if well => {
                self.prove(now, since, Some(at), cured, None)
            }
            State::Resting { since, at, until } if well => {
                self.prove(now, since, at, false, Some(until))
            }
            _ if self.held.is_some() => None,
            State::Ill { since } => {
                let patience = self.plan.detect.saturating_mul(self.stretch);
                if now.since(since) < patience {
                    return None;
                }
                self.climb(now, since, None, may)
            }
            State::Waiting { since, at, until, .. } if now >= until => {
                self.climb(now, since, Some(at), may)
            }
            State::Resting { since, until, .. } if now >= until => {
                self.climb += 1;
                self.climb(now, since, None, may)
            }
            State::Waiting { .. } | State::Resting { .. } => None,
        }
    }

    fn prove(
        &mut self,
        now: Mono,
        since: Mono,
        at: Option<At>,
        cured: bool,
        rest: Option<Mono>,
    ) -> Option<Step<A>> {
        self.state = State::Proving { since, at, cured, well: now, rest };
        if self.plan.proof.is_zero() { self.see(now, true, |_| true) } else { None }
    }

    /// Ill again soon after it was well: more patience; after a long time: as at first.
    fn relapse(&mut self, now: Mono) {
        let soon = self.plan.rest.max(self.plan.proof * 2);
        let Some(recovered) = self.recovered else { return };
        self.stretch =
            if now.since(recovered) < soon { (self.stretch * 2).min(MAX_STRETCH) } else { 1 };
    }

    /// The next try after `from`, or the first rung above it that may be climbed.
    fn climb(
        &mut self,
        now: Mono,
        since: Mono,
        from: Option<At>,
        may: impl Fn(&A) -> bool,
    ) -> Option<Step<A>> {
        let climb = self.climb;
        let next = match from {
            None => At { rung: 0, attempt: 1 },
            Some(at) if at.attempt < self.tries(at.rung) => At { attempt: at.attempt + 1, ..at },
            Some(at) => At { rung: at.rung + 1, attempt: 1 },
        };
        let mut above = self.plan.rungs.iter().enumerate().skip(next.rung);
        let Some((index, rung)) = above.find(|(_, rung)| may(&rung.action)) else {
            let longer = self.stretch.max(1 << (climb - 1).min(8)).min(MAX_STRETCH);
            let rest = self.plan.rest.saturating_mul(longer);
            self.state = State::Resting { since, at: from, until: now.after(rest) };
            return Some(Step::Rests { rest, climb });
        };
        let at = if index == next.rung { next } else { At { rung: index, attempt: 1 } };
        let last = self.climbed.get_mut(index)?;
        let cooled = last.filter(|_| at.attempt == 1).map(|last| last.after(rung.cool_down));
        if let Some(until) = cooled.filter(|cooled| *cooled > now) {
            // It stays on the rung where it is; before the first there is none.
            self.state = match from {
                Some(at) => State::Waiting { since, at, until, cured: false },
                None => State::Resting { since, at: None, until },
            };
            return None;
        }
        *last = Some(now);
        self.state = State::Acting { since, at };
        let (action, attempt) = (rung.action.clone(), at.attempt);
        Some(Step::Act { rung: index, attempt, climb, action })
    }

    fn tries(&self, rung: usize) -> u32 {
        self.plan.rungs.get(rung).map_or(1, |rung| rung.tries.max(1))
    }
}

#[cfg(test)]
mod tests;
