//! The newest frame of each camera, and what is known about the camera.
//!
//! Readers take a reference to an immutable frame and are done: no lock is held while anything is
//! sent, and none of them can see half a frame. What does not belong here: reading uploads
//! (`ingest`), keeping frames (`store`), showing them (`view`).

mod ages;
mod audience;
mod counts;
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
pub(crate) use held::{Held, Kept};
pub(crate) use rendition::{BOUNDARY, OPEN_HEAD, Rendition};
pub(crate) use sizes::{Cell, NoSize, NotScaled, Size};
use web::freshness::{Limits, Signs, State};

use crate::ingest::admit::{Claim, Stamp, TimeSource, admit};
use crate::metrics::{CameraMetrics, Metrics, Outflow, Watching};
use crate::rate::Rate;
use ages::Ages;
use audience::Audience;
use sizes::Leases;

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
    closing: CancellationToken,
}

/// There are as many cameras as there may be.
#[derive(Debug)]
pub(crate) struct Full;

impl Board {
    /// A board for up to `max` cameras; `limits` are those of cameras that nobody configured.
    pub(crate) fn new(limits: Limits, max: usize, metrics: Arc<Metrics>) -> Board {
        let closing = CancellationToken::new();
        Board { cameras: RwLock::default(), limits, max, metrics, closing }
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
            signs: Mutex::default(),
            leases: Mutex::default(),
            rate: Mutex::default(),
            ages: Mutex::default(),
            audience: Audience::default(),
            report: Mutex::default(),
            closing: self.closing.clone(),
        }
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
    signs: Mutex<Signs>,
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
        self.0.signs().detach(runtime::clock::mono());
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
        self.audience.stream(true);
        Watched { camera: Arc::clone(self), _counted: outflow.watched() }
    }

    /// Somebody asked for a still picture, or takes them as files.
    pub(crate) fn asked(&self, now: Mono) {
        self.audience.still(now);
    }

    /// How many watch; all who ask for still pictures are one.
    pub(crate) fn viewers(&self, now: Mono) -> u64 {
        self.audience.count(now)
    }

    /// Sees that somebody begins to watch, or stops.
    pub(crate) fn audience(&self) -> watch::Receiver<impl Sized + Send + Sync + use<>> {
        self.audience.changes()
    }

    /// The frame that is shown.
    pub(crate) fn newest(&self) -> Option<Arc<Held>> {
        self.newest.borrow().clone()
    }

    pub(crate) fn state(&self, now: Mono) -> State {
        self.signs().state(now, &self.limits)
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
        self.signs().attach(now);
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
        self.signs().unchanged(now)
    }

    /// How long a new frame may take before the camera is stale.
    pub(crate) fn patience(&self) -> Duration {
        self.signs().patience(&self.limits)
    }

    /// Frames a second, as they came lately; `None` before the second.
    pub(crate) fn fps(&self) -> Option<f64> {
        let gap = self.signs().gap()?.as_secs_f64();
        (gap > 0.0).then(|| 1.0 / gap)
    }

    /// Remembers how old the picture is now.
    pub(crate) fn record(&self, now: Mono) {
        let age = self.newest().map(|held| held.age(now));
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
        self.signs().heard(now);
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
        let mut signs = self.signs();
        let before: Option<Stamp> = self.newest.borrow().as_ref().map(|held| held.stamp());
        let stamp = admit(claim, before, now.unix_us)?;
        let (hash, bytes) = (picture.hash(), picture.bytes().len());
        let number = self.newest.borrow().as_ref().map_or(0, |held| held.number + 1);
        let held = Held::new(self.id.clone(), picture, stamp, may_repeat, now);
        let held = Arc::new(held.numbered(number));
        self.newest.send_replace(Some(Arc::clone(&held)));
        signs.shown(now.mono, hash, may_repeat);
        self.counts.accepted.inc();
        self.counts.bytes.inc_by(bytes as u64);
        if held.source == TimeSource::Captured {
            self.counts.received_age.observe(held.age(now.mono).as_secs_f64());
        }
        Some(held)
    }

    /// Shows a frame of an earlier process, unless there is a newer one.
    pub(crate) fn restore(&self, kept: Kept, now: Now) -> Option<Arc<Held>> {
        let mut signs = self.signs();
        let newer = |held: &Arc<Held>| !held.restored || held.stamp().unix_us >= kept.stamp.unix_us;
        if self.newest.borrow().as_ref().is_some_and(newer) {
            return None;
        }
        let arrived = held::moment(kept.arrived_us, now);
        let held = Arc::new(Held::restored(self.id.clone(), kept, now));
        self.newest.send_replace(Some(Arc::clone(&held)));
        *signs = Signs::restored(arrived);
        Some(held)
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        // Its fields are always consistent: nothing between two of them can panic.
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
