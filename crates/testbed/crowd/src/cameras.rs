//! Cameras, each with a WebSocket of its own, as agents have; they send the same few pictures in turn, each with the
//! time of its sending inside (`parse.rs`).
//!
//! A camera whose last picture was not acknowledged when the next is due leaves that one out, and so it is counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use frame::wire::{BOOT, Flags, Head, SUBPROTOCOL};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::ClockId;
use serde_json::{Value, json};

use crate::parse::{DIGITS, Event, Kind, Parser, STAMPED};
use crate::{SECOND, allow_files, at, masked, ms, nanoseconds, now};

/// Answers are short.
const BUFFER: usize = 16 << 10;

/// So long all of them together may take to connect.
const CONNECT_WITHIN: u64 = 60 * SECOND;

/// Before a picture: the longest head of a WebSocket frame with its mask, and the message's own.
const BEFORE: usize = 14 + Head::LEN;

/// Thousands of cameras, and how soon their pictures are acknowledged.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// HOST:PORT
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    password: String,
    /// How many; their names are c00000, c00001, …
    #[arg(long)]
    cameras: usize,
    /// The number of the first
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// The first is the camera `default`, which each relay has
    #[arg(long)]
    default: bool,
    /// Pictures of each in a second
    #[arg(long)]
    fps: f64,
    /// A folder of JPEGs that begin with a stamp
    #[arg(long)]
    pictures: PathBuf,
    /// How long, from when all are connected
    #[arg(long)]
    seconds: u64,
    /// After so many seconds some fall silent, and stay connected
    #[arg(long)]
    quiet_after: Option<u64>,
    /// Which: the numbers that can be divided by this
    #[arg(long, default_value_t = 3)]
    quiet_every: usize,
}

/// What has come of all of them.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: Vec<u64>,
    sent: u64,
    skipped: u64,
    refused: u64,
    why: Option<String>,
}

#[derive(Debug)]
struct Camera {
    stream: TcpStream,
    parser: Parser,
    /// What did not fit into the socket yet.
    rest: Vec<u8>,
    seq: u64,
    /// The stamp of the picture that is not acknowledged yet.
    waiting: Option<u64>,
    open: bool,
    ended: bool,
}

impl Camera {
    fn connect(options: &Options, place: usize) -> io::Result<Camera> {
        let Options { address, password, first, default, .. } = options;
        let id = if *default && place == 0 { "default".to_owned() } else { name(first + place) };
        let mut stream = TcpStream::connect(address)?;
        let request = format!(
            "GET /cameras/{id}/upload.ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {password}\r\n{BOOT}: {:016x}\r\n\r\n",
            nanoseconds(ClockId::CLOCK_REALTIME)
        );
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Camera {
            stream,
            parser: Parser::new(Kind::Ws),
            rest: Vec::new(),
            seq: 0,
            waiting: None,
            open: false,
            ended: false,
        })
    }

    fn read(&mut self, buffer: &mut [u8], counts: &mut Counts) {
        let n = match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                self.ended = true;
                return;
            }
            Ok(n) => n,
        };
        let mut events = Vec::new();
        let read = buffer.get(..n).unwrap_or_default();
        if self.parser.take(read, |event| events.push(event)).is_err() {
            self.ended = true;
        }
        for event in events {
            match event {
                Event::Answered { .. } => self.open = true,
                Event::Closed => self.ended = true,
                // It goes between two messages: behind what is still to be sent.
                Event::Ping(payload) => self.rest.extend(masked(0x8a, &payload)),
                Event::Text(text) => self.answered(text, counts),
                Event::Frame { .. } => {}
            }
        }
    }

    fn answered(&mut self, text: String, counts: &mut Counts) {
        if text.starts_with("{\"ack\"") {
            counts.acknowledged.extend(self.waiting.take().map(|stamp| now() - stamp));
        } else if text.starts_with("{\"refused\"") {
            self.waiting = None;
            counts.refused += 1;
            counts.why.get_or_insert(text);
        }
    }

    /// Sends a message, and keeps what does not fit.
    fn send(&mut self, message: &[u8], stamp: u64) {
        self.seq += 1;
        self.waiting = Some(stamp);
        let sent = if self.rest.is_empty() { self.put(message) } else { 0 };
        self.rest.extend(message.get(sent..).unwrap_or_default());
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        match self.stream.write(bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.ended = true;
                0
            }
        }
    }

    /// Sends what is left.
    fn go_on(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        let sent = self.put(&rest);
        self.rest = rest.get(sent..).unwrap_or_default().to_vec();
    }
}

fn name(number: usize) -> String {
    format!("c{number:05}")
}

/// A picture with room before it, so that a message is made in place.
fn read_pictures(options: &Options) -> io::Result<Vec<Vec<u8>>> {
    let mut files = std::fs::read_dir(&options.pictures)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    files.sort();
    let room = |file: PathBuf| Ok([vec![0; BEFORE], std::fs::read(file)?].concat());
    files.into_iter().map(room).collect()
}

/// Makes a message of it, and returns that: RFC 6455, 5.2, with a mask of zeros. A length has to be as short as it can be.
fn stamped(room: &mut [u8], seq: u64, stamp: u64) -> Option<&[u8]> {
    let (before, picture) = room.split_at_mut_checked(BEFORE)?;
    let length = Head::LEN + picture.len();
    let mut head = vec![0x82];
    match u16::try_from(length) {
        Ok(length) if length > 125 => {
            head.push(0x80 | 126);
            head.extend(length.to_be_bytes());
        }
        Ok(_) => return None,
        Err(_) => {
            head.push(0x80 | 127);
            head.extend(u64::try_from(length).ok()?.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    let captured_us = i64::try_from(nanoseconds(ClockId::CLOCK_REALTIME) / 1_000).ok()?;
    head.extend(Head { captured_us, seq, flags: Flags::default() }.encode());
    picture.get_mut(DIGITS..STAMPED)?.copy_from_slice(format!("{stamp:020}").as_bytes());
    let begin = BEFORE.checked_sub(head.len())?;
    before.get_mut(begin..)?.copy_from_slice(&head);
    room.get(begin..)
}

/// All of them, and whom to listen to.
struct Crowd {
    epoll: Epoll,
    cameras: Vec<Camera>,
    buffer: Vec<u8>,
    counts: Counts,
}

impl Crowd {
    fn connect(options: &Options) -> Result<Crowd, Box<dyn std::error::Error>> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut cameras = Vec::with_capacity(options.cameras);
        for place in 0..options.cameras {
            let camera = Camera::connect(options, place)?;
            epoll.add(&camera.stream, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
            cameras.push(camera);
        }
        let mut crowd =
            Crowd { epoll, cameras, buffer: vec![0; BUFFER], counts: Counts::default() };
        let until = now() + CONNECT_WITHIN;
        while !crowd.cameras.iter().all(|camera| camera.open) {
            if now() > until || crowd.cameras.iter().any(|camera| camera.ended) {
                return Err("the relay does not let all of them in".into());
            }
            crowd.wait(100)?;
        }
        Ok(crowd)
    }

    /// Waits for what comes, for so many ms at most.
    fn wait(&mut self, ms: u16) -> Result<(), Box<dyn std::error::Error>> {
        let mut events = [EpollEvent::empty(); 256];
        let n = self.epoll.wait(&mut events, EpollTimeout::from(ms))?;
        for event in events.get(..n).unwrap_or_default() {
            let place = usize::try_from(event.data())?;
            let Some(camera) = self.cameras.get_mut(place) else { continue };
            if event.events().intersects(!EpollFlags::EPOLLOUT) {
                camera.read(&mut self.buffer, &mut self.counts);
            }
            if !camera.rest.is_empty() && !camera.ended {
                camera.go_on();
            }
            self.listen(place)?;
        }
        Ok(())
    }

    fn listen(&self, place: usize) -> nix::Result<()> {
        let Some(camera) = self.cameras.get(place) else { return Ok(()) };
        if camera.ended {
            // Whoever was taken out before is not there.
            let _ = self.epoll.delete(&camera.stream);
            return Ok(());
        }
        let mut wanted = EpollFlags::EPOLLIN;
        wanted.set(EpollFlags::EPOLLOUT, !camera.rest.is_empty());
        self.epoll.modify(&camera.stream, &mut EpollEvent::new(wanted, place as u64))
    }

    fn send(&mut self, place: usize, picture: &mut [u8], at: u64) -> nix::Result<()> {
        let Some(camera) = self.cameras.get_mut(place).filter(|c| !c.ended) else { return Ok(()) };
        if camera.waiting.is_some() {
            self.counts.skipped += 1;
            return Ok(());
        }
        if let Some(message) = stamped(picture, camera.seq, at) {
            camera.send(message, at);
            self.counts.sent += 1;
        }
        self.listen(place)
    }
}

/// Runs the cameras, says when all are connected, and returns what came of them.
///
/// # Errors
/// There are no pictures, or they can't connect.
pub fn run(
    options: &Options,
    connected: impl FnOnce(),
) -> Result<Value, Box<dyn std::error::Error>> {
    allow_files()?;
    let mut pictures = read_pictures(options)?;
    let every = u64::try_from(Duration::try_from_secs_f64(1.0 / options.fps)?.as_nanos())?;
    let mut crowd = Crowd::connect(options)?;
    connected();
    let start = now();
    let end = start + options.seconds * SECOND;
    let quiet = options.quiet_after.map(|after| start + after * SECOND);
    // The same in each run; and no two cameras in the world wait for one another.
    let mut random = fastrand::Rng::with_seed(12);
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        (0..options.cameras).map(|place| Reverse((start + random.u64(..every), place))).collect();
    let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    let (mut turn, mut last) = (0, 0);
    loop {
        let at = now();
        if at >= end {
            break;
        }
        while let Some(Reverse((next, place))) = due.peek().copied().filter(|d| d.0.0 <= at) {
            due.pop();
            let number = options.first + place;
            let falls_silent = number.is_multiple_of(options.quiet_every);
            if falls_silent && quiet.is_some_and(|quiet| at >= quiet) {
                continue;
            }
            due.push(Reverse((next + every, place)));
            turn = (turn + 1) % pictures.len().max(1);
            let Some(picture) = pictures.get_mut(turn) else { return Err("no pictures".into()) };
            // A stamp says which frame it is, too.
            last = now().max(last + 1);
            crowd.send(place, picture, last)?;
        }
        let next = due.peek().map_or(end, |next| next.0.0).min(end);
        let ms = next.saturating_sub(now()).div_ceil(SECOND / 1_000).min(100);
        crowd.wait(u16::try_from(ms)?)?;
    }
    let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(cpu);
    Ok(report(options, crowd, cpu))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(options: &Options, crowd: Crowd, cpu: u64) -> Value {
    let Counts { mut acknowledged, sent, skipped, refused, why } = crowd.counts;
    acknowledged.sort_unstable();
    json!({
        "cameras": options.cameras,
        "ended": crowd.cameras.iter().filter(|camera| camera.ended).count(),
        "sent": sent,
        "acknowledged": acknowledged.len(),
        "skipped": skipped,
        "refused": refused,
        "why": why,
        "acknowledged_p50_ms": ms(at(&acknowledged, 0.5)),
        "acknowledged_p99_ms": ms(at(&acknowledged, 0.99)),
        "acknowledged_max_ms": ms(at(&acknowledged, 1.0)),
        "cpu_percent": cpu as f64 / options.seconds as f64 / 1e7,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_a_relay_and_a_viewer_read() {
        let jpeg = [b"\xff\xd8\xff\xfe\x00\x1eSWSTAMP:".as_slice(), &[b'0'; 20]].concat();
        for (length, used) in [(200_u64, 8), (65_511, 8), (65_512, 14), (100_000, 14)] {
            let mut room = [vec![0; BEFORE], jpeg.clone()].concat();
            room.resize(BEFORE + usize::try_from(length).unwrap(), b'x');
            let message = stamped(&mut room, 7, 42).unwrap();
            assert_eq!(message.len(), used + room_of(length));
            let told = (length + 24).to_be_bytes();
            let (code, told) = if used == 8 { (0xfe, &told[6..]) } else { (0xff, &told[..]) };
            assert_eq!(message[..used], [&[0x82, code], told, &[0; 4]].concat());
            let (head, picture) = Head::decode(message[used..].to_vec().into()).unwrap();
            assert_eq!(head.seq, 7);
            assert!(head.captured_us > 1_700_000_000_000_000);
            assert!(picture.starts_with(b"\xff\xd8\xff\xfe\x00\x1eSWSTAMP:00000000000000000042x"));
        }
        assert_eq!(stamped(&mut [0; 40], 0, 0), None, "no room for a stamp");
    }

    fn room_of(length: u64) -> usize {
        Head::LEN + usize::try_from(length).unwrap()
    }

    #[test]
    fn names_are_camera_ids() {
        assert!(name(0).parse::<frame::CameraId>().is_ok());
        assert_eq!(name(9_999), "c09999");
    }
}
