//! Many relays, one picture: what each of them takes, all of them can show.
//!
//! What they share is one JetStream stream of NATS that keeps the newest frame of each camera: the board of all. A relay
//! publishes what is uploaded to it, hears of every frame that others publish, and fetches the pictures that
//! somebody watches here. docs/cluster.md says how, and why so. What does not belong here: which of two frames is newer
//! (`ingest::admit`), and what a camera's state is while its pictures are elsewhere (`board::elsewhere`).

mod beacon;
mod connect;
mod lane;
mod message;
mod outgoing;
mod queue;
mod session;
mod stream;
mod window;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ladder::{Backoff, Episode, Mono};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::secret::Secret;
use runtime::settings::duration_text;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::board::{Board, Held};
use crate::metrics::ClusterMetrics;
pub(crate) use beacon::RelayStatus;
use beacon::{News, Peers};
pub(crate) use message::is_name;
use outgoing::Outgoing;

/// How often it looks while there is no bus.
const TICK: Duration = Duration::from_secs(1);

/// Waits between two attempts: a server that comes back is found within a second.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The same where somebody has to change something first.
const REFUSED_MIN: Duration = Duration::from_secs(2);
const REFUSED_MAX: Duration = Duration::from_secs(15);

/// A cause that changes is logged anew at most this often.
const LINE_SPACING: Duration = Duration::from_secs(30);

/// A session that held for so long was a good one.
const HELD: Duration = Duration::from_secs(10);

/// Whose events these are.
const ORGAN: &str = "cluster";

/// What a relay does for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Takes uploads, and shows all cameras.
    Both,
    /// Takes uploads, and shows those.
    Ingest,
    /// Shows all cameras, and takes no uploads.
    Edge,
}

impl Role {
    pub(crate) const fn takes_uploads(self) -> bool {
        matches!(self, Role::Both | Role::Ingest)
    }

    pub(crate) const fn shows_all(self) -> bool {
        matches!(self, Role::Both | Role::Edge)
    }

    /// The word in the configuration.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Role::Both => "both",
            Role::Ingest => "ingest",
            Role::Edge => "edge",
        }
    }
}

/// Who the relay is to the bus.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    None,
    Password {
        user: String,
        password: Secret,
    },
    /// The text of a file as `nsc` makes it.
    Credentials(Secret),
}

/// See the keys `cluster.*`.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    /// URLs of NATS servers; one at least.
    pub servers: Vec<String>,
    pub role: Role,
    pub name: Arc<str>,
    pub stream: String,
    /// Whether the stream survives a restart of all servers.
    pub on_disk: bool,
    pub replicas: usize,
    pub login: Login,
    pub ca_file: Option<PathBuf>,
    /// This relay's own, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Where viewers find this relay.
    pub url: Option<String>,
    pub max_frame_bytes: usize,
}

#[cfg(test)]
impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            role: Role::Both,
            name: "a".into(),
            stream: "stillwatch".to_owned(),
            on_disk: false,
            replicas: 1,
            login: Login::None,
            ca_file: None,
            certificate: None,
            url: None,
            max_frame_bytes: 8 << 20,
        }
    }
}

/// What is wrong with the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    kind: Kind,
    /// A sentence.
    problem: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It does not answer; it may by itself.
    Away,
    /// Somebody has to change something.
    Refused,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Away => "away",
            Kind::Refused => "refused",
        }
    }
}

impl Trouble {
    fn away(problem: String) -> Trouble {
        Trouble { kind: Kind::Away, problem }
    }

    fn refused(problem: String) -> Trouble {
        Trouble { kind: Kind::Refused, problem }
    }
}

/// How the bus is.
#[derive(Debug)]
enum Bus {
    Works { since: Mono },
    Trouble(Trouble),
}

/// The cluster as machines are told of it.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterStatus {
    pub bus: &'static str,
    /// What is wrong with it, and what to do.
    pub problem: Option<String>,
    /// What of the stream is otherwise than the configuration asks for.
    pub differs: Option<String>,
    pub role: Role,
    pub name: String,
    pub stream: String,
    /// The others.
    pub relays: Vec<RelayStatus>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Cluster {
    config: ClusterConfig,
    access: Arc<Access>,
    outgoing: Outgoing,
    bus: Mutex<Bus>,
    peers: Mutex<Peers>,
    metrics: ClusterMetrics,
    /// What of the stream is otherwise than it was asked for.
    differs: Mutex<Option<String>>,
    trouble: Mutex<Episode<Kind>>,
}

impl Cluster {
    pub(crate) fn new(
        config: ClusterConfig,
        access: Arc<Access>,
        metrics: ClusterMetrics,
    ) -> Cluster {
        let outgoing = Outgoing::new(metrics.published.with_label_values(&["replaced"]));
        let connecting = Trouble::away("it was not reached yet".to_owned());
        Cluster {
            config,
            access,
            outgoing,
            bus: Mutex::new(Bus::Trouble(connecting)),
            peers: Mutex::default(),
            metrics,
            differs: Mutex::default(),
            trouble: Mutex::new(Episode::new(LINE_SPACING)),
        }
    }

    /// A frame was uploaded here.
    pub(crate) fn put(&self, held: Arc<Held>) {
        self.outgoing.put(held, clock::mono());
    }

    /// A word, and what is wrong.
    pub(crate) fn health(&self) -> (&'static str, Option<String>) {
        match &*self.bus() {
            Bus::Works { .. } => ("works", None),
            Bus::Trouble(trouble) => (trouble.kind.word(), Some(trouble.problem.clone())),
        }
    }

    /// What is wrong, with the bus or with other relays.
    pub(crate) fn problem(&self) -> Option<String> {
        self.health().1.or_else(|| self.peers().problem())
    }

    pub(crate) fn status(&self, now: Mono) -> ClusterStatus {
        let (bus, problem) = self.health();
        ClusterStatus {
            bus,
            problem,
            differs: self.differs.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            role: self.config.role,
            name: self.config.name.to_string(),
            stream: self.config.stream.clone(),
            relays: self.peers().status(now),
        }
    }

    /// Says what of the stream is otherwise than it was asked for, once.
    fn compare(&self, found: &async_nats::jetstream::stream::Config) {
        let now = stream::differs(found, &self.config);
        let mut before = self.differs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(says) = now.as_ref().filter(|_| *before != now) {
            tracing::warn!("cluster: {says}");
        }
        *before = now;
    }

    /// Brings what is not counted up to date.
    pub(crate) fn measure(&self) {
        let works = matches!(&*self.bus(), Bus::Works { .. });
        self.metrics.works.with_label_values::<&str>(&[]).set(i64::from(works));
        let peers = self.peers();
        self.metrics.relays.set(i64::try_from(peers.count()).unwrap_or(i64::MAX));
        // Relays come and go: only those of this moment.
        self.metrics.clock_offset.reset();
        for (relay, seconds) in peers.clocks() {
            self.metrics.clock_offset.with_label_values(&[relay]).set(seconds);
        }
    }

    fn bus(&self) -> MutexGuard<'_, Bus> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn episode(&self) -> MutexGuard<'_, Episode<Kind>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bus was reached, and all that it holds is known.
    fn works(&self) {
        let now = clock::mono();
        *self.bus() = Bus::Works { since: now };
        let (name, role) = (&self.config.name, self.config.role.word());
        let outage = self.episode().leave(now);
        let (about, after) = match outage {
            Some(lasted) => {
                let text = duration_text(Duration::from_secs(lasted.as_secs()));
                (About { age: Some(lasted), ..About::organ(ORGAN) }, format!(" again after {text}"))
            }
            None => (About::organ(ORGAN), String::new()),
        };
        Event::ClusterWorks
            .say(about, format_args!("the relay {name} ({role}) shares frames by the bus{after}"));
    }

    /// It is not there; returns whether it had been, for a while. An attempt that fails is no connection that ended.
    fn fails(&self, trouble: &Trouble) -> bool {
        let now = clock::mono();
        let before = std::mem::replace(&mut *self.bus(), Bus::Trouble(trouble.clone()));
        let held = matches!(before, Bus::Works { since } if now.since(since) > HELD);
        if matches!(before, Bus::Works { .. }) {
            self.metrics.reconnects.inc();
        }
        let Trouble { kind, problem } = trouble;
        if self.episode().enter(now, *kind).is_some() {
            let about = About { reason: Some(kind.word()), ..About::organ(ORGAN) };
            match kind {
                Kind::Away => Event::ClusterAway.say(
                    about,
                    format_args!("no bus: this relay shows what it has, and what others take grows old: {problem}"),
                ),
                Kind::Refused => Event::ClusterRefused.say(
                    about,
                    format_args!("this relay takes no part in the cluster: {problem}"),
                ),
            }
        }
        held
    }

    fn say(&self, news: Vec<News>) {
        for one in news {
            match one {
                News::Joined(relay) => tracing::info!("cluster: the relay {relay} is heard"),
                News::Missing(relay) => Event::ClusterRelayMissing.say(
                    About { reason: Some("silent"), ..About::organ(ORGAN) },
                    format_args!("the relay {relay} has not been heard for 5 s: does it run, and reach the bus?"),
                ),
                News::Clock(relay, us) => tracing::warn!(
                    "cluster: the clocks of this relay and {relay} differ by {:.1} s: ages of pictures are wrong by as \
                     much; is time synchronised on both (timedatectl)?",
                    Duration::from_micros(us.unsigned_abs()).as_secs_f64()
                ),
                News::NameTaken => tracing::error!(
                    "cluster: another relay calls itself \"{}\", too: give each a name of its own (cluster.name)",
                    self.config.name
                ),
            }
        }
    }

    /// Since then nothing is known of what other relays take: that does not make it offline.
    fn unsure(&self, board: &Board, since: Mono) {
        for camera in board.all().iter().filter(|camera| camera.home(since).is_some()) {
            camera.unsure(since);
        }
    }

    fn while_away(&self) {
        let works = matches!(&*self.bus(), Bus::Works { .. });
        if !works {
            self.peers().deaf(clock::mono());
        }
    }

    /// They have said how they are.
    fn sure(&self, board: &Board) {
        for camera in board.all() {
            camera.sure();
        }
    }
}

/// Runs until `stop`.
pub(crate) async fn run(cluster: Arc<Cluster>, board: Arc<Board>, stop: CancellationToken) {
    let seed = u64::from(std::process::id()) ^ clock::wall_us().unsigned_abs();
    let mut away = Backoff::new(RETRY_MIN, RETRY_MAX, seed);
    let mut refused = Backoff::new(REFUSED_MIN, REFUSED_MAX, seed);
    let mut tick = tokio::time::interval(TICK);
    loop {
        // Boxed: it is large, and lives as long as the connection.
        let mut session = Box::pin(session::run(&cluster, &board));
        let trouble = loop {
            tokio::select! {
                trouble = &mut session => break trouble,
                _ = tick.tick() => cluster.while_away(),
                () = stop.cancelled() => return,
            }
        };
        drop(session);
        board.wanted().open(false);
        if cluster.fails(&trouble) {
            away.reset();
            refused.reset();
        }
        let wait = match trouble.kind {
            Kind::Away => away.next().unwrap_or(RETRY_MAX),
            Kind::Refused => refused.next().unwrap_or(REFUSED_MAX),
        };
        let mut waited = pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                () = &mut waited => break,
                _ = tick.tick() => cluster.while_away(),
                () = stop.cancelled() => return,
            }
        }
    }
}
