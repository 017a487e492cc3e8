//! A picture with its identity: which camera took it, when, and as which of its pictures.

use crate::{CameraId, Picture};

/// When a picture was taken, by the camera's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureTime {
    /// Microseconds since the Unix epoch, UTC.
    pub unix_us: i64,
    /// Whether that clock was synchronised. A Pi has no battery-backed clock: before the first
    /// time sync this is false and the number means nothing to anybody else.
    pub synchronised: bool,
}

/// One still picture on its way from the sensor to a viewer's eye.
///
/// Cloning is cheap: the bytes are shared, never copied after validation.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The camera that took it.
    pub camera: CameraId,
    /// Counts this camera's frames since its agent started.
    pub seq: u64,
    /// When the sensor took it.
    pub captured: CaptureTime,
    /// The source may honestly deliver the same picture twice (a folder of files), so equal
    /// content is no sign of a frozen camera.
    pub may_repeat: bool,
    /// What was taken.
    pub picture: Picture,
}
