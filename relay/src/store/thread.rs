//! The thread that owns the database. `run` retries, `turn` is one attempt.
//!
//! Its mark is touched with each turn, idle ones included, and is no part of the watchdog's gate: a
//! disk that hangs is reported, and must not end a live picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, mem};

use bytes::Bytes;
use frame::{CameraId, Picture};
use jiff::Timestamp;
use ladder::{Backoff, Episode};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::settings::duration_text;
use tokio::sync::oneshot;

use super::database::{Database, read_tutorial, set_aside};
use super::error::{Kind, StoreError};
use super::{Letter, Mail, Persistence, Sample, Shared, StoreConfig, lock};
use crate::board::{Held, Kept};
use crate::ingest::admit::{Stamp, TimeSource};

/// The tutorial's.
const TUTORIAL_FILE: &str = "global.db";

/// Whose events these are.
const ORGAN: &str = "store";

/// How often an idle thread turns.
const IDLE: Duration = Duration::from_secs(1);

/// Waits after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A cause that changes is logged anew at most this often.
const LINE_SPACING: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub(super) struct Thread {
    shared: Arc<Shared>,
    config: StoreConfig,
    path: PathBuf,
    database: Option<Database>,
    /// `None` once it was told.
    loaded: Option<oneshot::Sender<()>>,
    /// Frames were read from the database, or there is none to read from.
    restored: bool,
    backoff: Backoff,
    trouble: Episode<Kind>,
}

impl Thread {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: StoreConfig,
        loaded: oneshot::Sender<()>,
    ) -> Thread {
        let seed = u64::from(std::process::id()) ^ clock::wall_us().unsigned_abs();
        Thread {
            path: shared.path.clone(),
            shared,
            config,
            database: None,
            loaded: Some(loaded),
            restored: false,
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX, seed),
            trouble: Episode::new(LINE_SPACING),
        }
    }

    /// Until asked to stop; then what is left is written once more.
    pub(super) fn run(mut self) {
        loop {
            let stopping = self.shared.mail().stop;
            let wait = match self.turn() {
                Ok(()) => {
                    self.works();
                    self.config.interval
                }
                Err(error) => self.fails(&error, stopping),
            };
            if let Some(loaded) = self.loaded.take() {
                // Nobody may be waiting any more.
                let _ = loaded.send(());
            }
            if stopping {
                return;
            }
            self.pause(wait);
        }
    }

    /// Opens the database if need be, and writes what was not written yet.
    fn turn(&mut self) -> Result<(), StoreError> {
        let first = self.loaded.is_some();
        let opened = self.open();
        if first {
            // A database that can't be opened holds no picture that could be shown instead.
            self.take_over_tutorial();
        }
        opened?;
        let Some(database) = &mut self.database else { return Ok(()) };
        let batch: Vec<Arc<Held>> = {
            let mail = self.shared.mail();
            mail.newest.values().filter(|l| !l.written).map(|l| Arc::clone(&l.held)).collect()
        };
        if !batch.is_empty() {
            let before = clock::mono();
            let written = database.write(batch.iter().map(AsRef::as_ref));
            self.config.seconds.observe(clock::mono().since(before).as_secs_f64());
            written.map_err(|error| self.give_up(error))?;
            let mut mail = self.shared.mail();
            for held in batch {
                if let Some(letter) = mail.newest.get_mut(&held.frame.camera) {
                    // A newer one may have come meanwhile.
                    letter.written |= Arc::ptr_eq(&letter.held, &held);
                }
            }
        }
        self.write_history()
    }

    /// After the newest frames, which matter more.
    fn write_history(&mut self) -> Result<(), StoreError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        // Their bytes are shared, so a copy costs nothing.
        let samples: Vec<Sample> = self.shared.mail().history.iter().cloned().collect();
        if samples.is_empty() {
            return Ok(());
        }
        let usages = lock(&self.shared.usages).clone();
        let clock = (clock::wall_us(), clock::synchronised());
        let written = database.write_history(&samples, &self.config.history, usages, clock);
        let usages = written.map_err(|error| self.give_up(error))?;
        *lock(&self.shared.usages) = usages;
        self.shared.mail().forget_samples(samples.len());
        Ok(())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        if self.database.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.config.folder)?;
        let opened = Database::open(&self.path).and_then(|database| {
            let kept = if self.restored { Vec::new() } else { database.load()? };
            Ok((database.usages()?, database, kept))
        });
        match opened {
            Ok((usages, database, kept)) => {
                *lock(&self.shared.usages) = usages;
                self.database = Some(database);
                self.restore(kept, true);
                Ok(())
            }
            Err(error) => {
                self.look_without_writing(error.kind);
                Err(self.give_up(error))
            }
        }
    }

    /// A folder that can't be written to may still hold a picture.
    fn look_without_writing(&mut self, kind: Kind) {
        let unwritable = matches!(kind, Kind::ReadOnly | Kind::CannotOpen);
        if self.restored || !unwritable || !self.path.exists() {
            return;
        }
        if let Ok(kept) = Database::open_unwritable(&self.path).and_then(|d| d.load()) {
            self.restore(kept, true);
        }
    }

    fn restore(&mut self, kept: Vec<Kept>, written: bool) {
        self.restored = true;
        let taken = (self.config.restore)(kept);
        let mut mail = self.shared.mail();
        for held in taken {
            let camera = held.frame.camera.clone();
            // An upload may have been faster.
            if mail.newest.get(&camera).is_none_or(|letter| letter.held.restored) {
                mail.newest.insert(camera, Letter { held, written });
            }
        }
    }

    /// Closes the database after `error`; a damaged one is set aside, so that the next attempt
    /// begins a new one with all that is shown. Returns what is wrong then.
    fn give_up(&mut self, error: StoreError) -> StoreError {
        // Closed before it is renamed: closing writes to it.
        drop(mem::take(&mut self.database));
        if error.kind != Kind::Damaged {
            return error;
        }
        let now = Timestamp::from_microsecond(clock::wall_us()).unwrap_or_default();
        match set_aside(&self.path, &now.strftime("%Y%m%dT%H%M%SZ").to_string()) {
            Ok(aside) => {
                let (path, aside) = (self.path.display(), aside.display());
                tracing::error!("{path} is damaged ({error}): it was set aside as {aside}");
                self.restored = true;
                for letter in self.shared.mail().newest.values_mut() {
                    letter.written = false;
                }
                error
            }
            Err(why) => why,
        }
    }

    fn take_over_tutorial(&mut self) {
        let known = self.shared.mail().newest.contains_key(&CameraId::default());
        let path = self.config.folder.join(TUTORIAL_FILE);
        if known || !path.exists() {
            return;
        }
        let shown = path.display().to_string();
        match tutorial_frame(&path) {
            Ok(Some(kept)) => {
                tracing::info!("{shown}: took over the tutorial's picture, shown as it is old");
                self.restore_tutorial(kept);
            }
            Ok(None) => tracing::info!("{shown}: the tutorial's database holds no picture yet"),
            Err(why) => {
                tracing::warn!("{shown}: the tutorial's picture can't be taken over: {why}");
            }
        }
    }

    fn restore_tutorial(&mut self, kept: Kept) {
        // The database itself may still be read later.
        let restored = self.restored;
        self.restore(vec![kept], false);
        self.restored = restored;
    }

    fn works(&mut self) {
        self.shared.mark.touch(clock::mono());
        self.backoff.reset();
        *lock(&self.shared.persistence) = Persistence::Works;
        if let Some(outage) = self.trouble.leave(clock::mono()) {
            let lasted = duration_text(Duration::from_secs(outage.as_secs()));
            let path = self.path.display();
            Event::StoreWorks.say(
                About { age: Some(outage), ..About::organ(ORGAN) },
                format_args!("{path}: frames are kept again after {lasted}"),
            );
        }
    }

    /// Says what is wrong, and returns how long to wait.
    fn fails(&mut self, error: &StoreError, stopping: bool) -> Duration {
        self.shared.mark.touch(clock::mono());
        // After it was set aside, a new one can be begun at once.
        let aside = error.kind == Kind::Damaged && !self.path.exists();
        let wait = if aside { Duration::ZERO } else { self.backoff.next().unwrap_or(RETRY_MAX) };
        let (path, advice) = (self.path.display(), error.kind.advice());
        let problem = format!("{path}: {error}; {advice}");
        *lock(&self.shared.persistence) = Persistence::Degraded(problem.clone());
        if stopping {
            tracing::error!("the last frames could not be kept: {problem}");
        } else if aside {
            // It was said when it was set aside.
        } else if self.trouble.enter(clock::mono(), error.kind).is_some() {
            let wait = duration_text(Duration::from_secs(wait.as_secs().max(1)));
            Event::StoreDegraded.say(
                About { reason: Some(error.kind.word()), ..About::organ(ORGAN) },
                format_args!(
                    "frames are shown, but not kept through a restart: {problem}; trying again in {wait}"
                ),
            );
        }
        wait
    }

    /// Waits `wait` out, and then for something to do; a stop ends it at once.
    fn pause(&self, wait: Duration) {
        let until = clock::mono().after(wait);
        let idle = |mail: &Mail| {
            let written = mail.newest.values().all(|letter| letter.written);
            !mail.stop && written && mail.history.is_empty()
        };
        let mut mail = self.shared.mail();
        loop {
            let now = clock::mono();
            let left = until.since(now);
            let healthy = self.database.is_some();
            if mail.stop || (left.is_zero() && !(healthy && idle(&mail))) {
                return;
            }
            let slice = if left.is_zero() { IDLE } else { left.min(IDLE) };
            let waited = self.shared.changed.wait_timeout(mail, slice);
            mail = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            self.shared.mark.touch(now);
        }
    }
}

/// The tutorial's picture, with its file's time: that is when it arrived, at the latest.
fn tutorial_frame(path: &Path) -> Result<Option<Kept>, String> {
    let Some(image) = read_tutorial(path).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let picture = Picture::accept(Bytes::from(image)).map_err(|error| error.to_string())?;
    let modified = fs::metadata(path).and_then(|m| m.modified()).map_err(|e| e.to_string())?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let arrived_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let stamp = Stamp { unix_us: arrived_us, source: TimeSource::Arrived, seq: 0, boot: None };
    let camera = CameraId::default();
    Ok(Some(Kept { camera, picture, stamp, may_repeat: false, arrived_us }))
}
