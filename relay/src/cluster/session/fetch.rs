//! Pictures that somebody watches here, on their way from the bus.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use frame::{CameraId, Picture};
use ladder::Mono;
use runtime::clock;

use super::{Failed, Outcome, Session};
use crate::board::{Camera, Held, Now};
use crate::cluster::Trouble;
use crate::cluster::connect::{ANSWER_WITHIN, causes};
use crate::cluster::message::{self, Told, subject};
use crate::ingest::admit::Placed;

/// Pictures on their way from it. Times `relay.max_frame_bytes`, it bounds their memory.
const MOST_FETCHING: usize = 64;

impl Session<'_> {
    /// `false`: there is no room for it now.
    pub(super) fn pump_in(&mut self, id: &CameraId) -> bool {
        let now = clock::mono();
        let wanted = self.cluster.config.role.shows_all()
            && self.board.find(id).is_some_and(|c| c.viewers_here(now) > 0 && c.is_behind());
        let lane = self.lanes.entry(id.clone()).or_default();
        if self.fetching >= MOST_FETCHING {
            return !wanted;
        }
        if lane.fetch(wanted, now) {
            self.fetching += 1;
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
                Outcome::Fetched { camera: id, begun: now, result }
            }));
        }
        true
    }

    pub(super) fn fetched(
        &mut self,
        id: CameraId,
        begun: Mono,
        result: Result<Option<Box<StreamMessage>>, Failed>,
    ) -> Result<(), Trouble> {
        self.fetching = self.fetching.saturating_sub(1);
        let now = clock::mono();
        let (outcome, got) = match result {
            Ok(Some(message)) => {
                self.cluster.metrics.fetch_seconds.observe(now.since(begun).as_secs_f64());
                let number = message.sequence;
                if let Err(wrong) = message::read(&message.headers) {
                    self.unreadable(id.clone(), number, wrong);
                }
                match self.show(&id, *message) {
                    Ok((placed, true)) => ("shown", Ok(Some((number, placed)))),
                    Ok((placed, false)) => ("older", Ok(Some((number, placed)))),
                    Err(why) => {
                        self.say(&id, "refused", || {
                            format!("a picture from the bus is refused: {why}")
                        });
                        ("refused", Err(()))
                    }
                }
            }
            Ok(None) => ("failed", Ok(None)),
            Err(Failed::Bus(why)) => {
                self.cluster.metrics.fetched.with_label_values(&["failed"]).inc();
                return Err(Trouble::away(format!("fetching a picture: {why}")));
            }
            Err(Failed::This(_) | Failed::Overtaken) => ("failed", Err(())),
        };
        self.cluster.metrics.fetched.with_label_values(&[outcome]).inc();
        let lane = self.lanes.entry(id.clone()).or_default();
        let pause = match got {
            Ok(got) => lane.fetched(got, now),
            Err(()) => Some(lane.not_fetched(now)),
        };
        match pause {
            Some(pause) => self.again(id, pause),
            None => {
                self.due.insert(id);
            }
        }
        Ok(())
    }

    /// Shows a message's picture; whether it is newer than the one shown.
    fn show(&mut self, id: &CameraId, message: StreamMessage) -> Result<(Placed, bool), String> {
        let told = message::read(&message.headers).map_err(|wrong| format!("header {wrong}"))?;
        let Told { announced, .. } = &told;
        let placed = announced.placed;
        let bytes: Bytes = message.payload;
        if bytes.len() > self.cluster.config.max_frame_bytes {
            return Err(format!("{} bytes are more than relay.max_frame_bytes", bytes.len()));
        }
        let length = bytes.len() as u64;
        let picture = Picture::accept(bytes).map_err(|error| error.to_string())?;
        if picture.hash() != announced.hash {
            return Err("its hash is not the one announced".to_owned());
        }
        let metrics = &self.cluster.metrics;
        metrics.fetched_bytes.inc_by(length);
        let added = metrics.added_age.clone();
        let Some(camera) = self.admit(id, &told) else { return Ok((placed, false)) };
        let now = Now::read();
        let shown: Option<Arc<Held>> = camera.show_fetched(picture, told.announced, now);
        if shown.is_some() {
            let us = now.unix_us.saturating_sub(placed.arrived_us);
            // A clock that is ahead of ours is no age below zero.
            added.observe(Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64());
        }
        Ok((placed, shown.is_some()))
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
        self.due.insert(id);
    }

    /// The camera, if this relay shows it.
    pub(super) fn admit(&mut self, id: &CameraId, told: &Told) -> Option<Arc<Camera>> {
        if told.private && !self.cluster.access.is_private(id) {
            let home = &told.announced.home;
            self.say(id, "private", || {
                format!(
                    "it is private at the relay {home} and has no password for viewing here, so it is not shown \
                     (site.view_password_file, cameras.{id}.view_password_file)"
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
