//! Where pictures come from: one trait, and a kind of source per file.
//!
//! A source blocks, and a driver below it may block for ever: each runs on a thread of its own
//! (`thread.rs`), never on the async runtime. Retrying, logging and sending don't belong here; a
//! source does one thing after the other and says what went wrong.

mod control;
mod directory;
mod pace;
mod pattern;
pub(crate) mod probe;
mod repeats;
mod rpicam;
pub(crate) mod thread;
mod v4l2;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use frame::jpeg::JpegError;
use frame::{CaptureTime, Picture};
use runtime::clock;
use runtime::settings::duration_text;

use crate::config::{CameraConfig, ClockTrust, SourceKind};
pub(crate) use control::EncoderControl;

/// What is larger is no frame: 8 MiB is the relay's default limit, too.
const MAX_FRAME_BYTES: usize = 8 << 20;

/// A picture and when the sensor took it.
#[derive(Debug)]
pub(crate) struct Capture {
    pub picture: Picture,
    pub captured: CaptureTime,
    /// See [`frame::Frame::may_repeat`].
    pub may_repeat: bool,
}

/// A place where pictures come from, open and delivering.
pub(crate) trait Source {
    /// The next picture; `None` if there is none yet, and nothing wrong with that. Blocks at most
    /// for the configured patience, and for the warm-up once, unless the driver hangs.
    ///
    /// After [`SourceError::Corrupt`] the source may be asked again; after any other error it has
    /// to be dropped and opened anew.
    fn next(&mut self) -> Result<Option<Capture>, SourceError>;

    /// Encodes what comes from now on with this JPEG quality; `None`: with the configured one. Returns
    /// how many pictures may still come that were encoded before; `None`: this source can't.
    fn set_quality(&mut self, _quality: Option<u8>) -> Option<u64> {
        None
    }

    /// What was opened, for the log: device, size, format.
    fn describe(&self) -> &str;
}

/// What went wrong, as the owner of the camera should read it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("no camera found (no /dev/video* that captures MJPG, JPEG or YUYV, and no rpicam-vid)")]
    NoCamera,
    #[error("can't open {}: {}", .0.display(), explained(.1))]
    Open(PathBuf, io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Unsuitable(PathBuf, String),
    #[error("{what}: {}", explained(.error))]
    Device { what: &'static str, error: io::Error },
    #[error("no picture for {}", duration_text(*.0))]
    Silent(Duration),
    #[error("broken picture: {0}")]
    Corrupt(#[from] JpegError),
    #[error("the driver marked the picture as broken")]
    Marked,
    #[error("the same picture again and again for {}", duration_text(*.0))]
    Repeating(Duration),
    #[error("encoding failed: {0}")]
    Encode(#[from] turbojpeg::Error),
    #[error("{0}")]
    Helper(String),
    #[error("the driver's library panicked: {0}")]
    Panicked(String),
}

impl SourceError {
    /// Whether only this picture is lost, and the source still good.
    fn spares_the_source(&self) -> bool {
        matches!(self, SourceError::Corrupt(_) | SourceError::Marked)
    }
}

/// The plain words of the errors that cameras give, and their names: the numbers alone say little.
fn explained(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT) => "no such device; is the camera plugged in?",
        Some(libc::ENODEV | libc::ENXIO) => "the camera is gone; was it unplugged?",
        Some(libc::EBUSY) => "another program is using the camera",
        Some(libc::EACCES | libc::EPERM) => "not permitted; is this user in the group \"video\"?",
        Some(libc::EIO) => "input/output error; the camera or its cable fails",
        Some(libc::ENOSPC) => "not enough USB bandwidth; use a smaller size or another port",
        _ => return error.to_string(),
    };
    format!("{hint} ({error})")
}

/// Opens the configured source.
///
/// # Errors
/// Whatever keeps it from delivering.
pub(crate) fn open(
    config: &CameraConfig,
    trust: ClockTrust,
) -> Result<Box<dyn Source>, SourceError> {
    match config.source {
        SourceKind::Auto => open_first(config, trust),
        SourceKind::V4l2 => Ok(Box::new(v4l2::V4l2::open(config, trust)?)),
        SourceKind::Rpicam => Ok(Box::new(rpicam::Rpicam::open(config, trust)?)),
        SourceKind::Directory => Ok(Box::new(directory::Directory::open(config, trust)?)),
        SourceKind::Pattern => Ok(Box::new(pattern::Pattern::open(config, trust)?)),
    }
}

/// The first that opens of v4l2 and rpicam. Of two failures the more telling one is returned: a
/// camera that is there and fails, rather than a program that is not installed.
fn open_first(config: &CameraConfig, trust: ClockTrust) -> Result<Box<dyn Source>, SourceError> {
    let failed = match v4l2::V4l2::open(config, trust) {
        Ok(source) => return Ok(Box::new(source)),
        Err(error) => error,
    };
    if !rpicam::is_installed(&config.rpicam_command) {
        return Err(failed);
    }
    Ok(Box::new(rpicam::Rpicam::open(config, trust)?))
}

/// The capture time of a picture taken at `monotonic_us` of `CLOCK_MONOTONIC`; the present where
/// that is unknown, in the future, or older than any driver's queue.
fn captured_at(monotonic_us: Option<i64>, trust: ClockTrust) -> CaptureTime {
    const OLDEST_US: i64 = 10_000_000;
    let age = monotonic_us.map_or(0, |taken| clock::monotonic_us() - taken);
    let age = if (0..=OLDEST_US).contains(&age) { age } else { 0 };
    stamp(clock::wall_us() - age, trust)
}

fn stamp(unix_us: i64, trust: ClockTrust) -> CaptureTime {
    let synchronised = trust.believes_clock();
    CaptureTime { unix_us, synchronised }
}
