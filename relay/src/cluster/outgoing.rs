//! Frames that were uploaded here and are on their way to the bus: the newest of each camera, and nothing older.

use std::collections::{BTreeMap, BTreeSet};
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

#[derive(Debug, Default)]
struct Slots {
    newest: BTreeMap<CameraId, Waiting>,
    /// Those that are new since somebody looked.
    changed: BTreeSet<CameraId>,
}

/// See the module's documentation. As many as there are cameras, at most; their bytes are shared with the board.
#[derive(Debug)]
pub(super) struct Outgoing {
    slots: Mutex<Slots>,
    put: Notify,
    /// Frames that made room before they were sent.
    replaced: IntCounter,
}

impl Outgoing {
    pub(super) fn new(replaced: IntCounter) -> Outgoing {
        Outgoing { slots: Mutex::default(), put: Notify::new(), replaced }
    }

    pub(super) fn put(&self, held: Arc<Held>, now: Mono) {
        let camera = held.frame.camera.clone();
        {
            let mut slots = self.slots();
            slots.changed.insert(camera.clone());
            let waiting = Waiting { held: Arc::clone(&held), since: now };
            let before = slots.newest.insert(camera, waiting);
            if before.is_some_and(|before| !Arc::ptr_eq(&before.held, &held)) {
                self.replaced.inc();
            }
        }
        self.put.notify_one();
    }

    /// One that was taken could not be sent: it waits again, unless there is a newer one.
    pub(super) fn put_back(&self, waiting: Waiting) {
        self.slots().newest.entry(waiting.held.frame.camera.clone()).or_insert(waiting);
    }

    /// Waits for cameras that have a new one.
    pub(super) async fn changed(&self) -> BTreeSet<CameraId> {
        loop {
            let put = self.put.notified();
            let changed = std::mem::take(&mut self.slots().changed);
            if !changed.is_empty() {
                return changed;
            }
            put.await;
        }
    }

    pub(super) fn get(&self, camera: &CameraId) -> Option<Waiting> {
        self.slots().newest.get(camera).cloned()
    }

    /// This frame of a camera waits no longer; a newer one may.
    pub(super) fn take(&self, held: &Arc<Held>) {
        let mut slots = self.slots();
        let same = |waiting: &Waiting| Arc::ptr_eq(&waiting.held, held);
        if slots.newest.get(&held.frame.camera).is_some_and(same) {
            slots.newest.remove(&held.frame.camera);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
