//! The newest frame of each camera, and what is known about the camera.
//!
//! Readers take a reference to an immutable frame and are done: no lock is held while anything is
//! sent, and none of them can see half a frame. What does not belong here: reading uploads
//! (`ingest`), keeping frames (`store`), showing them (`view`).

mod ages;
mod audience;
mod counts;
mod elsewhere;
mod held;
mod rendition;
mod sizes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use frame::report::Report;
use frame::{CameraId, Picture};
use ladder::Mono;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use ages::STEP as AGES_STEP;
pub(crate) use counts::Refused;
pub(crate) use elsewhere::{Announced, Newest, Noted, Presence, Wanted};
pub(crate) use held::{Held, Kept};
pub(crate) use rendition::{BOUNDARY, OPEN_HEAD, Rendition};
pub(crate) use sizes::{Cell, NoSize, NotScaled, Size};
use web::freshness::{Limits, Signs, State};

use crate::ingest::admit::{Claim, Placed, TimeSource, admit, arrival};
use crate::metrics::{CameraMetrics, Metrics, Outflow, Watching};
use crate::rate::Rate;
use ages::Ages;
use audience::Audience;
use elsewhere::Known;
use sizes::Leases;

/// How long somebody who looks waits for a picture that is at another relay.
const FETCH_WITHIN: Duration = Duration::from_millis(1_500);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub mono: Mono,
    /// µs since the Unix epoch.
    pub unix_us: i64,
}

impl Now {
    pub(crate) fn read() -> Now {
        Now { mono: runtime::clock::mono(), unix_us: runtime::clock::wall_us() }
    }
}

/// All cameras.
#[derive(Debug)]
pub(crate) struct Board {
    cameras: RwLock<BTreeMap<CameraId, Arc<Camera>>>,
    limits: Limits,
    max: usize,
    metrics: Arc<Metrics>,
    wanted: Arc<Wanted>,
    closing: CancellationToken,
}

/// There are as many cameras as there may be.
#[derive(Debug)]
pub(crate) struct Full;

impl Board {
    /// A board for up to `max` cameras; `limits` are those of cameras that nobody configured.
    pub(crate) fn new(limits: Limits, max: usize, metrics: Arc<Metrics>) -> Board {
        let closing = CancellationToken::new();
        let wanted = Arc::default();
        Board { cameras: RwLock::default(), limits, max, metrics, wanted, closing }
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        for camera in self.all() {
            camera.newest.send_modify(|_| {});
            camera.announced.send_modify(|_| {});
        }
    }

    /// Adds a camera with limits and a title of its own, before anything is served.
    pub(crate) fn configure(&self, id: CameraId, limits: Limits, title: Option<String>) {
        let mut cameras = self.cameras.write().unwrap_or_else(PoisonError::into_inner);
        let camera = Camera { title, ..self.camera(id.clone(), limits) };
        cameras.insert(id, Arc::new(camera));
    }

    fn camera(&self, id: CameraId, limits: Limits) -> Camera {
        let metrics = self.metrics.camera(&id);
        let (newest, _) = watch::channel(None);
        let (announced, _) = watch::channel(State::Empty);
        Camera {
            id,
            title: None,
            counts: metrics,
            limits,
            newest,
            announced,
            known: Mutex::default(),
            wanted: Arc::clone(&self.wanted),
            leases: Mutex::default(),
            rate: Mutex::default(),
            ages: Mutex::default(),
            audience: Audience::default(),
            report: Mutex::default(),
            closing: self.closing.clone(),
        }
    }

    /// Which pictures somebody wants that are elsewhere.
    pub(crate) fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// Waits until streams should end.
    pub(crate) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    pub(crate) fn find(&self, id: &CameraId) -> Option<Arc<Camera>> {
        let cameras = self.cameras.read().unwrap_or_else(PoisonError::into_inner);
        cameras.get(id).map(Arc::clone)
    }

    /// Whether one more camera would be too many.
    pub(crate) fn is_full(&self) -> bool {
        self.cameras.read().unwrap_or_else(PoisonError::into_inner).len() >= self.max
    }

    /// The camera, made if need be.
    pub(crate) fn find_or_add(&self, id: &CameraId) -> Result<Arc<Camera>, Full> {
        if let Some(camera) = self.find(id) {
            return Ok(camera);
        }
        let mut cameras = self.cameras.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have made it meanwhile.
        if let Some(camera) = cameras.get(id) {
            return Ok(Arc::clone(camera));
        }
        if cameras.len() >= self.max {
            return Err(Full);
        }
        let camera = Arc::new(self.camera(id.clone(), self.limits));
        cameras.insert(id.clone(), Arc::clone(&camera));
        Ok(camera)
    }

    /// All cameras, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Camera>> {
        let cameras = self.cameras.read().unwrap_or_else(PoisonError::into_inner);
        cameras.values().map(Arc::clone).collect()
    }
}

/// One camera.
#[derive(Debug)]
pub(crate) struct Camera {
    pub id: CameraId,
    /// What people call it, if the configuration says.
    pub title: Option<String>,
    pub counts: CameraMetrics,
    limits: Limits,
    newest: watch::Sender<Option<Arc<Held>>>,
    /// The state as `watch.rs` saw it last, for those who wait for it to change.
    announced: watch::Sender<State>,
    /// Also what makes judging and showing a frame one step.
    known: Mutex<Known>,
    wanted: Arc<Wanted>,
    leases: Mutex<Leases>,
    rate: Mutex<Rate>,
    ages: Mutex<Ages>,
    audience: Audience,
    report: Mutex<Option<(Arc<Report>, Mono)>>,
    closing: CancellationToken,
}

/// An agent's connection; see [`Camera::attach`].
#[derive(Debug)]
pub(crate) struct Attached(Arc<Camera>);

impl Attached {
    /// To which camera.
    pub(crate) fn camera(&self) -> &Camera {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.known().signs.detach(runtime::clock::mono());
    }
}

/// A viewer of a stream; see [`Camera::watched`].
#[derive(Debug)]
pub(crate) struct Watched {
    camera: Arc<Camera>,
    _counted: Watching,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.camera.audience.stream(false);
    }
}

impl Camera {
    /// Counts a viewer of a stream for as long as what is returned lives.
    pub(crate) fn watched(self: &Arc<Self>, outflow: &Outflow) -> Watched {
        let now = runtime::clock::mono();
        let first = self.audience.here(now) == 0;
        self.audience.stream(true);
        self.begins(first, now);
        Watched { camera: Arc::clone(self), _counted: outflow.watched() }
    }

    /// Somebody asked for a still picture, or takes them as files.
    pub(crate) fn asked(&self, now: Mono) {
        let first = self.audience.here(now) == 0;
        self.audience.still(now);
        self.begins(first, now);
    }

    /// Somebody, who counts already, begins to look, perhaps at a picture that is elsewhere.
    fn begins(&self, first: bool, now: Mono) {
        let mut known = self.known();
        if known.is_behind(self.newest.borrow().as_deref()) {
            if first {
                known.begins(now);
            }
            self.wanted.ask(&self.id);
        }
    }

    /// Waits for the newest picture, where it is elsewhere and can be had, but not for long; returns whether it had
    /// to. Whoever calls this looks: see [`Camera::watched`] and [`Camera::asked`].
    pub(crate) async fn fetched(&self) -> bool {
        if !self.wanted.is_open() || !self.waits() {
            return false;
        }
        let mut frames = self.newest.subscribe();
        let fetched = async {
            while self.wanted.is_open() && self.waits() {
                // It ends with the camera only.
                if frames.changed().await.is_err() {
                    return;
                }
            }
        };
        // What is here is shown then, as old as it is.
        let _ = tokio::time::timeout(FETCH_WITHIN, fetched).await;
        true
    }

    /// Whether there is a newer frame than the one that can be shown.
    pub(crate) fn is_behind(&self) -> bool {
        self.known().is_behind(self.newest.borrow().as_deref())
    }

    fn waits(&self) -> bool {
        self.known().waits(self.newest.borrow().as_deref())
    }

    /// The picture that was announced at this place is no good.
    pub(crate) fn refuse(&self, placed: Placed) {
        self.known().refuse(placed);
        // Whoever waits for it waits no longer.
        self.newest.send_modify(|_| {});
    }

    /// How many watch here; all who ask for still pictures are one.
    pub(crate) fn viewers_here(&self, now: Mono) -> u64 {
        self.audience.here(now)
    }

    /// The same at all relays, as far as is known.
    pub(crate) fn viewers(&self, now: Mono) -> u64 {
        self.audience.count(now)
    }

    /// So many watch at other relays.
    pub(crate) fn watched_elsewhere(&self, viewers: u64) {
        self.audience.elsewhere(viewers);
    }

    /// Sees that somebody begins to watch, or stops.
    pub(crate) fn audience(&self) -> watch::Receiver<impl Sized + Send + Sync + use<>> {
        self.audience.changes()
    }

    /// The frame that is shown.
    pub(crate) fn newest(&self) -> Option<Arc<Held>> {
        self.newest.borrow().clone()
    }

    /// What is known of the newest frame, whether it can be shown or not.
    pub(crate) fn latest(&self, now: Mono) -> Option<Newest> {
        self.known().newest(self.newest.borrow().as_deref(), now)
    }

    /// Which relay takes its frames; `None`: this one, or nobody does.
    pub(crate) fn home(&self, now: Mono) -> Option<Arc<str>> {
        self.latest(now).and_then(|newest| newest.home)
    }

    pub(crate) fn state(&self, now: Mono) -> State {
        let waits = (self.audience.here(now) > 0).then(|| self.wanted.is_open());
        self.known().state(now, &self.limits, waits)
    }

    /// The state of the picture that can be shown: no better than stale if a newer one could not be had.
    pub(crate) fn picture_state(&self, now: Mono) -> State {
        match self.state(now) {
            State::Live | State::Frozen if self.is_behind() => State::Stale,
            state
            @ (State::Empty | State::Live | State::Stale | State::Frozen | State::Offline) => state,
        }
    }

    /// Sees every frame that comes, or the newest of those that came meanwhile. It ends with the
    /// relay: see [`Camera::is_closing`].
    pub(crate) fn frames(&self) -> watch::Receiver<Option<Arc<Held>>> {
        self.newest.subscribe()
    }

    /// Sees the state change, a moment later than [`Camera::state`] does.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.announced.subscribe()
    }

    /// Tells those who wait for it that the state is `state`.
    pub(crate) fn announce(&self, state: State) {
        self.announced.send_if_modified(|announced| std::mem::replace(announced, state) != state);
    }

    /// The relay is told to stop, and streams should end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// An agent is connected for as long as what is returned lives.
    pub(crate) fn attach(self: &Arc<Self>, now: Mono) -> Attached {
        self.known().signs.attach(now);
        Attached(Arc::clone(self))
    }

    /// Whether one more frame may come now.
    pub(crate) fn may_upload(&self, now: Mono, max_per_second: u32) -> bool {
        self.rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_per_second(now, max_per_second)
    }

    /// A frame's picture in `size`. The first who asks for it gets `true`, and has it made.
    pub(crate) fn scaled(
        &self,
        held: &Held,
        size: (u16, u16),
        now: Mono,
        max_sizes: usize,
    ) -> Result<(Cell, bool), NotScaled> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if !leases.ask(size, now, max_sizes) {
            return Err(NotScaled::TooManySizes);
        }
        Ok(held.scaled.cell(size))
    }

    /// For how long every frame had the same content; `None` if it may, or there is no frame.
    pub(crate) fn unchanged(&self, now: Mono) -> Option<Duration> {
        self.known().signs.unchanged(now)
    }

    /// How long a new frame may take before the camera is stale.
    pub(crate) fn patience(&self) -> Duration {
        self.known().signs.patience(&self.limits)
    }

    /// Frames a second, as they came lately; `None` before the second.
    pub(crate) fn fps(&self) -> Option<f64> {
        let gap = self.known().signs.gap()?.as_secs_f64();
        (gap > 0.0).then(|| 1.0 / gap)
    }

    /// Remembers how old the picture is now.
    pub(crate) fn record(&self, now: Mono) {
        let age = self.latest(now).map(|newest| newest.age);
        self.ages.lock().unwrap_or_else(PoisonError::into_inner).record(now, age);
    }

    /// The picture's greatest age in each [`AGES_STEP`] of the last hour, oldest first; `None`
    /// where there was none.
    pub(crate) fn ages(&self, now: Mono) -> Vec<Option<Duration>> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner).ages(now)
    }

    /// The agent told of its machine.
    pub(crate) fn reported(&self, report: Report, now: Mono) {
        let mut last = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Arc::new(report), now));
    }

    /// What the agent told last, and when.
    pub(crate) fn report(&self) -> Option<(Arc<Report>, Mono)> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An authorised upload began.
    pub(crate) fn heard(&self, now: Mono) {
        self.known().signs.heard(now);
    }

    /// How its agent stands with this relay.
    pub(crate) fn presence(&self, now: Mono) -> Presence {
        let (attached, left, heard) = self.known().signs.presence();
        let heard_ago = heard.map_or(Duration::MAX, |heard| now.since(heard));
        Presence { attached, left, heard_ago }
    }

    /// Whoever takes its frames has not been heard since then.
    pub(crate) fn unsure(&self, since: Mono) {
        self.known().unsure(since, &self.limits);
    }

    /// Whoever takes its frames is heard again.
    pub(crate) fn sure(&self) {
        self.known().unsure = false;
    }

    /// Whether two agents have this camera's name, here or at two relays.
    pub(crate) fn has_two_agents(&self) -> bool {
        self.known().has_two_agents()
    }

    /// What was announced can't be had any more: see [`Known::retract`].
    pub(crate) fn retract(&self, there: Option<Placed>, now_us: i64) {
        self.known().retract(there, now_us);
    }

    /// The relay that takes its frames says how its agent stands there.
    pub(crate) fn told(&self, presence: Presence, now: Mono) {
        let Presence { attached, left, heard_ago } = presence;
        let heard = now.since_boot().checked_sub(heard_ago).map(Mono::from_boot);
        if let Some(heard) = heard {
            self.known().signs.told(heard, attached, left, now);
        }
    }

    /// Another relay has a frame; `true` if that is news. See [`Known::announce`] for `earlier`.
    pub(crate) fn announce_frame(&self, announced: Announced, earlier: bool, now: Now) -> bool {
        let mut known = self.known();
        let held = self.newest.borrow().clone();
        known.announce(announced, held.as_deref(), earlier, now)
    }

    /// Shows a frame that another relay took; `None` if it is no newer than the one that is shown.
    pub(crate) fn show_fetched(
        &self,
        picture: Picture,
        announced: Announced,
        now: Now,
    ) -> Option<Arc<Held>> {
        let mut known = self.known();
        let before = self.newest.borrow().clone();
        if before
            .as_ref()
            .is_some_and(|held| !announced.placed.supersedes(&held.placed(), now.unix_us))
        {
            return None;
        }
        // It may come before the announcement.
        known.announce(announced.clone(), before.as_deref(), false, now);
        let number = before.map_or(0, |held| held.number + 1);
        let held = Held::fetched(self.id.clone(), picture, &announced, now);
        let held = Arc::new(held.numbered(number));
        self.newest.send_replace(Some(Arc::clone(&held)));
        known.shows(&held, now.mono);
        Some(held)
    }

    /// Shows an uploaded picture, and returns it as it is held; `None` if it is older than the one
    /// that is shown.
    pub(crate) fn show(
        &self,
        picture: Picture,
        claim: Claim,
        may_repeat: bool,
        now: Now,
    ) -> Option<Arc<Held>> {
        let mut known = self.known();
        let before = known.placed(self.newest.borrow().as_deref());
        let stamp = admit(claim, before.map(|placed| placed.stamp), now.unix_us)?;
        let (hash, bytes) = (picture.hash(), picture.bytes().len());
        let number = self.newest.borrow().as_ref().map_or(0, |held| held.number + 1);
        let held = Held::new(self.id.clone(), picture, stamp, may_repeat, now);
        let arrived_us = arrival(before, now.unix_us);
        let held = Arc::new(held.numbered(number).arrived(arrived_us));
        self.newest.send_replace(Some(Arc::clone(&held)));
        known.signs.shown(now.mono, hash, may_repeat);
        known.unsure = false;
        known.saw(stamp.boot);
        known.shows(&held, now.mono);
        self.counts.accepted.inc();
        self.counts.bytes.inc_by(bytes as u64);
        if held.source == TimeSource::Captured {
            self.counts.received_age.observe(held.age(now.mono).as_secs_f64());
        }
        Some(held)
    }

    /// Shows a frame of an earlier process, unless there is a newer one.
    pub(crate) fn restore(&self, kept: Kept, now: Now) -> Option<Arc<Held>> {
        let mut known = self.known();
        let newer = |held: &Arc<Held>| !held.restored || held.stamp().unix_us >= kept.stamp.unix_us;
        if self.newest.borrow().as_ref().is_some_and(newer) {
            return None;
        }
        let arrived = held::moment(kept.arrived_us, now);
        let held = Arc::new(Held::restored(self.id.clone(), kept, now));
        self.newest.send_replace(Some(Arc::clone(&held)));
        // Others may have said more of it.
        if !known.is_behind(Some(&held)) {
            known.signs = Signs::restored(arrived);
        }
        Some(held)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Its fields are always consistent: nothing between two of them can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
