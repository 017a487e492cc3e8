//! Tells somebody when a camera, or the relay itself, is in trouble, and when it is over.
//!
//! ```text
//! board, store, export, certificate, cluster ──► damping ──► an outbox for each channel ──► webhook, ntfy, command
//!                                       (pure)      newest of each subject
//! ```
//!
//! Nothing here is waited for by anybody: a service that hangs holds up its own outbox and no picture. What does
//! not belong here: when a camera is stale (`freshness.rs`), and what the log says (`watch.rs`).

mod channel;
mod damping;
mod memory;
mod message;
mod outbox;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use runtime::tasks::Tasks;
use tokio_util::sync::CancellationToken;
use web::freshness::State;

use crate::board::Board;
use crate::cluster::Cluster;
use crate::export::ExportStatus;
use crate::metrics::Metrics;
use crate::store::{Persistence, Store};
use crate::tls::Shown;
pub(crate) use channel::{Address, Channel};
pub(crate) use damping::Rules;
use damping::{Damping, Notice, Subject, Trouble};
use memory::Memory;
pub(crate) use message::Site;
use message::{Event, Facts, Message};
pub(crate) use outbox::{ChannelStatus, Counts};
use outbox::{Outbox, now_text};

/// How often it looks.
const TICK: Duration = Duration::from_secs(1);

/// Writing what was told is given up to a disk that takes longer; the next time it is tried again.
const DISK_WITHIN: Duration = Duration::from_secs(10);

/// Whom to tell, and when.
#[derive(Debug, Clone)]
pub(crate) struct NotifyConfig {
    /// None: nobody is told.
    pub channels: Vec<Channel>,
    pub rules: Rules,
    pub site: Site,
    pub data_dir: PathBuf,
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Sources {
    pub board: Arc<Board>,
    pub store: Store,
    pub export: Option<ExportStatus>,
    /// With HTTPS.
    pub certificates: Option<Arc<Shown>>,
    /// With other relays.
    pub cluster: Option<Arc<Cluster>>,
}

/// The channels, for `/status.json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notifications(Vec<Arc<Outbox>>);

impl Notifications {
    pub(crate) fn new(config: &NotifyConfig, metrics: &Metrics) -> Notifications {
        let outbox = |channel: &Channel| {
            let counts = metrics.notifications(channel.word());
            Arc::new(Outbox::new(channel.clone(), counts))
        };
        Notifications(config.channels.iter().map(outbox).collect())
    }

    /// Starts the tasks, if anybody is to be told.
    pub(crate) fn start(&self, config: NotifyConfig, sources: Sources, tasks: &mut Tasks) {
        if self.0.is_empty() {
            return;
        }
        for outbox in &self.0 {
            let delivering =
                outbox::run(Arc::clone(outbox), config.site.clone(), tasks.stop_token());
            tasks.spawn(outbox.channel.word(), delivering);
        }
        let telling = run(self.clone(), config, sources, tasks.stop_token());
        tasks.spawn("notify", telling);
    }

    pub(crate) fn status(&self) -> Vec<ChannelStatus> {
        self.0.iter().map(|outbox| outbox.status()).collect()
    }

    fn put(&self, events: &[(Subject, Event)], now: Mono) {
        for outbox in &self.0 {
            outbox.put(events, now);
        }
    }

    /// Whether one channel at least has delivered all that was told: those that fail, perhaps for ever, must not make
    /// each restart repeat it on the others.
    fn somebody_knows(&self) -> bool {
        self.0.iter().any(|outbox| outbox.is_empty())
    }
}

async fn run(to: Notifications, config: NotifyConfig, sources: Sources, stop: CancellationToken) {
    let NotifyConfig { rules, site, data_dir, .. } = config;
    let mut damping = Damping::new(rules);
    let memory = Memory::new(&data_dir);
    if let Err(error) = memory.recall(&mut damping) {
        tracing::warn!("what was told before is not known, and may be told again: {error}");
    }
    let tick = TICK.min(rules.after / 4);
    let mut unkept = false;
    loop {
        let now = clock::mono();
        let (all, facts) = sources.look(now);
        let notices = damping.turn(now, &all);
        if !notices.is_empty() {
            let at = now_text();
            let event = |notice: &Notice| {
                let facts = facts.get(&notice.subject).cloned().unwrap_or_default();
                (notice.subject.clone(), Event::new(notice, facts, &site, &rules, at.clone()))
            };
            let events: Vec<_> = notices.iter().map(event).collect();
            to.put(&events, now);
            unkept = true;
        }
        // Only what has reached somebody counts as told.
        if unkept && to.somebody_knows() {
            unkept = false;
            keep(&memory, Memory::content(&damping)).await;
        }
        if stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_none() {
            return;
        }
    }
}

/// A disk that fails is the store's trouble, and told as that.
async fn keep(memory: &Memory, content: Vec<u8>) {
    let memory = memory.clone();
    let writing = tokio::task::spawn_blocking(move || memory.write(&content));
    if let Ok(Ok(Err(error))) = tokio::time::timeout(DISK_WITHIN, writing).await {
        tracing::debug!("what was told is not kept: {error}");
    }
}

type Looked = (BTreeMap<Subject, Option<Trouble>>, BTreeMap<Subject, Facts>);

impl Sources {
    fn look(&self, now: Mono) -> Looked {
        let (mut all, mut facts) = Looked::default();
        for camera in self.board.all() {
            let trouble = match camera.state(now) {
                // Nobody knows yet whether it is to be there.
                State::Empty => continue,
                State::Live => None,
                State::Stale => Some(Trouble::Stale),
                State::Frozen => Some(Trouble::Frozen),
                State::Offline => Some(Trouble::Offline),
            };
            let subject = Subject::Camera(camera.id.clone());
            let of = Facts { title: camera.title.clone(), problem: None };
            facts.insert(subject.clone(), of);
            all.insert(subject, trouble);
        }
        let store = match self.store.persistence() {
            Persistence::Degraded(problem) => Some(problem),
            Persistence::Opening | Persistence::Works => None,
        };
        let export = self.export.as_ref().map(ExportStatus::problem);
        let unix_s = clock::wall_us() / 1_000_000;
        let certificate = self.certificates.as_ref().map(|shown| shown.trouble(unix_s));
        let cluster = self.cluster.as_ref().map(|cluster| cluster.problem());
        for (subject, is, problem) in [
            (Subject::Store, Trouble::Degraded, Some(store)),
            (Subject::Export, Trouble::Degraded, export),
            (Subject::Certificate, Trouble::Expiring, certificate),
            (Subject::Cluster, Trouble::Degraded, cluster),
        ] {
            if let Some(problem) = problem {
                all.insert(subject.clone(), problem.as_ref().map(|_| is));
                facts.insert(subject, Facts { title: None, problem });
            }
        }
        (all, facts)
    }
}

/// What `notify-test` does: sends a message on each channel, and says what came of it. `false`:
/// somebody was not reached.
pub(crate) async fn test(config: &NotifyConfig) -> (String, bool) {
    if config.channels.is_empty() {
        let line = "nobody is told of trouble: set notify.webhook, notify.ntfy or notify.command\n";
        return (line.to_owned(), false);
    }
    let message = Message::new(&config.site, vec![Event::test(now_text())], now_text());
    let (mut lines, mut all) = (String::new(), true);
    for channel in &config.channels {
        let (word, whom) = (channel.word(), channel.whom());
        let line = match channel.deliver(&message).await {
            Ok(()) => format!("{word} ({whom}): delivered\n"),
            Err(error) => {
                all = false;
                format!("{word} ({whom}): not delivered: {error}\n")
            }
        };
        lines += &line;
    }
    (lines, all)
}
