//! The map of `run`: what is built, what hands frames to what, and in which order it ends.
//!
//! ```text
//! sockets, tls                access (thread)   who may upload, who may look
//!  │                           │
//! serve ──► routes ──► ingest ──► board ──► view ◄── scale (threads)
//!            │           │          ├──► cluster       shares frames with other relays
//!            └► updates  └► store   ├──► export        files for a web server, objects for a CDN
//!              (thread)    (thread) ├──► watch         says when a camera's state changes
//!                                   ├──► notification  tells somebody who does not look
//!                                   └──► supervise     tells systemd
//! ```
//!
//! At the end: streams are closed, no new connections, those that are open finish, then the store writes what it has.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use frame::CameraId;
use frame::sign::SignKey;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runtime::event::{About, Event};
use runtime::mark::SharedMark;
use runtime::tasks::Tasks;
use runtime::{clock, notify, signal};
use web::serve::{self, Connections, Listener, Server};

use crate::access::Access;
use crate::board::{Board, Now};
use crate::cluster::{self, Cluster};
use crate::config::Config;
use crate::export::{self, ExportStatus};
use crate::ingest::{Ingest, Onward};
use crate::metrics::Metrics;
use crate::notification::{Notifications, Sources};
use crate::routes::{self, Site};
use crate::scale::Scaler;
use crate::sockets::{self, Passed, SocketsError, Wanted};
use crate::store::{Milestones, Restore, Store, StoreConfig};
use crate::supervise::{self, Supervisor};
use crate::tls::redirect::Plain;
use crate::tls::{self, Shown, Source, TlsConfig};
use crate::updates::Updates;
use crate::view::page::Pages;
use crate::watch;

/// A disk that takes longer than this to read the last frames from is not waited for.
const LOAD_WITHIN: Duration = Duration::from_secs(10);

/// Tasks that have not ended by then are cut off; a bit more than the connections get.
const STOP_WITHIN: Duration = Duration::from_millis(3_300);

/// How long the last frames may take to be written. All in all the relay stops within 5 s.
const FLUSH_WITHIN: Duration = Duration::from_millis(1_500);

/// When there are too many connections, or open files.
const CONNECTIONS_ADVICE: &str =
    "limits: relay.max_connections, relay.max_connections_per_address, LimitNOFILE= of the unit";

/// Why the relay ended, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{0}")]
    Sockets(#[from] SocketsError),
    #[error("tls.certificate_file: {0}")]
    Certificate(String),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("can't listen for signals: {0}")]
    Signals(io::Error),
    #[error("can't start a thread: {0}")]
    Thread(io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("{0}; ending, for systemd to start the relay anew")]
    TaskEnded(runtime::tasks::Ended),
    #[error("the store's thread ended unexpectedly; ending, for systemd to start the relay anew")]
    StoreEnded,
}

/// Serves until a signal ends it.
pub(crate) async fn run(config: Config) -> Result<(), RunError> {
    let mut stop_requested = std::pin::pin!(signal::stop_requested());
    raise_file_limit();
    // First of all: a second relay must not touch the first one's data.
    let (listeners, certificates) = listen(&config).await?;
    let metrics = Arc::new(Metrics::new()?);
    let board = empty_board(&config, &metrics);
    let (store, Milestones { loaded, ended: mut store_ended }) =
        Store::start(kept(&config, &board, &metrics)).map_err(RunError::Thread)?;
    tokio::select! {
        signal = &mut stop_requested => {
            let signal = signal.map_err(RunError::Signals)?;
            tracing::info!("{signal}: stopping before having begun");
            return Ok(());
        }
        loaded = tokio::time::timeout(LOAD_WITHIN, loaded) => if loaded.is_err() {
            let folder = config.data_dir.display();
            tracing::error!("{folder}: the disk does not answer; going on without the last frames");
        }
    }
    let scaler = Scaler::start(config.max_sizes, &metrics).map_err(RunError::Thread)?;
    let counts = metrics.updates.clone();
    let updates = Updates::start(config.updates.clone(), Arc::clone(&board), counts)
        .map_err(RunError::Thread)?;
    let access = start_access(&config, &metrics).await?;
    let parts = Parts {
        cluster: with_others(&config, &access, &metrics),
        board: Arc::clone(&board),
        store: store.clone(),
        scaler,
        metrics,
        updates,
        access,
        certificates,
    };
    let mut tasks = start(&config, listeners, parts);
    say_started(board.all().len());
    notify::ready();

    let outcome = tokio::select! {
        signal = &mut stop_requested => signal.map_err(RunError::Signals).map(|signal| {
            Event::RelayStopping.say(About::organ("relay"), format_args!("{signal}: stopping"));
        }),
        ended = tasks.ended() => Err(RunError::TaskEnded(ended)),
        _ = &mut store_ended => Err(RunError::StoreEnded),
    };
    notify::stopping();
    board.close();
    for name in tasks.stop(STOP_WITHIN).await {
        tracing::warn!("the task \"{name}\" did not end in time and was cut off");
    }
    if !matches!(outcome, Err(RunError::StoreEnded)) {
        store.stop();
        if tokio::time::timeout(FLUSH_WITHIN, store_ended).await.is_err() {
            tracing::error!("the disk does not answer: the last frames may not be kept");
        }
    }
    outcome
}

fn say_started(cameras: usize) {
    let version = runtime::version::full();
    let cameras = match cameras {
        1 => "1 camera".to_owned(),
        many => format!("{many} cameras"),
    };
    Event::RelayStarted.say(
        About { version: Some(version), ..About::organ("relay") },
        format_args!("stillwatch-relay {version} has started with {cameras}"),
    );
}

fn empty_board(config: &Config, metrics: &Arc<Metrics>) -> Arc<Board> {
    let board = Board::new(config.freshness, config.max_cameras, Arc::clone(metrics));
    for (id, camera) in &config.cameras {
        board.configure(id.clone(), camera.freshness, camera.title.clone());
    }
    Arc::new(board)
}

fn with_others(config: &Config, access: &Arc<Access>, metrics: &Metrics) -> Option<Arc<Cluster>> {
    let config = config.cluster.clone()?;
    Some(Arc::new(Cluster::new(config, Arc::clone(access), metrics.cluster.clone())))
}

async fn start_access(config: &Config, metrics: &Metrics) -> Result<Arc<Access>, RunError> {
    let (access, looked) =
        Access::start(&config.access, metrics.guesses.clone()).map_err(RunError::Thread)?;
    if tokio::time::timeout(LOAD_WITHIN, looked).await.is_err() {
        let folder = config.data_dir.display();
        tracing::error!("{folder}: the disk does not answer; uploads wait until it does");
    }
    Ok(access)
}

struct Parts {
    board: Arc<Board>,
    store: Store,
    scaler: Scaler,
    metrics: Arc<Metrics>,
    updates: Arc<Updates>,
    access: Arc<Access>,
    /// With HTTPS.
    certificates: Option<Arc<Shown>>,
    /// With other relays.
    cluster: Option<Arc<Cluster>>,
}

/// Where it listens, and whose certificate is shown there.
async fn listen(config: &Config) -> Result<(Vec<Listener>, Option<Arc<Shown>>), RunError> {
    let certificates = match &config.tls {
        Some(tls) => Some(certificates(tls).await?),
        None => None,
    };
    let server = certificates.as_ref().map(tls::server).transpose()?;
    let wanted = Wanted {
        listen: config.listen,
        listen_is_usual: config.listen_is_usual,
        tls: config.tls.as_ref().zip(server),
    };
    Ok((sockets::open(Passed::take()?, &wanted)?, certificates))
}

/// With the one that is there already, if one is.
async fn certificates(config: &TlsConfig) -> Result<Arc<Shown>, RunError> {
    let shown = Shown::default();
    let certificate = match &config.source {
        Source::Files(files) => Some(files.read().map_err(RunError::Certificate)?),
        Source::Acme(acme) => acme.kept().await,
    };
    if let Some(certificate) = certificate {
        shown.show(certificate);
    }
    Ok(Arc::new(shown))
}

fn start(config: &Config, listeners: Vec<Listener>, parts: Parts) -> Tasks {
    let ingest = ingest(config, &parts);
    let exporting = ExportStatus::of(&config.export);
    let notifications = Notifications::new(&config.notify, &parts.metrics);
    let sources = sources(&parts, exporting.clone());
    let Parts { board, store, scaler, metrics, updates, access, certificates, cluster } = parts;
    let observer = metrics.connections_observer(config.connections.total);
    let connections = Connections::new(&config.connections, observer);
    let plain = config.tls.as_ref().zip(certificates.clone());
    let plain = plain.map(|(tls, shown)| Plain::new(tls, shown));
    let site = Arc::new(Site {
        ingest: Arc::new(ingest),
        updates,
        board: Arc::clone(&board),
        store: store.clone(),
        scaler,
        metrics,
        export: exporting.clone(),
        notifications: notifications.clone(),
        pages: Pages::new(&config.pages),
        access,
        origins: config.pages.readers(),
        shared_cache: config.shared_cache.clone(),
        connections: connections.clone(),
        cluster: cluster.clone(),
        plain,
        peer_timeout: config.uploads.peer_timeout,
        started: clock::mono(),
        measuring: tokio::sync::Mutex::default(),
    });
    let (serving, watching) = (SharedMark::default(), SharedMark::default());
    let server = Server {
        listeners,
        routes: routes::all(Arc::clone(&site)),
        connections,
        header_timeout: config.header_timeout,
        peer_timeout: config.uploads.peer_timeout,
        advice: CONNECTIONS_ADVICE,
        mark: serving.clone(),
    };
    let supervisor = Supervisor {
        board: Arc::clone(&board),
        store,
        cluster: cluster.clone(),
        serving,
        watching: watching.clone(),
    };
    let mut tasks = Tasks::default();
    let stop = tasks.stop_token();
    share(cluster, &board, &mut tasks);
    tasks.spawn("watch", watch::run(board, watching, stop.clone()));
    tasks.spawn("serve", serve::run(server, stop.clone()));
    export::start(&site, &config.export, exporting.as_ref(), &mut tasks);
    keep_certificate(config, certificates, &mut tasks);
    notifications.start(config.notify.clone(), sources, &mut tasks);
    tasks.spawn("supervise", supervise::run(supervisor, stop));
    tasks
}

fn ingest(config: &Config, parts: &Parts) -> Ingest {
    let onward = Onward {
        store: parts.store.clone(),
        updates: Arc::clone(&parts.updates),
        cluster: parts.cluster.clone(),
    };
    let (board, access) = (Arc::clone(&parts.board), Arc::clone(&parts.access));
    let strangers = parts.metrics.refusals(None);
    Ingest::new(board, access, sign_keys(config), config.uploads, strangers, onward)
}

/// What somebody may be told of.
fn sources(parts: &Parts, export: Option<ExportStatus>) -> Sources {
    Sources {
        board: Arc::clone(&parts.board),
        store: parts.store.clone(),
        export,
        certificates: parts.certificates.clone(),
        cluster: parts.cluster.clone(),
    }
}

fn sign_keys(config: &Config) -> BTreeMap<CameraId, SignKey> {
    let signing = config.cameras.iter().filter_map(|(id, c)| Some((id, c.sign_key.as_ref()?)));
    signing.map(|(id, key)| (id.clone(), SignKey::new(key.expose()))).collect()
}

/// With other relays.
fn share(cluster: Option<Arc<Cluster>>, board: &Arc<Board>, tasks: &mut Tasks) {
    let stop = tasks.stop_token();
    if let Some(cluster) = cluster {
        tasks.spawn("cluster", cluster::run(cluster, Arc::clone(board), stop));
    }
}

/// With HTTPS.
fn keep_certificate(config: &Config, certificates: Option<Arc<Shown>>, tasks: &mut Tasks) {
    let stop = tasks.stop_token();
    match config.tls.as_ref().map(|tls| &tls.source).zip(certificates) {
        Some((Source::Files(files), shown)) => {
            tasks.spawn("certificate", tls::files::run(files.clone(), shown, stop));
        }
        Some((Source::Acme(acme), shown)) => {
            tasks.spawn("certificate", tls::acme::run(acme.clone(), shown, stop));
        }
        None => {}
    }
}

fn kept(config: &Config, board: &Arc<Board>, metrics: &Metrics) -> StoreConfig {
    StoreConfig {
        folder: config.data_dir.clone(),
        interval: config.store_interval,
        history: config.history,
        restore: restore(Arc::clone(board)),
        seconds: metrics.store_seconds.clone(),
        history_dropped: metrics.history_dropped.clone(),
    }
}

/// Shows an earlier process' frames, and says so.
fn restore(board: Arc<Board>) -> Restore {
    Box::new(move |kept| {
        let mut taken = Vec::new();
        for frame in kept {
            let Ok(camera) = board.find_or_add(&frame.camera) else {
                let id = &frame.camera;
                tracing::warn!(
                    camera = %id,
                    "camera {id}: not shown: there are as many cameras as there may be \
                     (relay.max_cameras)"
                );
                continue;
            };
            let now = Now::read();
            if let Some(held) = camera.restore(frame, now) {
                let (id, captured_at) = (&camera.id, held.captured_at());
                let age_ms = crate::status::millis(held.age(now.mono));
                let seq = held.frame.seq;
                tracing::info!(
                    camera = %id, seq, age_ms,
                    "camera {id}: showing its last picture, of {captured_at}"
                );
                taken.push(held);
            }
        }
        taken
    })
}

/// Each viewer takes a file descriptor, and a shell's limit of 1024 is soon reached.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!("can't raise the limit of open files above {soft}: {error}");
    }
}
