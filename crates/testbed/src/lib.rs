//! Never shipped: what the tests drive agent and relay with, from outside, as a user or the world
//! would. It knows neither's code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "it is test code, and a panic is how a test fails"
)]
pub mod container;
pub mod eventually;
pub mod fakecam;
pub mod http;
pub mod link;
pub mod machine;
pub mod nats;
pub mod network;
pub mod photographs;
pub mod program;
pub mod relay;
pub mod scenario;
pub mod updates;
pub mod usbcam;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file of the repository.
pub fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The folder that a script of the repository makes, unless it is made, and prints as its last line.
fn made_by(script: &str, arguments: &[&str]) -> PathBuf {
    let mut command = Command::new(of_repository(script));
    let output = command.args(arguments).stderr(Stdio::inherit()).output().expect("a script");
    assert!(output.status.success(), "{script}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    PathBuf::from(text.lines().last().expect("the folder's path"))
}
