//! Never shipped: what the tests drive agent and relay with, from outside, as a user or the world
//! would. It knows neither's code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "it is test code, and a panic is how a test fails"
)]
pub mod eventually;
pub mod fakecam;
pub mod http;
pub mod link;
pub mod machine;
pub mod network;
pub mod photographs;
pub mod program;
pub mod relay;
pub mod scenario;
pub mod updates;
pub mod usbcam;

use std::path::{Path, PathBuf};

/// A file of the repository.
pub fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
