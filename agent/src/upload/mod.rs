//! The newest frame to the relay, again and again: one in flight, and the newest waiting.
//!
//! While an upload is retried, newer frames replace the one that failed: nobody wants an old
//! picture late. What a frame is and how it is captured does not belong here.

mod adapt;
mod http;
mod link;
mod outcome;
mod plain;
mod thin;
mod transport;
mod websocket;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use frame::Frame;
use ladder::Backoff;
use runtime::clock;
use runtime::slot::Reader;
use tokio::sync::Mutex;
use tokio_retry::Retry;
use tokio_util::sync::CancellationToken;

use crate::config::UploadConfig;
use crate::health::Health;
pub(crate) use adapt::AdaptConfig;
pub(crate) use http::{Http, HttpError, authorities};
use link::Link;
use outcome::Failure;
pub(crate) use plain::is_local;
pub(crate) use transport::Choice;

/// The loop turns at least this often, with nothing to send too: the watchdog watches it.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// How long the relay may take to hear that the agent stops.
const GOODBYE: Duration = Duration::from_millis(300);

/// The longest wait a relay can ask for by Retry-After.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// Uploads until `stop`, or until no more frames can come.
pub(crate) async fn run(
    http: Http,
    config: UploadConfig,
    mut frames: Reader<Frame>,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    let link = Mutex::new(Link::new(http, &config));
    let uploads = async {
        loop {
            health.upload.turn.touch(clock::mono());
            let frame = async {
                tokio::select! {
                    frame = frames.take() => frame,
                    () = async { link.lock().await.attend().await } => None,
                }
            };
            match tokio::time::timeout(TURN_EVERY, frame).await {
                Ok(Some(frame)) => deliver(&link, &config, frame, &mut frames, &health).await,
                Ok(None) => return,
                Err(_) => {}
            }
        }
    };
    // An upload in flight is given up: stopping must not wait for a dead network.
    let _ = stop.run_until_cancelled(uploads).await;
    let _ = tokio::time::timeout(GOODBYE, link.into_inner().close()).await;
}

/// Sends `first`, or whatever is newest by then, until the relay has acknowledged one.
async fn deliver(
    link: &Mutex<Link>,
    config: &UploadConfig,
    first: Frame,
    frames: &mut Reader<Frame>,
    health: &Health,
) {
    let failure = std::sync::Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    let backoff = Backoff::new(config.retry_min, config.retry_max, fastrand::u64(..));
    let waits = backoff.map(|wait| {
        let Failure { cause, hold, .. } = failed().take().unwrap_or_default();
        let wait = wait.max(hold.unwrap_or_default().min(MAX_HOLD));
        health.upload.failed(cause, wait);
        wait
    });
    let attempt = || {
        let newest = frames.latest().unwrap_or_else(|| first.clone());
        let failed = &failed;
        async move {
            let result = link.lock().await.send(&newest).await;
            health.upload.turn.touch(clock::mono());
            result.map_err(|failure| *failed() = Some(failure))
        }
    };
    // `waits` never ends, so neither does the retrying: only success or `stop` ends it.
    if Retry::start(waits, attempt).await.is_ok() {
        health.upload.succeeded();
    }
}
