//! From a request to its answer: what is refused, what is said, what is done.
//!
//! How requests arrive is `serve.rs`' affair; the verbs' work is in the hooks.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::clock;
use runtime::event::{About, Event};
use runtime::heal::{Answer, MAX_REQUEST, Outcome, Request, Verb};

use crate::down::{Down, SAID, written};
use crate::hook::{Hook, answer};
use crate::said::{Limit, Said};
use crate::site::Site;
use crate::verbs::{drastic, organ};
use crate::{device, journal, ledger, memory, published};
use runtime::child::{Left, plain};

/// Longer reasons are cut.
const MAX_REASON: usize = 400;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Healer {
    site: Site,
    left: Left,
    /// Organs of which a verb runs.
    busy: Mutex<HashSet<&'static str>>,
    refused: Mutex<Limit>,
    deadline: Option<Duration>,
}

/// One verb of an organ runs while this lives.
struct Claim<'a> {
    healer: &'a Healer,
    organ: &'static str,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.healer.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(self.organ);
    }
}

impl Healer {
    /// `deadline`: instead of each verb's own.
    pub(crate) fn new(site: Site, deadline: Option<Duration>) -> Healer {
        let (busy, refused) = (Mutex::default(), Mutex::default());
        Healer { site, left: Left::default(), busy, refused, deadline }
    }

    /// Does what `line` asks for.
    pub(crate) async fn answer(&self, line: &[u8]) -> Answer {
        if line.len() > MAX_REQUEST || !line.ends_with(b"\n") {
            return self.refuse(format!("a request is one line of at most {MAX_REQUEST} bytes"));
        }
        let request: Request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return self.refuse(format!("this is no request: {error}")),
        };
        let device = request.device.as_deref();
        if let Err(why) = device::check(&self.site, request.verb, device) {
            return self.refuse(why);
        }
        let Some(_claim) = self.claim(organ(request.verb)) else {
            let said = format!("something else is done to the {} already", organ(request.verb));
            return answer(Outcome::Busy, said);
        };
        let reason: String = plain(request.reason.as_bytes()).chars().take(MAX_REASON).collect();
        let reason = if reason.is_empty() { "the agent asked for it" } else { &reason };
        self.act(request.verb, device, reason).await
    }

    async fn act(&self, verb: Verb, device: Option<&str>, reason: &str) -> Answer {
        let deadline = self.deadline.unwrap_or(verb.deadline());
        let down = |rung| Down { rung, reason, argument: "", deadline };
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others have hooks and no file")]
        match verb {
            Verb::Well => self.account(true).await,
            Verb::Ill => self.account(false).await,
            Verb::Reboot => down("reboot").reboot(&self.site, &self.left).await,
            Verb::Poweroff => down("poweroff").poweroff(&self.site, &self.left).await,
            _ => self.heal(&Hook { verb, device, reason, argument: "", deadline }).await,
        }
    }

    async fn heal(&self, hook: &Hook<'_>) -> Answer {
        let verb = hook.verb.name();
        let about = About { rung: Some(verb), ..About::organ(organ(hook.verb)) };
        let file = self.site.run(SAID);
        let what = hook.device.map_or(verb.to_owned(), |device| format!("{verb} of {device}"));
        // What may be the last thing that the machine does is said each time.
        let drastic = drastic(hook.verb);
        if drastic || Said::read(&file).news(&what, clock::mono()) {
            Event::Healing.say(about, format_args!("about to do {what}, because {}", hook.reason));
        } else {
            tracing::debug!("again about to do {what}, because {}", hook.reason);
        }
        if drastic {
            journal::sync(&self.site).await;
        }
        let answer = hook.run(&self.site, &self.left).await;
        let ok = matches!(answer.outcome, Outcome::Done);
        if ok && hook.verb == Verb::WifiTune {
            let site = self.site.clone();
            // A disk that does not take it costs no more than the knowledge.
            let keep = move || {
                memory::keep(&site);
                Ok(())
            };
            let _ = written(keep).await;
        }
        // Read again: another organ's verb may have ended meanwhile.
        let mut said = Said::read(&file);
        let news = said.result(&what, clock::mono(), ok) || drastic;
        said.write(&file);
        let colon = if answer.said.is_empty() { "" } else { ": " };
        match (news, answer.outcome) {
            (false, outcome) => tracing::debug!("{what}: {outcome:?}{colon}{}", answer.said),
            (true, Outcome::Done) => {
                Event::Healed.say(about, format_args!("{what} is done{colon}{}", answer.said));
            }
            (true, Outcome::Unavailable) => Event::HealFailed
                .say(about, format_args!("{what} can't be done here{colon}{}", answer.said)),
            (true, Outcome::Failed | Outcome::Refused | Outcome::Busy) => {
                Event::HealFailed.say(about, format_args!("{what} failed{colon}{}", answer.said));
            }
        }
        answer
    }

    async fn account(&self, well: bool) -> Answer {
        let site = self.site.clone();
        match written(move || ledger::account(&site, well).map_err(std::io::Error::other)).await {
            Ok(budget) => {
                published::budget(&self.site, &budget);
                answer(Outcome::Done, format!("reboots left: {}", budget.left()))
            }
            Err(error) => {
                tracing::debug!("the reboot budget stays as it is: {error}");
                answer(Outcome::Failed, error.to_string())
            }
        }
    }

    /// Whether something that was killed still runs.
    pub(crate) fn has_left(&self) -> bool {
        self.left.count() > 0
    }

    fn claim(&self, organ: &'static str) -> Option<Claim<'_>> {
        let free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(organ);
        free.then_some(Claim { healer: self, organ })
    }

    /// Says no; the journal learns of one in a minute.
    pub(crate) fn refuse(&self, why: String) -> Answer {
        let mut limit = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held_back) = limit.pass(clock::mono()) {
            let more = if held_back == 0 { "" } else { " (and others before)" };
            Event::Refused.say(About::organ("machine"), format_args!("refused{more}: {why}"));
        }
        answer(Outcome::Refused, why)
    }
}
