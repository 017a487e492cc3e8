//! The scaled pictures of a frame, and how many sizes a camera may have at once.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ladder::Mono;
use tokio::sync::SetOnce;

use super::Rendition;

/// Largest width and height that can be asked for: a JPEG's own limit.
const MAX_SIDE: u32 = 65_535;

/// A size nobody asked for during this time makes room for another.
const LEASE: Duration = Duration::from_secs(30);

/// A box that a picture has to fit into, such as `800x600`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    width: NonZeroU16,
    height: NonZeroU16,
}

/// What is no size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSize;

impl fmt::Display for NoSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no size: write WIDTHxHEIGHT in pixels, 1 to {MAX_SIDE} each, such as 800x600")
    }
}

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Size, NoSize> {
        let (width, height) = text.split_once('x').ok_or(NoSize)?;
        let side = |digits: &str| {
            // `parse` takes a sign and leading zeros; one size should have one name.
            let plain = digits.starts_with(|c: char| c.is_ascii_digit() && c != '0');
            plain.then(|| digits.parse().ok()).flatten().ok_or(NoSize)
        };
        Ok(Size { width: side(width)?, height: side(height)? })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Size {
    /// The largest picture with the proportions of `width` x `height` that fits; never a larger one
    /// than that.
    pub(crate) fn fit(self, width: u16, height: u16) -> (u16, u16) {
        let (max_width, max_height) = (u32::from(self.width.get()), u32::from(self.height.get()));
        let (w, h) = (u32::from(width), u32::from(height));
        if w <= max_width && h <= max_height {
            return (width, height);
        }
        // Compares max_width / w with max_height / h.
        let (fit_w, fit_h) =
            if u64::from(max_width) * u64::from(h) <= u64::from(max_height) * u64::from(w) {
                (max_width, rounded(h, max_width, w))
            } else {
                (rounded(w, max_height, h), max_height)
            };
        let side = |n: u32| u16::try_from(n.max(1)).unwrap_or(u16::MAX);
        (side(fit_w), side(fit_h))
    }
}

/// `side * by / of`, rounded.
fn rounded(side: u32, by: u32, of: u32) -> u32 {
    let exact = (u64::from(side) * u64::from(by) + u64::from(of) / 2) / u64::from(of.max(1));
    u32::try_from(exact).unwrap_or(u32::MAX)
}

/// Which sizes a camera's viewers use. Pure.
#[derive(Debug, Default)]
pub(super) struct Leases {
    used: Vec<((u16, u16), Mono)>,
}

impl Leases {
    /// Whether pictures may be made in this size: it is in use already, or one of `max` is free.
    pub(super) fn ask(&mut self, size: (u16, u16), now: Mono, max: usize) -> bool {
        self.used.retain(|(_, last)| now.since(*last) < LEASE);
        if let Some((_, last)) = self.used.iter_mut().find(|(used, _)| *used == size) {
            *last = now;
            return true;
        }
        let free = self.used.len() < max;
        if free {
            self.used.push((size, now));
        }
        free
    }
}

/// Why there is no scaled picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotScaled {
    /// This camera's viewers use as many sizes as they may.
    TooManySizes,
    /// Too many pictures wait for being made.
    Busy,
    /// It can't be decoded, or would take too much memory.
    Impossible,
}

/// A scaled picture, made or being made.
pub(crate) type Cell = Arc<SetOnce<Result<Arc<Rendition>, NotScaled>>>;

/// The scaled pictures of one frame.
#[derive(Debug, Default)]
pub(super) struct Scaled {
    cells: Mutex<Vec<((u16, u16), Cell)>>,
}

impl Scaled {
    /// The cell of a size. The first who asks gets `true`, and has it made.
    pub(super) fn cell(&self, size: (u16, u16)) -> (Cell, bool) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = cells.iter().find(|(made, _)| *made == size) {
            return (Arc::clone(cell), false);
        }
        let cell = Cell::default();
        cells.push((size, Arc::clone(&cell)));
        (cell, true)
    }

    /// Forgets a size that could not be queued, so that the next who asks tries again.
    pub(super) fn forget(&self, size: (u16, u16)) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).retain(|(made, _)| *made != size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_size() {
        for good in ["1x1", "800x600", "65535x65535"] {
            assert_eq!(good.parse::<Size>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "x",
            "800",
            "800x",
            "x600",
            "0x600",
            "800x0",
            "800X600",
            "-800x600",
            "+800x600",
            "800x600x1",
            "65536x1",
            "1x99999999999999999999",
            "0800x600",
            " 800x600",
            "8e2x600",
        ] {
            assert_eq!(bad.parse::<Size>(), Err(NoSize), "{bad}");
        }
    }

    #[test]
    fn pictures_fit_and_are_never_enlarged() {
        for (size, picture, expected) in [
            ("800x600", (1280, 720), (800, 450)),
            ("800x5000", (1280, 720), (800, 450)),
            ("5000x450", (1280, 720), (800, 450)),
            ("1280x720", (1280, 720), (1280, 720)),
            ("4000x4000", (1280, 720), (1280, 720)),
            ("1x1", (1280, 720), (1, 1)),
            ("100x100", (1, 65535), (1, 100)),
            ("640x480", (640, 481), (639, 480)),
        ] {
            assert_eq!(size.parse::<Size>().unwrap().fit(picture.0, picture.1), expected, "{size}");
        }
    }

    proptest! {
        #[test]
        fn every_fit_fits(w in 1_u16.., h in 1_u16.., max_w in 1_u16.., max_h in 1_u16..) {
            let size: Size = format!("{max_w}x{max_h}").parse().unwrap();
            let (fit_w, fit_h) = size.fit(w, h);
            prop_assert!(fit_w >= 1 && fit_h >= 1 && fit_w <= max_w.min(w) && fit_h <= max_h.min(h));
            prop_assert!(fit_w == max_w || fit_h == max_h || (fit_w, fit_h) == (w, h));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9x+-]{0,12}") {
            let _ = text.parse::<Size>();
        }
    }

    #[test]
    fn sizes_in_use_stay_and_unused_ones_make_room() {
        let at = |s| Mono::from_boot(Duration::from_secs(s));
        let mut leases = Leases::default();
        assert!(leases.ask((1, 1), at(0), 2));
        assert!(leases.ask((2, 2), at(0), 2));
        assert!(!leases.ask((3, 3), at(1), 2), "no room");
        assert!(leases.ask((1, 1), at(20), 2));
        assert!(!leases.ask((3, 3), at(29), 2));
        assert!(leases.ask((3, 3), at(31), 2), "(2, 2) was not used for long");
        assert!(leases.ask((1, 1), at(31), 2), "(1, 1) was");
        assert!(!leases.ask((2, 2), at(31), 2));
    }
}
