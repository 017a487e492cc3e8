//! Frames that were uploaded here and are on their way to the bus: the newest of each camera, and nothing older.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frame::CameraId;
use ladder::Mono;
use prometheus::IntCounter;
use tokio::sync::Notify;

use crate::board::Held;

/// A frame, and since when it waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub held: Arc<Held>,
    pub since: Mono,
}

/// See the module's documentation. As many as there are cameras, at most; their bytes are shared with the board.
#[derive(Debug)]
pub(super) struct Outgoing {
    newest: Mutex<BTreeMap<CameraId, Waiting>>,
    put: Notify,
    /// Frames that made room before they were sent.
    replaced: IntCounter,
}

impl Outgoing {
    pub(super) fn new(replaced: IntCounter) -> Outgoing {
        Outgoing { newest: Mutex::default(), put: Notify::new(), replaced }
    }

    pub(super) fn put(&self, held: Arc<Held>, now: Mono) {
        let camera = held.frame.camera.clone();
        if self.slots().insert(camera, Waiting { held, since: now }).is_some() {
            self.replaced.inc();
        }
        self.put.notify_one();
    }

    /// One that was taken could not be sent: it waits again, unless there is a newer one.
    pub(super) fn put_back(&self, waiting: Waiting) {
        self.slots().entry(waiting.held.frame.camera.clone()).or_insert(waiting);
    }

    /// Waits until there may be something new.
    pub(super) async fn changed(&self) {
        self.put.notified().await;
    }

    /// Cameras with a frame that waits.
    pub(super) fn cameras(&self) -> Vec<CameraId> {
        self.slots().keys().cloned().collect()
    }

    pub(super) fn get(&self, camera: &CameraId) -> Option<Waiting> {
        self.slots().get(camera).cloned()
    }

    /// This frame of a camera waits no longer; a newer one may.
    pub(super) fn take(&self, held: &Arc<Held>) {
        let mut slots = self.slots();
        let same = |waiting: &Waiting| Arc::ptr_eq(&waiting.held, held);
        if slots.get(&held.frame.camera).is_some_and(same) {
            slots.remove(&held.frame.camera);
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<CameraId, Waiting>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
