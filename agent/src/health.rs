//! What the loops report about themselves: marks, counts and trouble, for the log, the watchdog,
//! the status and the LED. It decides nothing and stops nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ladder::{Episode, Mono};
use runtime::clock;
use runtime::mark::SharedMark;
use runtime::settings::duration_text;

/// Trouble whose cause changes is logged anew at most this often.
const LINE_SPACING: Duration = Duration::from_secs(10);

/// The two organs of the agent.
#[derive(Debug)]
pub(crate) struct Health {
    /// From the sensor to the slot; its progress is a captured frame.
    pub camera: Organ,
    /// From the slot to the relay; its progress is an acknowledged upload.
    pub upload: Organ,
    /// Frames that were no complete JPEG and were left out.
    pub corrupt: AtomicU64,
}

impl Health {
    pub(crate) fn new() -> Self {
        Health {
            camera: Organ::new("camera"),
            upload: Organ::new("upload"),
            corrupt: AtomicU64::new(0),
        }
    }
}

/// One loop and its trouble.
#[derive(Debug)]
pub(crate) struct Organ {
    name: &'static str,
    /// Each turn of the loop, failed ones too: see `ladder::judge`.
    pub turn: SharedMark,
    /// Each success.
    pub progress: SharedMark,
    failures: AtomicU64,
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    episode: Episode<String>,
    cause: String,
}

impl Organ {
    fn new(name: &'static str) -> Self {
        let trouble = Trouble { episode: Episode::new(LINE_SPACING), cause: String::new() };
        Organ {
            name,
            turn: SharedMark::default(),
            progress: SharedMark::default(),
            failures: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            trouble: Mutex::new(trouble),
        }
    }

    /// A turn failed because of `cause`; the next attempt comes after `wait`. Whether the loop
    /// itself still turns is for the caller to mark.
    pub(crate) fn failed(&self, cause: String, wait: Duration) {
        let now = clock::mono();
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.troubled.store(true, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.cause.clone_from(&cause);
        if let Some(entered) = trouble.episode.enter(now, cause) {
            let organ = self.name;
            let failures = entered.failures;
            let wait = duration_text(rounded(wait));
            let cause = &trouble.cause;
            tracing::warn!(organ, failures, "{organ}: {cause}; trying again in {wait}");
        }
    }

    /// A turn succeeded.
    pub(crate) fn succeeded(&self) {
        let now = clock::mono();
        self.turn.touch(now);
        self.progress.touch(now);
        if !self.troubled.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasted) = trouble.episode.leave(now) {
            let organ = self.name;
            let lasted = duration_text(rounded(lasted));
            tracing::info!(organ, "{organ}: works again after {lasted}");
        }
    }

    /// How many turns failed since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The present trouble, if there is any: its cause, and since when.
    pub(crate) fn trouble(&self) -> Option<(String, Mono)> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.episode.since().map(|since| (trouble.cause.clone(), since))
    }
}

/// To the tenth of a second: nobody wants the nanoseconds of a wait.
pub(crate) fn rounded(duration: Duration) -> Duration {
    let tenths = (duration.as_millis() + 50) / 100;
    Duration::from_millis(u64::try_from(tenths).unwrap_or(u64::MAX).saturating_mul(100))
}
