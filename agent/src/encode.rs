//! Raw pictures to JPEG, with libjpeg-turbo. It runs in the capture thread: a picture that is not
//! encoded in time is one that was never wanted.

use bytes::Bytes;
use frame::{Picture, jpeg::JpegError};
use turbojpeg::{Compressor, Subsamp, YuvPlanesImage, compressed_buf_len};

use crate::sensor::SourceError;

/// What the numbers of a raw picture mean. JPEG's always are of full range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 is black and 255 is white.
    Full,
    /// 16 is black and 235 is white; colours reach from 16 to 240 (ITU-R BT.601).
    Limited,
}

/// Three planes of YUV 4:2:2: a colour for each two pixels of a row.
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl Planes {
    /// Grey planes; `width` is rounded down to an even number.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let width = width & !1;
        let pixels = width * height;
        Planes {
            width,
            height,
            y: vec![0; pixels],
            u: vec![128; pixels / 2],
            v: vec![128; pixels / 2],
        }
    }
}

/// Encodes planes of one size, reusing its buffers.
pub(crate) struct Encoder {
    compressor: Compressor,
    buffer: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(width: usize, height: usize, quality: u8) -> Result<Encoder, SourceError> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(quality))?;
        let buffer = vec![0; compressed_buf_len(width, height, Subsamp::Sub2x1)?];
        Ok(Encoder { compressor, buffer })
    }

    /// For the pictures that follow.
    pub(crate) fn set_quality(&mut self, quality: u8) -> Result<(), SourceError> {
        Ok(self.compressor.set_quality(i32::from(quality))?)
    }

    pub(crate) fn encode(&mut self, planes: &Planes) -> Result<Picture, SourceError> {
        let image = YuvPlanesImage {
            y_plane: planes.y.as_slice(),
            u_plane: planes.u.as_slice(),
            v_plane: planes.v.as_slice(),
            width: planes.width,
            height: planes.height,
            y_stride: planes.width,
            u_stride: planes.width / 2,
            v_stride: planes.width / 2,
            subsamp: Subsamp::Sub2x1,
        };
        let used = self.compressor.compress_yuv_planes_to_slice(&image, &mut self.buffer)?;
        let jpeg = self.buffer.get(..used).unwrap_or_default();
        Ok(Picture::accept(Bytes::copy_from_slice(jpeg))?)
    }
}

/// Encodes what cameras call YUYV: two pixels in four bytes, Y0 U Y1 V.
pub(crate) struct YuyvEncoder {
    encoder: Encoder,
    planes: Planes,
    stride: usize,
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl YuyvEncoder {
    /// `stride` is the number of bytes from one row to the next.
    pub(crate) fn new(
        width: usize,
        height: usize,
        stride: usize,
        range: Range,
        quality: u8,
    ) -> Result<YuyvEncoder, SourceError> {
        let planes = Planes::new(width, height);
        let encoder = Encoder::new(planes.width, height, quality)?;
        let stride = stride.max(planes.width * 2);
        let luma = table(range, |y| (y - 16.0) * 255.0 / 219.0);
        let chroma = table(range, |c| (c - 128.0) * 255.0 / 224.0 + 128.0);
        Ok(YuyvEncoder { encoder, planes, stride, luma, chroma })
    }

    /// For the pictures that follow.
    pub(crate) fn set_quality(&mut self, quality: u8) -> Result<(), SourceError> {
        self.encoder.set_quality(quality)
    }

    /// Encodes one picture.
    pub(crate) fn encode(&mut self, raw: &[u8]) -> Result<Picture, SourceError> {
        let Planes { width, height, y, u, v } = &mut self.planes;
        let (width, row_bytes) = (*width, *width * 2);
        // The last row need not be padded to the stride.
        if raw.len() < self.stride * (*height - 1) + row_bytes {
            return Err(JpegError::Truncated(raw.len()).into());
        }
        let rows = raw.chunks(self.stride).take(*height);
        let targets = y.chunks_exact_mut(width).zip(u.chunks_exact_mut(width / 2));
        for ((row, (y, u)), v) in rows.zip(targets).zip(v.chunks_exact_mut(width / 2)) {
            let pairs = row.chunks_exact(4).zip(y.chunks_exact_mut(2)).zip(u.iter_mut().zip(v));
            for ((raw, y), (u, v)) in pairs {
                let ([y0, c0, y1, c1], [left, right]) = (raw, y) else { continue };
                *left = lookup(&self.luma, *y0);
                *right = lookup(&self.luma, *y1);
                *u = lookup(&self.chroma, *c0);
                *v = lookup(&self.chroma, *c1);
            }
        }
        self.encoder.encode(&self.planes)
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte can't exceed 255")]
fn lookup(table: &[u8; 256], byte: u8) -> u8 {
    table[usize::from(byte)]
}

fn table(range: Range, expand: impl Fn(f32) -> f32) -> [u8; 256] {
    std::array::from_fn(|i| {
        let byte = u8::try_from(i).unwrap_or(u8::MAX);
        match range {
            Range::Full => byte,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            Range::Limited => expand(f32::from(byte)).round().clamp(0.0, 255.0) as u8,
        }
    })
}

#[cfg(test)]
mod tests {
    use turbojpeg::{PixelFormat, decompress};

    use super::*;

    /// The colour of a picture that is all of one colour, as R, G, B.
    fn decoded(raw: [u8; 4], range: Range) -> [u8; 3] {
        let mut encoder = YuyvEncoder::new(32, 16, 80, range, 95).unwrap();
        let row = raw.iter().copied().cycle().take(64).chain([0; 16]);
        let bytes: Vec<u8> = row.cycle().take(80 * 15 + 64).collect();
        let picture = encoder.encode(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 16));
        let image = decompress(picture.bytes(), PixelFormat::RGB).unwrap();
        image.pixels[..3].try_into().unwrap()
    }

    fn near(found: [u8; 3], wanted: [u8; 3]) -> bool {
        found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 3)
    }

    #[test]
    fn colours_survive_in_either_range() {
        // BT.601 red, in both ranges.
        let (full, limited) = ([76, 85, 76, 255], [81, 90, 81, 240]);
        for (raw, range, rgb) in [
            (full, Range::Full, [254, 0, 0]),
            (limited, Range::Limited, [254, 0, 0]),
            ([16, 128, 16, 128], Range::Limited, [0, 0, 0]),
            ([235, 128, 235, 128], Range::Limited, [255, 255, 255]),
            ([16, 128, 16, 128], Range::Full, [16, 16, 16]),
        ] {
            let found = decoded(raw, range);
            assert!(near(found, rgb), "{raw:?} {range:?}: {found:?}, not {rgb:?}");
        }
    }

    #[test]
    fn a_short_buffer_is_a_broken_picture() {
        let mut encoder = YuyvEncoder::new(32, 16, 64, Range::Full, 80).unwrap();
        assert!(encoder.encode(&[0; 64 * 16]).is_ok());
        for short in [0, 1, 64 * 16 - 1] {
            let error = encoder.encode(&vec![0; short]).unwrap_err();
            assert!(matches!(error, SourceError::Corrupt(_)), "{error}");
        }
    }

    #[test]
    fn better_quality_is_larger() {
        let noise: Vec<u8> = (0..64 * 48 * 2).map(|n: u32| (n * n / 7).to_le_bytes()[0]).collect();
        let size = |quality| {
            let mut encoder = YuyvEncoder::new(64, 48, 128, Range::Full, quality).unwrap();
            encoder.encode(&noise).unwrap().bytes().len()
        };
        assert!(size(90) > size(30));
    }
}
