//! The capture thread, and the task that watches over it.
//!
//! The thread opens the source, captures, and after any failure opens it anew, for ever: no cause
//! ends it. A panic of the driver's library is a failure like any other. A call into the driver
//! that does not return can't be ended from outside; the thread is abandoned then, and another one
//! started, which succeeds once the driver lets go. Their number is bounded: when all are stuck,
//! the loop's mark grows old, and the watchdog's gate closes.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::Duration;

use frame::{CameraId, Frame};
use ladder::{Backoff, Mono};
use runtime::clock;
use runtime::slot::Writer;
use tokio_util::sync::CancellationToken;

use super::hotplug::Hotplug;
use super::repeats::{Repeats, Seen};
use super::{
    CameraFault, Capture, CaptureControl, EncoderControl, Manner, Place, Source, SourceError, open,
    place,
};
use crate::config::{CameraConfig, ClockTrust, Config};
use crate::health::{Failure, Health};

/// A driver needs time between two attempts; a plugged-in camera should not wait long for us.
const RETRY_MIN: Duration = Duration::from_millis(300);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// Broken pictures in a row that make the source itself suspect.
const MAX_BROKEN: u32 = 10;

/// On top of the longest healthy turn: a thread without one for so long hangs in a call.
const HANG_PATIENCE: Duration = Duration::from_secs(4);

/// Threads stuck in calls that don't return, at most.
const MAX_ABANDONED: usize = 2;

/// What the thread needs.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub id: CameraId,
    pub config: CameraConfig,
    pub trust: ClockTrust,
    pub frames: Writer<Frame>,
    pub control: Arc<EncoderControl>,
    pub capture: Arc<CaptureControl>,
    pub health: Arc<Health>,
    /// The last frame's number.
    pub seq: AtomicU64,
    /// Where the camera is, or was when it was seen last.
    pub place: Mutex<Option<Place>>,
    /// The process id of the program that captures; 0: none does.
    pub helper: AtomicU32,
}

impl Sensor {
    /// A camera that nobody has seen yet.
    pub(crate) fn new(
        config: &Config,
        frames: Writer<Frame>,
        control: Arc<EncoderControl>,
        health: Arc<Health>,
    ) -> Sensor {
        Sensor {
            id: config.id.clone(),
            config: config.camera.clone(),
            trust: config.clock,
            frames,
            control,
            capture: Arc::default(),
            health,
            seq: AtomicU64::new(0),
            place: Mutex::new(None),
            helper: AtomicU32::new(0),
        }
    }

    /// Where the camera is, or was when it was seen last.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The longest that a healthy source may keep its thread waiting: just opened, and slowed down.
    pub(crate) fn longest_turn(&self) -> Duration {
        self.config.longest_turn() + self.config.interval() * self.capture.divisor()
    }

    /// Whether a program captures.
    pub(crate) fn has_helper(&self) -> bool {
        self.helper.load(Ordering::Relaxed) != 0
    }

    fn is_at(&self, found: Option<Place>) {
        if found.is_some() {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}

/// A thread and its own wish to stop: one that is abandoned must not come back.
struct Thread {
    stop: Arc<AtomicBool>,
    started: Mono,
    handle: JoinHandle<()>,
}

/// Keeps a capture thread running until `stop`.
pub(crate) async fn watch(sensor: Arc<Sensor>, stop: CancellationToken) {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let mut hotplug = Hotplug::listen()
        .inspect_err(|error| tracing::debug!("cameras plugged in are not heard of: {error}"))
        .ok();
    let mut current: Option<Thread> = None;
    let mut abandoned: Vec<Thread> = Vec::new();
    loop {
        abandoned.retain(|thread| !thread.handle.is_finished());
        if current.as_ref().is_none_or(|thread| thread.handle.is_finished())
            && abandoned.len() < MAX_ABANDONED
        {
            current = Thread::start(&sensor)
                .inspect_err(|error| {
                    let cause = format!("no thread for the camera: {error}");
                    let (fault, errno) = (CameraFault::Other, error.raw_os_error());
                    sensor.health.camera.failed(Failure { fault, cause, errno }, LOOK_EVERY);
                })
                .ok();
        }
        let look = tokio::time::timeout(LOOK_EVERY, plugged(&mut hotplug));
        match stop.run_until_cancelled(look).await {
            None => break,
            Some(Ok(())) => sensor.capture.hurry(),
            Some(Err(_)) => {}
        }
        let hang_after = sensor.longest_turn() + HANG_PATIENCE;
        let last = sensor.health.camera.turn.get().last;
        if let Some(stuck) = current.take_if(|thread| thread.silent_since(last) > hang_after) {
            stuck.stop.store(true, Ordering::Relaxed);
            abandoned.push(stuck);
            let more = abandoned.len() < MAX_ABANDONED;
            let cure = if more { "left it behind" } else { "waiting for the watchdog" };
            let cause = format!("the camera's driver does not return; {cure}");
            let failure = Failure { fault: CameraFault::Hung, cause, errno: None };
            sensor.health.camera.failed(failure, LOOK_EVERY);
        }
    }
    if let Some(thread) = current {
        thread.end();
    }
}

/// Waits until a camera is plugged in; for ever if that can't be known.
async fn plugged(hotplug: &mut Option<Hotplug>) {
    if let Some(listening) = hotplug
        && let Err(error) = listening.plugged().await
    {
        tracing::debug!("cameras plugged in are not heard of any more: {error}");
        *hotplug = None;
    }
    if hotplug.is_none() {
        std::future::pending().await
    }
}

impl Thread {
    fn start(sensor: &Arc<Sensor>) -> io::Result<Thread> {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, sensor) = (Arc::clone(&stop), Arc::clone(sensor));
        let run = move || Loop::new(sensor, flag).run();
        let handle = thread::Builder::new().name("camera".to_owned()).spawn(run)?;
        Ok(Thread { stop, started: clock::mono(), handle })
    }

    fn silent_since(&self, last: Option<Mono>) -> Duration {
        clock::mono().since(last.unwrap_or(self.started).max(self.started))
    }

    /// Does not wait: a thread that is inside the driver ends with the process.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.handle.thread().unpark();
    }
}

struct Loop {
    sensor: Arc<Sensor>,
    stop: Arc<AtomicBool>,
    backoff: Backoff,
    repeats: Repeats,
    /// What was opened last: logged when it changes.
    opened: String,
}

impl Loop {
    fn new(sensor: Arc<Sensor>, stop: Arc<AtomicBool>) -> Loop {
        let backoff = Backoff::new(RETRY_MIN, RETRY_MAX, fastrand::u64(..));
        Loop { sensor, stop, backoff, repeats: Repeats::default(), opened: String::new() }
    }

    fn run(mut self) {
        self.sensor.capture.attach();
        while !self.stopped() {
            // A panic leaves nothing half-done that is used again: the source is gone with it.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run_once()));
            let error = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(panic) => SourceError::Panicked(panic_text(panic.as_ref())),
            };
            if self.stopped() {
                return;
            }
            self.sensor.health.camera.turn.touch(clock::mono());
            if matches!(error, SourceError::Asked) {
                self.backoff.reset();
                continue;
            }
            let wait = self.backoff.next().unwrap_or(RETRY_MAX);
            let (fault, cause, errno) = (error.fault(), error.to_string(), error.errno());
            self.sensor.health.camera.failed(Failure { fault, cause, errno }, wait);
            self.wait(wait);
        }
    }

    /// Opens the source and captures until something fails; `Ok` if told to stop.
    fn run_once(&mut self) -> Result<(), SourceError> {
        let sensor = Arc::clone(&self.sensor);
        let Sensor { capture: wishes, control, .. } = sensor.as_ref();
        let asked = wishes.asked();
        let mut source = self.open(wishes.take_manner())?;
        let (mut broken, mut wished, mut slowed) = (0, None, 1);
        control.grant(self.next_seq(), None);
        while !self.stopped() {
            if wishes.asked() != asked {
                return Err(SourceError::Asked);
            }
            let wish = control.wished();
            if std::mem::replace(&mut wished, wish) != wish
                && let Some(delay) = source.set_quality(wish)
            {
                control.grant(self.next_seq() + delay, wish);
            }
            let divisor = wishes.divisor();
            if std::mem::replace(&mut slowed, divisor) != divisor {
                source.slow(divisor);
            }
            match source.next() {
                Ok(_) if self.stopped() => {}
                Ok(None) => self.sensor.health.camera.turn.touch(clock::mono()),
                Ok(Some(capture)) => {
                    broken = 0;
                    self.publish(capture)?;
                }
                Err(error) if error.spares_the_source() && broken < MAX_BROKEN => {
                    broken += 1;
                    self.sensor.health.corrupt.fetch_add(1, Ordering::Relaxed);
                    self.sensor.health.camera.turn.touch(clock::mono());
                    tracing::debug!("camera: left out: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn next_seq(&self) -> u64 {
        self.sensor.seq.load(Ordering::Relaxed) + 1
    }

    fn open(&mut self, manner: Manner) -> Result<Box<dyn Source>, SourceError> {
        let Sensor { config, trust, .. } = self.sensor.as_ref();
        tracing::debug!("camera: opening it ({manner:?})");
        if let Some(device) = &config.device {
            // It may be there and still not open: then the ladder has to know where it is.
            self.sensor.is_at(Place::of(device, &place::sys()));
        }
        let source = match manner {
            Manner::Usual => open(config, *trust)?,
            Manner::Other => open(&CameraConfig { manner, ..config.clone() }, *trust)?,
        };
        self.sensor.is_at(source.place());
        self.sensor.helper.store(source.helper().unwrap_or(0), Ordering::Relaxed);
        if self.opened != source.describe() {
            source.describe().clone_into(&mut self.opened);
            tracing::info!(organ = "camera", "camera: opened {}", self.opened);
        }
        Ok(source)
    }

    fn publish(&mut self, capture: Capture) -> Result<(), SourceError> {
        let Sensor { id, frames, health, seq, .. } = self.sensor.as_ref();
        let Capture { picture, captured, may_repeat } = capture;
        let seen = match may_repeat {
            true => Seen::Good,
            false => self.repeats.see(clock::mono(), picture.hash()),
        };
        let seq = seq.fetch_add(1, Ordering::Relaxed) + 1;
        frames.put(Frame { camera: id.clone(), seq, captured, may_repeat, picture });
        match seen {
            Seen::Good => {
                health.camera.succeeded();
                self.backoff.reset();
            }
            Seen::Doubtful => health.camera.turn.touch(clock::mono()),
            Seen::Fault(lasted) => return Err(SourceError::Repeating(lasted)),
        }
        Ok(())
    }

    fn wait(&mut self, wait: Duration) {
        let until = clock::mono().after(wait);
        while !self.stopped() {
            let left = until.since(clock::mono());
            if left.is_zero() {
                return;
            }
            if self.sensor.capture.take_hurry() {
                self.backoff.reset();
                return;
            }
            park_timeout(left);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use runtime::slot::slot;

    use super::*;
    use crate::config::SourceKind;

    #[tokio::test]
    async fn what_is_wished_of_an_encoder_is_granted_from_some_frame_on() {
        let (frames, mut reader) = slot();
        let config =
            CameraConfig { source: SourceKind::Pattern, fps: 60.0, ..CameraConfig::default() };
        let control = Arc::new(EncoderControl::default());
        let sensor = Arc::new(Sensor {
            id: CameraId::default(),
            config,
            trust: ClockTrust::Trusted,
            frames,
            control: Arc::clone(&control),
            capture: Arc::default(),
            health: Arc::new(Health::new()),
            seq: AtomicU64::new(0),
            place: Mutex::new(None),
            helper: AtomicU32::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let run = Loop::new(sensor, Arc::clone(&stop));
        let handle = thread::spawn(move || run.run());
        let first = reader.take().await.unwrap();
        assert_eq!(control.quality_of(first.seq), None);
        control.wish(Some(20));
        let low = loop {
            let frame = reader.take().await.unwrap();
            if control.quality_of(frame.seq).is_some() {
                break frame;
            }
        };
        let (before, after) = (first.picture.bytes().len(), low.picture.bytes().len());
        assert!(after * 3 < before * 2, "{after} of {before}");
        stop.store(true, Ordering::Relaxed);
        handle.join().unwrap();
    }
}
