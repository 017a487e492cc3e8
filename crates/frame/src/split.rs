//! Cuts a byte stream into JPEGs: `rpicam-vid --codec mjpeg -o -` writes one after the other into
//! a pipe, with nothing between them that says where one ends.
//!
//! The splitter follows the markers (see [`crate::jpeg`]), so an end-of-image marker inside a
//! thumbnail does not cut a picture in two. Garbage is skipped up to the next start of a picture,
//! and counted. Memory is bounded by the largest picture allowed.

use bytes::{Buf, BytesMut};
use memchr::memmem;

use crate::Picture;
use crate::jpeg::Walk;

/// The start of any JPEG: SOI and the first byte of the next marker.
const START: [u8; 3] = [0xff, 0xd8, 0xff];

/// A picture cut from the stream.
#[derive(Debug)]
pub struct Cut<T> {
    /// The picture, normalised as by [`Picture::normalise`].
    pub picture: Picture,
    /// The stamp that [`Splitter::push`] was given with the bytes in which the picture began.
    pub began: T,
}

/// See the module's documentation. `T` is the caller's stamp, a time in practice.
#[derive(Debug)]
pub struct Splitter<T> {
    buffer: BytesMut,
    walk: Walk,
    began: Option<T>,
    max_bytes: usize,
    skipped: u64,
}

impl<T: Copy> Splitter<T> {
    /// A splitter that drops pictures of more than `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Splitter {
            buffer: BytesMut::new(),
            walk: Walk::default(),
            began: None,
            max_bytes,
            skipped: 0,
        }
    }

    /// Takes the next bytes of the stream, which were read at `stamp`. Call [`Splitter::next`]
    /// until it returns nothing before pushing more.
    pub fn push(&mut self, bytes: &[u8], stamp: T) {
        self.buffer.extend_from_slice(bytes);
        self.find_start(stamp);
    }

    /// The next complete picture among the bytes pushed, if there is one. `stamp` is the time of
    /// the last push: a picture that begins behind another came with it.
    pub fn next(&mut self, stamp: T) -> Option<Cut<T>> {
        while let Some(began) = self.began {
            match self.walk.advance(&self.buffer) {
                Ok(Some(inspection)) => {
                    let bytes = self.buffer.split_to(inspection.end).freeze();
                    self.restart(stamp);
                    return Some(Cut { picture: Picture::normalised(bytes, inspection), began });
                }
                Ok(None) if self.buffer.len() <= self.max_bytes => return None,
                Ok(None) | Err(_) => {
                    // Not at this start: look for the next one behind it.
                    self.skip(2);
                    self.restart(stamp);
                }
            }
        }
        None
    }

    /// How many bytes were skipped because they belonged to no picture.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn restart(&mut self, stamp: T) {
        self.walk = Walk::default();
        self.began = None;
        self.find_start(stamp);
    }

    fn find_start(&mut self, stamp: T) {
        if self.began.is_some() {
            return;
        }
        match memmem::find(&self.buffer, &START) {
            Some(start) => {
                self.skip(start);
                self.began = Some(stamp);
            }
            // The last two bytes may be the first two of a start.
            None => self.skip(self.buffer.len().saturating_sub(START.len() - 1)),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.skipped += bytes as u64;
        self.buffer.advance(bytes);
    }
}

#[cfg(test)]
mod tests;
