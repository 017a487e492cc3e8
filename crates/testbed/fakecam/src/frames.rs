//! The pictures: each made when it is shown first, so that a stream starts at once, and showing one
//! again costs a copy and little more.

use std::fs;
use std::sync::OnceLock;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::abi::{MJPG, PixFormat};
use crate::config::{Config, complain};

/// Different pictures of the built-in generator.
const RING: u32 = 32;

/// The same for raw ones, which take 1.8 MB each at 1280x720.
const RAW_RING: u32 = 8;

/// Where the sequence number stands in a comment segment: FFFE, length, ASCII digits.
const STAMP_DIGITS: usize = 12;

/// A comment that begins so, right behind SOI, gets the time at which the camera shows the picture:
/// 20 digits, nanoseconds of `CLOCK_MONOTONIC`. `crowd` reads it at the viewer.
const TIME_STAMP: &[u8] = b"SWSTAMP:";

/// The pictures of one format and size.
pub(crate) struct Pictures {
    ring: Vec<OnceLock<Vec<u8>>>,
    format: PixFormat,
    without_tables: bool,
    /// Each gets its number as a comment: no two are equal.
    stamped: bool,
    raw: bool,
}

impl Pictures {
    pub(crate) fn new(config: &Config, format: &PixFormat) -> Pictures {
        let raw = format.pixelformat != MJPG;
        if let Some(folder) = config.frames.as_ref().filter(|_| !raw) {
            let mut paths: Vec<_> = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|kind| kind == "jpg" || kind == "jpeg"))
                .collect();
            paths.sort();
            let pictures = paths.iter().filter_map(|path| fs::read(path).ok());
            let ring: Vec<_> = pictures.map(OnceLock::from).collect();
            if !ring.is_empty() {
                let without_tables = false;
                return Pictures { ring, format: *format, without_tables, stamped: false, raw };
            }
            complain("FAKECAM_FRAMES", &format!("no .jpg in {}", folder.display()));
        }
        let ring = (0..if raw { RAW_RING } else { RING }).map(|_| OnceLock::new()).collect();
        let without_tables = config.without_tables;
        Pictures { ring, format: *format, without_tables, stamped: !raw, raw }
    }

    /// Makes picture `number`, unless it is made: best done while nobody waits for a lock.
    pub(crate) fn prepare(&self, number: u32) -> &[u8] {
        let place = number as usize % self.ring.len().max(1);
        let Some(picture) = self.ring.get(place) else { return &[] };
        let place = u32::try_from(place).unwrap_or(0);
        picture.get_or_init(|| match self.raw {
            true => yuyv(&self.format, place),
            false => jpeg(&self.format, place, self.without_tables),
        })
    }

    /// Copies picture `number` into a driver's buffer. Returns the bytes used, at most `into`'s.
    pub(crate) fn copy(&self, number: u32, into: &mut [u8]) -> usize {
        let picture = self.prepare(number);
        let used = picture.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..used), picture.get(..used)) {
            to.copy_from_slice(from);
        }
        if let Some(digits) = time_stamp(into) {
            digits.copy_from_slice(format!("{:020}", monotonic_ns()).as_bytes());
        } else if self.stamped {
            // Behind SOI (2), the marker and the length (4).
            let digits = format!("{number:0STAMP_DIGITS$}");
            if let Some(place) = into.get_mut(6..6 + STAMP_DIGITS) {
                place.copy_from_slice(digits.as_bytes());
            }
        } else if self.raw
            && let Some(place) = into.get_mut(..4)
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        used
    }
}

/// The 20 digits of a picture that is to be stamped with the time.
fn time_stamp(picture: &mut [u8]) -> Option<&mut [u8]> {
    let (magic, rest) = picture.get_mut(6..34)?.split_at_mut(TIME_STAMP.len());
    (*magic == *TIME_STAMP).then_some(rest)
}

fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing, and this clock exists on every Linux.
    #[expect(unsafe_code, reason = "this library has no other way to the clock")]
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
    }
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default()
}

/// A value that looks like sensor noise but is the same in every run.
fn noise(x: u32, y: u32, number: u32) -> u32 {
    let mut n = x.wrapping_mul(0x9e37_79b1)
        ^ y.wrapping_mul(0x85eb_ca77)
        ^ number.wrapping_mul(0xc2b2_ae3d);
    n ^= n >> 15;
    n = n.wrapping_mul(0x2c1b_3c6d);
    (n ^ n >> 12) & 0x1f
}

/// Brightness: a gradient, texture, and a bar that moves.
fn luma(x: u32, y: u32, number: u32, format: &PixFormat) -> u8 {
    let bar = number * format.width / RING;
    let in_bar = x >= bar && x < bar + 16;
    let base = if in_bar { 200 } else { 40 + x * 120 / format.width.max(1) };
    u8::try_from(base + noise(x / 3, y / 3, number)).unwrap_or(u8::MAX)
}

fn jpeg(format: &PixFormat, number: u32, without_tables: bool) -> Vec<u8> {
    let (width, height) = (format.width, format.height);
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| [luma(x, y, number, format), 120, 140])
        .collect();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 60);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_2);
    let sizes = (u16::try_from(width).unwrap_or(1), u16::try_from(height).unwrap_or(1));
    if encoder.encode(&pixels, sizes.0, sizes.1, ColorType::Ycbcr).is_err() {
        return Vec::new();
    }
    let mut stamped = vec![0xff, 0xd8, 0xff, 0xfe, 0, u8::try_from(2 + STAMP_DIGITS).unwrap_or(0)];
    stamped.extend([b'0'; STAMP_DIGITS]);
    stamped.extend(out.get(2..).unwrap_or_default());
    if without_tables { cut_tables(&stamped) } else { stamped }
}

/// Leaves out the DHT segments, as many USB cameras do. The encoder's tables are the standard's.
fn cut_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker != 0xc4 {
            out.extend(jpeg.get(at..end).unwrap_or_default());
        }
        at = end;
        if marker == 0xda {
            break;
        }
    }
    out.extend(jpeg.get(at..).unwrap_or_default());
    out
}

fn yuyv(format: &PixFormat, number: u32) -> Vec<u8> {
    (0..format.height)
        .flat_map(|y| (0..format.width).map(move |x| (x, y)))
        .flat_map(|(x, y)| [luma(x, y, number, format), if x % 2 == 0 { 120 } else { 140 }])
        .collect()
}
