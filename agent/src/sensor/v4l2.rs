//! The source `v4l2`: USB cameras, and any other that has a `/dev/video*` with a single plane.
//!
//! MJPG and JPEG pass through untouched, YUYV is encoded. All of crate `v4l` is used here and in
//! `probe.rs` only. What to know about it (0.14): its stream waits for ever unless told otherwise,
//! queues a buffer twice when it is asked again after an error (so any error ends the stream), and
//! panics when STREAMOFF fails (so the thread that drops it catches that).

use std::io;
use std::path::{Path, PathBuf};

use frame::Picture;
use v4l::buffer::{Flags, Metadata, Type};
use v4l::control::{Control, Value};
use v4l::format::{Colorspace, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture as _;
use v4l::{Device, Format, FourCC, Fraction};

use super::pace::Pace;
use super::{Capture, Manner, Place, Source, SourceError, captured_at, place, probe};
use crate::config::{CameraConfig, ClockTrust};
use crate::encode::{Range, YuyvEncoder};

/// Buffers asked of the driver: one being read, one being filled, two of reserve for a busy system.
const BUFFERS: u32 = 4;

/// The formats that can be used, the best first: bytes that a camera has compressed itself cost
/// nothing, and lose nothing by a second encoding.
pub(super) const FORMATS: [&[u8; 4]; 3] = [b"MJPG", b"JPEG", b"YUYV"];

/// An open camera.
pub(super) struct V4l2 {
    stream: Stream<'static>,
    encoder: Option<YuyvEncoder>,
    /// Of the camera's own encoder.
    compression: Option<(Device, Compression)>,
    pace: Pace,
    config: CameraConfig,
    trust: ClockTrust,
    place: Option<Place>,
    description: String,
}

impl V4l2 {
    pub(super) fn open(config: &CameraConfig, trust: ClockTrust) -> Result<V4l2, SourceError> {
        let path = match &config.device {
            Some(path) => path.clone(),
            None => probe::first_capture_device().ok_or(SourceError::NoCamera)?,
        };
        let device =
            Device::with_path(&path).map_err(|error| SourceError::Open(path.clone(), error))?;
        let format = negotiate(&device, &path, config)?;
        let fps = set_rate(&device, config.fps);
        let encoder = match &format.fourcc.repr {
            b"YUYV" => Some(YuyvEncoder::new(
                format.width as usize,
                format.height as usize,
                format.stride as usize,
                range(&format),
                config.quality,
            )?),
            _ => None,
        };
        let compression = Compression::of(&device).filter(|_| encoder.is_none());
        let mut stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS)
            .map_err(|error| SourceError::Device { what: "the camera gives no buffers", error })?;
        // Also the longest wait for the first picture: some cameras take seconds to start.
        stream.set_timeout(config.patience());
        let Format { width, height, fourcc, .. } = format;
        let description = format!("{} ({width}x{height} {fourcc}, {fps})", path.display());
        let pace = Pace::new(config.interval(), config.warm_up);
        let compression = compression.map(|compression| (device, compression));
        let (config, place) = (config.clone(), Place::of(&path, &place::sys()));
        Ok(V4l2 { stream, encoder, compression, pace, config, trust, place, description })
    }
}

impl Source for V4l2 {
    fn next(&mut self) -> Result<Option<Capture>, SourceError> {
        loop {
            let (buffer, meta) = self.stream.next().map_err(|error| {
                if error.kind() == io::ErrorKind::TimedOut {
                    return SourceError::Silent(self.config.patience());
                }
                SourceError::Device { what: "the camera stopped", error }
            })?;
            let taken = taken_us(meta);
            let now = taken.unwrap_or_else(runtime::clock::monotonic_us);
            if !self.pace.keep(now) {
                continue;
            }
            if meta.flags.contains(Flags::ERROR) {
                return Err(SourceError::Marked);
            }
            let used = buffer.get(..meta.bytesused as usize).unwrap_or(buffer);
            let picture = match &mut self.encoder {
                Some(encoder) => encoder.encode(used)?,
                None => Picture::normalise(used)?,
            };
            let captured = captured_at(taken, self.trust);
            return Ok(Some(Capture { picture, captured, may_repeat: false }));
        }
    }

    fn set_quality(&mut self, quality: Option<u8>) -> Option<u64> {
        if let Some(encoder) = &mut self.encoder {
            let own = self.config.quality;
            let quality = quality.map_or(own, |quality| quality.min(own));
            return encoder.set_quality(quality).ok().map(|()| 0);
        }
        let (device, compression) = self.compression.as_ref()?;
        device.set_control(compression.control(quality)).ok()?;
        // What lies in its buffers was encoded before.
        Some(BUFFERS.into())
    }

    fn slow(&mut self, divisor: u32) {
        self.pace.slow(divisor);
    }

    fn place(&self) -> Option<Place> {
        self.place.clone()
    }

    fn describe(&self) -> &str {
        &self.description
    }
}

/// A camera's control of its JPEG encoder.
#[derive(Debug, Clone, Copy)]
struct Compression {
    min: i64,
    max: i64,
    /// As it was when the camera was opened.
    own: i64,
}

impl Compression {
    /// include/uapi/linux/v4l2-controls.h: V4L2_CID_JPEG_COMPRESSION_QUALITY.
    const ID: u32 = 0x009d_0903;

    /// `None` if the camera has none, or one in other units than per cent.
    fn of(device: &Device) -> Option<Compression> {
        let controls = device.query_controls().ok()?;
        let control = controls.into_iter().find(|control| control.id == Compression::ID)?;
        let percent = control.minimum >= 0 && control.maximum <= 100;
        let Ok(Value::Integer(own)) = device.control(Compression::ID).map(|c| c.value) else {
            return None;
        };
        percent.then_some(Compression { min: control.minimum, max: control.maximum, own })
    }

    /// `None`: as it was. Never better than that.
    fn control(&self, quality: Option<u8>) -> Control {
        let wanted = quality.map_or(self.own, |quality| i64::from(quality).min(self.own));
        let value = wanted.clamp(self.min, self.max.max(self.min));
        Control { id: Compression::ID, value: Value::Integer(value) }
    }
}

fn negotiate(device: &Device, path: &Path, config: &CameraConfig) -> Result<Format, SourceError> {
    let failed = |what| move |error| SourceError::Device { what, error };
    let offered = device.enum_formats().map_err(failed("the camera lists no formats"))?;
    let usable: Vec<FourCC> = FORMATS
        .into_iter()
        .map(FourCC::new)
        .filter(|wanted| offered.iter().any(|offer| offer.fourcc == *wanted))
        .collect();
    let (wanted, halved) = match (usable.as_slice(), config.manner) {
        ([_, second, ..], Manner::Other) => (*second, 1),
        ([only], Manner::Other) => (*only, 2),
        ([first, ..], Manner::Usual) => (*first, 1),
        ([], _) => {
            let names: Vec<_> = offered.iter().map(|offer| offer.fourcc.to_string()).collect();
            let why = format!("offers {}, but not MJPG, JPEG or YUYV", names.join(", "));
            return Err(SourceError::Unsuitable(path.to_owned(), why));
        }
    };
    let size = config.size;
    let chosen = device
        .set_format(&Format::new(size.width / halved, size.height / halved, wanted))
        .map_err(failed("the camera refuses its format"))?;
    if chosen.fourcc != wanted {
        let why = format!("offers {wanted}, but then chooses {}", chosen.fourcc);
        return Err(SourceError::Unsuitable(path.to_owned(), why));
    }
    Ok(chosen)
}

/// Asks for the rate. Many drivers can't set it, or choose another: `Pace` sees to the rest.
fn set_rate(device: &Device, fps: f64) -> String {
    let Ok(mut parameters) = device.params() else { return "rate unknown".to_owned() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.01 to 120")]
    let interval = Fraction::new(1000, (fps * 1000.0).ceil() as u32);
    parameters.interval = interval;
    let chosen = device.set_params(&parameters).unwrap_or(parameters).interval;
    format!("{:.1} fps", f64::from(chosen.denominator) / f64::from(chosen.numerator.max(1)))
}

/// videodev2.h, `V4L2_MAP_QUANTIZATION_DEFAULT`: YUV is of limited range unless its colours are
/// JPEG's.
fn range(format: &Format) -> Range {
    match (&format.quantization, &format.colorspace) {
        (Quantization::FullRange, _) | (Quantization::Default, Colorspace::JPEG) => Range::Full,
        _ => Range::Limited,
    }
}

fn taken_us(meta: &Metadata) -> Option<i64> {
    let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
    let taken = microseconds(meta.timestamp.sec, meta.timestamp.usec)?;
    (monotonic && taken > 0).then_some(taken)
}

/// The kernel's numbers are of 32 bits on 32-bit machines, which is 36 minutes of microseconds.
fn microseconds(seconds: impl Into<i64>, rest: impl Into<i64>) -> Option<i64> {
    seconds.into().checked_mul(1_000_000)?.checked_add(rest.into())
}

impl std::fmt::Debug for V4l2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("V4l2").field(&self.description).finish()
    }
}

/// A device file of the kind this source opens.
pub(super) fn device_paths() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, path)| path).collect()
}
