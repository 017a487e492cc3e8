//! Pictures that somebody watches here, on their way from the bus.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use frame::{CameraId, Picture};
use runtime::clock;

use super::{Asked, Failed, Outcome, Session};
use crate::board::{Camera, Held, Now};
use crate::cluster::Trouble;
use crate::cluster::connect::{ANSWER_WITHIN, causes};
use crate::cluster::lane::{Got, Message, Then};
use crate::cluster::message::{self, Told, subject};

impl Session<'_> {
    /// Asks for a camera's newest picture, if somebody wants it and it is its turn.
    pub(super) fn pump_in(&mut self, id: &CameraId) {
        let now = clock::mono();
        let wanted = self.cluster.config.role.shows_all()
            && self.board.find(id).is_some_and(|c| c.viewers_here(now) > 0 && c.is_behind());
        let lane = self.lanes.entry(id.clone()).or_default();
        if !lane.fetch(wanted, now) {
            return;
        }
        let bytes = lane.bytes();
        self.incoming.begin(bytes);
        let (stream, id) = (Arc::clone(&self.stream), id.clone());
        let subject = subject(&self.cluster.config.stream, &id);
        self.work.push(Box::pin(async move {
            let asking = stream.direct_get_last_for_subject(subject);
            let result = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
                Ok(Ok(message)) => Ok(Some(Box::new(message))),
                Ok(Err(error)) => match error.kind() {
                    DirectGetErrorKind::NotFound => Ok(None),
                    DirectGetErrorKind::TimedOut => Err(Failed::This(causes(&error))),
                    DirectGetErrorKind::InvalidSubject
                    | DirectGetErrorKind::Request
                    | DirectGetErrorKind::ErrorResponse(..)
                    | DirectGetErrorKind::Other => Err(Failed::Bus(causes(&error))),
                },
                Err(_) => Err(Failed::This("no answer".to_owned())),
            };
            Outcome::Fetched { asked: Asked { camera: id, bytes, begun: now }, result }
        }));
    }

    pub(super) fn fetched(
        &mut self,
        asked: Asked,
        result: Result<Option<Box<StreamMessage>>, Failed>,
    ) -> Result<(), Trouble> {
        let Asked { camera: id, bytes, begun } = asked;
        let now = clock::mono();
        self.incoming.end(bytes, now.since(begun));
        let (outcome, got) = match result {
            Ok(Some(message)) => {
                self.cluster.metrics.fetch_seconds.observe(now.since(begun).as_secs_f64());
                self.take(&id, *message)
            }
            Ok(None) => ("failed", Got::Nothing),
            Err(Failed::Bus(why)) => {
                self.cluster.metrics.fetched.with_label_values(&["failed"]).inc();
                return Err(Trouble::away(format!("fetching a picture: {why}")));
            }
            Err(Failed::This(_) | Failed::Overtaken) => ("failed", Got::Silence),
        };
        self.cluster.metrics.fetched.with_label_values(&[outcome]).inc();
        match self.lanes.entry(id.clone()).or_default().fetched(got, now) {
            Then::Again(pause) => self.again(id, pause),
            Then::Done => self.touch(id),
            Then::Retract => {
                if let Some(camera) = self.board.find(&id) {
                    let there = match got {
                        Got::Frame(message) => Some(message.placed),
                        Got::NoFrame(_) | Got::Nothing | Got::Silence => None,
                    };
                    camera.retract(there, clock::wall_us());
                }
                self.touch(id);
            }
        }
        Ok(())
    }

    /// Shows a message's picture, if it is one and newer than the one shown. Returns what came of it, in a word and for
    /// the lane.
    fn take(&mut self, id: &CameraId, message: StreamMessage) -> (&'static str, Got) {
        let number = message.sequence;
        let told = match message::read(&message.headers, id, &self.cluster.config.name) {
            Ok(told) => told,
            Err(wrong) => {
                self.unreadable(id.clone(), number, wrong);
                return ("refused", Got::NoFrame(number));
            }
        };
        let placed = told.announced.placed;
        let got = Got::Frame(Message { number, placed, private: told.private });
        match self.show(id, told, &message.payload) {
            Ok(true) => ("shown", got),
            Ok(false) => ("older", got),
            Err(why) => {
                if let Some(camera) = self.board.find(id) {
                    camera.refuse(placed);
                }
                self.say(id, "refused", || format!("a picture from the bus is refused: {why}"));
                ("refused", got)
            }
        }
    }

    /// Shows a picture; whether it is newer than the one shown.
    fn show(&mut self, id: &CameraId, told: Told, bytes: &Bytes) -> Result<bool, String> {
        let Some(camera) = self.admit(id, &told) else { return Ok(false) };
        let Told { announced, .. } = told;
        if bytes.len() > self.cluster.config.max_frame_bytes {
            return Err(format!("{} bytes are more than relay.max_frame_bytes", bytes.len()));
        }
        // What came is a part of what was read from the connection, all of which it would keep.
        let picture =
            Picture::accept(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
        if picture.hash() != announced.hash {
            return Err("its hash is not the one announced".to_owned());
        }
        let (metrics, now) = (&self.cluster.metrics, Now::read());
        metrics.fetched_bytes.inc_by(bytes.len() as u64);
        let arrived_us = announced.placed.arrived_us;
        let shown: Option<Arc<Held>> = camera.show_fetched(picture, announced, now);
        if shown.is_some() {
            let us = now.unix_us.saturating_sub(arrived_us);
            // A clock that is ahead of ours is no age below zero.
            let added = Duration::from_micros(u64::try_from(us).unwrap_or(0));
            metrics.added_age.observe(added.as_secs_f64());
        }
        Ok(shown.is_some())
    }

    /// A message that is no frame stands where a frame should.
    pub(super) fn unreadable(&mut self, id: CameraId, number: u64, wrong: &'static str) {
        if self.board.find(&id).is_none() {
            return;
        }
        self.lanes.entry(id.clone()).or_default().unreadable(number);
        self.say(&id, "unreadable", || {
            format!(
                "a message on the bus is none of a relay's: its header {wrong} is missing or wrong"
            )
        });
        self.touch(id);
    }

    /// The camera, if this relay shows it.
    pub(super) fn admit(&mut self, id: &CameraId, told: &Told) -> Option<Arc<Camera>> {
        // What this relay took itself it knows for whom: whoever took the password away wants it shown.
        let elsewhere = told.announced.home.as_deref().filter(|_| told.private);
        let home = elsewhere.filter(|_| !self.cluster.access.knows_viewers(id));
        self.cluster.access.hide(id, home.is_some());
        if let Some(home) = home {
            self.say(id, "private", || {
                format!(
                    "it is private at the relay {home} and has no password for viewing here, so it is neither shown nor \
                     taken (site.view_password_file, cameras.{id}.view_password_file)"
                )
            });
            return None;
        }
        if let Some(camera) = self.board.find(id) {
            return Some(camera);
        }
        if !self.cluster.config.role.shows_all() {
            return None;
        }
        let added = self.board.find_or_add(id).ok();
        if added.is_none() {
            self.say(id, "full", || {
                "there are as many as there may be (relay.max_cameras)".to_owned()
            });
        }
        added
    }
}
