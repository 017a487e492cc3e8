//! What the loops report about themselves: marks, counts and trouble, for the log, the watchdog,
//! the status and the LED. It decides nothing and stops nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ladder::{Episode, Mono};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::mark::SharedMark;
use runtime::settings::duration_text;

use crate::sensor::CameraFault;
use crate::upload::UploadFault;

/// Trouble whose cause changes is logged anew at most this often.
const LINE_SPACING: Duration = Duration::from_secs(10);

/// The two organs of the agent.
#[derive(Debug)]
pub(crate) struct Health {
    /// From the sensor to the slot; its progress is a captured frame.
    pub camera: Organ<CameraFault>,
    /// From the slot to the relay; its progress is an acknowledged upload.
    pub upload: Organ<UploadFault>,
    /// Frames that were no complete JPEG and were left out.
    pub corrupt: AtomicU64,
    /// What is being healed beside the camera: for the light.
    pub wifi_ill: AtomicBool,
    pub system_ill: AtomicBool,
    pub safe_mode: AtomicBool,
}

impl Health {
    pub(crate) fn new() -> Self {
        Health {
            camera: Organ::new("camera"),
            upload: Organ::new("upload"),
            corrupt: AtomicU64::new(0),
            wifi_ill: AtomicBool::new(false),
            system_ill: AtomicBool::new(false),
            safe_mode: AtomicBool::new(false),
        }
    }
}

/// One loop and its trouble, of the kinds `F`.
#[derive(Debug)]
pub(crate) struct Organ<F> {
    name: &'static str,
    /// Each turn of the loop, failed ones too: see `ladder::judge`.
    pub turn: SharedMark,
    /// Each success.
    pub progress: SharedMark,
    failures: AtomicU64,
    troubled: AtomicBool,
    present: Mutex<Present<F>>,
}

#[derive(Debug)]
struct Present<F> {
    episode: Episode<String>,
    failure: Option<Failure<F>>,
}

/// Why a turn failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure<F> {
    /// What kind of trouble it is.
    pub fault: F,
    /// For the journal: what happened, and what to do where the owner can do something.
    pub cause: String,
    /// The number of the system's error, if it was one.
    pub errno: Option<i32>,
}

/// What is wrong now.
#[derive(Debug, Clone)]
pub(crate) struct Trouble<F> {
    pub failure: Failure<F>,
    pub since: Mono,
}

impl<F: Clone> Organ<F> {
    fn new(name: &'static str) -> Self {
        let present = Present { episode: Episode::new(LINE_SPACING), failure: None };
        Organ {
            name,
            turn: SharedMark::default(),
            progress: SharedMark::default(),
            failures: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            present: Mutex::new(present),
        }
    }

    /// A turn failed; the next attempt comes after `wait`. Whether the loop itself still turns is for
    /// the caller to mark.
    pub(crate) fn failed(&self, failure: Failure<F>, wait: Duration) {
        let now = clock::mono();
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.troubled.store(true, Ordering::Relaxed);
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Failure { cause, errno, .. } = failure.clone();
        present.failure = Some(failure);
        if let Some(entered) = present.episode.enter(now, cause.clone()) {
            let organ = self.name;
            let age = Some(entered.lasted);
            let wait = duration_text(rounded(wait));
            Event::Trouble.say(
                About { organ, errno, age, ..About::default() },
                format_args!("{organ}: {cause}; trying again in {wait}"),
            );
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
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasted) = present.episode.leave(now) {
            let organ = self.name;
            let age = Some(lasted);
            let lasted = duration_text(rounded(lasted));
            Event::WorksAgain.say(
                About { organ, age, ..About::default() },
                format_args!("{organ}: works again after {lasted}"),
            );
        }
    }

    /// How many turns failed since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The present trouble, if there is any.
    pub(crate) fn trouble(&self) -> Option<Trouble<F>> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let since = present.episode.since()?;
        present.failure.clone().map(|failure| Trouble { failure, since })
    }
}

/// To the tenth of a second: nobody wants the nanoseconds of a wait.
pub(crate) fn rounded(duration: Duration) -> Duration {
    let tenths = (duration.as_millis() + 50) / 100;
    Duration::from_millis(u64::try_from(tenths).unwrap_or(u64::MAX).saturating_mul(100))
}
