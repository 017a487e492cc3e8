//! `live.ws`: frames over a WebSocket, each when the viewer has drawn the last one, and the camera's
//! state whenever it changes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use runtime::clock;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_websockets::{CloseCode, Message};
use web::freshness::State;
use web::serve::Wire;

use super::window::Window;
use crate::access::viewing::Permit;
use crate::board::{Camera, Held, Size};
use crate::metrics::Kind;
use crate::rate::Rate;
use crate::scale::Scaler;
use crate::status::millis;
use crate::upgrade::{MaySend, WebSocket};

/// What a viewer may send: `{"ready":…}` for each frame, or what a close says; ten times as much as that comes to.
pub(crate) const MAY_SEND: MaySend = MaySend { message: 1 << 10, bytes_per_second: 16 << 10 };

/// Messages a viewer may send in a second: two for each frame of a fast camera.
const MAX_MESSAGES: u32 = 120;

/// A peer is asked so many times whether it is still there before it is given up.
pub(crate) const PINGS: u32 = 3;

/// What a viewer sends.
#[derive(Deserialize)]
struct Said {
    ready: Option<u64>,
}

/// What it is told beside frames.
#[derive(Serialize)]
struct Told {
    state: &'static str,
    age_ms: Option<u64>,
    /// While it is frozen: for how long every frame had the same content.
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged_ms: Option<u64>,
}

/// For a viewer that takes or says nothing: it may come again (RFC 6455 has no better code).
const STALLED_CODE: CloseCode = CloseCode::NORMAL_CLOSURE;

/// How long a peer may take to hear that the connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection is ended.
pub(crate) type End = (CloseCode, &'static str);

struct Viewer {
    camera: Arc<Camera>,
    socket: WebSocket,
    /// From which nothing comes, or which takes nothing, for so long: it is gone.
    timeout: Duration,
    /// Who sends more between two looks sends no messages, but fragments of one that never ends.
    most: u64,
    window: Window,
    messages: Rate,
    last: Option<u64>,
    /// The state that it was told last.
    told: Option<State>,
}

/// Talks to one viewer until it goes.
pub(crate) async fn run(
    socket: WebSocket,
    camera: Arc<Camera>,
    scaler: Scaler,
    size: Option<Size>,
    (wire, timeout): (Arc<Wire>, Duration),
    permit: Permit,
) {
    let _watching = camera.watched(camera.counts.out(Kind::WebSocket));
    let (window, messages) = (Window::default(), Rate::default());
    let most = MAY_SEND.bytes_per_second as u64 * (timeout / PINGS).as_secs().max(1) / 2;
    let mut viewer =
        Viewer { camera, socket, timeout, most, window, messages, last: None, told: None };
    let why = viewer.talk(&scaler, size, &wire, &permit).await.err();
    if let Some((code, _)) = why {
        let metrics = &viewer.camera.counts.dropped;
        metrics.with_label_values(&["websocket", reason(code)]).inc();
    }
    close(&mut viewer.socket, &wire, why).await;
}

fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::GOING_AWAY => "stopped",
        CloseCode::POLICY_VIOLATION => "flood",
        CloseCode::UNSUPPORTED_DATA => "not_understood",
        _ => "stalled",
    }
}

/// Says goodbye with a code, or with what the protocol's breach called for, and does not wait long
/// for the answer.
pub(crate) async fn close(socket: &mut WebSocket, wire: &Wire, why: Option<End>) {
    // Or else what the peer is still sending would destroy the goodbye on its way.
    wire.set_unread(true);
    let goodbye = async {
        if let Some((code, why)) = why {
            // A peer that is gone hears nothing.
            let _ = socket.send(Message::close(Some(code), why)).await;
        }
        let _ = socket.close().await;
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

impl Viewer {
    async fn talk(
        &mut self,
        scaler: &Scaler,
        size: Option<Size>,
        wire: &Wire,
        permit: &Permit,
    ) -> Result<(), End> {
        let (mut frames, mut states) = (self.camera.frames(), self.camera.states());
        frames.mark_changed();
        let mut ping = tokio::time::interval(self.timeout / PINGS);
        // Its first tick would be now.
        ping.reset();
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut received) = (clock::mono(), 0);
        // Not an old picture first, if the newest is elsewhere.
        self.camera.fetched().await;
        let now = clock::mono();
        self.tell_state(self.camera.picture_state(now)).await?;
        loop {
            if self.camera.is_closing() {
                return Err((CloseCode::GOING_AWAY, "the relay stops"));
            }
            tokio::select! {
                changed = frames.changed(), if self.window.may_send() => {
                    if changed.is_err() { return Ok(()) }
                    let held = frames.borrow_and_update().clone();
                    if let Some(held) = held.filter(|held| self.last != Some(held.number)) {
                        self.show(&held, scaler, size).await?;
                    }
                }
                changed = states.changed() => {
                    if changed.is_err() { return Ok(()) }
                    states.mark_unchanged();
                    self.tell_state(self.camera.state(clock::mono())).await?;
                }
                () = permit.ended() => return Ok(()),
                message = self.socket.next() => match message {
                    Some(Ok(message)) => self.take(&message)?,
                    // It went, or broke the protocol and was told so.
                    Some(Err(_)) | None => return Ok(()),
                },
                _ = ping.tick() => {
                    let (now, came) = (clock::mono(), wire.received() - received);
                    if came > self.most {
                        return Err((CloseCode::POLICY_VIOLATION, "too many bytes"));
                    }
                    if came > 0 {
                        (heard, received) = (now, wire.received());
                    }
                    if now.since(heard) >= self.timeout {
                        return Err((STALLED_CODE, "no answer"));
                    }
                    self.send(Message::ping("")).await?;
                }
            }
        }
    }

    async fn show(&mut self, held: &Held, scaler: &Scaler, size: Option<Size>) -> Result<(), End> {
        let Ok(rendition) = scaler.get(&self.camera, held, size).await else { return Ok(()) };
        let (message, now) = (rendition.message(), clock::mono());
        let out = self.camera.counts.out(Kind::WebSocket);
        out.sent(message.len(), held.age(now));
        out.skipped.inc_by(held.skipped_since(self.last));
        self.last = Some(held.number);
        self.window.sent(held.frame.seq, now);
        self.send(Message::binary(message)).await?;
        // What was told of an older picture, because this one could not be had.
        let state = self.camera.state(now);
        if self.told == Some(State::Stale) && state != State::Stale {
            self.tell_state(state).await?;
        }
        Ok(())
    }

    async fn tell_state(&mut self, state: State) -> Result<(), End> {
        let now = clock::mono();
        self.told = Some(state);
        let age_ms = self.camera.newest().map(|held| millis(held.age(now)));
        let frozen = state == State::Frozen;
        let unchanged_ms = frozen.then(|| self.camera.unchanged(now)).flatten().map(millis);
        let told = Told { state: state.word(), age_ms, unchanged_ms };
        // Our own structure always serialises.
        self.send(Message::text(serde_json::to_string(&told).unwrap_or_default())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(self.timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            // It is gone; reading finds that out.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err((STALLED_CODE, "nothing was read")),
        }
    }

    fn take(&mut self, message: &Message) -> Result<(), End> {
        let now = clock::mono();
        if !self.messages.take_per_second(now, MAX_MESSAGES) {
            return Err((CloseCode::POLICY_VIOLATION, "too many messages"));
        }
        if message.is_binary() {
            return Err((CloseCode::UNSUPPORTED_DATA, "viewers send text"));
        }
        // What a newer viewer says beside that is not for us.
        let said = message.as_text().and_then(|text| serde_json::from_str::<Said>(text).ok());
        if let Some(seq) = said.and_then(|said| said.ready) {
            self.window.ready(seq, now);
        }
        Ok(())
    }
}
