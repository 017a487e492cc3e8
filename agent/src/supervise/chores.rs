//! What the healer is asked for beside cures: to count the time for the reboot budget, and to tune the
//! WiFi after each new connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use runtime::heal::{Answer, Outcome, Verb};

use super::healer::Healer;
use crate::network::Wifi;

/// How often time is counted: seldom, since each time systemd starts the healer for it; and more often
/// than [`ladder::Budget::MAX_ACCOUNT`].
const ACCOUNT_EVERY: Duration = Duration::from_secs(1_800);

type Asking = Pin<Box<dyn Future<Output = (Verb, io::Result<Answer>)> + Send>>;

/// The first time comes sooner: an agent that never lives for long has to be counted, too.
const FIRST_ACCOUNT: Duration = Duration::from_secs(300);

/// After so long a WiFi that could not be tuned is tried again.
const TUNE_AGAIN: Duration = Duration::from_secs(10);

/// One at a time.
pub(super) struct Chores {
    healer: Healer,
    account_at: Mono,
    /// All was well since then.
    well: bool,
    connected: bool,
    /// The interface that is to be tuned, and when.
    tune: Option<(Mono, String)>,
    tuning: Option<String>,
    asking: Option<Asking>,
}

impl Chores {
    pub(super) fn new(now: Mono, healer: Healer) -> Chores {
        let account_at = now.after(FIRST_ACCOUNT);
        Chores {
            healer,
            account_at,
            well: true,
            connected: false,
            tune: None,
            tuning: None,
            asking: None,
        }
    }

    /// What there is to do now.
    pub(super) fn see(&mut self, now: Mono, well: bool, wifi: Option<&Wifi>) {
        self.well &= well;
        let connected = wifi.is_some_and(|wifi| wifi.associated);
        if connected && !self.connected {
            self.tune = wifi.map(|wifi| (now, wifi.interface.clone()));
        }
        self.connected = connected;
        if self.asking.is_some() || !self.healer.is_there() {
            return;
        }
        let (verb, device, why) =
            if let Some((_, interface)) = self.tune.take_if(|(at, _)| now >= *at) {
                self.tuning = Some(interface.clone());
                (Verb::WifiTune, Some(interface), "connected")
            } else if now >= self.account_at {
                self.account_at = now.after(ACCOUNT_EVERY);
                let verb = if self.well { Verb::Well } else { Verb::Ill };
                self.well = true;
                (verb, None, "the last half hour")
            } else {
                return;
            };
        let healer = self.healer.clone();
        self.asking = Some(Box::pin(async move { (verb, healer.ask(verb, device, why).await) }));
    }

    /// Goes on with what is under way; for ever if nothing is.
    pub(super) async fn turn(&mut self) {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let (verb, answer) = asking.await;
        self.asking = None;
        let is_done = answer.as_ref().is_ok_and(|answer| answer.outcome == Outcome::Done);
        if let Some(interface) = self.tuning.take()
            && !is_done
        {
            // A cure was at work, most likely. Later cures need what this one learns.
            self.tune = Some((clock::mono().after(TUNE_AGAIN), interface));
        }
        // Nothing depends on one of them, and the next comes soon.
        match answer {
            Ok(answer) => tracing::debug!("{}: {:?} {}", verb.name(), answer.outcome, answer.said),
            Err(error) => tracing::debug!("{}: {error}", verb.name()),
        }
    }
}
