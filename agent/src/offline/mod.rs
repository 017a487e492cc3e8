//! Frames of the time without a relay: one in an interval, bounded, in memory or on a disk, until
//! they are with the relay.
//!
//! When to keep one, and when to send one, are decisions (`ring.rs`); files are in `files.rs`.

mod files;
mod ring;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use frame::{CameraId, CaptureTime, Frame, Picture};
use ladder::Mono;
use runtime::clock;
use runtime::slot::Watcher;
use tokio_util::sync::CancellationToken;

use crate::config::ClockTrust;
use crate::health::Health;
use files::Files;
pub(crate) use ring::Pace;
use ring::{Place, Ring, Taken};

/// A disk that takes longer is not waited for: then the frame stays in memory.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// What is kept.
#[derive(Debug, Clone)]
pub(crate) struct OfflineConfig {
    /// One frame in so long.
    pub interval: Duration,
    /// Of all of them; 0: none are kept.
    pub max_bytes: u64,
    /// Where they survive a power cut; `None`: in memory only.
    pub folder: Option<PathBuf>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Offline {
    camera: CameraId,
    config: OfflineConfig,
    trust: ClockTrust,
    files: Option<Files>,
    ring: Mutex<Ring>,
}

impl Offline {
    pub(crate) fn new(camera: CameraId, config: OfflineConfig, trust: ClockTrust) -> Offline {
        let files = config.folder.clone().map(Files::new);
        let ring = Mutex::new(Ring::new(config.interval, config.max_bytes));
        Offline { camera, config, trust, files, ring }
    }

    /// How many frames wait, and how many bytes they have.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        let ring = self.ring();
        (ring.len(), ring.bytes())
    }

    /// The frame to send next, with its true time, and its name here. `None`: nothing waits, or
    /// nobody knows yet what time it is.
    pub(crate) async fn next(&self) -> Option<(u64, Frame)> {
        loop {
            let now = (clock::mono(), clock::wall_us(), self.trust.believes_clock());
            let (name, taken, place) = self.ring().first(now)?;
            match self.read(place).await {
                Some(picture) => {
                    let Taken { unix_us, seq, may_repeat } = taken;
                    let captured = CaptureTime { unix_us, synchronised: true };
                    let camera = self.camera.clone();
                    return Some((name, Frame { camera, seq, captured, may_repeat, picture }));
                }
                // Torn by a power cut, or taken away by somebody.
                None => self.remove(name),
            }
        }
    }

    /// The relay has it, or will never take it.
    pub(crate) fn remove(&self, name: u64) {
        let place = self.ring().remove(name);
        if let Some(place) = place {
            self.forget_place(place);
        }
    }

    /// Keeps frames while no upload succeeds, until `stop`.
    pub(crate) async fn keep(
        self: Arc<Self>,
        mut frames: Watcher<Frame>,
        health: Arc<Health>,
        stop: CancellationToken,
    ) {
        if self.config.max_bytes == 0 {
            stop.cancelled().await;
            return;
        }
        self.load().await;
        let started = clock::mono();
        let keep = async {
            while let Some(frame) = frames.next().await {
                let now = clock::mono();
                // A camera that is slow, or idle, is not offline.
                let never = health.upload.progress.get().count == 0;
                let trouble = health.upload.trouble().map(|trouble| trouble.since);
                let since = trouble.or(never.then_some(started));
                if since.is_some_and(|since| self.ring().wants(now, since)) {
                    self.put(frame, now).await;
                }
            }
        };
        let _ = stop.run_until_cancelled(keep).await;
    }

    async fn load(&self) {
        let Some(files) = self.files.clone() else { return };
        let found = tokio::task::spawn_blocking(move || files.list());
        let found = match tokio::time::timeout(WRITE_WITHIN, found).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => {
                let folder = self.config.folder.as_deref().unwrap_or_else(|| "".as_ref());
                let folder = folder.display();
                tracing::warn!(
                    "offline.dir: {folder}: {error}; frames of the time without network are kept \
                     in memory"
                );
                return;
            }
            _ => return,
        };
        let count = found.len();
        if count > 0 {
            tracing::info!("{count} frames of before wait for the relay");
        }
        let surplus = {
            let mut ring = self.ring();
            found.into_iter().flat_map(|(entry, bytes)| ring.put(entry, bytes)).collect::<Vec<_>>()
        };
        surplus.into_iter().for_each(|place| self.forget_place(place));
    }

    async fn put(&self, frame: Frame, now: Mono) {
        let entry = ring::Entry {
            seq: frame.seq,
            may_repeat: frame.may_repeat,
            unix_us: frame.captured.unix_us,
            synchronised: frame.captured.synchronised,
            captured: captured_mono(&frame, now),
            place: Place::Memory(frame.picture.bytes().clone()),
        };
        let entry = self.on_disk(entry).await;
        let bytes = frame.picture.bytes().len() as u64;
        let surplus = self.ring().put(entry, bytes);
        surplus.into_iter().for_each(|place| self.forget_place(place));
    }

    /// The entry as a file, if that can be done.
    async fn on_disk(&self, entry: ring::Entry) -> ring::Entry {
        let (Some(files), Place::Memory(jpeg)) = (&self.files, &entry.place) else { return entry };
        let (files, jpeg, name) = (files.clone(), jpeg.clone(), files::name_of(&entry));
        let write = tokio::task::spawn_blocking(move || files.write(&name, &jpeg));
        match tokio::time::timeout(WRITE_WITHIN, write).await {
            Ok(Ok(Some(path))) => ring::Entry { place: Place::File(path), ..entry },
            _ => entry,
        }
    }

    async fn read(&self, place: Place) -> Option<Picture> {
        let jpeg = match place {
            Place::Memory(jpeg) => jpeg,
            Place::File(path) => {
                let read = tokio::task::spawn_blocking(move || std::fs::read(path));
                Bytes::from(tokio::time::timeout(WRITE_WITHIN, read).await.ok()?.ok()?.ok()?)
            }
        };
        Picture::accept(jpeg).ok()
    }

    fn forget_place(&self, place: Place) {
        if let Place::File(path) = place {
            // Deleting may take its time, and nobody waits for it; what is left is found at the next
            // start.
            tokio::task::spawn_blocking(move || std::fs::remove_file(path));
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a frame that was handed over at `now` was captured, by the clock that nobody sets.
fn captured_mono(frame: &Frame, now: Mono) -> Mono {
    let age_us = u64::try_from(clock::wall_us() - frame.captured.unix_us).unwrap_or(0);
    // More is a folder's old file, or a clock that was set just now.
    let age = Some(Duration::from_micros(age_us)).filter(|age| *age < Duration::from_secs(10));
    let since_boot = now.since_boot().checked_sub(age.unwrap_or_default());
    Mono::from_boot(since_boot.unwrap_or_default())
}
