//! Rebooting and shutting down: spend, write down why, say so, and only then act.

use std::fs::OpenOptions;
use std::time::Duration;

use ladder::Budget;
use runtime::clock;
use runtime::event::{About, Event};
use runtime::heal::{Answer, Outcome, Verb};
use tokio::time::timeout;

use crate::hook::{Hook, answer};
use crate::ledger::{self, NoReboot};
use crate::record::{self, Record};
use crate::said::Said;
use crate::site::Site;
use crate::{cli, journal, published};
use runtime::child::Left;

/// A disk that takes longer to take a few hundred bytes is broken: there is no reboot that could be
/// counted.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// What was said, in the run directory.
pub(crate) const SAID: &str = "healer-said.json";

/// There since it was said during this boot that the budget is empty.
const SAID_EMPTY: &str = "healer-said-empty";

/// The wish to end this boot.
#[derive(Debug)]
pub(crate) struct Down<'a> {
    /// What led here: see [`Record::rung`].
    pub rung: &'static str,
    pub reason: &'a str,
    /// See [`Hook::argument`].
    pub argument: &'a str,
    /// Of the hook.
    pub deadline: Duration,
}

impl Down<'_> {
    fn about(&self) -> About<'_> {
        About { rung: Some(self.rung), ..About::organ("machine") }
    }

    /// Reboots, if the budget has one left. A system on trial is not healed by it: it has failed.
    pub(crate) async fn reboot(&self, site: &Site, left: &Left) -> Answer {
        if published::is_on_trial(site) {
            published::reboot_wanted(site, self.reason);
            let why = "a new system is on trial: the one before it is started instead";
            tracing::warn!("not rebooting, although {}: {why}", self.reason);
            return answer(Outcome::Refused, why.to_owned());
        }
        if site.hook(Verb::Reboot).is_ok() {
            match self.spend(site).await {
                Ok(budget) => self.announce(site, &budget),
                Err(no) => return self.refuse(site, &no),
            }
        }
        self.act(Verb::Reboot, site, left).await
    }

    /// Shuts down. That costs no reboot: somebody stands beside the machine.
    pub(crate) async fn poweroff(&self, site: &Site, left: &Left) -> Answer {
        Event::Button
            .say(self.about(), format_args!("shutting the machine down, because {}", self.reason));
        self.leave_word(site).await;
        self.act(Verb::Poweroff, site, left).await
    }

    /// Reboots into another system. That costs none either: how often that one is tried is counted elsewhere.
    async fn restart(&self, site: &Site) -> Answer {
        Event::Reboot
            .say(self.about(), format_args!("rebooting the machine, because {}", self.reason));
        self.leave_word(site).await;
        self.act(Verb::Reboot, site, &Left::default()).await
    }

    async fn leave_word(&self, site: &Site) {
        let (record, place) = (Record::now(site, self.rung, self.reason), site.clone());
        if let Err(error) = written(move || record.leave(&place)).await {
            tracing::debug!("the next boot will not know why: {error}");
        }
    }

    async fn spend(&self, site: &Site) -> Result<Budget, NoReboot> {
        let (record, place) = (Record::now(site, self.rung, self.reason), site.clone());
        written(move || Ok(ledger::spend(&place, record))).await.map_err(NoReboot::Unwritable)?
    }

    fn announce(&self, site: &Site, budget: &Budget) {
        published::budget(site, budget);
        Event::Reboot.say(
            self.about(),
            format_args!(
                "rebooting the machine, because {}; reboots left after this one: {}",
                self.reason,
                budget.left()
            ),
        );
    }

    async fn act(&self, verb: Verb, site: &Site, left: &Left) -> Answer {
        journal::sync(site).await;
        let Down { reason, argument, deadline, .. } = *self;
        let answer = Hook { verb, device: None, reason, argument, deadline }.run(site, left).await;
        if answer.outcome != Outcome::Done {
            Event::HealFailed
                .say(self.about(), format_args!("{} did not begin: {}", verb.name(), answer.said));
            let pending = record::pending(site);
            record::settle(site, pending.map(|it| Record { happened: Some(false), ..it }));
        }
        answer
    }

    fn refuse(&self, site: &Site, no: &NoReboot) -> Answer {
        let Down { reason, .. } = self;
        match no {
            NoReboot::Empty if first_time(site) => Event::BudgetEmpty
                .say(self.about(), format_args!("not rebooting, although {reason}: {no}")),
            NoReboot::Empty => tracing::debug!("not rebooting, although {reason}: {no}"),
            NoReboot::NotOurs(_) | NoReboot::Unreadable(_) | NoReboot::Unwritable(_) => {
                let mut said = Said::read(&site.run(SAID));
                if said.result("reboot", clock::mono(), false) {
                    Event::HealFailed
                        .say(self.about(), format_args!("not rebooting, although {reason}: {no}"));
                }
                said.write(&site.run(SAID));
            }
        }
        answer(Outcome::Refused, no.to_string())
    }
}

/// What [`Record::rung`] is when another system is started.
pub(crate) const UPDATE: &str = "update";

/// Reboots for an update.
///
/// # Errors
/// The reboot did not begin.
pub(crate) async fn restart(restart: cli::Restart) -> Result<(), String> {
    let cli::Restart { places, reason, argument } = restart;
    let site = Site::new(places);
    let deadline = Verb::Reboot.deadline();
    let down = Down { rung: UPDATE, reason: &reason, argument: &argument, deadline };
    let Answer { outcome, said } = down.restart(&site).await;
    if outcome == Outcome::Done { Ok(()) } else { Err(format!("no reboot: {said}")) }
}

/// Once in each boot: the file goes with the run directory.
fn first_time(site: &Site) -> bool {
    OpenOptions::new().write(true).create_new(true).open(site.run(SAID_EMPTY)).is_ok()
}

/// Runs `write` beside everything else, because a broken disk may block for ever.
pub(crate) async fn written<T: Send + 'static>(
    write: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match timeout(WRITTEN_WITHIN, tokio::task::spawn_blocking(write)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err(std::io::Error::other(panicked)),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
