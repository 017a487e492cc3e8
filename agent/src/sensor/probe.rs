//! Which cameras there are, and what they can do.

use std::path::{Path, PathBuf};

use serde::Serialize;
use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::video::Capture as _;
use v4l::{Device, FourCC};

use super::v4l2::{FORMATS, device_paths};
use super::{explained, rpicam};
use crate::config::CameraConfig;

/// What `probe` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub cameras: Vec<Camera>,
    /// Devices that could not be asked, and why.
    pub failed: Vec<String>,
}

/// A camera that one of the sources can use.
#[derive(Debug, Serialize)]
pub(crate) struct Camera {
    /// The source to use it with.
    pub source: &'static str,
    /// Its device; for rpicam, the program.
    pub device: PathBuf,
    pub name: String,
    pub modes: Vec<Mode>,
}

/// A format at a size.
#[derive(Debug, Serialize)]
pub(crate) struct Mode {
    pub format: String,
    /// Whether the sources can use the format.
    pub usable: bool,
    pub width: u32,
    pub height: u32,
    /// Rates in pictures per second, where the camera tells.
    pub fps: Vec<f64>,
}

/// Looks at all `/dev/video*`, at the configured device, and for rpicam-vid.
pub(crate) fn cameras(config: &CameraConfig) -> Found {
    let mut paths = device_paths();
    if let Some(path) = config.device.as_ref().filter(|path| !paths.contains(path)) {
        paths.insert(0, path.clone());
    }
    let mut found = Found { cameras: Vec::new(), failed: Vec::new() };
    for path in paths {
        match ask(&path) {
            Ok(Some(camera)) => found.cameras.push(camera),
            Ok(None) => {}
            Err(error) => found.failed.push(format!("{}: {}", path.display(), explained(&error))),
        }
    }
    if rpicam::is_installed(&config.rpicam_command) {
        found.cameras.push(Camera {
            source: "rpicam",
            device: config.rpicam_command.clone(),
            name: "Raspberry Pi camera, if one is connected".to_owned(),
            modes: Vec::new(),
        });
    }
    found
}

/// The first device that captures in a format we can use.
pub(super) fn first_capture_device() -> Option<PathBuf> {
    device_paths().into_iter().find(|path| {
        ask(path).is_ok_and(|camera| {
            camera.is_some_and(|camera| camera.modes.iter().any(|mode| mode.usable))
        })
    })
}

/// `None` for what captures no pictures: decoders, encoders and metadata have device files too.
fn ask(path: &Path) -> std::io::Result<Option<Camera>> {
    let device = Device::with_path(path)?;
    let caps = device.query_caps()?;
    if !caps.capabilities.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING) {
        return Ok(None);
    }
    let mut modes = Vec::new();
    for format in device.enum_formats()? {
        let usable = FORMATS.into_iter().any(|known| FourCC::new(known) == format.fourcc);
        let sizes = device.enum_framesizes(format.fourcc).unwrap_or_default();
        for size in sizes.into_iter().flat_map(|size| size.size.to_discrete()) {
            modes.push(Mode {
                format: format.fourcc.to_string(),
                usable,
                width: size.width,
                height: size.height,
                fps: rates(&device, format.fourcc, size.width, size.height),
            });
        }
        if modes.is_empty() {
            // Some drivers list formats but no sizes; what is set now is a size at least.
            let Ok(now) = device.format() else { continue };
            let (width, height) = (now.width, now.height);
            let format = format.fourcc.to_string();
            modes.push(Mode { format, usable, width, height, fps: Vec::new() });
        }
    }
    if modes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Camera { source: "v4l2", device: path.to_owned(), name: caps.card, modes }))
}

fn rates(device: &Device, format: FourCC, width: u32, height: u32) -> Vec<f64> {
    let intervals = device.enum_frameintervals(format, width, height).unwrap_or_default();
    let fps = |fraction: v4l::Fraction| {
        let rate = f64::from(fraction.denominator) / f64::from(fraction.numerator.max(1));
        (rate * 100.0).round() / 100.0
    };
    intervals
        .into_iter()
        .flat_map(|interval| match interval.interval {
            FrameIntervalEnum::Discrete(one) => vec![fps(one)],
            FrameIntervalEnum::Stepwise(range) => vec![fps(range.max), fps(range.min)],
        })
        .collect()
}

/// For people.
pub(crate) fn print(found: &Found) {
    for camera in &found.cameras {
        println!("{}: {} (source {})", camera.device.display(), camera.name, camera.source);
        for mode in &camera.modes {
            let fps: Vec<_> = mode.fps.iter().map(f64::to_string).collect();
            let note = if mode.usable { "" } else { "  (format not supported)" };
            let Mode { format, width, height, .. } = mode;
            println!("  {format} {width}x{height}  fps {}{note}", fps.join(" "));
        }
    }
    for failed in &found.failed {
        eprintln!("{failed}");
    }
    if found.cameras.is_empty() {
        println!("No camera found. The test card needs none: --source pattern");
    }
}
