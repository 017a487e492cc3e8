//! Opening a WebSocket to the first relay that answers, in the order of preference.
//!
//! A connection whose first packets were lost waits seconds to send them again, and would be found
//! dead long after the network is back. So another attempt begins while the first still waits, and
//! whichever is through first is used.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::http::Http;
use super::outcome::Failure;
use super::websocket::{NotOpened, Socket};

/// After so long without an answer another attempt begins: TCP itself repeats its first packet after
/// 1 s (RFC 6298), 3 s, 7 s.
const ANOTHER_AFTER: Duration = Duration::from_millis(1_500);

/// Attempts at one relay, at most.
const MAX_ATTEMPTS: usize = 4;

/// Why none was opened, and which relay that is about.
#[derive(Debug)]
pub(super) struct NoneOpened {
    pub relay: usize,
    pub why: NotOpened,
}

/// Opens one within `timeout`; returns the relay's place with it.
pub(super) async fn open(
    relays: &[Http],
    ask_viewers: bool,
    timeout: Duration,
) -> Result<(usize, Socket), NoneOpened> {
    let late = || NoneOpened { relay: 0, why: NotOpened::Failed(Failure::late(timeout)) };
    match tokio::time::timeout(timeout, open_first(relays, ask_viewers)).await {
        Ok(outcome) => outcome.map_err(|failed| failed.unwrap_or_else(late)),
        Err(_) => Err(late()),
    }
}

/// `Err(None)`: there is no relay.
async fn open_first(
    relays: &[Http],
    ask_viewers: bool,
) -> Result<(usize, Socket), Option<NoneOpened>> {
    let attempt = |relay: usize| async move {
        let opened = match relays.get(relay) {
            Some(http) => Socket::open(http, ask_viewers).await,
            None => Err(NotOpened::Failed(Failure::default())),
        };
        opened.map(|socket| (relay, socket)).map_err(|why| NoneOpened { relay, why })
    };
    let count = relays.len();
    let mut order = (0..count).cycle().take(count.saturating_mul(MAX_ATTEMPTS));
    let mut attempts = FuturesUnordered::new();
    let mut tried = 0;
    let mut failed: Option<NoneOpened> = None;
    loop {
        if let Some(relay) = order.next() {
            attempts.push(attempt(relay));
            tried += 1;
        }
        let more = tried < count.saturating_mul(MAX_ATTEMPTS);
        let another = async {
            if more {
                tokio::time::sleep(ANOTHER_AFTER).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(opened) => return Ok(opened),
                Err(why) => {
                    // The first relay's trouble is what the owner wants to know of.
                    if failed.as_ref().is_none_or(|known| known.relay > why.relay) {
                        failed = Some(why);
                    }
                    // Whoever says no says so again: what is left are the relays not yet asked.
                    if tried >= count {
                        return Err(failed);
                    }
                }
            },
            () = another => {}
            else => return Err(failed),
        }
    }
}
