//! Uploads over a WebSocket: `stillwatch.v1`, one frame in flight, each answered by the relay.
//!
//! The handshake is a request of the same HTTP client as for POST, so that TLS, time-outs and
//! certificates are the same.

use std::time::Duration;

use frame::Frame;
use frame::report::{REPORT, Report};
use frame::wire::{Flags, Head, SUBPROTOCOL};
use futures_util::{SinkExt, StreamExt};
use headers::{HeaderMapExt, SecWebsocketAccept, SecWebsocketKey};
use reqwest::header::{
    CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Response, StatusCode, Upgraded};
use runtime::clock;
use serde::Deserialize;
use tokio_websockets::{ClientBuilder, Config, Limits, Message, WebSocketStream};

use super::http::{Http, explained};
use super::outcome::{Answer, Failure, judge};

/// The longest message of a relay, in bytes: an answer of one line.
const MAX_ANSWER: usize = 4 << 10;

/// A ping that is not answered in this time tells nothing.
const ECHO_WITHIN: Duration = Duration::from_secs(2);

/// The relay pings every 15 s: after three that did not come, the connection is dead.
const SILENT: Duration = Duration::from_secs(45);

/// An open connection to the relay.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    /// The relay answered a frame on it.
    pub answered: bool,
    /// It asked for reports; one that knows none would end the connection.
    takes_reports: bool,
    /// What an answer takes that has nothing to carry, as it was measured last.
    round_trip: Duration,
    /// How long the last frame that was answered took to get through, without that.
    pub took: Duration,
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The relay, or what is between, takes none.
    NotOffered(String),
    /// As for any upload: the network, or the password.
    Failed(Failure),
}

#[derive(Deserialize)]
struct Said {
    ack: Option<u64>,
    refused: Option<u64>,
    #[serde(default)]
    why: String,
    retry_after_ms: Option<u64>,
}

impl Socket {
    /// Opens one. The deadline is the caller's.
    pub(super) async fn open(http: &Http) -> Result<Socket, NotOpened> {
        let mut nonce = [0; 16];
        fastrand::fill(&mut nonce);
        let key = SecWebsocketKey::from(nonce);
        let mut headers = reqwest::header::HeaderMap::new();
        headers.typed_insert(key.clone());
        let request = http
            .get_socket()
            .headers(headers)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        let failed =
            |error| NotOpened::Failed(Failure { cause: explained(&error), ..Failure::default() });
        let response = request.send().await.map_err(failed)?;
        check(&response, key.into())?;
        let takes_reports = response.headers().contains_key(REPORT);
        let upgraded = response.upgrade().await.map_err(failed)?;
        let limits = Limits::default().max_payload_len(Some(MAX_ANSWER));
        let config = Config::default().frame_size(usize::MAX);
        let stream = ClientBuilder::new().limits(limits).config(config).take_over(upgraded);
        let (round_trip, took) = (Duration::ZERO, Duration::ZERO);
        let mut socket = Socket { stream, answered: false, takes_reports, round_trip, took };
        socket.measure().await;
        Ok(socket)
    }

    /// Measures the round trip, while nothing else is under way.
    pub(super) async fn measure(&mut self) {
        let sent = clock::mono();
        let echo = async {
            self.stream.send(Message::ping("")).await.ok()?;
            // Whatever else comes meanwhile answers frames that were given up.
            while let Some(Ok(message)) = self.stream.next().await {
                if message.is_pong() {
                    return Some(clock::mono().since(sent));
                }
            }
            None
        };
        // Without one, the whole time counts as the transfer's: the picture gets smaller than it
        // need be.
        let echo = tokio::time::timeout(ECHO_WITHIN, echo).await.ok().flatten();
        self.round_trip = echo.unwrap_or_default();
    }

    /// Sends a frame, and a report if there is one, and waits for the frame's answer. The deadline is the caller's; after an `Err` of the
    /// outer kind the connection is of no more use.
    pub(super) async fn send(
        &mut self,
        frame: &Frame,
        report: Option<&Report>,
    ) -> Result<Result<(), Failure>, Failure> {
        let head =
            Head { captured_us: frame.captured.unix_us, seq: frame.seq, flags: Flags::from(frame) };
        let message = Message::binary(head.message(frame.picture.bytes()));
        let began = clock::mono();
        self.stream.send(message).await.map_err(|error| broken(&error.to_string()))?;
        if let Some(report) = report.filter(|_| self.takes_reports) {
            let message = Message::text(format!("{{\"report\":{}}}", report.to_json()));
            self.stream.send(message).await.map_err(|error| broken(&error.to_string()))?;
        }
        loop {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(broken(&error.to_string())),
                None => return Err(broken("end of the connection")),
            };
            if let Some((_, why)) = message.as_close() {
                return Err(broken(if why.is_empty() { "closed" } else { why }));
            }
            let said = message.as_text().and_then(|text| serde_json::from_str::<Said>(text).ok());
            // Others are of frames that were given up.
            match said {
                Some(Said { ack: Some(seq), .. }) if seq == frame.seq => {
                    self.answered = true;
                    self.took = clock::mono().since(began).saturating_sub(self.round_trip);
                    return Ok(Ok(()));
                }
                Some(Said { refused: Some(seq), why, retry_after_ms, .. }) if seq == frame.seq => {
                    self.answered = true;
                    let why = why.lines().next().unwrap_or_default();
                    let why: String = why.chars().take(200).collect();
                    let cause = format!("the relay refuses the picture: {why}");
                    let hold = retry_after_ms.map(Duration::from_millis);
                    return Ok(Err(Failure { cause, hold, slow: false }));
                }
                _ => {}
            }
        }
    }

    /// Answers the relay's pings while there is nothing to send; returns when the connection is of
    /// no more use.
    pub(super) async fn attend(&mut self) {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENT, self.stream.next()).await {
            if message.is_close() {
                return;
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // A relay that is gone hears nothing.
        let _ = self.stream.close().await;
    }
}

fn broken(why: &str) -> Failure {
    Failure { cause: format!("the relay cut the connection ({why})"), ..Failure::default() }
}

fn check(response: &Response, expected: SecWebsocketAccept) -> Result<(), NotOpened> {
    let status = response.status();
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::SWITCHING_PROTOCOLS => {
            let accepted = response.headers().typed_get::<SecWebsocketAccept>() == Some(expected);
            if accepted && text(SEC_WEBSOCKET_PROTOCOL.as_str()) == Some(SUBPROTOCOL) {
                return Ok(());
            }
            Err(NotOpened::NotOffered("its answer is not stillwatch.v1's".to_owned()))
        }
        // Who may upload, and whether there is room, does not depend on the way.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE => {
            let retry_after = text(RETRY_AFTER.as_str());
            let answer = Answer { status: status.as_u16(), retry_after, location: None, body: "" };
            Err(NotOpened::Failed(judge(answer).err().unwrap_or_default()))
        }
        _ => Err(NotOpened::NotOffered(format!("HTTP {}", status.as_u16()))),
    }
}
