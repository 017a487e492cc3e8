//! The camera's pictures: a bar that moves, and a number in a comment, so that no two are equal.

use jpeg_encoder::{ColorType, Encoder};

/// Different ones; made at the start, because a debug build takes its time.
const RING: u16 = 8;

/// A comment's marker, its length (itself included), and digits.
const STAMP_DIGITS: u8 = 12;

pub(super) struct Pictures {
    ring: Vec<Vec<u8>>,
}

impl Pictures {
    pub(super) fn new((width, height): (u16, u16)) -> Pictures {
        let ring = (0..RING).map(|number| {
            let bar = number * (width / RING);
            let row: Vec<u8> = (0..width)
                .map(|x| {
                    if (bar..bar + 40).contains(&x) { 220 } else { 60 + (x % 64).to_le_bytes()[0] }
                })
                .collect();
            let pixels = row.repeat(height.into());
            let mut jpeg = Vec::new();
            let encoder = Encoder::new(&mut jpeg, 60);
            encoder.encode(&pixels, width, height, ColorType::Luma).expect("the sizes fit");
            jpeg
        });
        Pictures { ring: ring.collect() }
    }

    /// Picture `number`.
    pub(super) fn get(&self, number: u64) -> Vec<u8> {
        let place = usize::try_from(number % u64::from(RING)).unwrap_or(0);
        let jpeg = self.ring.get(place).map_or(&[][..], Vec::as_slice);
        let (start, rest) = jpeg.split_at(2.min(jpeg.len()));
        let digits = format!("{number:0width$}", width = usize::from(STAMP_DIGITS));
        [start, &[0xff, 0xfe, 0, 2 + STAMP_DIGITS], digits.as_bytes(), rest].concat()
    }
}
