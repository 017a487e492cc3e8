//! The one gate a picture passes on both sides: a structural check of a JPEG, without decoding.
//!
//! It walks the markers from SOI to EOI, steps over segments by their length (so that a thumbnail
//! inside an APP segment is never mistaken for the picture) and over entropy-coded data by looking
//! for the next marker. One pass, no allocation, no panic on any bytes. What it cannot see is
//! damage inside the entropy-coded data: only a decoder could.
//!
//! Marker codes and segment layouts: ITU-T T.81, Annex B.

use memchr::memchr;

/// Largest picture that passes, in pixels: 100 megapixels, above any sensor in this field. A few
/// hundred bytes may claim 65535x65535, and whoever decodes that allocates 12 GB.
pub const MAX_PIXELS: u32 = 100_000_000;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DHT: u8 = 0xc4;
const TEM: u8 = 0x01;

/// What [`inspect`] found out about a complete JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Width in pixels, from the frame header (SOF).
    pub width: u16,
    /// Height in pixels, from the frame header (SOF).
    pub height: u16,
    /// One past the end-of-image marker; bytes from here on are padding.
    pub end: usize,
    /// Where the standard Huffman tables belong, if the camera left all tables out.
    pub tables_belong_at: Option<usize>,
    /// Its first scan holds all of it, so it can be decoded row by row. Of any other (a progressive one, most
    /// often) a decoder keeps 2 bytes for each pixel and component, whatever size it is wanted in.
    pub row_by_row: bool,
}

/// Why some bytes are no complete JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// There is nothing at all.
    #[error("empty, not a JPEG")]
    Empty,
    /// The first bytes are not a JPEG's.
    #[error("not a JPEG: it begins with {0:02x?}, not with ff d8")]
    NotJpeg([u8; 2]),
    /// The bytes end before the picture does.
    #[error("JPEG cut off: no end-of-image marker in {0} bytes")]
    Truncated(usize),
    /// Something stands where a marker has to, or a marker where it may not.
    #[error("JPEG damaged at byte {0}")]
    Damaged(usize),
    /// All markers are there, but no picture between them.
    #[error("JPEG without a picture in it")]
    NoPicture,
    /// The header claims a size that is zero or beyond [`MAX_PIXELS`].
    #[error("JPEG of {width}x{height} pixels, beyond 1 to {MAX_PIXELS} pixels")]
    BadSize {
        /// Claimed width in pixels.
        width: u16,
        /// Claimed height in pixels.
        height: u16,
    },
}

/// Checks that `bytes` hold one complete JPEG, possibly followed by padding.
///
/// # Errors
/// What is wrong, and where.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, JpegError> {
    let mut walk = Walk::default();
    walk.advance(bytes)?.ok_or(if bytes.is_empty() {
        JpegError::Empty
    } else {
        JpegError::Truncated(bytes.len())
    })
}

/// An inspection that can pause where the bytes end and go on when more have come, without looking
/// at any byte of entropy-coded data twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    /// Everything before this is done with.
    at: usize,
    place: Place,
    size: Option<(u16, u16)>,
    components: u8,
    progressive: bool,
    /// The first scan has all components, whether it shows anything or not.
    together: Option<bool>,
    /// Huffman-coded with the tables an omitted DHT stands for: baseline or extended sequential.
    sequential: bool,
    has_tables: bool,
    first_scan: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    Start,
    /// A marker has to begin here.
    Segments,
    /// Inside entropy-coded data that began at this offset.
    Scan { began: usize },
}

impl Walk {
    /// Goes as far as `bytes` reach; `bytes` must begin with all that was given before. `None`
    /// means that more bytes are needed.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<Inspection>, JpegError> {
        loop {
            let stepped = match self.place {
                Place::Start => self.start(bytes)?,
                Place::Segments => match self.segment(bytes)? {
                    Step::Done(inspection) => return Ok(Some(inspection)),
                    Step::On => true,
                    Step::Short => false,
                },
                Place::Scan { began } => self.scan(bytes, began),
            };
            if !stepped {
                return Ok(None);
            }
        }
    }

    fn start(&mut self, bytes: &[u8]) -> Result<bool, JpegError> {
        match *bytes {
            [] | [0xff] => Ok(false),
            [0xff, SOI, ..] => {
                self.at = 2;
                self.place = Place::Segments;
                Ok(true)
            }
            [first, ref rest @ ..] => {
                Err(JpegError::NotJpeg([first, rest.first().copied().unwrap_or(0)]))
            }
        }
    }

    fn segment(&mut self, bytes: &[u8]) -> Result<Step, JpegError> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        // Any number of fill bytes may stand before a marker (B.1.1.2).
        let fill = rest.iter().take_while(|b| **b == 0xff).count();
        let Some(&code) = rest.get(fill) else {
            // Keep one 0xff: it may be the marker's own.
            self.at += fill.saturating_sub(1);
            return Ok(Step::Short);
        };
        if fill == 0 {
            return Err(JpegError::Damaged(self.at));
        }
        let marker = self.at + fill - 1;
        match code {
            EOI => return self.finish(marker + 2).map(Step::Done),
            TEM => self.at = marker + 2,
            // Stuffing, restart markers, a second SOI, JPG and reserved codes belong elsewhere.
            0x00 | 0x02..=0xbf | 0xc8 | 0xd0..=SOI | 0xf0..=0xfd | 0xff => {
                return Err(JpegError::Damaged(marker));
            }
            0xc0..=0xef | 0xfe => {
                let Some(&[high, low]) = bytes.get(marker + 2..marker + 4) else {
                    self.at = marker;
                    return Ok(Step::Short);
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return Err(JpegError::Damaged(marker));
                }
                let end = marker + 2 + length;
                let Some(body) = bytes.get(marker + 4..end) else {
                    self.at = marker;
                    return Ok(Step::Short);
                };
                self.enter(marker, code, body)?;
                self.at = end;
                if code == SOS {
                    self.place = Place::Scan { began: end };
                }
            }
        }
        Ok(Step::On)
    }

    fn enter(&mut self, marker: usize, code: u8, body: &[u8]) -> Result<(), JpegError> {
        match code {
            DHT => self.has_tables = true,
            SOS if self.size.is_none() => return Err(JpegError::Damaged(marker)),
            SOS => {
                self.first_scan.get_or_insert(marker);
                self.together.get_or_insert(body.first() == Some(&self.components));
            }
            // SOF0 to SOF15 but DHT, JPG (refused above) and DAC.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if self.size.is_some() {
                    return Err(JpegError::Damaged(marker));
                }
                let &[_precision, h1, h2, w1, w2, components, ref specs @ ..] = body else {
                    return Err(JpegError::Damaged(marker));
                };
                if components == 0 || specs.len() != 3 * usize::from(components) {
                    return Err(JpegError::Damaged(marker));
                }
                let height = u16::from_be_bytes([h1, h2]);
                let width = u16::from_be_bytes([w1, w2]);
                let pixels = u32::from(width) * u32::from(height);
                if pixels == 0 || pixels > MAX_PIXELS {
                    return Err(JpegError::BadSize { width, height });
                }
                self.size = Some((width, height));
                self.components = components;
                self.sequential = matches!(code, 0xc0 | 0xc1);
                // The last two bits of SOF's code (B.1.1.3, table B.1).
                self.progressive = code & 3 == 2;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether the scan's end was found.
    fn scan(&mut self, bytes: &[u8], began: usize) -> bool {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(found) = memchr(0xff, rest) else {
                self.at = bytes.len();
                return false;
            };
            let here = self.at + found;
            match bytes.get(here + 1) {
                None => {
                    self.at = here;
                    return false;
                }
                // A stuffed 0xff of data, or a restart marker: the scan goes on.
                Some(0x00 | 0xd0..=0xd7) => self.at = here + 2,
                // A fill byte.
                Some(0xff) => self.at = here + 1,
                Some(_) => {
                    self.at = here;
                    if here == began {
                        // A scan of no bytes shows nothing.
                        self.first_scan = None;
                    }
                    self.place = Place::Segments;
                    return true;
                }
            }
        }
    }

    fn finish(&self, end: usize) -> Result<Inspection, JpegError> {
        let (Some((width, height)), Some(first_scan)) = (self.size, self.first_scan) else {
            return Err(JpegError::NoPicture);
        };
        let omitted = self.sequential && !self.has_tables;
        let tables_belong_at = omitted.then_some(first_scan);
        let row_by_row = self.together == Some(true) && !self.progressive;
        Ok(Inspection { width, height, end, tables_belong_at, row_by_row })
    }
}

enum Step {
    On,
    Short,
    Done(Inspection),
}

#[cfg(test)]
pub(crate) mod tests;
