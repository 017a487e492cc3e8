//! The relay from outside: the real binary as a process, real sockets on loopback, real SQLite.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it is test code, and a panic is how a test fails"
)]

mod access;
mod backup;
mod cluster;
mod command_line;
mod doctor;
mod export;
mod freshness;
mod history;
mod hostile;
mod init;
mod journeys;
mod limits;
mod mjpeg;
mod notification;
mod order;
mod page;
mod private;
mod prometheus;
mod relay;
mod serve;
mod sign;
mod sizes;
mod status;
mod still;
mod store;
mod systemd;
mod upload;
mod websocket;
