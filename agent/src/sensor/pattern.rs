//! The source `pattern`: a moving test card, for trying everything without a camera.
//!
//! For eyes: a clock (UTC), the frame's number, a bar that moves. For programs: the lowest 16 rows
//! hold 34 blocks of equal width across the picture: a white and a black one to calibrate by, then
//! the number's lowest 32 bits, highest first, white for 1.

use frame::wire::format_time;
use runtime::clock;

use super::directory::wait_until;
use super::{Capture, Source, SourceError, captured_at};
use crate::config::{CameraConfig, ClockTrust};
use crate::encode::{Encoder, Planes};

/// Rows of the block code.
const CODE_ROWS: usize = 16;
/// Blocks of the code: two to calibrate by and 32 bits.
const CODE_BLOCKS: usize = 34;
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// The card's smallest size: narrower, its code would not survive JPEG.
const MIN_WIDTH: usize = 34 * 4;
const MIN_HEIGHT: usize = 64;

pub(super) struct Pattern {
    encoder: Encoder,
    card: Planes,
    planes: Planes,
    number: u64,
    configured_us: i64,
    interval_us: i64,
    next_us: i64,
    trust: ClockTrust,
    quality: u8,
    description: String,
}

impl Pattern {
    pub(super) fn open(config: &CameraConfig, trust: ClockTrust) -> Result<Self, SourceError> {
        let width = (config.size.width as usize).max(MIN_WIDTH);
        let height = (config.size.height as usize).max(MIN_HEIGHT);
        let card = background(width, height);
        let encoder = Encoder::new(card.width, card.height, config.quality)?;
        let planes = card.clone();
        let interval_us = i64::try_from(config.interval().as_micros()).unwrap_or(i64::MAX);
        let description = format!("test card ({}x{height}, {} fps)", card.width, config.fps);
        let next_us = clock::monotonic_us();
        let quality = config.quality;
        Ok(Pattern {
            encoder,
            card,
            planes,
            number: 0,
            configured_us: interval_us,
            interval_us,
            next_us,
            trust,
            quality,
            description,
        })
    }
}

impl Source for Pattern {
    fn next(&mut self) -> Result<Option<Capture>, SourceError> {
        wait_until(self.next_us);
        let now_us = clock::monotonic_us();
        // Late by more than a frame: those in between are left out, as a camera would.
        self.next_us = self.next_us.max(now_us - self.interval_us).saturating_add(self.interval_us);
        let captured = captured_at(Some(now_us), self.trust);
        self.number += 1;
        let Pattern { card, planes, number, .. } = self;
        planes.y.copy_from_slice(&card.y);
        draw_bar(planes, *number);
        let scale = (planes.width / 220).max(1);
        let line = 10 * scale;
        draw_text(planes, (line, line), scale, &format_time(captured.unix_us, 3));
        draw_text(planes, (line, 2 * line + scale * 4), scale, &format!("frame {number}"));
        draw_code(planes, *number);
        let picture = self.encoder.encode(&self.planes)?;
        Ok(Some(Capture { picture, captured, may_repeat: false }))
    }

    fn set_quality(&mut self, quality: Option<u8>) -> Option<u64> {
        let quality = quality.map_or(self.quality, |quality| quality.min(self.quality));
        self.encoder.set_quality(quality).ok().map(|()| 0)
    }

    fn slow(&mut self, divisor: u32) {
        self.interval_us = self.configured_us.saturating_mul(i64::from(divisor));
    }

    fn describe(&self) -> &str {
        &self.description
    }
}

/// Eight bars of colour over a grey ramp, dimmed so that text stands out.
fn background(width: usize, height: usize) -> Planes {
    /// White, yellow, cyan, green, magenta, red, blue, black at 75 % (SMPTE EG 1), as U and V.
    const BARS: [(u8, u8, u8); 8] = [
        (180, 128, 128),
        (162, 44, 142),
        (131, 156, 44),
        (112, 72, 58),
        (84, 184, 198),
        (65, 100, 212),
        (35, 212, 114),
        (16, 128, 128),
    ];
    let mut planes = Planes::new(width, height);
    let width = planes.width;
    let bars_end = height * 2 / 3;
    for row in 0..height {
        let y = planes.y.get_mut(row * width..(row + 1) * width).unwrap_or_default();
        if row >= bars_end {
            for (x, pixel) in y.iter_mut().enumerate() {
                *pixel = u8::try_from(x * 255 / width).unwrap_or(u8::MAX);
            }
            continue;
        }
        for (bar, (luma, u, v)) in BARS.into_iter().enumerate() {
            let (from, to) = (bar * width / 8, (bar + 1) * width / 8);
            fill(&mut planes.y, row * width + from, to - from, luma);
            let (from, to) = (from / 2, to / 2);
            fill(&mut planes.u, row * width / 2 + from, to - from, u);
            fill(&mut planes.v, row * width / 2 + from, to - from, v);
        }
    }
    planes
}

fn fill(plane: &mut [u8], from: usize, len: usize, value: u8) {
    let end = plane.len().min(from + len);
    plane.get_mut(from..end).unwrap_or_default().fill(value);
}

/// A white bar that crosses the picture once in 64 frames: motion that an eye can judge.
fn draw_bar(planes: &mut Planes, number: u64) {
    let (width, height) = (planes.width, planes.height);
    let step = usize::try_from(number % 64).unwrap_or(0);
    let thickness = (width / 64).max(2);
    for row in height * 2 / 3..height - CODE_ROWS {
        fill(&mut planes.y, row * width + step * (width - thickness) / 63, thickness, WHITE);
    }
}

fn draw_text(planes: &mut Planes, (left, top): (usize, usize), scale: usize, text: &str) {
    let width = planes.width;
    let margin = scale * 2;
    let box_width = (text.len() * 8 * scale + 2 * margin).min(width.saturating_sub(left));
    for row in top.saturating_sub(margin)..(top + 8 * scale + margin).min(planes.height) {
        let from = row * width + left - margin;
        fill(&mut planes.y, from, box_width, BLACK);
        // Without colour: the bars behind would tint the text.
        fill(&mut planes.u, from / 2, box_width / 2, 128);
        fill(&mut planes.v, from / 2, box_width / 2, 128);
    }
    for (index, character) in text.chars().enumerate() {
        let glyph = font8x8::legacy::BASIC_LEGACY.get(character as usize).copied();
        let x = left + index * 8 * scale;
        if x + 8 * scale > width {
            return;
        }
        for (line, bits) in glyph.unwrap_or_default().into_iter().enumerate() {
            for column in (0..8).filter(|column| bits & (1 << column) != 0) {
                for row in 0..scale {
                    let at = (top + line * scale + row) * width + x + column * scale;
                    fill(&mut planes.y, at, scale, WHITE);
                }
            }
        }
    }
}

fn draw_code(planes: &mut Planes, number: u64) {
    let width = planes.width;
    for block in 0..CODE_BLOCKS {
        let white = match block {
            0 => true,
            1 => false,
            bit => number >> (CODE_BLOCKS - 1 - bit) & 1 == 1,
        };
        let (from, to) = (block * width / CODE_BLOCKS, (block + 1) * width / CODE_BLOCKS);
        for row in planes.height - CODE_ROWS..planes.height {
            fill(&mut planes.y, row * width + from, to - from, if white { WHITE } else { BLACK });
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::settings::Size;
    use turbojpeg::{PixelFormat, decompress};

    use super::*;

    fn read_code(jpeg: &[u8]) -> u32 {
        let image = decompress(jpeg, PixelFormat::GRAY).unwrap();
        let row = (image.height - CODE_ROWS / 2) * image.pitch;
        let block = |n: usize| image.pixels[row + (2 * n + 1) * image.width / (2 * CODE_BLOCKS)];
        let middle = u16::midpoint(block(0).into(), block(1).into());
        (2..CODE_BLOCKS).fold(0, |code, n| code << 1 | u32::from(u16::from(block(n)) > middle))
    }

    #[test]
    fn its_number_can_be_read_from_the_pixels() {
        for (width, height, quality) in
            [(1280, 720, 85), (320, 240, 30), (1, 1, 50), (641, 481, 80)]
        {
            let config = CameraConfig {
                size: Size { width, height },
                quality,
                fps: 120.0,
                ..CameraConfig::default()
            };
            let mut source = Pattern::open(&config, ClockTrust::Auto).unwrap();
            source.number = 0xa5a5_0000;
            for number in 0xa5a5_0001_u32..0xa5a5_0004 {
                let capture = source.next().unwrap().unwrap();
                assert_eq!(read_code(capture.picture.bytes()), number, "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_lower_quality_can_be_asked_for_and_a_better_one_than_configured_can_not() {
        let config = CameraConfig { quality: 60, fps: 120.0, ..CameraConfig::default() };
        let mut source = Pattern::open(&config, ClockTrust::Auto).unwrap();
        let mut bytes = |quality| {
            assert_eq!(source.set_quality(quality), Some(0));
            source.next().unwrap().unwrap().picture.bytes().len()
        };
        let [own, low, best, again] = [None, Some(20), Some(95), None].map(&mut bytes);
        assert!(low * 10 < own * 9, "{low} of {own}");
        // The clock in the picture changes a little.
        for same in [best, again] {
            assert!(same.abs_diff(own) * 20 < own, "{same} of {own}");
        }
    }
}
