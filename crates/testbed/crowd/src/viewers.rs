//! Viewers, and how old what they see is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::ClockId;
use serde_json::{Value, json};

use crate::parse::{Event, Kind, Parser};
use crate::{SECOND, allow_files, at, masked, ms, nanoseconds, now};

/// One buffer for all connections.
const BUFFER: usize = 256 << 10;

/// A millisecond.
const MS: u64 = SECOND / 1_000;

/// A slow viewer reads so often.
const SLOW_EVERY: u64 = SECOND / 25;

/// Thousands of viewers, and how old what they see is.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// What they look at
    #[arg(long)]
    kind: Kind,
    /// HOST:PORT
    #[arg(long)]
    address: SocketAddr,
    /// Paths, given to the viewers in turn
    #[arg(long, required = true, value_delimiter = ',')]
    paths: Vec<String>,
    #[arg(long)]
    viewers: usize,
    /// How long to measure, after --settle seconds
    #[arg(long)]
    seconds: u64,
    #[arg(long, default_value_t = 2)]
    settle: u64,
    /// The first viewer reads only this many bytes a second
    #[arg(long)]
    slow: Option<u64>,
    /// Stills: ask with If-None-Match
    #[arg(long)]
    conditional: bool,
    /// Stills: each viewer waits for so many milliseconds before it asks again, and they begin spread over that time
    #[arg(long, default_value_t = 0)]
    every: u64,
    /// Write a line for each path and frame to this file: the path's place, the stamp, when the first and when the last
    /// viewer had it (ns), and how many had
    #[arg(long)]
    seen: Option<PathBuf>,
}

/// A frame that somebody saw.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// The place of its path.
    path: usize,
    stamp: u64,
    at: u64,
}

impl Sight {
    fn age(&self) -> u64 {
        self.at.saturating_sub(self.stamp)
    }
}

#[derive(Debug)]
struct Viewer {
    stream: TcpStream,
    parser: Parser,
    path: String,
    place: usize,
    etag: Option<String>,
    began: u64,
    first: Option<u64>,
    frames: u64,
    not_modified: u64,
    /// Stills: the answer that is coming says 304.
    unchanged: bool,
    /// Stills: it has what it asked for, and waits to ask again.
    rests: bool,
    ended: bool,
}

impl Viewer {
    fn connect(options: &Options, number: usize) -> io::Result<Viewer> {
        let began = now();
        let mut stream = TcpStream::connect(options.address)?;
        let place = number % options.paths.len().max(1);
        let path = options.paths.get(place).cloned().unwrap_or_default();
        let request = match options.kind {
            // HTTP/1.0 gets the parts without chunks around them.
            Kind::Mjpeg => format!("GET {path} HTTP/1.0\r\nHost: bench\r\n\r\n"),
            Kind::Still => format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"),
            Kind::Ws => format!(
                "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: stillwatch.v1\r\n\r\n"
            ),
        };
        stream.set_nodelay(true)?;
        if options.every == 0 {
            stream.write_all(request.as_bytes())?;
        }
        stream.set_nonblocking(true)?;
        Ok(Viewer {
            stream,
            parser: Parser::new(options.kind),
            path,
            place,
            etag: None,
            began,
            first: None,
            frames: 0,
            not_modified: 0,
            unchanged: false,
            rests: false,
            ended: false,
        })
    }

    /// Reads up to the buffer's length once; returns how much there was.
    fn read(&mut self, options: &Options, buffer: &mut [u8], seen: &mut Vec<Sight>) -> usize {
        let n = match self.stream.read(buffer) {
            Ok(0) => {
                self.ended = true;
                return 0;
            }
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
            Err(_) => {
                self.ended = true;
                return 0;
            }
        };
        let mut events = Vec::new();
        let read = buffer.get(..n).unwrap_or_default();
        if self.parser.take(read, |event| events.push(event)).is_err() {
            self.ended = true;
        }
        for event in events {
            self.on(event, options, seen);
        }
        n
    }

    fn on(&mut self, event: Event, options: &Options, seen: &mut Vec<Sight>) {
        let answer = match event {
            Event::Answered { status, etag } => {
                self.unchanged = status == 304;
                self.etag = etag.or(self.etag.take());
                return;
            }
            Event::Closed => {
                self.ended = true;
                return;
            }
            Event::Text(_) => return,
            Event::Ping(payload) => masked(0x8a, &payload),
            Event::Frame { stamp, seq } => {
                let at = now();
                self.first.get_or_insert(at);
                self.frames += 1;
                self.not_modified += u64::from(self.unchanged);
                if let Some(stamp) = stamp {
                    seen.push(Sight { path: self.place, stamp, at });
                }
                match options.kind {
                    Kind::Mjpeg => return,
                    Kind::Ws => masked(0x81, format!("{{\"ready\":{seq}}}").as_bytes()),
                    Kind::Still if options.every > 0 => {
                        self.rests = true;
                        return;
                    }
                    Kind::Still => self.next_still(options.conditional),
                }
            }
        };
        // A few bytes always fit; if not, the viewer gets stuck and the result shows it.
        let _ = self.stream.write(&answer);
    }

    fn ask(&mut self, options: &Options) {
        let request = self.next_still(options.conditional);
        // As above.
        let _ = self.stream.write(&request);
    }

    fn next_still(&self, conditional: bool) -> Vec<u8> {
        let known = self.etag.as_ref().filter(|_| conditional);
        let known = known.map(|etag| format!("If-None-Match: {etag}\r\n")).unwrap_or_default();
        format!("GET {} HTTP/1.1\r\nHost: bench\r\n{known}\r\n", self.path).into_bytes()
    }
}

fn connect_all(options: &Options) -> Result<(Epoll, Vec<Viewer>), Box<dyn std::error::Error>> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut viewers = Vec::with_capacity(options.viewers);
    for number in 0..options.viewers {
        let viewer = Viewer::connect(options, number)?;
        if !(options.slow.is_some() && number == 0) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(&viewer.stream, event)?;
        }
        viewers.push(viewer);
    }
    Ok((epoll, viewers))
}

/// When each asks first, with [`Options::every`].
fn in_turn(options: &Options) -> VecDeque<(u64, usize)> {
    let (began, all) = (now(), options.viewers);
    let share = |number| options.every * MS * number as u64 / all as u64;
    let asks = if options.every > 0 { 0..all } else { 0..0 };
    asks.map(|number| (began + share(number), number)).collect()
}

/// Runs the crowd and returns what it saw.
///
/// # Errors
/// It can't connect, or can't write what was seen.
pub fn run(options: &Options) -> Result<Value, Box<dyn std::error::Error>> {
    allow_files()?;
    let (epoll, mut viewers) = connect_all(options)?;
    let mut buffer = vec![0; BUFFER];
    let (mut seen, mut slow_seen) = (Vec::new(), Vec::new());
    let start = now() + options.settle * SECOND;
    let end = start + options.seconds * SECOND;
    let mut slow_at = now();
    // All rest equally long, so they wake in the order in which they began.
    let mut resting = in_turn(options);
    let (mut cpu, mut bytes, mut started) = (0, 0_u64, false);
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let at = now();
        if at >= end {
            break;
        }
        if !started && at >= start {
            started = true;
            (cpu, bytes) = (nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID), 0);
            seen.clear();
            for viewer in &mut viewers {
                (viewer.frames, viewer.not_modified) = (0, 0);
            }
        }
        let soon = options.slow.is_some() || options.every > 0;
        let wait = EpollTimeout::from(if soon { 10_u8 } else { 100 });
        let n = epoll.wait(&mut events, wait)?;
        for event in events.get(..n).unwrap_or_default() {
            let number = usize::try_from(event.data())?;
            let Some(viewer) = viewers.get_mut(number) else { continue };
            bytes += viewer.read(options, &mut buffer, &mut seen) as u64;
            if viewer.ended {
                epoll.delete(&viewer.stream)?;
            } else if std::mem::take(&mut viewer.rests) {
                resting.push_back((now() + options.every * MS, number));
            }
        }
        while let Some((until, number)) = resting.front().copied()
            && until <= now()
        {
            resting.pop_front();
            if let Some(viewer) = viewers.get_mut(number) {
                viewer.ask(options);
            }
        }
        if let (Some(rate), Some(slow)) = (options.slow, viewers.first_mut()) {
            while slow_at <= now() {
                slow_at += SLOW_EVERY;
                let quota = usize::try_from(rate * SLOW_EVERY / SECOND)?;
                let window = buffer.get_mut(..quota).unwrap_or_default();
                slow.read(options, window, &mut slow_seen);
            }
        }
    }
    let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(cpu);
    if let Some(file) = &options.seen {
        std::fs::write(file, lines(&seen))?;
    }
    let measured = Measured { seen, slow_seen, cpu, bytes, start };
    Ok(report(options, &viewers, measured))
}

/// See [`Options::seen`].
fn lines(seen: &[Sight]) -> String {
    let mut frames: BTreeMap<(usize, u64), (u64, u64, u64)> = BTreeMap::new();
    for Sight { path, stamp, at } in seen {
        let (_, last, count) = frames.entry((*path, *stamp)).or_insert((*at, *at, 0));
        (*last, *count) = (*at, *count + 1);
    }
    let mut lines = String::new();
    for ((path, stamp), (first, last, count)) in frames {
        // A string takes all there is memory for.
        let _ = writeln!(lines, "{path} {stamp} {first} {last} {count}");
    }
    lines
}

struct Measured {
    seen: Vec<Sight>,
    slow_seen: Vec<Sight>,
    cpu: u64,
    bytes: u64,
    start: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(options: &Options, viewers: &[Viewer], measured: Measured) -> Value {
    let seconds = options.seconds as f64;
    let fast = viewers.get(usize::from(options.slow.is_some())..).unwrap_or_default();
    let mut frames: Vec<u64> = fast.iter().map(|viewer| viewer.frames).collect();
    frames.sort_unstable();
    let fps = |q: f64| at(&frames, q) as f64 / seconds;
    let connects = fast.iter().filter_map(|v| Some(v.first?.saturating_sub(v.began)));
    let mut connects: Vec<u64> = connects.collect();
    connects.sort_unstable();
    let mut ages: Vec<u64> = measured.seen.iter().map(Sight::age).collect();
    ages.sort_unstable();
    let late = measured.start + options.seconds * SECOND * 2 / 3;
    let slow = measured.slow_seen.iter();
    let slow_max = slow.clone().map(Sight::age).max();
    let slow_late = slow.filter(|sight| sight.at >= late).map(Sight::age).max();
    json!({
        "viewers": fast.len(),
        "ended": viewers.iter().filter(|viewer| viewer.ended).count(),
        "fps_median": fps(0.5),
        "fps_min": fps(0.0),
        "frames": frames.iter().sum::<u64>(),
        "not_modified": fast.iter().map(|viewer| viewer.not_modified).sum::<u64>(),
        "age_p50_ms": ms(at(&ages, 0.5)),
        "age_p99_ms": ms(at(&ages, 0.99)),
        "age_max_ms": ms(at(&ages, 1.0)),
        "ages": ages.len(),
        "first_frame_p50_ms": ms(at(&connects, 0.5)),
        "first_frame_p99_ms": ms(at(&connects, 0.99)),
        "slow_max_ms": slow_max.map(ms),
        "slow_late_max_ms": slow_late.map(ms),
        "slow_frames": measured.slow_seen.len(),
        "megabytes_per_second": measured.bytes as f64 / seconds / 1e6,
        "cpu_percent": measured.cpu as f64 / seconds / 1e7,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_line_whoever_sees_it() {
        let sight = |path, stamp, at| Sight { path, stamp, at };
        let seen = [sight(0, 5, 7), sight(1, 5, 8), sight(0, 6, 9), sight(0, 5, 11)];
        assert_eq!(lines(&seen), "0 5 7 11 2\n0 6 9 9 1\n1 5 8 8 1\n");
    }
}
