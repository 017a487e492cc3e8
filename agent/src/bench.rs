//! `bench`: captures without uploading, and measures what that costs.

use std::time::Duration;

use runtime::clock;
use serde::Serialize;

use crate::config::Config;
use crate::sensor::{self, SourceError};

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    source: String,
    seconds: f64,
    frames: u64,
    fps: f64,
    bytes_per_frame: u64,
    corrupt: u64,
    /// Time from the sensor to here, in milliseconds: median and worst.
    age_ms_p50: f64,
    age_ms_max: f64,
    /// Of one core, from opening the camera to the last frame.
    cpu_percent: f64,
    peak_memory_kib: u64,
}

/// Captures for `duration` after the first frame and prints what it cost.
pub(crate) fn run(config: &Config, duration: Duration, json: bool) -> Result<(), SourceError> {
    let mut source = sensor::open(&config.camera, config.clock)?;
    // The first frame comes after the camera's warm-up.
    let opened = clock::mono();
    while source.next()?.is_none() {
        let waited = clock::mono().since(opened);
        if waited > duration {
            return Err(SourceError::Silent(waited));
        }
    }
    let (began, cpu_began) = (clock::mono(), clock::process_cpu());
    let (mut bytes, mut corrupt, mut ages_us) = (0_u64, 0, Vec::new());
    while clock::mono().since(began) < duration {
        match source.next() {
            Ok(None) => {}
            Ok(Some(capture)) => {
                bytes += capture.picture.bytes().len() as u64;
                ages_us.push((clock::wall_us() - capture.captured.unix_us).max(0));
            }
            Err(SourceError::Corrupt(_) | SourceError::Marked) => corrupt += 1,
            Err(error) => return Err(error),
        }
    }
    let seconds = clock::mono().since(began).as_secs_f64();
    let cpu = clock::process_cpu().saturating_sub(cpu_began).as_secs_f64();
    ages_us.sort_unstable();
    let frames = ages_us.len() as u64;
    let millis = |us: Option<&i64>| us.map_or(0.0, |us| round(*us as f64 / 1000.0));
    let measured = Measured {
        source: source.describe().to_owned(),
        seconds: round(seconds),
        frames,
        fps: round(frames as f64 / seconds),
        bytes_per_frame: bytes.checked_div(frames).unwrap_or(0),
        corrupt,
        age_ms_p50: millis(ages_us.get(ages_us.len() / 2)),
        age_ms_max: millis(ages_us.last()),
        cpu_percent: round(100.0 * cpu / seconds),
        peak_memory_kib: peak_memory_kib(),
    };
    print(&measured, json);
    Ok(())
}

fn print(measured: &Measured, json: bool) {
    if json {
        // A struct of numbers and text always serialises.
        println!("{}", serde_json::to_string_pretty(measured).unwrap_or_default());
        return;
    }
    let Measured { source, seconds, frames, fps, bytes_per_frame, .. } = measured;
    println!("{source}");
    println!("{frames} frames in {seconds} s: {fps} fps, {bytes_per_frame} bytes per frame");
    let Measured { corrupt, age_ms_p50, age_ms_max, cpu_percent, peak_memory_kib, .. } = measured;
    println!("{corrupt} broken frames left out");
    println!("age when captured: median {age_ms_p50} ms, at most {age_ms_max} ms");
    println!("CPU {cpu_percent} % of one core, peak memory {peak_memory_kib} KiB");
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// proc_pid_status(5), `VmHWM`.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
