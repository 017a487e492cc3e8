//! What is asked of the capture thread from outside: to open the camera anew, in this or that manner,
//! to take fewer pictures, or not to wait any longer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// How a camera is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manner {
    /// As it is configured.
    #[default]
    Usual,
    /// In another format, or where there is none in half the size: what the camera, its driver or the
    /// bus does not manage in the usual manner it may still manage so.
    Other,
}

/// Between the ladder, which asks, and the capture thread.
#[derive(Debug)]
pub(crate) struct CaptureControl {
    /// Counts what was asked for.
    asked: AtomicU32,
    other: AtomicBool,
    divisor: AtomicU32,
    hurry: AtomicBool,
    /// Who captures at present.
    thread: Mutex<Option<Thread>>,
}

impl Default for CaptureControl {
    fn default() -> Self {
        CaptureControl {
            asked: AtomicU32::new(0),
            other: AtomicBool::new(false),
            divisor: AtomicU32::new(1),
            hurry: AtomicBool::new(false),
            thread: Mutex::new(None),
        }
    }
}

impl CaptureControl {
    /// The camera is to be closed and opened anew, now.
    pub(crate) fn reopen(&self, manner: Manner) {
        self.other.store(manner == Manner::Other, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.hurry();
    }

    /// Who waits for the next attempt need not wait any longer: something has changed.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }

    /// One picture in so many intervals is enough; at least 1.
    pub(crate) fn slow(&self, divisor: u32) {
        self.divisor.store(divisor.max(1), Ordering::Relaxed);
    }

    /// See [`CaptureControl::slow`].
    pub(crate) fn divisor(&self) -> u32 {
        self.divisor.load(Ordering::Relaxed)
    }

    /// The calling thread is the one that captures.
    pub(super) fn attach(&self) {
        let current = Some(std::thread::current());
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// A number that changes with each [`CaptureControl::reopen`].
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// In which manner the next opening is to be done; the one after that is a usual one again.
    pub(super) fn take_manner(&self) -> Manner {
        if self.other.swap(false, Ordering::Relaxed) { Manner::Other } else { Manner::Usual }
    }

    /// Whether somebody said that there is no need to wait, since this was asked last.
    pub(super) fn take_hurry(&self) -> bool {
        self.hurry.swap(false, Ordering::Relaxed)
    }
}
