//! The formats, sizes and rates on offer, and which one a wish ends up with. Pure.

use crate::abi;

/// What a frame consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    Mjpg,
    Yuyv,
}

impl Pixels {
    pub(crate) const ALL: [Pixels; 2] = [Pixels::Mjpg, Pixels::Yuyv];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pixels::Mjpg => "MJPG",
            Pixels::Yuyv => "YUYV",
        }
    }

    pub(crate) fn fourcc(self) -> u32 {
        match self {
            Pixels::Mjpg => u32::from_le_bytes(*b"MJPG"),
            Pixels::Yuyv => u32::from_le_bytes(*b"YUYV"),
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Pixels::Mjpg => "Motion-JPEG",
            Pixels::Yuyv => "YUYV 4:2:2",
        }
    }
}

/// All sizes, offered in every format.
pub(crate) const SIZES: [(u32, u32); 4] = [(320, 240), (640, 480), (1280, 720), (1920, 1080)];

/// All rates in frames per second, offered at every size.
pub(crate) const RATES: [u32; 5] = [30, 25, 15, 10, 5];

/// A format at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) pixels: Pixels,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Mode {
    /// As a UVC camera chooses: the first format if it does not have the wanted one, and the size
    /// with the smallest area that is not shared.
    pub(crate) fn nearest(offered: &[Pixels], fourcc: u32, width: u32, height: u32) -> Mode {
        let known = offered.iter().find(|pixels| pixels.fourcc() == fourcc);
        let pixels = *known.or(offered.first()).unwrap_or(&Pixels::Mjpg);
        let area = |width: u32, height: u32| u64::from(width) * u64::from(height);
        let unshared = |&(w, h): &(u32, u32)| {
            let shared = area(w.min(width), h.min(height));
            (area(w, h) - shared).saturating_add(area(width, height) - shared)
        };
        let (width, height) = SIZES.into_iter().min_by_key(unshared).unwrap_or((640, 480));
        Mode { pixels, width, height }
    }

    /// As the driver tells it. Buffers hold `at_least` bytes.
    pub(crate) fn pix(self, at_least: u32) -> abi::PixFormat {
        let raw = self.width * self.height * 2;
        abi::PixFormat {
            width: self.width,
            height: self.height,
            pixelformat: self.pixels.fourcc(),
            field: abi::FIELD_NONE,
            bytesperline: if self.pixels == Pixels::Yuyv { self.width * 2 } else { 0 },
            sizeimage: if self.pixels == Pixels::Yuyv { raw } else { raw.max(at_least) },
            colorspace: abi::COLORSPACE_SRGB,
            private: abi::PIX_PRIV_MAGIC,
            flags: 0,
            ycbcr_enc: 0,
            quantization: 0,
            xfer_func: 0,
        }
    }
}

/// The rate nearest to one frame every `numerator`/`denominator` seconds.
pub(crate) fn nearest_rate(numerator: u32, denominator: u32) -> u32 {
    let wanted = match (numerator, denominator) {
        (_, 0) => u64::MAX,
        (numerator, denominator) => 10_000_000 * u64::from(numerator) / u64::from(denominator),
    };
    let away = |rate: &u32| wanted.abs_diff(10_000_000 / u64::from(*rate));
    RATES.into_iter().min_by_key(away).unwrap_or(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mode_is_chosen() {
        let both = Pixels::ALL;
        let mjpg = Pixels::Mjpg.fourcc();
        let size = |width, height| {
            let mode = Mode::nearest(&both, mjpg, width, height);
            (mode.width, mode.height)
        };
        assert_eq!(size(1280, 720), (1280, 720));
        assert_eq!(size(1, 1), (320, 240));
        assert_eq!(size(800, 600), (640, 480));
        assert_eq!(size(u32::MAX, u32::MAX), (1920, 1080));
        assert_eq!(Mode::nearest(&both, 0, 640, 480).pixels, Pixels::Mjpg);
        assert_eq!(Mode::nearest(&[Pixels::Yuyv], mjpg, 640, 480).pixels, Pixels::Yuyv);
    }

    #[test]
    fn the_nearest_rate_is_chosen() {
        let table =
            [((1, 30), 30), ((1000, 5000), 5), ((0, 1), 30), ((1, 0), 5), ((1, 12), 15), ((9, 1), 5)];
        for ((numerator, denominator), rate) in table {
            assert_eq!(nearest_rate(numerator, denominator), rate, "{numerator}/{denominator}");
        }
    }
}
