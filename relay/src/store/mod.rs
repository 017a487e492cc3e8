//! Keeps the newest frame of each camera through restarts, written behind: nothing on the live path
//! ever waits for a disk.
//!
//! The handle here is the mailbox of one thread (`thread.rs`) that owns the database
//! (`database.rs`): a newer frame replaces one that was not written yet, so it holds at most one per
//! camera. Whatever happens to the disk, the mailbox takes frames and the live picture goes on; what
//! went wrong is in [`Persistence`] and, once, in the log. What does not belong here: serving
//! frames.

mod database;
mod error;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frame::CameraId;
use prometheus::Histogram;
use runtime::mark::SharedMark;
use tokio::sync::oneshot;

use crate::board::{Held, Kept};

/// How keeping frames goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// The database was not opened yet.
    Opening,
    Works,
    /// Frames are shown and not kept: why, and what to do.
    Degraded(String),
}

impl Persistence {
    /// The word in status.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Persistence::Opening => "opening",
            Persistence::Works => "works",
            Persistence::Degraded(_) => "degraded",
        }
    }
}

/// Takes the frames of an earlier process, newest first, and shows them. It returns those it took.
pub(crate) type Restore = Box<dyn Fn(Vec<Kept>) -> Vec<Arc<Held>> + Send>;

/// What the thread needs.
pub(crate) struct StoreConfig {
    pub folder: PathBuf,
    /// Least time between two writes.
    pub interval: Duration,
    pub restore: Restore,
    /// How long each write took.
    pub seconds: Histogram,
}

/// See the module's documentation. Clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

/// What the thread tells when.
#[derive(Debug)]
pub(crate) struct Milestones {
    /// The first attempt to read frames is over, for better or worse.
    pub loaded: oneshot::Receiver<()>,
    /// The thread has ended.
    pub ended: oneshot::Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    mail: Mutex<Mail>,
    changed: Condvar,
    /// Each turn of the thread; it turns while idle, too.
    mark: SharedMark,
    persistence: Mutex<Persistence>,
}

#[derive(Debug, Default)]
struct Mail {
    /// The newest frame of each camera. It stays after it was written: should the database have to
    /// be begun anew, it is there to be written again, and its bytes are shared with the board.
    newest: BTreeMap<CameraId, Letter>,
    stop: bool,
}

#[derive(Debug)]
struct Letter {
    held: Arc<Held>,
    written: bool,
}

impl Store {
    /// Starts the thread.
    pub(crate) fn start(config: StoreConfig) -> io::Result<(Store, Milestones)> {
        let shared = Arc::new(Shared {
            mail: Mutex::default(),
            changed: Condvar::new(),
            mark: SharedMark::default(),
            persistence: Mutex::new(Persistence::Opening),
        });
        let (loaded, loaded_here) = oneshot::channel();
        let (ended, ended_here) = oneshot::channel();
        let thread = thread::Thread::new(Arc::clone(&shared), config, loaded);
        std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            thread.run();
            // Nobody may be waiting any more.
            let _ = ended.send(());
        })?;
        Ok((Store { shared }, Milestones { loaded: loaded_here, ended: ended_here }))
    }

    /// Hands over a frame; returns at once.
    pub(crate) fn put(&self, held: Arc<Held>) {
        let camera = held.frame.camera.clone();
        self.shared.mail().newest.insert(camera, Letter { held, written: false });
        self.shared.changed.notify_one();
    }

    /// Asks the thread to write what it has and end.
    pub(crate) fn stop(&self) {
        self.shared.mail().stop = true;
        self.shared.changed.notify_one();
    }

    pub(crate) fn persistence(&self) -> Persistence {
        lock(&self.shared.persistence).clone()
    }

    /// The thread's last turn.
    pub(crate) fn mark(&self) -> &SharedMark {
        &self.shared.mark
    }
}

impl Shared {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.mail)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
