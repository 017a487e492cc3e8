//! One connection to the bus, from its beginning until something breaks: then all of it is thrown away and begun anew,
//! which costs a few hundred bytes a camera. What to do for each camera is `lane.rs`' decision.

mod fetch;
mod others;
mod out;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Event as BusEvent, Message, StatusCode, Subscriber};
use frame::CameraId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ladder::Mono;
use runtime::clock;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::connect::{announcements, connect, context, stream, subscribe};
use super::lane::{self, Heard, Lane};
use super::message::{self, camera};
use super::outgoing::Waiting;
use super::queue::Queue;
use super::window::Window;
use super::{Cluster, Trouble};
use crate::board::{Board, Now};

/// How often it looks whether something is to be done that nothing else told of.
const TICK: Duration = Duration::from_millis(250);

/// What headers take of a message, at most (`message.rs`: about 400 bytes).
const HEADERS: usize = 1_024;

/// Cameras that something was said of once; beyond that nothing is said.
const MOST_SAID: usize = 1_000;

/// What has come of something that was begun.
enum Outcome {
    Published {
        sent: Sent,
        result: Result<u64, Failed>,
    },
    Fetched {
        asked: Asked,
        result: Result<Option<Box<StreamMessage>>, Failed>,
    },
    /// It is time to look at this camera again.
    Again(CameraId),
}

/// A frame on its way to the bus.
struct Sent {
    waiting: Waiting,
    private: bool,
    begun: Mono,
}

/// A picture on its way from it, of about so many bytes.
struct Asked {
    camera: CameraId,
    bytes: usize,
    begun: Mono,
}

/// Why it failed.
enum Failed {
    /// Somebody else was faster.
    Overtaken,
    /// This one only.
    This(String),
    /// The bus is gone, or as good as that.
    Bus(String),
}

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// See the module's documentation.
pub(super) struct Session<'a> {
    cluster: &'a Cluster,
    board: &'a Board,
    client: Client,
    context: Context,
    stream: Arc<Stream<Info>>,
    /// As many as there are cameras on the board.
    lanes: BTreeMap<CameraId, Lane>,
    /// Cameras that may have a frame to publish.
    to_publish: Queue,
    /// And a picture to fetch.
    to_fetch: Queue,
    out: Window,
    incoming: Window,
    work: FuturesUnordered<Work>,
    /// What is announced was there before.
    replaying: bool,
    /// How many there are of that.
    before: u64,
    /// Of the consumer.
    last: u64,
    /// Of the stream.
    heard: Mono,
    /// Anything at all, and how much had come by then.
    came: (u64, Mono),
    since: Mono,
    /// Others may still be about to say how their cameras' agents stand.
    unsure: bool,
    beacon_at: Option<Mono>,
    viewers: BTreeMap<String, u64>,
    said: BTreeSet<(CameraId, &'static str)>,
}

/// Runs until something breaks, and returns what.
pub(super) async fn run(cluster: &Cluster, board: &Board) -> Trouble {
    match begin(cluster, board).await {
        Ok((mut session, sources)) => match session.talk(sources).await {
            Ok(never) => match never {},
            Err(trouble) => {
                cluster.unsure(board, session.heard);
                trouble
            }
        },
        Err(trouble) => trouble,
    }
}

/// Where it hears from.
struct Sources {
    events: mpsc::Receiver<BusEvent>,
    heads: Subscriber,
    beacons: Subscriber,
}

async fn begin<'a>(
    cluster: &'a Cluster,
    board: &'a Board,
) -> Result<(Session<'a>, Sources), Trouble> {
    let config = &cluster.config;
    let (client, events) = connect(config).await?;
    let context = context(&client);
    let stream = stream(&context, config).await?;
    let beacons = subscribe(&client, format!("{}.relay.*", config.stream)).await?;
    let (heads, before) = announcements(&client, &stream, config).await?;
    cluster.compare(&stream.cached_info().config);
    let max = client.max_payload();
    if config.role.takes_uploads() && max < config.max_frame_bytes + HEADERS {
        tracing::warn!(
            "cluster: NATS takes messages of {max} bytes (max_payload), and frames may have {} \
             (relay.max_frame_bytes): larger ones are shown by this relay only",
            config.max_frame_bytes
        );
    }
    let session = Session {
        cluster,
        board,
        client,
        context,
        stream: Arc::new(stream),
        lanes: BTreeMap::new(),
        to_publish: Queue::default(),
        to_fetch: Queue::default(),
        out: Window::default(),
        incoming: Window::default(),
        work: FuturesUnordered::new(),
        replaying: before > 0,
        before,
        last: 0,
        heard: clock::mono(),
        came: (0, clock::mono()),
        since: clock::mono(),
        unsure: true,
        beacon_at: None,
        viewers: BTreeMap::new(),
        said: BTreeSet::new(),
    };
    Ok((session, Sources { events, heads, beacons }))
}

impl Session<'_> {
    async fn talk(&mut self, sources: Sources) -> Result<std::convert::Infallible, Trouble> {
        let Sources { mut events, mut heads, mut beacons } = sources;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wanted = Arc::clone(self.board.wanted());
        if !self.replaying {
            self.whole();
        }
        loop {
            tokio::select! {
                event = events.recv() => self.happened(event)?,
                head = heads.next() => match head {
                    Some(head) => self.hear(head)?,
                    None => return Err(Trouble::away("the connection ended".to_owned())),
                },
                beacon = beacons.next() => match beacon {
                    Some(beacon) => self.hear_beacon(&beacon),
                    None => return Err(Trouble::away("the connection ended".to_owned())),
                },
                Some(outcome) = self.work.next() => self.ended(outcome)?,
                ids = self.cluster.outgoing.changed() => ids.into_iter().for_each(|id| self.to_publish.push(id)),
                ids = wanted.next() => ids.into_iter().for_each(|id| self.to_fetch.push(id)),
                _ = tick.tick() => self.look().await?,
            }
            self.pump();
        }
    }

    fn happened(&mut self, event: Option<BusEvent>) -> Result<(), Trouble> {
        match event {
            Some(BusEvent::Connected) => Ok(()),
            Some(BusEvent::ServerError(error)) => {
                let said = error.to_string();
                if !said.to_lowercase().contains("permissions violation") {
                    return Err(Trouble::away(format!("the server says: {said}")));
                }
                Err(Trouble::refused(format!(
                    "the server says: {said}; docs/guide/scale.md lists what a relay's user has to be allowed"
                )))
            }
            Some(BusEvent::SlowConsumer(_)) => {
                Err(Trouble::away("announcements came faster than they could be read".to_owned()))
            }
            // It goes on serving for a while, and there is no other.
            Some(BusEvent::LameDuckMode) if self.cluster.config.servers.len() == 1 => Ok(()),
            Some(BusEvent::LameDuckMode) => {
                Err(Trouble::away("the server is about to stop".to_owned()))
            }
            Some(event) => Err(Trouble::away(format!("the connection: {event}"))),
            None => Err(Trouble::away("the connection ended".to_owned())),
        }
    }

    /// All that was there before is known.
    fn whole(&mut self) {
        self.replaying = false;
        self.cluster.works();
        // An ingest relay has no viewers to fetch for.
        self.board.wanted().open(self.cluster.config.role.shows_all());
        let takes_uploads = self.cluster.config.role.takes_uploads();
        for camera in self.board.all() {
            // What was uploaded here while the bus was away, or before it lost it.
            if let Some(held) = camera.newest().filter(|held| takes_uploads && held.home.is_none())
            {
                self.cluster.outgoing.put(held, clock::mono());
            }
            self.touch(camera.id.clone());
        }
    }

    /// An announcement, or that there is none.
    fn hear(&mut self, message: Message) -> Result<(), Trouble> {
        self.heard = clock::mono();
        let lost = || Trouble::away("announcements were lost".to_owned());
        if let Some(status) = message.status {
            let last = message.headers.as_ref().and_then(|h| h.get_last("Nats-Last-Consumer"));
            let last = last.and_then(|last| last.as_str().parse::<u64>().ok());
            if status == StatusCode::IDLE_HEARTBEAT && last.is_none_or(|last| last == self.last) {
                if self.replaying {
                    // Somebody removed what was left of it.
                    self.whole();
                }
                return Ok(());
            }
            return Err(lost());
        }
        let message = jetstream::Message { message, context: self.context.clone() };
        let info = message.info().map_err(|error| Trouble::away(error.to_string()))?;
        let (number, of_consumer, pending) =
            (info.stream_sequence, info.consumer_sequence, info.pending);
        if of_consumer != self.last + 1 {
            return Err(lost());
        }
        self.last = of_consumer;
        self.cluster.metrics.heads.inc();
        let message = message.message;
        self.announced(number, &message);
        // NATS 2.9 counts what is pending wrongly while messages are replaced.
        if self.replaying && (pending == 0 || of_consumer >= self.before) {
            self.whole();
        }
        Ok(())
    }

    fn announced(&mut self, number: u64, message: &Message) {
        let stream = &self.cluster.config.stream;
        let Some(id) = camera(stream, &message.subject) else {
            tracing::debug!("cluster: {}: no camera's name", message.subject);
            return;
        };
        let Some(headers) = &message.headers else {
            return self.unreadable(id, number, "frame-hash");
        };
        let told = match message::read(headers, &id, &self.cluster.config.name) {
            Ok(told) => told,
            Err(wrong) => return self.unreadable(id, number, wrong),
        };
        // Of names that are no camera of this relay's nothing is kept: anybody could make them up.
        let Some(camera) = self.admit(&id, &told) else { return };
        let lane = self.lanes.entry(id.clone()).or_default();
        let heard = lane::Message { number, placed: told.announced.placed, private: told.private };
        if lane.announced(heard, message::bytes(headers)) == Heard::Again {
            self.cluster.metrics.redelivered.inc();
            return;
        }
        let now = Now::read();
        // What an earlier connection told of may be lost.
        camera.retract(Some(told.announced.placed), now.unix_us);
        camera.announce_frame(told.announced, self.replaying, now);
        self.touch(id);
    }

    /// Something may be to be done for a camera.
    fn touch(&mut self, id: CameraId) {
        self.to_fetch.push(id.clone());
        self.to_publish.push(id);
    }

    /// Says something of a camera, once.
    fn say(&mut self, id: &CameraId, what: &'static str, words: impl FnOnce() -> String) {
        if self.said.len() < MOST_SAID && self.said.insert((id.clone(), what)) {
            tracing::warn!(camera = %id, "cluster: camera {id}: {}", words());
        }
    }

    /// Does what there is room for; who waits is looked at again when there is more.
    fn pump(&mut self) {
        while !self.replaying && !self.to_publish.is_empty() && self.out.has_room() {
            let Some(id) = self.to_publish.pop() else { break };
            self.pump_out(&id);
        }
        while !self.to_fetch.is_empty() && self.incoming.has_room() {
            let Some(id) = self.to_fetch.pop() else { break };
            self.pump_in(&id);
        }
    }

    fn ended(&mut self, outcome: Outcome) -> Result<(), Trouble> {
        match outcome {
            Outcome::Published { sent, result } => self.published(sent, result),
            Outcome::Fetched { asked, result } => self.fetched(asked, result),
            Outcome::Again(camera) => {
                self.touch(camera);
                Ok(())
            }
        }
    }

    fn again(&mut self, camera: CameraId, after: Duration) {
        self.work.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            Outcome::Again(camera)
        }));
    }
}
