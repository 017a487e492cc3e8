//! A JPEG that passed inspection.

use std::fmt;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use crate::huffman::STANDARD_TABLES;
use crate::jpeg::{self, Inspection, JpegError};

/// Identifies a picture's bytes; equal content has an equal hash.
///
/// XXH3-128: fast on a Pi, and more than enough to tell two frames of one camera apart. It does
/// not resist somebody who constructs collisions, and nothing here relies on that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(u128);

impl FromStr for ContentHash {
    type Err = BadContentHash;

    fn from_str(text: &str) -> Result<Self, BadContentHash> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(ContentHash).ok_or(BadContentHash)
    }
}

impl fmt::Display for ContentHash {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that is no content hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 32 hexadecimal digits")]
pub struct BadContentHash;

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One complete JPEG. It can't be made from bytes that are none.
#[derive(Clone)]
pub struct Picture {
    bytes: Bytes,
    width: u16,
    height: u16,
    hash: ContentHash,
}

impl Picture {
    /// Takes `bytes` as they are, trailing padding included (the relay's way: it serves what it
    /// was given, byte for byte).
    ///
    /// # Errors
    /// What [`jpeg::inspect`] finds wrong.
    pub fn accept(bytes: Bytes) -> Result<Picture, JpegError> {
        let inspection = jpeg::inspect(&bytes)?;
        Ok(Picture::new(bytes, inspection))
    }

    /// Copies a driver's buffer once and mends what cameras leave out (the agent's way): padding
    /// after EOI is cut, missing Huffman tables are inserted.
    ///
    /// # Errors
    /// What [`jpeg::inspect`] finds wrong; nothing is copied then.
    pub fn normalise(buffer: &[u8]) -> Result<Picture, JpegError> {
        let inspection = jpeg::inspect(buffer)?;
        Ok(Picture::copied(buffer, inspection))
    }

    /// As [`Picture::normalise`], for bytes that are already shared and inspected: copies only if
    /// tables have to be inserted. `inspection` must be of these very bytes.
    pub fn normalised(bytes: Bytes, inspection: Inspection) -> Picture {
        if inspection.tables_belong_at.is_some() {
            return Picture::copied(&bytes, inspection);
        }
        let end = inspection.end.min(bytes.len());
        Picture::new(bytes.slice(..end), inspection)
    }

    fn copied(buffer: &[u8], inspection: Inspection) -> Picture {
        let end = inspection.end.min(buffer.len());
        let (picture, _padding) = buffer.split_at(end);
        let Some(at) = inspection.tables_belong_at else {
            return Picture::new(Bytes::copy_from_slice(picture), inspection);
        };
        let (head, scan) = picture.split_at(at.min(end));
        let mut whole = BytesMut::with_capacity(end + STANDARD_TABLES.len());
        whole.extend_from_slice(head);
        whole.extend_from_slice(&STANDARD_TABLES);
        whole.extend_from_slice(scan);
        Picture::new(whole.freeze(), inspection)
    }

    fn new(bytes: Bytes, inspection: Inspection) -> Picture {
        let hash = ContentHash(xxh3_128(&bytes));
        Picture { bytes, width: inspection.width, height: inspection.height, hash }
    }

    /// The whole JPEG.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Width in pixels, never 0.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height in pixels, never 0.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// The hash of [`Picture::bytes`].
    pub fn hash(&self) -> ContentHash {
        self.hash
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Picture { bytes, width, height, hash } = self;
        write!(f, "Picture({width}x{height}, {} bytes, {hash})", bytes.len())
    }
}
