//! A camera whose pictures say to the nanosecond when they were made, as `crowd` reads it: their age is known wherever
//! they come out, whatever the headers beside them say.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use testbed::eventually::pause;
use testbed::http::request;

use crate::{PASSWORD, test_card};

/// Before 20 digits, in a comment behind the picture's first marker.
const MAGIC: &[u8] = b"SWSTAMP:";

/// Uploads the same test card with another stamp again and again, until it is dropped.
#[derive(Debug)]
pub struct Photographer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Photographer {
    /// One picture in so long, for the camera `camera` of this relay. Nothing comes while the relay is away.
    pub fn start(relay: SocketAddr, camera: &str, every: Duration) -> Photographer {
        let card = test_card("320x240");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let path = format!("/cameras/{camera}?password={PASSWORD}");
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = request(relay, "POST", &path, &[], &stamped(&card));
                pause(every);
            }
        });
        Photographer { stop, thread: Some(thread) }
    }
}

impl Drop for Photographer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stamped(jpeg: &[u8]) -> Vec<u8> {
    let (start, rest) = jpeg.split_at(2);
    let stamp = format!("{:020}", now_ns());
    [start, b"\xff\xfe\x00\x1e", MAGIC, stamp.as_bytes(), rest].concat()
}

fn now_ns() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos().try_into().unwrap()
}

/// How old a picture is.
///
/// # Panics
/// It has no stamp.
pub fn age(jpeg: &[u8]) -> Duration {
    let stamp =
        jpeg.get(6..).and_then(|rest| rest.strip_prefix(MAGIC)).and_then(|rest| rest.get(..20));
    let made: u64 = std::str::from_utf8(stamp.unwrap()).unwrap().parse().unwrap();
    Duration::from_nanos(now_ns().saturating_sub(made))
}
