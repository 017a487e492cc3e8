//! Frames that were uploaded here, on their way to the bus.

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use frame::CameraId;
use runtime::clock;

use super::{Failed, HEADERS, Outcome, Sent, Session, TICK, Work};
use crate::cluster::Trouble;
use crate::cluster::connect::{ANSWER_WITHIN, causes};
use crate::cluster::lane::{Message, Publish};
use crate::cluster::message::{headers, subject};
use crate::cluster::outgoing::Waiting;

impl Session<'_> {
    /// Publishes what waits of a camera, if it is its turn.
    pub(super) fn pump_out(&mut self, id: &CameraId) {
        let Some(waiting) = self.cluster.outgoing.get(id) else { return };
        let published = &self.cluster.metrics.published;
        let bytes = waiting.held.frame.picture.bytes().len();
        let max = self.client.max_payload();
        if bytes.saturating_add(HEADERS) > max {
            self.cluster.outgoing.take(&waiting.held);
            published.with_label_values(&["oversized"]).inc();
            self.say(id, "oversized", || {
                format!(
                    "its pictures of {bytes} bytes are shown by this relay only: NATS takes {max} (max_payload in \
                     nats-server.conf)"
                )
            });
            return;
        }
        let private = self.cluster.access.is_private(id);
        let (placed, now_us) = (waiting.held.placed(), clock::wall_us());
        match self.lanes.entry(id.clone()).or_default().publish(&placed, private, now_us) {
            Publish::Wait => {}
            Publish::Drop => {
                self.cluster.outgoing.take(&waiting.held);
                published.with_label_values(&["older"]).inc();
            }
            Publish::Against(last) => {
                self.cluster.outgoing.take(&waiting.held);
                self.out.begin(bytes);
                self.work.push(self.publish(waiting, private, last));
            }
        }
    }

    fn publish(&self, waiting: Waiting, private: bool, last: u64) -> Work {
        let Waiting { held, .. } = &waiting;
        let id = &held.frame.camera;
        let message = PublishMessage::build()
            .headers(headers(held, &self.cluster.config.name, private))
            .payload(held.frame.picture.bytes().clone())
            .expected_last_subject_sequence(last);
        let subject = subject(&self.cluster.config.stream, id);
        let (context, begun) = (self.context.clone(), clock::mono());
        Box::pin(async move {
            let publishing = async {
                let acknowledged: PublishAckFuture = context.send_publish(subject, message).await?;
                acknowledged.await
            };
            let result = match tokio::time::timeout(ANSWER_WITHIN, publishing).await {
                Ok(Ok(acknowledged)) => Ok(acknowledged.sequence),
                Ok(Err(error)) => Err(match error.kind() {
                    PublishErrorKind::WrongLastSequence => Failed::Overtaken,
                    PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::MaxAckPending => {
                        Failed::This(causes(&error))
                    }
                    PublishErrorKind::Other => Failed::This(causes(&error)),
                    PublishErrorKind::StreamNotFound
                    | PublishErrorKind::WrongLastMessageId
                    | PublishErrorKind::TimedOut
                    | PublishErrorKind::BrokenPipe => Failed::Bus(causes(&error)),
                }),
                // Behind others on a thin link. A bus that is gone is silent altogether.
                Err(_) => Err(Failed::This("no acknowledgement came in time".to_owned())),
            };
            let sent = Sent { waiting, private, begun };
            Outcome::Published { sent, result }
        })
    }

    pub(super) fn published(
        &mut self,
        sent: Sent,
        result: Result<u64, Failed>,
    ) -> Result<(), Trouble> {
        let Sent { waiting, private, begun } = sent;
        let bytes = waiting.held.frame.picture.bytes().len();
        self.out.end(bytes, clock::mono().since(begun));
        let metrics = &self.cluster.metrics;
        let Waiting { held, since } = &waiting;
        let id = held.frame.camera.clone();
        let lane = self.lanes.entry(id.clone()).or_default();
        match result {
            Ok(number) => {
                lane.published(Message { number, placed: held.placed(), private });
                metrics.published.with_label_values(&["published"]).inc();
                metrics.published_bytes.inc_by(bytes as u64);
                metrics.publish_seconds.observe(clock::mono().since(*since).as_secs_f64());
            }
            Err(Failed::Overtaken) => {
                lane.refused();
                self.cluster.outgoing.put_back(waiting);
            }
            Err(Failed::This(why)) => {
                lane.failed();
                metrics.published.with_label_values(&["failed"]).inc();
                self.cluster.outgoing.put_back(waiting);
                self.say(&id, "failed", || format!("the bus does not take its frame: {why}"));
                self.again(id, TICK);
                return Ok(());
            }
            Err(Failed::Bus(why)) => {
                metrics.published.with_label_values(&["failed"]).inc();
                self.cluster.outgoing.put_back(waiting);
                return Err(Trouble::away(format!("publishing: {why}")));
            }
        }
        self.touch(id);
        Ok(())
    }
}
