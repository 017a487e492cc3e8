//! Frames that were uploaded here and are on their way to the bus: the newest of each camera, and nothing older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frame::CameraId;
use ladder::Mono;
use prometheus::IntCounter;

use crate::board::{Held, Noted};

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
    /// Those that are new since somebody looked.
    changed: Noted,
    /// Frames that made room before they were sent.
    replaced: IntCounter,
}

impl Outgoing {
    pub(super) fn new(replaced: IntCounter) -> Outgoing {
        Outgoing { newest: Mutex::default(), changed: Noted::default(), replaced }
    }

    pub(super) fn put(&self, held: Arc<Held>, now: Mono) {
        let camera = held.frame.camera.clone();
        let waiting = Waiting { held: Arc::clone(&held), since: now };
        let before = self.newest().insert(camera.clone(), waiting);
        if before.is_some_and(|before| !Arc::ptr_eq(&before.held, &held)) {
            self.replaced.inc();
        }
        self.changed.note(&camera);
    }

    /// One that was taken could not be sent: it waits again, unless there is a newer one.
    pub(super) fn put_back(&self, waiting: Waiting) {
        self.newest().entry(waiting.held.frame.camera.clone()).or_insert(waiting);
    }

    /// Waits for cameras that have a new one.
    pub(super) async fn changed(&self) -> BTreeSet<CameraId> {
        self.changed.next().await
    }

    pub(super) fn get(&self, camera: &CameraId) -> Option<Waiting> {
        self.newest().get(camera).cloned()
    }

    /// This frame of a camera waits no longer; a newer one may.
    pub(super) fn take(&self, held: &Arc<Held>) {
        let mut newest = self.newest();
        let same = |waiting: &Waiting| Arc::ptr_eq(&waiting.held, held);
        if newest.get(&held.frame.camera).is_some_and(same) {
            newest.remove(&held.frame.camera);
        }
    }

    fn newest(&self) -> MutexGuard<'_, BTreeMap<CameraId, Waiting>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
