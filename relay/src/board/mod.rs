//! The newest frame of each camera, and what is known about the camera.
//!
//! Readers take a reference to an immutable frame and are done: no lock is held while anything is
//! sent, and none of them can see half a frame. What does not belong here: reading uploads
//! (`ingest`), keeping frames (`store`), showing them (`view`).

mod counts;
mod held;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use frame::{CameraId, Picture};
use ladder::Mono;
use tokio::sync::watch;

pub(crate) use counts::{Counts, Refused};
pub(crate) use held::{Held, Kept};

use crate::freshness::{Limits, Signs, State};
use crate::ingest::admit::{Claim, Stamp, admit};

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
}

/// There are as many cameras as there may be.
#[derive(Debug)]
pub(crate) struct Full;

impl Board {
    /// A board for up to `max` cameras; `limits` are those of cameras that nobody configured.
    pub(crate) fn new(limits: Limits, max: usize) -> Board {
        Board { cameras: RwLock::default(), limits, max }
    }

    /// Adds a camera with limits of its own, before anything is served.
    pub(crate) fn configure(&self, id: CameraId, limits: Limits) {
        let mut cameras = self.cameras.write().unwrap_or_else(PoisonError::into_inner);
        cameras.insert(id.clone(), Arc::new(Camera::new(id, limits)));
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
        let camera = Arc::new(Camera::new(id.clone(), self.limits));
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
    pub counts: Counts,
    limits: Limits,
    newest: watch::Sender<Option<Arc<Held>>>,
    /// Also what makes judging and showing a frame one step.
    signs: Mutex<Signs>,
}

impl Camera {
    fn new(id: CameraId, limits: Limits) -> Camera {
        let (newest, _) = watch::channel(None);
        Camera { id, counts: Counts::default(), limits, newest, signs: Mutex::default() }
    }

    /// The frame that is shown.
    pub(crate) fn newest(&self) -> Option<Arc<Held>> {
        self.newest.borrow().clone()
    }

    pub(crate) fn state(&self, now: Mono) -> State {
        self.signs().state(now, &self.limits)
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
        let hash = picture.hash();
        let held = Arc::new(Held::new(self.id.clone(), picture, stamp, may_repeat, now));
        self.newest.send_replace(Some(Arc::clone(&held)));
        signs.shown(now.mono, hash, may_repeat);
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
