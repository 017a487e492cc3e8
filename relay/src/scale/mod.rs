//! Scaled pictures, made on threads of their own: at most as many as there are processors, with a
//! bounded queue before them, so that scaling can neither hold the live picture up nor pile up.
//!
//! A picture is made once per frame and size, however many ask for it (`board/sizes.rs` keeps it),
//! and only while somebody asks.

mod jpeg;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec};
use runtime::clock;

use crate::board::{Camera, Cell, Held, NotScaled, Rendition, Size};
use crate::metrics::Metrics;
use jpeg::Worker;

/// Pictures that wait for a thread. Those behind them would be old before they are made.
const QUEUE: usize = 32;

/// More threads than this would take all processors from a machine's other work.
const MAX_THREADS: usize = 4;

/// A picture that takes longer is not waited for: the machine is overloaded.
const WAIT: Duration = Duration::from_secs(10);

/// The way to scaled pictures. Clones share the threads, which end with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Scaler {
    jobs: SyncSender<Job>,
    max_sizes: usize,
    refused: IntCounterVec,
}

/// A picture to be made.
#[derive(Debug)]
struct Job {
    full: Arc<Rendition>,
    size: (u16, u16),
    cell: Cell,
    made: IntCounter,
}

impl Drop for Job {
    fn drop(&mut self) {
        // Whatever became of it, those who wait have to hear of it.
        let _ = self.cell.set(Err(NotScaled::Impossible));
    }
}

impl Scaler {
    /// Starts the threads. A camera's viewers may use up to `max_sizes` sizes at once.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(max_sizes: usize, metrics: &Metrics) -> io::Result<Scaler> {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        for _ in 0..threads {
            let (queue, seconds) = (Arc::clone(&queue), metrics.scale_seconds.clone());
            let thread = std::thread::Builder::new().name("scale".to_owned());
            thread.spawn(move || work(&queue, &seconds))?;
        }
        Ok(Scaler { jobs, max_sizes, refused: metrics.scale_refused.clone() })
    }

    /// A frame's picture that fits into `size`, or the picture itself if it does or nobody asks for
    /// another size.
    pub(crate) async fn get(
        &self,
        camera: &Camera,
        held: &Held,
        size: Option<Size>,
    ) -> Result<Arc<Rendition>, NotScaled> {
        let outcome = self.find(camera, held, size).await;
        if let Err(why) = outcome {
            self.refused.with_label_values(&[why.word()]).inc();
        }
        outcome
    }

    async fn find(
        &self,
        camera: &Camera,
        held: &Held,
        size: Option<Size>,
    ) -> Result<Arc<Rendition>, NotScaled> {
        let full = &held.full;
        let own = (full.width, full.height);
        let size = size.map_or(own, |size| size.fit(full.width, full.height));
        if size == own {
            return Ok(Arc::clone(full));
        }
        let (cell, first) = camera.scaled(held, size, clock::mono(), self.max_sizes)?;
        if first {
            let made = camera.counts.scaled.clone();
            let job = Job { full: Arc::clone(full), size, cell: Arc::clone(&cell), made };
            if let Err(refused) = self.jobs.try_send(job) {
                held.forget_scaled(size);
                let _ = cell.set(Err(NotScaled::Busy));
                drop(refused);
            }
        }
        match tokio::time::timeout(WAIT, cell.wait()).await {
            Ok(made) => made.clone(),
            Err(_) => Err(NotScaled::Busy),
        }
    }
}

impl NotScaled {
    /// The word in metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            NotScaled::TooManySizes => "too_many_sizes",
            NotScaled::Busy => "busy",
            NotScaled::Impossible => "impossible",
        }
    }

    /// What whoever asked is told.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            NotScaled::TooManySizes => {
                "as many sizes as there may be are in use (relay.max_sizes); try again in 30 s"
            }
            NotScaled::Busy => "too many pictures are being scaled; try again",
            NotScaled::Impossible => "this picture can't be scaled",
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, seconds: &Histogram) {
    let mut worker = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let before = clock::mono();
        let made = catch_unwind(AssertUnwindSafe(|| {
            let mut ready = worker.take().map_or_else(Worker::new, Ok)?;
            let (width, height) = job.size;
            let jpeg = ready.scale(&job.full.jpeg, width, height);
            // Not kept after a panic: nobody knows its state then.
            worker = Some(ready);
            jpeg
        }));
        match made {
            Ok(Ok(jpeg)) => {
                seconds.observe(clock::mono().since(before).as_secs_f64());
                job.made.inc();
                let (width, height) = job.size;
                let _ = job.cell.set(Ok(Arc::new(job.full.scaled(jpeg.into(), width, height))));
            }
            Ok(Err(error)) => tracing::debug!("a picture can't be scaled: {error}"),
            Err(_) => tracing::error!("scaling a picture panicked"),
        }
    }
}
