//! One JPEG to a smaller one. Pure.
//!
//! The decoder itself scales down by eighths, for a fraction of the work (libjpeg-turbo computes
//! smaller inverse transforms); what is left to the exact size is resampled. The EXIF orientation is
//! not kept: cameras that hang upside down are turned where the picture is made.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use frame::jpeg::{JpegError, inspect};
use turbojpeg::{Colorspace, Compressor, Decompressor, PixelFormat, ScalingFactor, Subsamp};

/// Pixels after the decoder's own scaling: bounds the memory of a worker to 3 bytes each, twice.
const MAX_PIXELS: usize = 40_000_000;

/// Pixels of a picture that comes in several scans: the decoder keeps up to 6 bytes for each of them, whatever
/// size it is wanted in.
const MAX_SCANNED_PIXELS: usize = 16_000_000;

/// Scans of a picture. Encoders make 10; a megabyte has room for tens of thousands, each of which visits every
/// block of it.
const MAX_SCANS: u32 = 32;

/// As agents send them, about; a second loss on top of the first one hardly shows at this.
const QUALITY: i32 = 80;

/// Why a picture can't be scaled.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScaleError {
    #[error("libjpeg-turbo: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    #[error("{0}")]
    Resize(String),
    #[error("more than {MAX_PIXELS} pixels, or more than {MAX_SCANNED_PIXELS} in several scans")]
    TooLarge,
    #[error("{0}")]
    NoPicture(#[from] JpegError),
    #[error("its colours are those of print (CMYK)")]
    Print,
}

/// The codecs, kept from picture to picture.
pub(super) struct Worker {
    decompressor: Decompressor,
    compressor: Compressor,
    resizer: Resizer,
    factors: Vec<ScalingFactor>,
}

impl Worker {
    pub(super) fn new() -> Result<Worker, ScaleError> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(QUALITY)?;
        let mut factors = Decompressor::supported_scaling_factors();
        factors.sort_by_key(|factor| factor.scale(1 << 16));
        let (mut decompressor, resizer) = (Decompressor::new()?, Resizer::new());
        decompressor.set_scan_limit(MAX_SCANS)?;
        Ok(Worker { decompressor, compressor, resizer, factors })
    }

    /// `jpeg` in exactly `width` x `height` pixels, both not larger than its own.
    pub(super) fn scale(
        &mut self,
        jpeg: &[u8],
        width: u16,
        height: u16,
    ) -> Result<Vec<u8>, ScaleError> {
        let header = self.decompressor.read_header(jpeg)?;
        if header.width.saturating_mul(header.height) > MAX_SCANNED_PIXELS
            && !inspect(jpeg)?.row_by_row
        {
            return Err(ScaleError::TooLarge);
        }
        let (format, bytes, subsamp) = match header.colorspace {
            Colorspace::Gray => (PixelFormat::GRAY, 1, Subsamp::Gray),
            Colorspace::CMYK | Colorspace::YCCK => return Err(ScaleError::Print),
            Colorspace::RGB | Colorspace::YCbCr => (PixelFormat::RGB, 3, Subsamp::Sub2x2),
        };
        let (to_width, to_height) = (usize::from(width), usize::from(height));
        let enough = |factor: &&ScalingFactor| {
            factor.scale(header.width) >= to_width && factor.scale(header.height) >= to_height
        };
        let factor = self.factors.iter().find(enough).copied().unwrap_or(ScalingFactor::ONE);
        let (w, h) = (factor.scale(header.width), factor.scale(header.height));
        if w.saturating_mul(h) > MAX_PIXELS {
            return Err(ScaleError::TooLarge);
        }
        self.decompressor.set_scaling_factor(factor)?;
        let mut decoded = vec![0; w * h * bytes];
        let into = turbojpeg::Image {
            pixels: decoded.as_mut_slice(),
            width: w,
            pitch: w * bytes,
            height: h,
            format,
        };
        self.decompressor.decompress(jpeg, into)?;
        let exact = if (w, h) == (to_width, to_height) {
            decoded
        } else if format == PixelFormat::GRAY {
            self.resize::<U8>(&decoded, (w, h), (to_width, to_height))?
        } else {
            self.resize::<U8x3>(&decoded, (w, h), (to_width, to_height))?
        };
        self.compressor.set_subsamp(subsamp)?;
        let image = turbojpeg::Image {
            pixels: exact.as_slice(),
            width: to_width,
            pitch: to_width * bytes,
            height: to_height,
            format,
        };
        Ok(self.compressor.compress_to_vec(image)?)
    }

    // The type of the pixels is known here, so that the program has the code for these two alone. That for pixels of
    // floating-point numbers is one that LLVM 22 does not compile to the same instructions each time
    // (docs/supply-chain.md).
    fn resize<P: PixelTrait>(
        &mut self,
        pixels: &[u8],
        from: (usize, usize),
        to: (usize, usize),
    ) -> Result<Vec<u8>, ScaleError> {
        let said = |error: &dyn std::fmt::Display| ScaleError::Resize(error.to_string());
        let side = |n: usize| u32::try_from(n).map_err(|_| ScaleError::TooLarge);
        let source = TypedImageRef::<P>::from_buffer(side(from.0)?, side(from.1)?, pixels)
            .map_err(|e| said(&e))?;
        let mut resized = vec![0; to.0 * to.1 * size_of::<P>()];
        let mut target = TypedImage::<P>::from_buffer(side(to.0)?, side(to.1)?, &mut resized)
            .map_err(|e| said(&e))?;
        let algorithm = ResizeAlg::Convolution(FilterType::Bilinear);
        let options = ResizeOptions::new().resize_alg(algorithm);
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|e| said(&e))?;
        Ok(resized)
    }
}

#[cfg(test)]
mod tests {
    use frame::Picture;

    use super::*;

    fn photo(width: usize, height: usize, gray: bool) -> Vec<u8> {
        // A gradient: left dark, right bright, so that what is scaled can be recognised.
        let format = if gray { PixelFormat::GRAY } else { PixelFormat::RGB };
        let bytes = if gray { 1 } else { 3 };
        let row: Vec<u8> = (0..width)
            .flat_map(|x| std::iter::repeat_n(u8::try_from(x * 255 / width).unwrap(), bytes))
            .collect();
        let pixels = row.repeat(height);
        let image = turbojpeg::Image {
            pixels: pixels.as_slice(),
            width,
            pitch: width * bytes,
            height,
            format,
        };
        let subsamp = if gray { Subsamp::Gray } else { Subsamp::Sub2x2 };
        turbojpeg::compress(image, 90, subsamp).unwrap().to_vec()
    }

    #[test]
    fn the_picture_is_the_same_in_the_size_asked_for() {
        let mut worker = Worker::new().unwrap();
        for gray in [false, true] {
            let jpeg = photo(1280, 720, gray);
            for (width, height) in [(800, 450), (640, 360), (1279, 719), (160, 90), (1, 1), (16, 9)]
            {
                let scaled = worker.scale(&jpeg, width, height).unwrap();
                let picture = Picture::accept(scaled.clone().into()).unwrap();
                assert_eq!((picture.width(), picture.height()), (width, height));
                if width < 100 {
                    continue;
                }
                let image = turbojpeg::decompress(&scaled, PixelFormat::GRAY).unwrap();
                let at = |x: usize| i32::from(image.pixels[x + image.pitch * (image.height / 2)]);
                for part in 1..8 {
                    let x = usize::from(width) * part / 8;
                    let expected = i32::try_from(255 * part / 8).unwrap();
                    assert!((at(x) - expected).abs() < 6, "{width}: {} at {part}/8", at(x));
                }
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        let mut worker = Worker::new().unwrap();
        let jpeg = photo(64, 64, false);
        for bad in [&[][..], b"GIF89a", &jpeg[..20]] {
            assert!(worker.scale(bad, 8, 8).is_err());
        }
        assert!(worker.scale(&jpeg, 8, 8).is_ok(), "the worker goes on");
    }
}
