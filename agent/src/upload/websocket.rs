//! A WebSocket to the relay: `stillwatch.v1`, frames one way, answers the other.
//!
//! The handshake is a request of the same HTTP client as for POST, so that TLS, time-outs and
//! certificates are the same. What is sent when does not belong here.

use std::net::IpAddr;
use std::time::Duration;

use frame::Frame;
use frame::report::{REPORT, Report};
use frame::sign::{Challenge, from_hex};
use frame::wire::{CHALLENGE, SUBPROTOCOL, VIEWERS, WANTS_HISTORY};
use futures_util::{SinkExt, StreamExt};
use headers::{HeaderMapExt, SecWebsocketAccept, SecWebsocketKey};
use hyper_util::client::legacy::connect::HttpInfo;
use ladder::Mono;
use reqwest::header::{
    CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Response, StatusCode, Upgraded};
use runtime::clock;
use serde::Deserialize;
use tokio_websockets::{ClientBuilder, Config, Limits, Message, WebSocketStream};

use super::flight::{Flight, Flights};
use super::http::{Http, failed};
use super::outcome::{Answer, Failure, judge};
use super::signer::{self, Signer};

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
    /// Our end of it.
    pub local: Option<IpAddr>,
    /// The relay answered a frame on it.
    pub proven: bool,
    /// It asked for reports; one that knows none would end the connection.
    takes_reports: bool,
    /// It keeps frames of the past.
    pub takes_history: bool,
    pub flights: Flights,
    /// What frames are signed with here.
    signer: Option<(Signer, Challenge)>,
    heard: Mono,
    /// What was to be sent was cut off in the middle.
    unsent: bool,
}

/// What a relay said.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame's answer, and how long it took to get through.
    Answer { flight: Flight, took: Duration, outcome: Result<(), Failure> },
    /// How many watch.
    Viewers(u64),
    /// Something else: a ping, or an answer to what was given up.
    Other,
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
    viewers: Option<u64>,
}

impl Socket {
    /// Opens one. The deadline is the caller's.
    pub(super) async fn open(http: &Http, ask_viewers: bool) -> Result<Socket, NotOpened> {
        http.learn_time().await;
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
        let request = if ask_viewers { request.header(VIEWERS, "wanted") } else { request };
        let response = request.send().await.map_err(|error| NotOpened::Failed(failed(&error)))?;
        check(&response, key.into())?;
        let offers = |name| response.headers().contains_key(name);
        let (takes_reports, takes_history) = (offers(REPORT), offers(WANTS_HISTORY));
        let challenge = response.headers().get(CHALLENGE).and_then(|value| value.to_str().ok());
        let challenge = challenge.and_then(from_hex).unwrap_or_default();
        let signer = http.signer().map(|signer| (signer.clone(), challenge));
        let info = response.extensions().get::<HttpInfo>();
        let local = info.map(|info| info.local_addr().ip());
        let upgraded =
            response.upgrade().await.map_err(|error| NotOpened::Failed(failed(&error)))?;
        let limits = Limits::default().max_payload_len(Some(MAX_ANSWER));
        let config = Config::default().frame_size(usize::MAX);
        let mut stream = ClientBuilder::new().limits(limits).config(config).take_over(upgraded);
        let flights = Flights::new(round_trip(&mut stream).await);
        Ok(Socket {
            stream,
            local,
            proven: false,
            takes_reports,
            takes_history,
            flights,
            signer,
            heard: clock::mono(),
            unsent: false,
        })
    }

    /// Sends a frame, and a report if there is one. It may be cut off in the middle: the rest is
    /// sent with the next that is.
    pub(super) async fn write(
        &mut self,
        frame: &Frame,
        report: Option<&Report>,
        flight: Flight,
    ) -> Result<(), Failure> {
        let signer = self.signer.as_ref().map(|(signer, challenge)| (signer, challenge));
        let (head, signature) = signer::head(frame, flight.past.is_some(), signer);
        let signature = signature.map(|signature| signature.encode());
        let signature = signature.as_ref().map_or(&[][..], |bytes| bytes);
        let message = Message::binary(head.message_with(signature, frame.picture.bytes()));
        let report = report
            .filter(|_| self.takes_reports)
            .map(|report| Message::text(format!("{{\"report\":{}}}", report.to_json())));
        let sent = async {
            if let Some(report) = report {
                self.stream.feed(report).await?;
            }
            // From here on it is sent, however this ends.
            self.stream.feed(message).await?;
            self.flights.sent(flight);
            self.unsent = true;
            self.flush().await
        };
        sent.await.map_err(|error: tokio_websockets::Error| broken(&error.to_string()))
    }

    async fn flush(&mut self) -> Result<(), tokio_websockets::Error> {
        self.stream.flush().await?;
        self.unsent = false;
        Ok(())
    }

    /// Waits for what the relay says next; pings are answered on the way.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(super) async fn read(&mut self) -> Result<Heard, Failure> {
        if self.unsent {
            self.flush().await.map_err(|error| broken(&error.to_string()))?;
        }
        let message = match self.stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broken(&error.to_string())),
            None => return Err(broken("end of the connection")),
        };
        self.heard = clock::mono();
        if let Some((_, why)) = message.as_close() {
            return Err(broken(if why.is_empty() { "closed" } else { why }));
        }
        let said = message.as_text().and_then(|text| serde_json::from_str::<Said>(text).ok());
        Ok(said.map_or(Heard::Other, |said| self.hear(said)))
    }

    fn hear(&mut self, said: Said) -> Heard {
        if let Some(viewers) = said.viewers {
            return Heard::Viewers(viewers);
        }
        let Some(seq) = said.ack.or(said.refused) else { return Heard::Other };
        // Others are of frames that were given up, or of none at all.
        let Some((flight, took)) = self.flights.answered(seq, clock::mono()) else {
            return Heard::Other;
        };
        self.proven = true;
        let outcome = if said.ack.is_some() {
            Ok(())
        } else {
            let why = said.why.lines().next().unwrap_or_default();
            let why: String = why.chars().take(200).collect();
            let cause = format!("the relay refuses the picture: {why}");
            let hold = said.retry_after_ms.map(Duration::from_millis);
            Err(Failure { cause, hold, ..Failure::rejected() })
        };
        Heard::Answer { flight, took, outcome }
    }

    /// When it counts as dead if nothing was heard by then.
    pub(super) fn silent_at(&self) -> Mono {
        self.heard.after(SILENT)
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // A relay that is gone hears nothing.
        let _ = self.stream.close().await;
    }
}

/// Measures what an answer takes that has nothing to carry, while nothing else is under way.
async fn round_trip(stream: &mut WebSocketStream<Upgraded>) -> Duration {
    let sent = clock::mono();
    let echo = async {
        stream.send(Message::ping("")).await.ok()?;
        while let Some(Ok(message)) = stream.next().await {
            if message.is_pong() {
                return Some(clock::mono().since(sent));
            }
        }
        None
    };
    // Without one, the whole time counts as the transfer's: the picture gets smaller than it need be.
    tokio::time::timeout(ECHO_WITHIN, echo).await.ok().flatten().unwrap_or_default()
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
