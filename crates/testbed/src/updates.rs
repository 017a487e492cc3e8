//! Offers of updates, and their bundles, that misbehave on demand: what an agent meets at relays. Everything
//! else that is asked goes to a real relay, if there is one.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use frame::blocks::Lister;
use frame::sign::to_hex;
use frame::update::Offer;
use ring::digest::{SHA256, digest};

use crate::http::Message;

/// What it offers, and how.
#[derive(Debug, Clone, Default)]
struct Rules {
    offer: Option<Offer>,
    content: Arc<Vec<u8>>,
    /// The list of its blocks, if there is one.
    list: Option<Arc<Vec<u8>>>,
    /// It knows no ranges.
    without_ranges: bool,
    /// After so many bytes of bundles it is gone, and nothing listens there.
    left: Option<usize>,
    /// A status line, and more headers, instead of any answer.
    refusal: Option<String>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Updates {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    requests: Mutex<Vec<Message>>,
    connections: Mutex<usize>,
    relay: Option<SocketAddr>,
    over: AtomicBool,
}

impl Updates {
    /// Listens on a free port of `ip`.
    ///
    /// # Panics
    /// There is none.
    pub fn at(ip: &str, relay: Option<SocketAddr>) -> Updates {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            rules: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
            relay,
            over: AtomicBool::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.over.load(Ordering::Relaxed) {
                    return;
                }
                if accepting.rules().left == Some(0) {
                    continue;
                }
                *accepting.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let shared = Arc::clone(&accepting);
                // Whoever asked may be gone.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Updates { address, shared }
    }

    /// The same on loopback, without a relay.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start() -> Updates {
        Updates::at("127.0.0.1", None)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Offers this version with this bundle from now on.
    ///
    /// # Panics
    /// It is no version.
    pub fn offer(&self, version: &str, compatible: &str, content: Vec<u8>) -> Offer {
        let sha256 = to_hex(digest(&SHA256, &content).as_ref());
        let offer = Offer {
            version: version.parse().expect("a version"),
            compatible: compatible.to_owned(),
            bytes: content.len() as u64,
            path: format!("/updates/{sha256}.raucb"),
            sha256,
            now: false,
        };
        let mut rules = self.shared.rules();
        (rules.offer, rules.content) = (Some(offer.clone()), Arc::new(content));
        rules.list = None;
        offer
    }

    /// Has a list of the blocks of what it sends, or this for one.
    pub fn lists(&self, list: Option<&[u8]>) {
        let mut rules = self.shared.rules();
        let mut lister = Lister::default();
        lister.update(&rules.content);
        let list = list.map_or_else(|| lister.finish(), <[u8]>::to_vec);
        rules.list = Some(Arc::new(list));
    }

    /// Offers something else, or nothing, and keeps the bundle.
    pub fn offers(&self, offer: Option<Offer>) {
        self.shared.rules().offer = offer;
    }

    /// Sends something else than it offers.
    pub fn sends(&self, content: Vec<u8>) {
        self.shared.rules().content = Arc::new(content);
    }

    /// Whether it knows ranges.
    pub fn ranges(&self, ranges: bool) {
        self.shared.rules().without_ranges = !ranges;
    }

    /// Vanishes after so many more bytes of bundles; or comes back.
    pub fn vanish_after(&self, bytes: Option<usize>) {
        self.shared.rules().left = bytes;
    }

    /// Answers everything with such a status line, and headers behind line breaks; or not any more.
    pub fn refuse(&self, with: Option<&str>) {
        self.shared.rules().refusal = with.map(str::to_owned);
    }

    /// All requests for offers and bundles so far, without those for lists of blocks.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        while let Some(request) = Message::read(&mut stream, false)? {
            let path = request.first.split(' ').nth(1).unwrap_or_default().to_owned();
            let asks = path.split('?').next().is_some_and(|path| path.ends_with("/update"));
            let fetches = path.contains("/updates/");
            if !asks && !fetches {
                return match self.relay {
                    Some(relay) => hand_on(&request, stream, relay),
                    None => stream.write_all(&answer("404 Not Found", b"")),
                };
            }
            let rules = self.rules().clone();
            if path.ends_with(".blocks") && rules.refusal.is_none() {
                match &rules.list {
                    Some(list) => self.send(&mut stream, &request, list, &rules)?,
                    None => stream.write_all(&answer("404 Not Found", b""))?,
                }
                continue;
            }
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
            if let Some(refusal) = &rules.refusal {
                stream.write_all(&answer(refusal, b""))?;
            } else if asks {
                let offer = rules.offer.as_ref().map(Offer::to_json);
                let offer = offer.map(|json| answer("200 OK", json.as_bytes()));
                // A 204 has no length.
                let nothing = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
                stream.write_all(&offer.unwrap_or(nothing))?;
            } else {
                self.send(&mut stream, &request, &rules.content, &rules)?;
            }
        }
        Ok(())
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        request: &Message,
        all: &[u8],
        rules: &Rules,
    ) -> io::Result<()> {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
        let range = range.filter(|_| !rules.without_ranges).and_then(|range| {
            let (first, last) = range.split_once('-')?;
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            Some((first, last.min(all.len().saturating_sub(1))))
        });
        let (status, part) = match range.and_then(|(a, b)| Some((a, b, all.get(a..=b)?))) {
            Some((first, last, part)) => {
                let range = format!("Content-Range: bytes {first}-{last}/{}", all.len());
                (format!("206 Partial Content\r\n{range}\r\nETag: \"same\""), part)
            }
            None => ("200 OK\r\nETag: \"same\"".to_owned(), all),
        };
        let whole = answer(&status, part);
        let left = self.rules().left;
        let body = whole.len() - part.len();
        let sent = left.map_or(whole.len(), |left| whole.len().min(body + left));
        if let Some(left) = &mut self.rules().left {
            *left = left.saturating_sub(sent - body);
        }
        stream.write_all(whole.get(..sent).unwrap_or_default())?;
        if sent < whole.len() || left == Some(0) {
            stream.shutdown(Shutdown::Both)?;
        }
        Ok(())
    }
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// This request, and whatever comes after it on that connection, is for the relay.
fn hand_on(request: &Message, mut stream: TcpStream, relay: SocketAddr) -> io::Result<()> {
    let mut there = TcpStream::connect(relay)?;
    there.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    there.write_all(format!("{}\r\n{headers}\r\n", request.first).as_bytes())?;
    let (mut back, mut client) = (there.try_clone()?, stream.try_clone()?);
    thread::spawn(move || {
        // Either may end it.
        let _ = io::copy(&mut back, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    let copied = io::copy(&mut stream, &mut there);
    there.shutdown(Shutdown::Both)?;
    copied.map(|_| ())
}
