//! The newest frame to the relay, again and again: as many on their way as are not in each other's
//! way, and the newest waiting.
//!
//! While an upload is retried, newer frames replace the one that failed: nobody wants an old
//! picture late. What a frame is and how it is captured does not belong here.

mod adapt;
mod flight;
mod http;
mod idle;
pub(crate) mod kind;
mod link;
mod outcome;
mod plain;
mod relays;
mod signer;
mod thin;
mod tls;
mod traffic;
mod transport;
mod websocket;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use frame::Frame;
use ladder::{Backoff, Mono};
use runtime::clock;
use runtime::network::Changes;
use runtime::slot::Reader;
use tokio::sync::Mutex;
use tokio_retry::Retry;
use tokio_util::sync::CancellationToken;

use crate::config::UploadConfig;
use crate::health::{self, Health};
use crate::machine::Machine;
use crate::network;
use crate::offline::Offline;
use crate::sensor::EncoderControl;
use crate::update::Updates;
pub(crate) use adapt::AdaptConfig;
pub(crate) use http::{Http, HttpError, authorities, explained};
pub(crate) use kind::Kind as UploadFault;
use link::Link;
use outcome::Failure;
pub(crate) use plain::is_local;
pub(crate) use tls::{Key, Trust};
pub(crate) use traffic::{Seen, Traffic};
pub(crate) use transport::Choice;

/// The loop turns at least this often, with nothing to send too: the watchdog watches it.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// How long the relay may take to hear that the agent stops.
const GOODBYE: Duration = Duration::from_millis(300);

/// The longest wait a relay can ask for by Retry-After: the watchdog's patience is longer.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// A connection that worked is opened again after up to so long: a thousand cameras of one relay do
/// not come back in the same moment.
const SPREAD_MS: u64 = 300;

/// When the network changes, waiting is over at most so often.
const NETWORK_SPACING: Duration = Duration::from_secs(1);

/// What the loop needs.
#[derive(Debug)]
pub(crate) struct Uploader {
    pub relays: Vec<Http>,
    pub config: UploadConfig,
    pub frames: Reader<Frame>,
    pub offline: Arc<Offline>,
    pub control: Arc<EncoderControl>,
    pub health: Arc<Health>,
    pub machine: Arc<Machine>,
    /// What is told of updates.
    pub updates: Arc<Updates>,
    pub traffic: Arc<Traffic>,
    /// The machine's network as it looks from here.
    pub seen: Arc<network::Network>,
}

/// Uploads until `stop`, or until no more frames can come.
pub(crate) async fn run(uploader: Uploader, stop: CancellationToken) {
    let config = uploader.config.clone();
    let health = Arc::clone(&uploader.health);
    let report = Reporter { health: Arc::clone(&health), seen: Arc::clone(&uploader.seen) };
    let (link, mut frames) = Link::new(uploader);
    let link = Mutex::new(link);
    let mut network = Network::listen();
    let uploads = async {
        loop {
            health.upload.turn.touch(clock::mono());
            let next = async {
                let mut link = link.lock().await;
                link.ready().await?;
                tokio::select! {
                    frame = frames.take() => Ok(frame),
                    failure = link.attend() => Err(failure),
                }
            };
            let next = tokio::select! {
                next = tokio::time::timeout(TURN_EVERY, next) => next,
                () = network.changed() => {
                    link.lock().await.network_changed();
                    continue;
                }
            };
            match next {
                Ok(Ok(Some(frame))) => {
                    deliver(&link, &config, frame, &mut frames, &mut network, &report).await;
                }
                Ok(Ok(None)) => return,
                Ok(Err(failure)) => {
                    let spread = Duration::from_millis(fastrand::u64(..SPREAD_MS));
                    let wait = failure.hold.map_or(spread, |hold| hold.min(MAX_HOLD));
                    report.failed(failure, wait);
                    tokio::time::sleep(wait).await;
                }
                Err(_) => {}
            }
        }
    };
    // An upload in flight is given up: stopping must not wait for a dead network.
    let _ = stop.run_until_cancelled(uploads).await;
    let _ = tokio::time::timeout(GOODBYE, link.into_inner().close()).await;
}

/// Sends `first`, or whatever is newest by then, until one is on its way over a connection that
/// works.
async fn deliver(
    link: &Mutex<Link>,
    config: &UploadConfig,
    first: Frame,
    frames: &mut Reader<Frame>,
    network: &mut Network,
    report: &Reporter,
) {
    let frames = std::sync::Mutex::new(frames);
    let failure = std::sync::Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    let newest = || frames.lock().unwrap_or_else(PoisonError::into_inner).latest();
    loop {
        let backoff = Backoff::new(config.retry_min, config.retry_max, fastrand::u64(..));
        let waits = backoff.map(|wait| {
            let failure: Failure = failed().take().unwrap_or_default();
            let wait = wait.max(failure.hold.unwrap_or_default().min(MAX_HOLD));
            report.failed(failure, wait);
            wait
        });
        let attempt = || {
            let newest = newest().unwrap_or_else(|| first.clone());
            let failed = &failed;
            async move {
                let result = link.lock().await.send(&newest).await;
                report.health.upload.turn.touch(clock::mono());
                result.map_err(|failure| *failed() = Some(failure))
            }
        };
        tokio::select! {
            // `waits` never ends, so neither does the retrying: only success or `stop` ends it.
            _ = Retry::start(waits, attempt) => return,
            // What was tried over the network as it was may hang; and it is worth another attempt.
            () = network.changed() => link.lock().await.network_changed(),
        }
    }
}

/// Reports failures, with what the network looked like.
#[derive(Debug)]
struct Reporter {
    health: Arc<Health>,
    seen: Arc<network::Network>,
}

impl Reporter {
    fn failed(&self, failure: Failure, wait: Duration) {
        let Failure { kind, errno, cause, .. } = failure;
        let seen = self.seen.latest().and_then(|facts| network::kind(&facts));
        let fault = kind.seen_with(seen);
        self.health.upload.failed(health::Failure { fault, cause, errno }, wait);
    }
}

/// Says when the machine's network changes.
#[derive(Debug)]
struct Network {
    /// `None`: it can't be known.
    changes: Option<Changes>,
    /// There was one that nobody was told of.
    seen: bool,
    last: Option<Mono>,
}

impl Network {
    fn listen() -> Network {
        let changes = Changes::listen()
            .inspect_err(|error| tracing::debug!("changes of the network are not seen: {error}"));
        Network { changes: changes.ok(), seen: false, last: None }
    }

    /// Waits for a change, and for the last one to be long enough ago. If it is cut off, nothing is
    /// lost.
    async fn changed(&mut self) {
        while !self.seen {
            let Some(changes) = &mut self.changes else { return std::future::pending().await };
            match changes.next().await {
                Ok(()) => self.seen = true,
                Err(_) => self.changes = None,
            }
        }
        if let Some(last) = self.last {
            tokio::time::sleep(last.after(NETWORK_SPACING).since(clock::mono())).await;
        }
        self.seen = false;
        self.last = Some(clock::mono());
    }
}
