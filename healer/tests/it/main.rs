//! The healer from outside: the real binary, a real socket, the real hooks on fake trees of sysfs.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it is test code, and a panic is how a test fails"
)]

mod boot;
mod camera_hooks;
mod crowd;
mod escalate;
mod hooks;
mod machine_hooks;
mod reboot;
mod requests;
mod stage;
mod wifi_hooks;
