//! One connection to the bus, from its beginning until something breaks: then all of it is thrown away and begun anew,
//! which costs a few hundred bytes a camera. What to do for each camera is `lane.rs`' decision.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{DirectGetErrorKind, Info, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Event as BusEvent, Message, StatusCode, Subscriber};
use bytes::Bytes;
use frame::{CameraId, Picture};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ladder::Mono;
use runtime::clock;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use web::freshness::State;

use super::beacon::{Beacon, MOST_CAMERAS, News};
use super::connect::{ANSWER_WITHIN, causes, connect, context, stream};
use super::lane::{Heard, Lane, Publish};
use super::message::{self, Told, camera, headers, subject, subjects};
use super::outgoing::Waiting;
use super::{Cluster, Trouble};
use crate::board::{Board, Camera, Held, Now};
use crate::ingest::admit::Placed;

/// How often it looks whether something is to be done that nothing else told of.
const TICK: Duration = Duration::from_millis(250);

/// How often a relay says how it is.
const BEACON_EVERY: Duration = Duration::from_secs(1);

/// How often the stream says that there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Without a sign of the stream for so long it is gone.
const SILENT: Duration = Duration::from_millis(3_500);

/// Frames on their way to the bus at the same time; of all cameras.
const MOST_PUBLISHING: usize = 256;

/// Pictures on their way from it. Times `relay.max_frame_bytes`, it bounds their memory.
const MOST_FETCHING: usize = 64;

/// What headers take of a message, at most (`message.rs`: about 400 bytes).
const HEADERS: usize = 1_024;

/// An agent of which nothing was heard for longer is told of by nobody: everybody calls it offline.
const QUIET_FOR: Duration = Duration::from_secs(120);

/// Cameras that something was said of once; beyond that nothing is said.
const MOST_SAID: usize = 1_000;

/// What has come of something that was begun.
enum Outcome {
    Published {
        waiting: Waiting,
        result: Result<u64, Failed>,
    },
    Fetched {
        camera: CameraId,
        begun: Mono,
        result: Result<Option<Box<StreamMessage>>, Failed>,
    },
    /// It is time to look at this camera again.
    Again(CameraId),
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
    /// Cameras to look at.
    due: BTreeSet<CameraId>,
    work: FuturesUnordered<Work>,
    publishing: usize,
    fetching: usize,
    /// What is announced was there before.
    replaying: bool,
    /// Of the consumer.
    last: u64,
    heard: Mono,
    beacon_at: Option<Mono>,
    viewers: BTreeMap<String, u64>,
    said: BTreeSet<(CameraId, &'static str)>,
}

/// Runs until something breaks, and returns what.
pub(super) async fn run(cluster: &Cluster, board: &Board) -> Trouble {
    match begin(cluster, board).await {
        Ok((mut session, sources)) => match session.talk(sources).await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
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
    let subscribe = async |subject: String| {
        let failed = |error| Trouble::away(format!("can't listen: {}", causes(&error)));
        client.subscribe(subject).await.map_err(failed)
    };
    let beacons = subscribe(format!("{}.relay.*", config.stream)).await?;
    let inbox = client.new_inbox();
    let heads = subscribe(inbox.clone()).await?;
    let consumer = push::Config {
        deliver_subject: inbox,
        description: Some(format!("stillwatch-relay {}", config.name)),
        deliver_policy: DeliverPolicy::LastPerSubject,
        ack_policy: AckPolicy::None,
        filter_subject: subjects(&config.stream),
        headers_only: true,
        idle_heartbeat: HEARTBEAT,
        inactive_threshold: SILENT,
        num_replicas: 1,
        memory_storage: true,
        ..push::Config::default()
    };
    let making = tokio::time::timeout(ANSWER_WITHIN, stream.create_consumer(consumer));
    let consumer = match making.await {
        Ok(Ok(consumer)) => consumer,
        Ok(Err(error)) => {
            return Err(Trouble::away(format!("no announcements of frames: {}", causes(&error))));
        }
        Err(_) => return Err(Trouble::away("no announcements of frames: no answer".to_owned())),
    };
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
        due: BTreeSet::new(),
        work: FuturesUnordered::new(),
        publishing: 0,
        fetching: 0,
        replaying: consumer.cached_info().num_pending > 0,
        last: 0,
        heard: clock::mono(),
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
                () = self.cluster.outgoing.changed() => self.due.extend(self.cluster.outgoing.cameras()),
                ids = wanted.next() => self.due.extend(ids),
                _ = tick.tick() => self.look().await?,
            }
            self.pump();
        }
    }

    fn happened(&mut self, event: Option<BusEvent>) -> Result<(), Trouble> {
        match event {
            Some(BusEvent::Connected) => Ok(()),
            Some(BusEvent::ServerError(error)) => Err(Trouble::refused(format!(
                "the server says: {error}; docs/guide/scale.md lists what a relay's user has to be allowed"
            ))),
            Some(BusEvent::SlowConsumer(_)) => {
                Err(Trouble::away("announcements came faster than they could be read".to_owned()))
            }
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
        if self.cluster.config.role.takes_uploads() {
            for camera in self.board.all() {
                // What was uploaded here while the bus was away, or before it lost it.
                if let Some(held) = camera.newest().filter(|held| held.home.is_none()) {
                    self.cluster.outgoing.put(held, clock::mono());
                }
            }
        }
        self.due.extend(self.board.all().iter().map(|camera| camera.id.clone()));
    }

    /// An announcement, or that there is none.
    fn hear(&mut self, message: Message) -> Result<(), Trouble> {
        self.heard = clock::mono();
        let lost = || Trouble::away("announcements were lost".to_owned());
        if let Some(status) = message.status {
            let last = message.headers.as_ref().and_then(|h| h.get_last("Nats-Last-Consumer"));
            let last = last.and_then(|last| last.as_str().parse::<u64>().ok());
            if status == StatusCode::IDLE_HEARTBEAT && last.is_none_or(|last| last == self.last) {
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
        if self.replaying && pending == 0 {
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
        let told = match message.headers.as_ref().map(message::read) {
            Some(Ok(told)) => told,
            Some(Err(wrong)) => return self.unreadable(id, number, wrong),
            None => return self.unreadable(id, number, "frame-hash"),
        };
        let placed = told.announced.placed;
        let lane = self.lanes.entry(id.clone()).or_default();
        if lane.announced(number, placed) == Heard::Again {
            self.cluster.metrics.redelivered.inc();
            return;
        }
        if let Some(camera) = self.admit(&id, &told) {
            camera.announce_frame(told.announced, self.replaying, Now::read());
        }
        self.due.insert(id);
    }

    /// A message that is no frame stands where a frame should.
    fn unreadable(&mut self, id: CameraId, number: u64, wrong: &'static str) {
        self.lanes.entry(id.clone()).or_default().unreadable(number);
        self.say(&id, "unreadable", || {
            format!(
                "a message on the bus is none of a relay's: its header {wrong} is missing or wrong"
            )
        });
        self.due.insert(id);
    }

    /// The camera, if this relay shows it.
    fn admit(&mut self, id: &CameraId, told: &Told) -> Option<Arc<Camera>> {
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

    /// Says something of a camera, once.
    fn say(&mut self, id: &CameraId, what: &'static str, words: impl FnOnce() -> String) {
        if self.said.len() < MOST_SAID && self.said.insert((id.clone(), what)) {
            tracing::warn!(camera = %id, "cluster: camera {id}: {}", words());
        }
    }

    /// Does for the cameras that are due what can be done now.
    fn pump(&mut self) {
        for id in std::mem::take(&mut self.due) {
            let full = !self.pump_out(&id) | !self.pump_in(&id);
            if full {
                self.due.insert(id);
            }
        }
    }

    /// `false`: there is no room for it now.
    fn pump_out(&mut self, id: &CameraId) -> bool {
        if self.replaying {
            return true;
        }
        let Some(waiting) = self.cluster.outgoing.get(id) else { return true };
        if self.publishing >= MOST_PUBLISHING {
            return false;
        }
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
            return true;
        }
        match self
            .lanes
            .entry(id.clone())
            .or_default()
            .publish(&waiting.held.placed(), clock::wall_us())
        {
            Publish::Wait => {}
            Publish::Drop => {
                self.cluster.outgoing.take(&waiting.held);
                published.with_label_values(&["older"]).inc();
            }
            Publish::Against(last) => {
                self.cluster.outgoing.take(&waiting.held);
                self.publishing += 1;
                self.work.push(self.publish(waiting, last));
            }
        }
        true
    }

    fn publish(&self, waiting: Waiting, last: u64) -> Work {
        let Waiting { held, .. } = &waiting;
        let id = &held.frame.camera;
        let private = self.cluster.access.is_private(id);
        let message = PublishMessage::build()
            .headers(headers(held, &self.cluster.config.name, private))
            .payload(held.frame.picture.bytes().clone())
            .expected_last_subject_sequence(last);
        let subject = subject(&self.cluster.config.stream, id);
        let context = self.context.clone();
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
                Err(_) => Err(Failed::Bus("no acknowledgement came".to_owned())),
            };
            Outcome::Published { waiting, result }
        })
    }

    /// `false`: there is no room for it now.
    fn pump_in(&mut self, id: &CameraId) -> bool {
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
                        _ => Err(Failed::Bus(causes(&error))),
                    },
                    Err(_) => Err(Failed::This("no answer".to_owned())),
                };
                Outcome::Fetched { camera: id, begun: now, result }
            }));
        }
        true
    }

    fn ended(&mut self, outcome: Outcome) -> Result<(), Trouble> {
        match outcome {
            Outcome::Published { waiting, result } => self.published(waiting, result),
            Outcome::Fetched { camera, begun, result } => self.fetched(camera, begun, result),
            Outcome::Again(camera) => {
                self.due.insert(camera);
                Ok(())
            }
        }
    }

    fn published(&mut self, waiting: Waiting, result: Result<u64, Failed>) -> Result<(), Trouble> {
        self.publishing = self.publishing.saturating_sub(1);
        let metrics = &self.cluster.metrics;
        let Waiting { held, since } = &waiting;
        let id = held.frame.camera.clone();
        let lane = self.lanes.entry(id.clone()).or_default();
        match result {
            Ok(number) => {
                lane.published(number, held.placed());
                metrics.published.with_label_values(&["published"]).inc();
                metrics.published_bytes.inc_by(held.frame.picture.bytes().len() as u64);
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
        self.due.insert(id);
        Ok(())
    }

    fn again(&mut self, camera: CameraId, after: Duration) {
        self.work.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            Outcome::Again(camera)
        }));
    }

    fn fetched(
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

    fn hear_beacon(&mut self, message: &Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        let beacon: Beacon = match serde_json::from_slice(&message.payload) {
            Ok(beacon) => beacon,
            Err(error) => {
                tracing::debug!("cluster: what {name} says of itself is not understood: {error}");
                return;
            }
        };
        let now = clock::mono();
        let quiet: Vec<_> = beacon
            .quiet
            .iter()
            .filter_map(|(id, quiet)| Some((self.board.find(&id.parse().ok()?)?, *quiet)))
            .collect();
        for (camera, quiet) in quiet {
            if camera.home(now).is_some_and(|home| &*home == name) {
                camera.told(quiet.into(), now);
            }
        }
        let own = (&*self.cluster.config.name, crate::status::instance());
        let (news, changed) = self.cluster.peers().heard(name, beacon, own, now, clock::wall_us());
        self.tell(news, changed);
    }

    /// Passes on what is new of other relays.
    fn tell(&self, news: Vec<News>, changed: BTreeSet<CameraId>) {
        self.cluster.say(news);
        let peers = self.cluster.peers();
        for camera in changed.iter().filter_map(|id| self.board.find(id)) {
            camera.watched_elsewhere(peers.viewers(&camera.id));
        }
    }

    async fn look(&mut self) -> Result<(), Trouble> {
        let now = clock::mono();
        if now.since(self.heard) > SILENT {
            return Err(Trouble::away("the stream is silent".to_owned()));
        }
        let (news, changed) = self.cluster.peers().look(now);
        self.tell(news, changed);
        self.due.extend(self.cluster.outgoing.cameras());
        let cameras = self.board.all();
        let viewers: BTreeMap<String, u64> = cameras
            .iter()
            .map(|camera| (camera, camera.viewers_here(now)))
            .filter(|(_, viewers)| *viewers > 0)
            .take(MOST_CAMERAS)
            .map(|(camera, viewers)| (camera.id.to_string(), viewers))
            .collect();
        let due = self.beacon_at.is_none_or(|at| now.since(at) >= BEACON_EVERY);
        // Agents wait for the first who watches.
        let begun = viewers.keys().any(|id| !self.viewers.contains_key(id));
        if due || begun {
            self.beacon_at = Some(now);
            self.viewers.clone_from(&viewers);
            self.send_beacon(&cameras, viewers, now).await?;
        }
        Ok(())
    }

    async fn send_beacon(
        &mut self,
        cameras: &[Arc<Camera>],
        viewers: BTreeMap<String, u64>,
        now: Mono,
    ) -> Result<(), Trouble> {
        let config = &self.cluster.config;
        let own = |camera: &&Arc<Camera>| {
            camera.newest().is_some_and(|held| held.home.is_none()) && camera.home(now).is_none()
        };
        let quiet = cameras.iter().filter(own).filter_map(|camera| {
            let presence = camera.presence(now);
            let told = presence.attached || presence.heard_ago < QUIET_FOR;
            let quiet = told && !matches!(camera.state(now), State::Live | State::Empty);
            quiet.then(|| (camera.id.to_string(), presence.into()))
        });
        let beacon = Beacon {
            instance: crate::status::instance().to_owned(),
            role: config.role,
            version: runtime::version::full().to_owned(),
            url: config.url.clone(),
            clock_us: clock::wall_us(),
            cameras: cameras.iter().filter(own).count(),
            viewers,
            quiet: quiet.take(MOST_CAMERAS).collect(),
        };
        // Our own structure always serialises.
        let payload = serde_json::to_vec(&beacon).unwrap_or_default();
        let subject = format!("{}.relay.{}", config.stream, config.name);
        let sending = self.client.publish(subject, payload.into());
        match tokio::time::timeout(ANSWER_WITHIN, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::away(format!("the connection: {}", causes(&error)))),
            Err(_) => Err(Trouble::away("the connection takes nothing".to_owned())),
        }
    }
}
