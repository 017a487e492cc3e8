//! What a picture is: pure data and decisions shared by both ends of the wire.
//!
//! * [`jpeg`]: is this a complete JPEG, how large is the picture, where does it end?
//! * [`split`]: cut a byte stream (`rpicam-vid`'s pipe) into JPEGs.
//! * [`report`]: what an agent tells of its machine.
//! * [`sign`]: signatures of frames.
//! * [`update`], [`version`] and [`blocks`]: what a relay offers a camera to run, which of two systems is newer, and what of
//!   it a camera has already.
//! * [`wire`]: header names, flags and the binary header of `stillwatch.v1`.
//! * [`Picture`] and [`Frame`]: a validated JPEG, and the same with its identity.
//!
//! No I/O, no clock, no async runtime belongs here: everything is a function of its arguments,
//! so that it can be tested with generated input and fuzzed.

#![forbid(unsafe_code)]

pub mod blocks;
mod camera;
mod capture;
mod huffman;
pub mod jpeg;
mod picture;
pub mod report;
pub mod sign;
pub mod split;
pub mod update;
pub mod version;
pub mod wire;

pub use camera::{BadCameraId, CameraId};
pub use capture::{CaptureTime, Frame};
pub use picture::{BadContentHash, ContentHash, Picture};
