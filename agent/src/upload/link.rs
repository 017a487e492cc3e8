//! The way to the relay: a WebSocket that is opened when needed, or POST; and what goes over it:
//! frames of the present, of the past when there is room, reports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use frame::Frame;
use frame::report::Report;
use ladder::Mono;
use runtime::settings::duration_text;
use runtime::slot::Reader;
use runtime::{clock, network};

use super::adapt::{Adapt, Step};
use super::flight::{Flight, Patience};
use super::http::Http;
use super::idle::Idle;
use super::kind::Kind;
use super::outcome::Failure;
use super::relays::{self, NoneOpened};
use super::thin::Thinner;
use super::transport::{Transport, Way};
use super::websocket::{Heard, NotOpened, Socket};
use super::{Traffic, Uploader};
use crate::health::Health;
use crate::machine::Machine;
use crate::offline::{Offline, Pace};
use crate::sensor::EncoderControl;
use crate::update::{Told, Updates};

/// A relay without WebSockets will not have one in a moment: no hurry.
const NO_SOCKET_HOLD: Duration = Duration::from_secs(5);

/// How often the relay is told of the machine.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// A connection for a POST may have to be made first, with TLS: three ways there and back.
const CONNECTING: Duration = Duration::from_millis(900);

/// After so long at another relay than the first, the first is tried again.
const ELSEWHERE: Duration = Duration::from_secs(600);

/// One answer that does not come may be a network that holds its breath; the second is a link that is
/// slower than it was.
const SLOW_LINK: u32 = 2;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Link {
    /// In the order of preference.
    relays: Vec<Http>,
    /// Which of them, and since when.
    at: usize,
    since: Mono,
    socket: Option<Socket>,
    transport: Transport,
    timeout: Duration,
    said: Option<(Way, usize)>,
    reported: Option<Mono>,
    /// `None`: pictures are sent as they are.
    adapt: Option<Adapt>,
    /// While it is not at work.
    thinner: Option<Thinner>,
    idle: Idle,
    patience: Patience,
    offline: Arc<Offline>,
    /// Of the camera's own encoder.
    control: Arc<EncoderControl>,
    pace: Pace,
    health: Arc<Health>,
    machine: Arc<Machine>,
    updates: Arc<Updates>,
    traffic: Arc<Traffic>,
}

impl Link {
    /// Beside the link: where its frames come from.
    pub(super) fn new(uploader: Uploader) -> (Link, Reader<Frame>) {
        let Uploader { relays, config, frames, offline, control, health, machine, .. } = uploader;
        let link = Link {
            relays,
            at: 0,
            since: clock::mono(),
            socket: None,
            transport: Transport::new(config.transport),
            timeout: config.timeout,
            said: None,
            reported: None,
            adapt: config.adapt.map(Adapt::new),
            thinner: None,
            idle: Idle::new(config.idle_interval),
            patience: Patience::new(config.timeout),
            offline,
            control,
            pace: Pace::default(),
            health,
            machine,
            updates: uploader.updates,
            traffic: uploader.traffic,
        };
        (link, frames)
    }

    /// Sends one frame. Over a connection that was not proven yet, and by POST, it waits for the
    /// answer; else answers are heard by [`Link::ready`] and [`Link::attend`].
    pub(super) async fn send(&mut self, original: &Frame) -> Result<(), Failure> {
        let thin = self.thinned(original, false).await;
        let frame = thin.as_ref().unwrap_or(original);
        let report = self.report();
        if self.transport.way(clock::mono()) == Way::Socket {
            match self.send_by_socket(original, frame, report.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(Some(failure)) => return Err(failure),
                // By POST, then.
                Err(None) => {}
            }
        }
        self.post(original, frame, report.as_ref()).await
    }

    /// Waits until another frame may be sent, by the link and by whether anybody watches.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        loop {
            let now = clock::mono();
            let room = match &self.socket {
                Some(socket) => socket.flights.next_at(now),
                None => Some(now),
            };
            let at = room.map(|room| self.idle.next_at(now).map_or(room, |idle| idle.max(room)));
            if at.is_some_and(|at| at <= now) {
                return Ok(());
            }
            self.pump(at).await?;
        }
    }

    /// Goes on with all that is under way, and with frames of the past, until something fails.
    pub(super) async fn attend(&mut self) -> Failure {
        loop {
            let outcome = match self.past_at() {
                Some(at) if at <= clock::mono() => self.send_past().await,
                at => self.pump(at).await,
            };
            if let Err(failure) = outcome {
                return failure;
            }
        }
    }

    /// The machine's network has changed. A connection from an address that is gone is dead, and
    /// nobody will say so.
    pub(super) fn network_changed(&mut self) {
        let local: Option<IpAddr> = self.socket.as_ref().and_then(|socket| socket.local);
        if local.is_some_and(|local| !network::has_address(local)) {
            tracing::info!("this machine's address has changed: connecting anew");
            self.socket = None;
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        if let Some(socket) = self.socket {
            socket.close().await;
        }
    }

    /// Hears what comes, until `until` or something came.
    async fn pump(&mut self, until: Option<Mono>) -> Result<(), Failure> {
        let Some(socket) = &mut self.socket else {
            pause_until(until).await;
            return Ok(());
        };
        let overdue = socket.flights.overdue_at(&self.patience);
        let dead = overdue.map_or(socket.silent_at(), |overdue| overdue.min(socket.silent_at()));
        let wake = until.map_or(dead, |until| until.min(dead));
        let heard = tokio::select! {
            heard = socket.read() => heard,
            () = pause_until(Some(wake)) => {
                let now = clock::mono();
                return if now >= dead { Err(self.is_overdue(now)) } else { Ok(()) };
            }
        };
        match heard {
            Ok(Heard::Answer { flight, took, outcome }) => self.answered(flight, took, outcome),
            Ok(Heard::Viewers(viewers)) => {
                self.idle.watched_by(viewers, clock::mono());
                Ok(())
            }
            Ok(Heard::Other) => Ok(()),
            Err(failure) => Err(self.lost(failure)),
        }
    }

    fn answered(
        &mut self,
        flight: Flight,
        took: Duration,
        outcome: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let now = clock::mono();
        self.transport.answered();
        self.say(Way::Socket);
        self.patience.answered();
        let Some(name) = flight.past else {
            self.under_way();
            outcome?;
            self.traffic.through(flight.sent, now);
            self.learn(&flight, took);
            self.health.upload.succeeded();
            return Ok(());
        };
        self.pace.took(now, took);
        match outcome {
            Err(Failure { hold: Some(hold), .. }) => self.pace.hold(now, hold),
            // What it does not take now it will not take later.
            Ok(()) | Err(_) => {
                self.learn(&flight, took);
                self.offline.remove(name);
            }
        }
        Ok(())
    }

    /// An answer did not come, or nothing at all.
    fn is_overdue(&mut self, now: Mono) -> Failure {
        let overdue = self.patience.overdue();
        let waited = self.socket.as_ref().and_then(|socket| socket.flights.oldest()).cloned();
        let Some(flight) = waited else {
            let cause = "nothing comes from the relay any more".to_owned();
            return self.lost(Failure { kind: Kind::Silent, cause, ..Failure::default() });
        };
        let waited = now.since(flight.sent);
        if flight.expected.is_none() || overdue >= SLOW_LINK {
            self.learn(&flight, waited);
        }
        let tenths =
            Duration::from_millis(u64::try_from(waited.as_millis() / 100 * 100).unwrap_or(0));
        self.lost(Failure::slow(tenths))
    }

    /// The connection is of no more use.
    fn lost(&mut self, failure: Failure) -> Failure {
        self.idle.forget();
        self.traffic.under_way(None);
        let silent = self.socket.take().is_some_and(|socket| !socket.proven);
        if silent && let Some(wait) = self.transport.died_silent(clock::mono()) {
            self.fall_back("it opens and says nothing", wait);
        }
        failure
    }

    /// The frame as the link can carry it; `None`: as it is.
    async fn thinned(&mut self, frame: &Frame, past: bool) -> Option<Frame> {
        let step = self.adapt.as_ref()?.step(frame.picture.width());
        step.quality?;
        if step.divisor == 1 && self.camera_quality(frame, past) == step.quality {
            return None;
        }
        let mut thinner = match self.thinner.take() {
            Some(thinner) => thinner,
            None => Thinner::new().ok()?,
        };
        let picture = frame.picture.clone();
        let work = tokio::task::spawn_blocking(move || {
            let thin = thinner.thin(&picture, step);
            (thinner, thin)
        });
        let (thinner, thin) = work.await.ok()?;
        self.thinner = Some(thinner);
        let thin = thin.inspect_err(|why| tracing::debug!("not made smaller: {why}")).ok()?;
        let (before, after) = (frame.picture.bytes().len(), thin.bytes().len());
        self.adapt.as_mut()?.encoded(step, before, after);
        // Then nothing is gained, and its first quality lost.
        (after < before).then(|| Frame { picture: thin, ..frame.clone() })
    }

    /// What the camera has encoded a frame with for the link's sake. Of the past that is not known.
    fn camera_quality(&self, frame: &Frame, past: bool) -> Option<u8> {
        if past { None } else { self.control.quality_of(frame.seq) }
    }

    /// What a frame would have had as the camera makes it by itself, in bytes.
    fn original_bytes(&self, frame: &Frame, past: bool) -> usize {
        let bytes = frame.picture.bytes().len();
        match (&self.adapt, self.camera_quality(frame, past)) {
            (Some(adapt), Some(quality)) => adapt.original_of(quality, bytes),
            _ => bytes,
        }
    }

    fn learn(&mut self, flight: &Flight, took: Duration) {
        let Some(adapt) = &mut self.adapt else { return };
        let Flight { bytes, original, width, .. } = *flight;
        if adapt.sent(clock::mono(), bytes, took, original, width) {
            let rate = adapt.rate().unwrap_or_default() / 1e3;
            let step = adapt.step(width);
            // A smaller picture is made of the best one.
            self.control.wish(step.quality.filter(|_| step.divisor == 1));
            match step {
                Step { quality: None, .. } => {
                    tracing::info!("uplink: {rate:.0} KB/s: pictures go as they are again");
                }
                Step { quality: Some(quality), divisor } => {
                    let part = if divisor == 1 {
                        String::new()
                    } else {
                        format!(", 1/{divisor} of the width")
                    };
                    tracing::info!(
                        "uplink: {rate:.0} KB/s: pictures go at quality {quality}{part}"
                    );
                }
            }
        }
    }

    /// How long `bytes` should take to get through.
    fn expected(&self, bytes: usize) -> Option<Duration> {
        let rate = self.adapt.as_ref()?.rate().filter(|rate| *rate > 0.0)?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Duration::try_from_secs_f64(f64::from(bytes) / rate).ok()
    }

    fn flight(&self, original: &Frame, sent: &Frame, past: Option<u64>) -> Flight {
        let bytes = sent.picture.bytes().len();
        Flight {
            seq: sent.seq,
            sent: clock::mono(),
            bytes,
            original: self.original_bytes(original, past.is_some()),
            width: original.picture.width(),
            expected: self.expected(bytes),
            past,
        }
    }

    /// What the relay is to be told now beside frames.
    fn report(&self) -> Option<Report> {
        let due = |last| clock::mono().since(last) >= REPORT_EVERY;
        let machine = self.machine.latest().filter(|_| self.reported.is_none_or(due))?;
        let trouble = self.health.camera.trouble();
        let step = self.adapt.as_ref().map(|adapt| adapt.step(u16::MAX));
        let thin = step.filter(|step| step.quality.is_some());
        let rate = self.adapt.as_ref().and_then(Adapt::rate);
        let Told { system, slot, update, rejected } = self.updates.told();
        Some(Report {
            system,
            slot,
            update,
            rejected,
            camera: Some(trouble.map(|trouble| trouble.failure.cause).unwrap_or_default()),
            upload_failures: Some(self.health.upload.failures()),
            uplink_rate: rate.map(whole),
            quality: thin.and_then(|step| step.quality),
            divisor: thin.map(|step| step.divisor),
            waiting: Some(self.offline.waiting().0 as u64),
            ..machine
        })
    }

    /// Tells others of the oldest frame that is not answered.
    fn under_way(&self) {
        let socket = self.socket.as_ref();
        let oldest = socket.and_then(|socket| socket.flights.oldest());
        self.traffic.under_way(oldest.filter(|flight| flight.past.is_none()).map(|f| f.sent));
    }

    fn told(&mut self, report: Option<&Report>) {
        if report.is_some() {
            self.reported = Some(clock::mono());
        }
    }

    async fn post(
        &mut self,
        original: &Frame,
        frame: &Frame,
        report: Option<&Report>,
    ) -> Result<(), Failure> {
        let flight = self.flight(original, frame, None);
        self.first_again();
        let Some(http) = self.relays.get(self.at) else { return Err(Failure::default()) };
        let deadline = self.patience.with(flight.expected, CONNECTING);
        http.learn_time().await;
        self.traffic.at(self.at);
        self.traffic.under_way(Some(flight.sent));
        let sent = http.send(frame, report, self.idle.is_wanted(), deadline).await;
        let took = clock::mono().since(flight.sent);
        self.traffic.under_way(None);
        match &sent {
            Ok(viewers) => {
                if let Some(viewers) = *viewers {
                    self.idle.watched_by(viewers, clock::mono());
                }
                self.patience.answered();
                self.traffic.through(flight.sent, clock::mono());
                self.learn(&flight, took);
                self.told(report);
                self.say(Way::Post);
                self.idle.sent(clock::mono());
                self.health.upload.succeeded();
            }
            Err(failure) => {
                let overdue = if failure.slow { self.patience.overdue() } else { 0 };
                // What did not get through in all that time tells of the link; other trouble does
                // not.
                if failure.slow && (flight.expected.is_none() || overdue >= SLOW_LINK) {
                    self.learn(&flight, took);
                }
                self.at = (self.at + 1) % self.relays.len().max(1);
                self.since = clock::mono();
            }
        }
        sent.map(|_| ())
    }

    /// Back to the first relay, after long enough at another.
    fn first_again(&mut self) {
        if self.at != 0 && clock::mono().since(self.since) >= ELSEWHERE {
            self.at = 0;
            self.socket = None;
        }
    }

    /// `Err(None)`: it has to go by POST.
    async fn send_by_socket(
        &mut self,
        original: &Frame,
        frame: &Frame,
        report: Option<&Report>,
    ) -> Result<(), Option<Failure>> {
        self.first_again();
        if self.socket.is_none() {
            self.open().await?;
        }
        let flight = self.flight(original, frame, None);
        self.write(frame, report, flight).await.map_err(Some)?;
        self.told(report);
        self.idle.sent(clock::mono());
        while self.socket.as_ref().is_some_and(|s| !s.proven && !s.flights.is_empty()) {
            self.pump(None).await.map_err(Some)?;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Option<Failure>> {
        match relays::open(&self.relays, self.idle.is_wanted(), self.timeout).await {
            Ok((relay, socket)) => {
                (self.at, self.since) = (relay, clock::mono());
                self.traffic.at(relay);
                self.socket = Some(socket);
                Ok(())
            }
            Err(NoneOpened { relay, why: NotOpened::NotOffered(why) }) => {
                self.at = relay;
                Err(self.not_offered(&why))
            }
            Err(NoneOpened { why: NotOpened::Failed(failure), .. }) => Err(Some(failure)),
        }
    }

    async fn write(
        &mut self,
        frame: &Frame,
        report: Option<&Report>,
        flight: Flight,
    ) -> Result<(), Failure> {
        let Some(socket) = &mut self.socket else { return Err(Failure::default()) };
        let deadline = self.patience.with(flight.expected, Duration::ZERO);
        match tokio::time::timeout(deadline, socket.write(frame, report, flight)).await {
            Ok(Ok(())) => {
                self.under_way();
                Ok(())
            }
            Ok(Err(failure)) => Err(self.lost(failure)),
            Err(_) => Err(self.is_overdue(clock::mono())),
        }
    }

    /// When the next frame of the past may be sent; `None` while there is none, or no way for it.
    fn past_at(&self) -> Option<Mono> {
        let socket = self.socket.as_ref()?;
        let may = socket.takes_history && socket.proven && socket.flights.is_empty();
        (may && self.offline.waiting().0 > 0).then(|| self.pace.next_at(clock::mono()))
    }

    async fn send_past(&mut self) -> Result<(), Failure> {
        let Some((name, original)) = self.offline.next().await else {
            // Its time is not known yet.
            self.pace.hold(clock::mono(), NO_SOCKET_HOLD);
            return Ok(());
        };
        let thin = self.thinned(&original, true).await;
        let frame = thin.as_ref().unwrap_or(&original);
        let flight = self.flight(&original, frame, Some(name));
        self.write(frame, None, flight).await
    }

    fn not_offered(&mut self, why: &str) -> Option<Failure> {
        if let Some(wait) = self.transport.refused(clock::mono()) {
            self.fall_back(why, wait);
            return None;
        }
        let cause = format!(
            "the relay takes no WebSocket ({why}); set upload.transport = \"auto\", or look at \
             the proxy before it"
        );
        Some(Failure { cause, hold: Some(NO_SOCKET_HOLD), ..Failure::rejected() })
    }

    fn fall_back(&mut self, why: &str, wait: Duration) {
        // Said once, not each time it is asked again.
        if !matches!(self.said, Some((Way::Post, _))) {
            let wait = duration_text(wait);
            tracing::info!(
                "the relay takes no WebSocket ({why}): uploading by POST, asking again in {wait}"
            );
            self.said = Some((Way::Post, self.at));
        }
    }

    fn say(&mut self, way: Way) {
        if self.said == Some((way, self.at)) {
            return;
        }
        let how = match way {
            Way::Socket => "over a WebSocket",
            Way::Post => "by POST",
        };
        match self.relays.get(self.at) {
            Some(http) if self.relays.len() > 1 => {
                tracing::info!("uploading {how} to {}", http.shown());
            }
            _ => tracing::info!("uploading {how}"),
        }
        self.said = Some((way, self.at));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(rate: f64) -> u64 {
    rate as u64
}

/// `None`: for ever.
async fn pause_until(until: Option<Mono>) {
    match until {
        Some(until) => tokio::time::sleep(until.since(clock::mono())).await,
        None => std::future::pending().await,
    }
}
