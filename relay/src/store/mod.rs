//! Keeps the newest frame of each camera through restarts, and a history, written behind: nothing on
//! the live path ever waits for a disk.
//!
//! The handle here is the mailbox of one thread (`thread.rs`) that owns the database
//! (`database.rs`): a newer frame replaces one that was not written yet, so it holds at most one per
//! camera, and a bounded number for the history. Whatever happens to the disk, the mailbox takes frames and the live picture goes on; what
//! went wrong is in [`Persistence`] and, once, in the log. What does not belong here: serving
//! frames.

mod database;
mod error;
mod history;
mod read;
mod retention;
mod thread;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frame::CameraId;
use prometheus::{Histogram, IntCounter};
use runtime::mark::SharedMark;
use tokio::sync::{Semaphore, oneshot};

use crate::board::{Held, Kept};
pub(crate) use error::StoreError;
pub(crate) use history::{Entry, Range, Sample};
pub(crate) use read::Unread;
pub(crate) use retention::{HistoryLimits, Usage};

/// The database's name in the data folder.
pub(crate) const FILE: &str = "stillwatch.db";

/// The newest version of it that this relay knows.
pub(crate) const SCHEMA: i64 = database::VERSION;

/// Bytes that may wait to be written into the history: a disk that hangs must not fill the memory.
const MAX_WAITING: usize = 32 << 20;

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
    pub history: HistoryLimits,
    pub restore: Restore,
    /// How long each write took.
    pub seconds: Histogram,
    /// Frames that did not get into the history because the disk is too slow.
    pub history_dropped: IntCounter,
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
    path: PathBuf,
    limits: HistoryLimits,
    /// What the history held after the last write.
    usages: Mutex<BTreeMap<CameraId, Usage>>,
    dropped: IntCounter,
    /// Reads at the same time.
    reads: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Mail {
    /// For the history, in the order of arrival.
    history: VecDeque<Sample>,
    /// Bytes of them.
    waiting: usize,
    /// The place in the history that each camera's last frame went to.
    last_place: BTreeMap<CameraId, i64>,
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
            path: config.folder.join(FILE),
            limits: config.history,
            usages: Mutex::default(),
            dropped: config.history_dropped.clone(),
            reads: Arc::new(Semaphore::new(read::MAX_READS)),
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
        let mut mail = self.shared.mail();
        if self.keeps_history() {
            let (place, _) = self.shared.limits.place(held.frame.captured.unix_us);
            // One frame of each place is enough; which of them are there already, the database knows.
            if mail.last_place.insert(camera.clone(), place) != Some(place)
                && !mail.sample(Sample::from(held.as_ref()))
            {
                self.shared.dropped.inc();
            }
        }
        mail.newest.insert(camera, Letter { held, written: false });
        drop(mail);
        self.shared.changed.notify_one();
    }

    /// Hands over a frame of the past; returns at once. `false`: there is no room now.
    pub(crate) fn put_history(&self, sample: Sample) -> bool {
        let taken = self.shared.mail().sample(sample);
        self.shared.changed.notify_one();
        taken
    }

    /// Whether there is a history.
    pub(crate) fn keeps_history(&self) -> bool {
        self.shared.limits.max_bytes > 0
    }

    /// Of each camera, the history has one frame in so long.
    pub(crate) fn history_interval(&self) -> Duration {
        self.shared.limits.interval
    }

    /// What the history holds of each camera.
    pub(crate) fn usages(&self) -> BTreeMap<CameraId, Usage> {
        lock(&self.shared.usages).clone()
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

impl Mail {
    /// `false`: there is no room.
    fn sample(&mut self, sample: Sample) -> bool {
        let bytes = sample.picture.bytes().len();
        if self.waiting.saturating_add(bytes) > MAX_WAITING && !self.history.is_empty() {
            return false;
        }
        self.waiting += bytes;
        self.history.push_back(sample);
        true
    }

    /// The first `n` were written, or never will be.
    fn forget_samples(&mut self, n: usize) {
        for sample in self.history.drain(..n.min(self.history.len())) {
            self.waiting = self.waiting.saturating_sub(sample.picture.bytes().len());
        }
    }
}

impl Shared {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.mail)
    }
}

/// Copies the database of a relay, which may run, into an empty file; returns its version.
pub(crate) fn snapshot(database: &Path, to: &Path) -> Result<i64, StoreError> {
    database::Database::open_for_reading(database)?.snapshot(to)
}

/// A database's version, and the bytes of its history.
pub(crate) fn look_at(database: &Path) -> Result<(i64, u64), StoreError> {
    let database = database::Database::open_for_reading(database)?;
    let version = database.version()?;
    // The first version had none.
    let usages = if version > 1 { database.usages()? } else { BTreeMap::new() };
    let bytes = usages.values().map(|usage| usage.bytes).sum();
    Ok((i64::try_from(version).unwrap_or_default(), bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
