//! A picture made smaller for a thin link.
//!
//! The decoder scales down by powers of two itself, for a fraction of the work. EXIF data, its
//! orientation included, is not kept: cameras that hang upside down are turned where the picture is
//! made (`camera.rpicam_args`, the driver's flip controls).

use bytes::Bytes;
use frame::Picture;
use frame::jpeg::JpegError;
use turbojpeg::{Compressor, Decompressor, ScalingFactor, Subsamp, YuvImage};

use super::adapt::Step;

/// Why a picture can't be made smaller; then it is sent as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum ThinError {
    #[error("libjpeg-turbo: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    #[error("the result is no picture: {0}")]
    Result(#[from] JpegError),
}

/// The codecs, kept from picture to picture.
pub(super) struct Thinner {
    decompressor: Decompressor,
    compressor: Compressor,
}

impl std::fmt::Debug for Thinner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Thinner")
    }
}

impl Thinner {
    pub(super) fn new() -> Result<Thinner, ThinError> {
        Ok(Thinner { decompressor: Decompressor::new()?, compressor: Compressor::new()? })
    }

    /// `picture` by this step.
    pub(super) fn thin(&mut self, picture: &Picture, step: Step) -> Result<Picture, ThinError> {
        let Some(quality) = step.quality else { return Ok(picture.clone()) };
        let jpeg = picture.bytes();
        let factor = ScalingFactor::new(1, usize::from(step.divisor.max(1)));
        let header = self.decompressor.read_header(jpeg)?.scaled(factor);
        self.decompressor.set_scaling_factor(factor)?;
        let (width, height, align) = (header.width, header.height, 4);
        let subsamp = header.subsamp;
        let mut planes = vec![0; turbojpeg::yuv_pixels_len(width, align, height, subsamp)?];
        let image = YuvImage { pixels: planes.as_mut_slice(), width, align, height, subsamp };
        self.decompressor.decompress_to_yuv(jpeg, image)?;
        self.compressor.set_quality(i32::from(quality))?;
        if subsamp == Subsamp::Gray {
            self.compressor.set_subsamp(Subsamp::Gray)?;
        }
        let image = YuvImage { pixels: planes.as_slice(), width, align, height, subsamp };
        let thin = self.compressor.compress_yuv_to_vec(image)?;
        Ok(Picture::accept(Bytes::from(thin))?)
    }
}

#[cfg(test)]
mod tests {
    use turbojpeg::{Image, PixelFormat};

    use super::*;

    /// Noise on a gradient, as a photograph has.
    fn photo(width: usize, height: usize, subsamp: Subsamp) -> Picture {
        let gray = subsamp == Subsamp::Gray;
        let (format, bytes) = if gray { (PixelFormat::GRAY, 1) } else { (PixelFormat::RGB, 3) };
        let pixels: Vec<u8> = (0..width * height * bytes)
            .map(|n| {
                let x = n / bytes % width;
                u8::try_from((x * 200 / width + n * 7919 % 53) % 256).unwrap()
            })
            .collect();
        let pitch = width * bytes;
        let image = Image { pixels: pixels.as_slice(), width, pitch, height, format };
        let jpeg = turbojpeg::compress(image, 85, subsamp).unwrap();
        Picture::accept(Bytes::copy_from_slice(&jpeg)).unwrap()
    }

    #[test]
    fn each_step_is_smaller_and_of_the_right_size() {
        let mut thinner = Thinner::new().unwrap();
        for subsamp in [Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::None, Subsamp::Gray] {
            let picture = photo(642, 362, subsamp);
            let mut last = picture.bytes().len();
            for (divisor, quality, size) in
                [(1, 60, (642, 362)), (2, 60, (321, 181)), (4, 60, (161, 91)), (8, 40, (81, 46))]
            {
                let step = Step { divisor, quality: Some(quality) };
                let thin = thinner.thin(&picture, step).unwrap();
                assert_eq!((thin.width(), thin.height()), size, "{subsamp:?} {step:?}");
                assert!(thin.bytes().len() < last, "{subsamp:?} {step:?}");
                last = thin.bytes().len();
            }
        }
    }

    #[test]
    fn equal_pictures_stay_equal_and_others_do_not_become_so() {
        // The relay tells a frozen camera by its content.
        let mut thinner = Thinner::new().unwrap();
        let step = Step { divisor: 2, quality: Some(40) };
        let (a, b) = (photo(640, 360, Subsamp::Sub2x2), photo(640, 352, Subsamp::Sub2x2));
        let thin = |thinner: &mut Thinner, picture| thinner.thin(picture, step).unwrap().hash();
        let first = thin(&mut thinner, &a);
        let other = thin(&mut thinner, &b);
        assert_eq!(first, thin(&mut thinner, &a));
        assert_ne!(first, other);
    }

    #[test]
    fn untouched_means_the_same_bytes() {
        let picture = photo(64, 64, Subsamp::Sub2x2);
        let step = Step { divisor: 1, quality: None };
        let same = Thinner::new().unwrap().thin(&picture, step).unwrap();
        assert_eq!(same.bytes().as_ptr(), picture.bytes().as_ptr());
    }
}
