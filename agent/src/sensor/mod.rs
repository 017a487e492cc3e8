//! Where pictures come from: one trait, and a kind of source per file.
//!
//! A source blocks, and a driver below it may block for ever: each runs on a thread of its own
//! (`thread.rs`), never on the async runtime. Retrying, logging and sending don't belong here; a
//! source does one thing after the other and says what went wrong.

mod capture_control;
mod control;
mod directory;
mod hotplug;
mod pace;
mod pattern;
mod place;
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
pub(crate) use capture_control::{CaptureControl, Manner};
pub(crate) use control::EncoderControl;
pub(crate) use place::Place;

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

    /// From now on only one picture in `divisor` intervals, to keep the machine cool. A source that
    /// costs nothing need not.
    fn slow(&mut self, _divisor: u32) {}

    /// Where the camera is in this machine, if it is at one place.
    fn place(&self) -> Option<Place> {
        None
    }

    /// The process id of the program that captures, if one does.
    fn helper(&self) -> Option<u32> {
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
    #[error("opening it anew, as asked")]
    Asked,
}

/// What kind of trouble a camera has: what its ladder goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CameraFault {
    /// It is open and delivers nothing.
    NoFrame,
    /// It delivers the same picture again and again.
    Repeated,
    /// It delivers broken pictures, or what can't be encoded.
    Corrupt,
    /// It is not there.
    Gone,
    /// It can't be opened, or gives up, with this errno.
    Refused(i32),
    /// The program that captures has failed.
    Helper,
    /// A call into the driver does not return.
    Hung,
    /// It is not what the configuration says, or can't be used as it is.
    Unsuitable,
    /// Anything else, such as a library's panic.
    Other,
}

impl SourceError {
    /// Its kind.
    pub(crate) fn fault(&self) -> CameraFault {
        match self {
            SourceError::NoCamera => CameraFault::Gone,
            SourceError::Open(_, error) | SourceError::Device { error, .. } => {
                match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => CameraFault::Gone,
                    Some(errno) => CameraFault::Refused(errno),
                    None => CameraFault::Other,
                }
            }
            SourceError::Silent(_) => CameraFault::NoFrame,
            SourceError::Repeating(_) => CameraFault::Repeated,
            SourceError::Corrupt(_) | SourceError::Marked | SourceError::Encode(_) => {
                CameraFault::Corrupt
            }
            SourceError::Helper(_) => CameraFault::Helper,
            SourceError::Unsuitable(..) => CameraFault::Unsuitable,
            SourceError::Panicked(_) | SourceError::Asked => CameraFault::Other,
        }
    }

    /// The number of the system's error, if it was one.
    pub(crate) fn errno(&self) -> Option<i32> {
        let (SourceError::Open(_, error) | SourceError::Device { error, .. }) = self else {
            return None;
        };
        error.raw_os_error()
    }

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
