//! The connections and what they measure.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Options;
use crate::parse::{Event, Kind, Parser};

/// One buffer for all connections.
const BUFFER: usize = 256 << 10;

const SECOND: u64 = 1_000_000_000;

/// A millisecond.
const MS: u64 = SECOND / 1_000;

/// A slow viewer reads so often.
const SLOW_EVERY: u64 = SECOND / 25;

/// Ages of one group, in nanoseconds, with the time at which they were seen.
#[derive(Debug, Default)]
struct Ages(Vec<(u64, u64)>);

#[derive(Debug)]
struct Viewer {
    stream: TcpStream,
    parser: Parser,
    path: String,
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

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map_or(std::time::Duration::ZERO, std::time::Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

impl Viewer {
    fn connect(options: &Options, number: usize) -> io::Result<Viewer> {
        let began = now();
        let mut stream = TcpStream::connect(options.address)?;
        let path = options.paths.get(number % options.paths.len().max(1)).cloned();
        let path = path.unwrap_or_default();
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
    fn read(&mut self, options: &Options, buffer: &mut [u8], ages: &mut Ages) -> usize {
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
            self.on(event, options, ages);
        }
        n
    }

    fn on(&mut self, event: Event, options: &Options, ages: &mut Ages) {
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
            Event::Ping(payload) => masked(0x8a, &payload),
            Event::Frame { stamp, seq } => {
                let at = now();
                self.first.get_or_insert(at);
                self.frames += 1;
                self.not_modified += u64::from(self.unchanged);
                if let Some(stamp) = stamp {
                    ages.0.push((at, at.saturating_sub(stamp)));
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

/// A client's frame, with a mask of zeros: RFC 6455 wants one, and does not say which.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len().min(125)).unwrap_or(125);
    let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload.get(..usize::from(length)).unwrap_or_default());
    frame
}

/// All of them, each but the slow one with its readiness told.
fn connect(options: &Options, epoll: &Epoll) -> Result<Vec<Viewer>, Box<dyn std::error::Error>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut viewers = Vec::with_capacity(options.viewers);
    for number in 0..options.viewers {
        let viewer = Viewer::connect(options, number)?;
        if !(options.slow.is_some() && number == 0) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(&viewer.stream, event)?;
        }
        viewers.push(viewer);
    }
    Ok(viewers)
}

/// Until when viewers of stills wait before they ask again. All wait equally long, so they wake in the order in which
/// they began.
#[derive(Debug, Default)]
struct Resting(VecDeque<(u64, usize)>);

impl Resting {
    fn at_first(options: &Options) -> Resting {
        if options.every == 0 {
            return Resting::default();
        }
        let (began, all) = (now(), options.viewers);
        let share = |number| options.every * MS * number as u64 / all as u64;
        Resting((0..all).map(|number| (began + share(number), number)).collect())
    }

    fn wake(&mut self, viewers: &mut [Viewer], options: &Options) {
        while let Some((until, number)) = self.0.front().copied()
            && until <= now()
        {
            self.0.pop_front();
            if let Some(viewer) = viewers.get_mut(number) {
                viewer.ask(options);
            }
        }
    }
}

/// Runs the crowd and returns what it saw.
pub(crate) fn run(options: &Options) -> Result<Value, Box<dyn std::error::Error>> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut viewers = connect(options, &epoll)?;
    let mut buffer = vec![0; BUFFER];
    let (mut ages, mut slow_ages) = (Ages::default(), Ages::default());
    let start = now() + options.settle * SECOND;
    let end = start + options.seconds * SECOND;
    let mut slow_at = now();
    let mut resting = Resting::at_first(options);
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
            ages.0.clear();
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
            bytes += viewer.read(options, &mut buffer, &mut ages) as u64;
            if viewer.ended {
                epoll.delete(&viewer.stream)?;
            } else if std::mem::take(&mut viewer.rests) {
                resting.0.push_back((now() + options.every * MS, number));
            }
        }
        resting.wake(&mut viewers, options);
        if let (Some(rate), Some(slow)) = (options.slow, viewers.first_mut()) {
            while slow_at <= now() {
                slow_at += SLOW_EVERY;
                let quota = usize::try_from(rate * SLOW_EVERY / SECOND)?;
                let window = buffer.get_mut(..quota).unwrap_or_default();
                slow.read(options, window, &mut slow_ages);
            }
        }
    }
    let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(cpu);
    let measured = Measured { ages, slow_ages, cpu, bytes, start };
    Ok(report(options, &viewers, measured))
}

struct Measured {
    ages: Ages,
    slow_ages: Ages,
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
    let ms = |ns: u64| ns as f64 / 1e6;
    let mut ages: Vec<u64> = measured.ages.0.iter().map(|(_, age)| *age).collect();
    ages.sort_unstable();
    let late = measured.start + options.seconds * SECOND * 2 / 3;
    let slow = measured.slow_ages.0.iter();
    let slow_max = slow.clone().map(|(_, age)| *age).max();
    let slow_late = slow.filter(|(when, _)| *when >= late).map(|(_, age)| *age).max();
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
        "slow_frames": measured.slow_ages.0.len(),
        "megabytes_per_second": measured.bytes as f64 / seconds / 1e6,
        "cpu_percent": measured.cpu as f64 / seconds / 1e7,
    })
}

/// The value at a quantile; 0 if there is none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a quantile from 0 to 1"
)]
fn at(sorted: &[u64], quantile: f64) -> u64 {
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * quantile) as usize).copied().unwrap_or(0)
}
