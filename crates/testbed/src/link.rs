//! A TCP link that can be slow, silent or cut: a proxy in front of some server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::eventually::pause;

/// How much is passed on at once, in bytes: at the slowest rate a test uses, a fraction of a second.
const PIECE: usize = 2048;

/// Pieces on their way in each direction: half a megabyte.
const MAX_PIECES: usize = 256;

/// Connections that can be made over it at the same time.
const MAX_CONNECTIONS: usize = 64;

#[derive(Debug, Default)]
struct Rules {
    /// In each direction of each connection; 0 for as fast as it goes.
    bytes_per_second: AtomicU64,
    /// How long everything is on its way, in µs, in each direction.
    late_us: AtomicU64,
    silent: AtomicBool,
    refuses: AtomicBool,
    portal: AtomicBool,
    /// Connections made so far, and how many of the first are forgotten.
    made: AtomicU64,
    forgotten: AtomicU64,
    over: AtomicBool,
}

/// A link; it ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    /// What to connect to instead of the server.
    pub address: SocketAddr,
    rules: Arc<Rules>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    /// A link to a server, as fast as it goes.
    ///
    /// # Panics
    /// There is no free port.
    pub fn to(server: SocketAddr) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let rules = Arc::new(Rules::default());
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let link = Link { address, rules: Arc::clone(&rules), open: Arc::clone(&open) };
        thread::spawn(move || {
            for client in listener.incoming() {
                if rules.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                if rules.refuses.load(Ordering::Relaxed) {
                    continue;
                }
                if rules.portal.load(Ordering::Relaxed) {
                    thread::spawn(move || log_in(client));
                    continue;
                }
                let Ok(server) = connect(server) else { continue };
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                if open.len() == MAX_CONNECTIONS {
                    open.remove(0);
                }
                let both = (client.try_clone(), server.try_clone());
                let (Ok(client_too), Ok(server_too)) = both else { continue };
                open.extend(client.try_clone());
                let number = rules.made.fetch_add(1, Ordering::Relaxed);
                let there = Arc::clone(&rules);
                thread::spawn(move || carry(client_too, server, number, &there));
                let back = Arc::clone(&rules);
                thread::spawn(move || carry(server_too, client, number, &back));
            }
        });
        link
    }

    /// Carries no more than so many bytes in a second, in each direction of each connection.
    pub fn slow(&self, bytes_per_second: u64) {
        self.rules.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Everything is so long on its way, in each direction.
    pub fn late(&self, late: Duration) {
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.rules.late_us.store(late_us, Ordering::Relaxed);
    }

    /// Carries nothing any more, and nobody is told; or does again.
    pub fn silent(&self, silent: bool) {
        self.rules.silent.store(silent, Ordering::Relaxed);
    }

    /// Forgets the connections that are open, as a router does that restarts: nothing is carried on
    /// them any more, and nobody is told.
    pub fn forget(&self) {
        let made = self.rules.made.load(Ordering::Relaxed);
        self.rules.forgotten.store(made, Ordering::Relaxed);
    }

    /// Closes further connections at once; or does not any more.
    pub fn refuse(&self, refuses: bool) {
        self.rules.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Answers whatever is asked on further connections with a page to log in, as a hotel does.
    pub fn portal(&self, portal: bool) {
        self.rules.portal.store(portal, Ordering::Relaxed);
    }

    /// Cuts the connections that are open.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.rules.over.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// 200, and a page that is nobody's answer.
fn log_in(mut client: TcpStream) {
    let mut request = [0; PIECE];
    if client.read(&mut request).is_ok_and(|length| length > 0) {
        let page = "<html>Welcome! Please log in.</html>";
        let length = page.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}");
        // Whoever asked may be gone.
        let _ = client.write_all(format!("{head}\r\nConnection: close\r\n\r\n{page}").as_bytes());
        // What it still sends would destroy the answer on its way.
        let _ = client.shutdown(Shutdown::Write);
        while client.read(&mut request).is_ok_and(|length| length > 0) {}
    }
}

/// With little room for what was not carried yet: a router has some packets, not seconds.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_recv_buffer_size(2 * PIECE)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Reads, and hands on what was read when its time has come.
fn carry(mut from: TcpStream, to: TcpStream, number: u64, rules: &Arc<Rules>) {
    // What is on its way; bounded by what fits in there, as a line is.
    let (pieces, arrived) = mpsc::sync_channel::<(Instant, Vec<u8>)>(MAX_PIECES);
    let (there, end) = (Arc::clone(rules), from.try_clone());
    thread::spawn(move || {
        hand_on(&arrived, to, number, &there);
        if let Ok(end) = end {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    });
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let rate = rules.bytes_per_second.load(Ordering::Relaxed);
        let takes = (length as u64 * 1_000_000).checked_div(rate).unwrap_or(0);
        pause(Duration::from_micros(takes));
        let late = Duration::from_micros(rules.late_us.load(Ordering::Relaxed));
        let bytes = piece.get(..length).unwrap_or_default().to_vec();
        if pieces.send((now() + late, bytes)).is_err() {
            return;
        }
    }
}

fn hand_on(
    arrived: &mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: TcpStream,
    number: u64,
    rules: &Rules,
) {
    let stopped = || {
        let forgotten = number < rules.forgotten.load(Ordering::Relaxed);
        forgotten || rules.silent.load(Ordering::Relaxed)
    };
    while let Ok((when, bytes)) = arrived.recv() {
        pause(when.saturating_duration_since(now()));
        while stopped() && !rules.over.load(Ordering::Relaxed) {
            pause(Duration::from_millis(10));
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown(Shutdown::Both);
}

#[expect(clippy::disallowed_methods, reason = "a line takes real time")]
fn now() -> Instant {
    Instant::now()
}
