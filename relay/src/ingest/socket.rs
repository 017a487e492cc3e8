//! `upload.ws`: an agent's frames over one WebSocket, each answered with `ack` or `refused`.
//!
//! While it is open the relay knows that the agent is there, even when its camera shows nothing new.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frame::CameraId;
use frame::report::Report;
use frame::sign::{Challenge, Signature};
use frame::wire::{Head, VIEWERS};
use futures_util::{SinkExt, StreamExt};
use ladder::Mono;
use ring::rand::{SecureRandom, SystemRandom};
use runtime::clock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;
use tokio_websockets::{CloseCode, Message};
use web::serve::Wire;

use super::{Described, Ingest, Refusal, Upload};
use crate::board::{Attached, Camera, Refused};
use crate::rate::Rate;
use crate::upgrade::{MaySend, WebSocket};
use crate::view::push::{End, PINGS, close};

/// How often a silent connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An answer that is not taken for so long: nobody reads.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// More than control frames have: a frame is on its way.
const PART: u64 = 512;

/// Messages of any kind in a second, beyond the frames that are allowed.
const MORE_MESSAGES: u32 = 60;

/// What a refused frame's sender is told to wait.
const RETRY_AFTER_MS: u64 = 1_000;

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Ack {
        ack: u64,
    },
    Refused {
        refused: u64,
        why: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// An agent's connection, admitted.
#[derive(Debug)]
pub(crate) struct Session {
    ingest: Arc<Ingest>,
    camera: CameraId,
    peer: IpAddr,
    wire: Arc<Wire>,
    /// It wants to know how many watch.
    tell_viewers: bool,
    /// Which start of the agent it is of.
    boot: Option<u64>,
    /// What frames have to be signed with.
    pub challenge: Challenge,
    _place: OwnedSemaphorePermit,
}

/// What has come of a message that is not complete yet. Pure.
#[derive(Debug, Default)]
struct Partial {
    complete: u64,
    since: Option<Mono>,
}

impl Partial {
    /// A message is complete; `received` bytes have come in all.
    fn completed(&mut self, received: u64) {
        *self = Partial { complete: received, since: None };
    }

    /// How long a message has been arriving.
    fn arriving(&mut self, received: u64, now: Mono) -> Option<Duration> {
        if received.saturating_sub(self.complete) <= PART {
            return None;
        }
        Some(now.since(*self.since.get_or_insert(now)))
    }
}

/// When what came last.
#[derive(Debug)]
struct Signs {
    heard: Mono,
    received: u64,
    pinged: Mono,
    partial: Partial,
}

impl Signs {
    fn begin(now: Mono, received: u64) -> Signs {
        let partial = Partial { complete: received, since: None };
        Signs { heard: now, received, pinged: now, partial }
    }
}

impl Ingest {
    /// Whether an agent may open a WebSocket.
    ///
    /// # Errors
    /// As for an upload by POST.
    pub(crate) async fn admit_socket(
        self: &Arc<Self>,
        upload: Upload<'_>,
        wire: &Arc<Wire>,
    ) -> Result<Session, Refusal> {
        let place = || Arc::clone(&self.sockets).try_acquire_owned().map_err(|_| Refused::Busy);
        // A wrong password may take its time, and takes no place meanwhile.
        match self.authorise(upload).await.and_then(|()| place()) {
            Ok(place) => Ok(Session {
                ingest: Arc::clone(self),
                camera: upload.camera.clone(),
                peer: upload.peer,
                wire: Arc::clone(wire),
                tell_viewers: upload.headers.contains_key(VIEWERS),
                boot: super::boot(upload.headers),
                challenge: challenge(),
                _place: place,
            }),
            Err(why) => Err(self.refuse(upload.camera, upload.peer, why)),
        }
    }

    /// What an agent may send. Whoever has a camera's password may use the whole line.
    pub(crate) fn may_send(&self) -> MaySend {
        let message = self.bounds.max_frame_bytes.saturating_add(Head::LEN + Signature::LEN);
        MaySend { message, bytes_per_second: usize::MAX }
    }
}

impl Session {
    /// Takes frames until the agent goes, or the relay stops.
    pub(crate) async fn run(self, mut socket: WebSocket) {
        let why = self.talk(&mut socket).await.err();
        if let Some((_, why)) = why {
            tracing::debug!(camera = %self.camera, peer = %self.peer, "upload: closed: {why}");
        }
        close(&mut socket, &self.wire, why).await;
    }

    async fn talk(&self, socket: &mut WebSocket) -> Result<(), End> {
        let attach = || self.ingest.board.find(&self.camera).map(|c| c.attach(clock::mono()));
        let mut attached: Option<Attached> = attach();
        let mut messages = Rate::default();
        let mut signs = Signs::begin(clock::mono(), self.wire.received());
        let (mut told, mut begun) = (None, false);
        let timeout = self.ingest.bounds.peer_timeout;
        let mut look = tokio::time::interval(LOOK.min(timeout / PINGS));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let max =
            self.ingest.bounds.max_upload_rate.saturating_mul(2).saturating_add(MORE_MESSAGES);
        loop {
            let camera = attached.as_ref().map(Attached::camera);
            // Before its first frame an agent may be busy with other things.
            if begun {
                self.tell_viewers(socket, camera, &mut told).await?;
            }
            let message = tokio::select! {
                message = socket.next() => message,
                () = begins(camera), if told == Some(0) => continue,
                () = self.ingest.board.closed() => {
                    return Err((CloseCode::GOING_AWAY, "the relay stops"));
                }
                _ = look.tick() => {
                    if self.look(&mut signs)? {
                        send(socket, Message::ping("")).await?;
                    }
                    continue;
                }
            };
            // It went, or broke the protocol and was told so.
            let Some(Ok(message)) = message else { return Ok(()) };
            signs.partial.completed(self.wire.received());
            if !messages.take_per_second(clock::mono(), max) {
                return Err((CloseCode::POLICY_VIOLATION, "too many messages"));
            }
            if let Some(text) = message.as_text() {
                let Some(report) = read_report(text) else {
                    self.count(Refused::NotFrame);
                    return Err((CloseCode::UNSUPPORTED_DATA, "neither a frame nor a report"));
                };
                self.ingest.report(&self.camera, report);
            }
            if message.is_binary() {
                let answer = self.take(Bytes::from(message.into_payload()));
                send(socket, Message::text(answer)).await?;
                attached = attached.or_else(attach);
                begun = true;
            }
        }
    }

    /// Looks at a connection on which nothing may have come; returns whether to ping.
    fn look(&self, signs: &mut Signs) -> Result<bool, End> {
        let (now, received) = (clock::mono(), self.wire.received());
        let timeout = self.ingest.bounds.peer_timeout;
        if received != signs.received {
            (signs.heard, signs.received) = (now, received);
        }
        if now.since(signs.heard) >= timeout {
            return Err((CloseCode::NORMAL_CLOSURE, "no answer"));
        }
        let arriving = signs.partial.arriving(received, now);
        if arriving.is_some_and(|arriving| arriving > self.ingest.bounds.body_timeout) {
            self.count(Refused::TooSlow);
            return Err((CloseCode::POLICY_VIOLATION, "the frame did not arrive in time"));
        }
        let due = now.since(signs.pinged) >= timeout / PINGS;
        if due {
            signs.pinged = now;
        }
        Ok(due)
    }

    /// Tells an agent that asked for it how many watch, if that is news.
    async fn tell_viewers(
        &self,
        socket: &mut WebSocket,
        camera: Option<&Camera>,
        told: &mut Option<u64>,
    ) -> Result<(), End> {
        let Some(camera) = camera.filter(|_| self.tell_viewers) else { return Ok(()) };
        let viewers = camera.viewers(clock::mono());
        if told.replace(viewers) == Some(viewers) {
            return Ok(());
        }
        send(socket, Message::text(format!("{{\"viewers\":{viewers}}}"))).await
    }

    fn count(&self, why: Refused) {
        self.ingest.count(&self.camera, self.peer, &self.ingest.refusal(why));
    }

    /// Takes one frame, and returns the answer.
    fn take(&self, message: Bytes) -> String {
        let head = Head::decode(message);
        let seq = head.as_ref().map_or(0, |(head, _)| head.seq);
        let taken = match head {
            Some((head, jpeg)) => self.show(&head, jpeg),
            None => Err(self.ingest.refusal(Refused::NotFrame)),
        };
        let answer = match &taken {
            Ok(()) => Answer::Ack { ack: seq },
            Err(refusal) => {
                self.ingest.count(&self.camera, self.peer, refusal);
                let pause = matches!(
                    refusal.why,
                    Refused::TooFast | Refused::TooManyCameras | Refused::Busy | Refused::Signature
                );
                let retry_after_ms = pause.then_some(RETRY_AFTER_MS);
                Answer::Refused { refused: seq, why: &refusal.line, retry_after_ms }
            }
        };
        // Our own structure always serialises.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    fn show(&self, head: &Head, rest: Bytes) -> Result<(), Refusal> {
        let refused = |why| self.ingest.refusal(why);
        self.ingest.in_time(&self.camera).map_err(refused)?;
        let (signature, jpeg) = if head.flags.signed {
            let (signature, jpeg) =
                Signature::split(rest).ok_or_else(|| refused(Refused::NotFrame))?;
            (Some(signature), jpeg)
        } else {
            (None, rest)
        };
        self.ingest
            .is_signed(&self.camera, &self.challenge, signature, head, &jpeg)
            .map_err(refused)?;
        self.ingest.accept(&self.camera, Described::of(head, signature, self.boot), jpeg)
    }
}

fn challenge() -> Challenge {
    let mut challenge = Challenge::default();
    // Without randomness there is no relay: TLS and hash maps would not work either. All the same, a
    // challenge that was given before is none.
    if SystemRandom::new().fill(&mut challenge).is_err() {
        challenge = clock::wall_us().to_be_bytes().repeat(2).try_into().unwrap_or(challenge);
    }
    challenge
}

/// Waits for somebody to begin to watch.
async fn begins(camera: Option<&Camera>) {
    let Some(camera) = camera else { return std::future::pending().await };
    let mut changes = camera.audience();
    // It ends with the camera only.
    while camera.viewers(clock::mono()) == 0 && changes.changed().await.is_ok() {}
}

/// What an agent says beside frames.
#[derive(Deserialize)]
struct Said {
    report: Box<RawValue>,
}

fn read_report(text: &str) -> Option<Report> {
    let said: Said = serde_json::from_str(text).ok()?;
    Report::parse(said.report.get())
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match tokio::time::timeout(ANSWER_WITHIN, socket.send(message)).await {
        // If it is gone, reading finds that out.
        Ok(_) => Ok(()),
        Err(_) => Err((CloseCode::POLICY_VIOLATION, "the answers are not read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_arrives_slowly_is_seen_and_pings_are_not_one() {
        let at = |s| Mono::from_boot(Duration::from_secs(s));
        let mut partial = Partial::default();
        partial.completed(1_000);
        assert_eq!(partial.arriving(1_100, at(1)), None, "control frames");
        assert_eq!(partial.arriving(2_000, at(2)), Some(Duration::ZERO));
        assert_eq!(partial.arriving(2_001, at(33)), Some(Duration::from_secs(31)));
        partial.completed(9_000);
        assert_eq!(partial.arriving(9_000, at(34)), None);
        assert_eq!(partial.arriving(10_000, at(40)), Some(Duration::ZERO), "it begins anew");
    }
}
