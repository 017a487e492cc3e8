//! What waits to be delivered on one channel, and the task that does it.
//!
//! Of each subject only what is newest waits, so there are never more than subjects; while a channel does not
//! work, its news get newer, not more. What nobody took for a day is no news, and is given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ladder::{Backoff, Episode, Mono};
use prometheus::{IntCounterVec, IntGauge};
use runtime::clock;
use runtime::event::{About, Event as Said};
use runtime::settings::duration_text;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, Undelivered};
use super::damping::Subject;
use super::message::{Event, Message, Site};

/// Waits after a failure.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// At most one line about trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(600);

/// See the module's documentation.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);

/// Between two messages: a service must not be flooded, whatever happens here.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(super) channel: Channel,
    waiting: Mutex<BTreeMap<Subject, Waiting>>,
    more: Notify,
    problem: Mutex<Option<String>>,
    counts: Counts,
}

/// What is counted of one channel.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    /// By outcome: `sent`, `failed`, `dropped`.
    pub outcomes: IntCounterVec,
    pub works: IntGauge,
}

#[derive(Debug, Clone)]
struct Waiting {
    since: Mono,
    event: Event,
}

/// For `/status.json`.
#[derive(Debug, Serialize)]
pub(crate) struct ChannelStatus {
    channel: &'static str,
    state: &'static str,
    problem: Option<String>,
    waiting: usize,
}

impl Outbox {
    pub(crate) fn new(channel: Channel, counts: Counts) -> Outbox {
        let word = channel.word();
        // Or else the first one of each would be no increase for Prometheus.
        for outcome in ["sent", "failed", "dropped"] {
            counts.outcomes.with_label_values(&[word, outcome]);
        }
        counts.works.set(1);
        let (waiting, more, problem) = Default::default();
        Outbox { channel, waiting, more, problem, counts }
    }

    /// Takes news, instead of what still waits of the same subject.
    pub(crate) fn put(&self, events: &[(Subject, Event)], now: Mono) {
        let mut waiting = self.waiting();
        for (subject, event) in events {
            let news = Waiting { since: now, event: event.clone() };
            if waiting.insert(subject.clone(), news).is_some() {
                self.count("dropped", 1);
            }
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// All that it was given is delivered.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    pub(crate) fn status(&self) -> ChannelStatus {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ChannelStatus {
            channel: self.channel.word(),
            state: if problem.is_none() { "works" } else { "degraded" },
            problem,
            waiting: self.waiting().len(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Subject, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: &str, by: u64) {
        self.counts.outcomes.with_label_values(&[self.channel.word(), outcome]).inc_by(by);
    }

    /// What there is to deliver now.
    fn batch(&self, now: Mono) -> Vec<(Subject, Waiting)> {
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.retain(|_, of| now.since(of.since) < GIVEN_UP_AFTER);
        self.count("dropped", (before - waiting.len()) as u64);
        waiting.iter().map(|(subject, of)| (subject.clone(), of.clone())).collect()
    }

    /// Unless something newer has come meanwhile.
    fn delivered(&self, batch: &[(Subject, Waiting)]) {
        let mut waiting = self.waiting();
        for (subject, sent) in batch {
            if waiting.get(subject).is_some_and(|of| of.event == sent.event) {
                waiting.remove(subject);
            }
        }
    }

    fn works(&self, trouble: &mut Episode<String>) {
        self.count("sent", 1);
        self.counts.works.set(1);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(lasted) = trouble.leave(clock::mono()) {
            let (word, whom) = (self.channel.word(), self.channel.whom());
            let about = About { channel: Some(word), age: Some(lasted), ..About::organ(ORGAN) };
            let lasted = duration_text(Duration::from_secs(lasted.as_secs()));
            Said::NotifyWorks.say(
                about,
                format_args!("notifications by {word} ({whom}) are delivered again after {lasted}"),
            );
        }
    }

    fn fails(&self, trouble: &mut Episode<String>, error: Undelivered) {
        self.count("failed", 1);
        self.counts.works.set(0);
        if let Some(entered) = trouble.enter(clock::mono(), error.problem.clone()) {
            let (word, whom) = (self.channel.word(), self.channel.whom());
            let failures = Some(entered.failures);
            let about = About { channel: Some(word), failures, ..About::organ(ORGAN) };
            Said::NotifyFails.say(
                about,
                format_args!(
                    "notifications by {word} ({whom}) are not delivered: {error}; trying again later"
                ),
            );
        }
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.problem);
    }
}

/// Whose events these are.
const ORGAN: &str = "notify";

/// Delivers until `stop`.
pub(crate) async fn run(outbox: Arc<Outbox>, site: Site, stop: CancellationToken) {
    let seed = u64::from(std::process::id()) ^ clock::wall_us().unsigned_abs();
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, seed);
    let mut trouble = Episode::new(LINE_SPACING);
    let deliver = async {
        loop {
            let batch = outbox.batch(clock::mono());
            if batch.is_empty() {
                outbox.more.notified().await;
                continue;
            }
            let events = batch.iter().map(|(_, waiting)| waiting.event.clone()).collect();
            let message = Message::new(&site, events, now_text());
            let wait = match outbox.channel.deliver(&message).await {
                Ok(()) => {
                    outbox.delivered(&batch);
                    outbox.works(&mut trouble);
                    backoff.reset();
                    PAUSE
                }
                Err(error) => {
                    outbox.fails(&mut trouble, error);
                    backoff.next().unwrap_or(RETRY_MAX)
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(deliver).await;
}

/// The time as messages have it.
pub(super) fn now_text() -> String {
    frame::wire::format_time(clock::wall_us(), 3)
}
