//! A relay that misbehaves on demand: what an agent meets in the world, on a loopback port.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use crate::http::Message;

/// What it does with each upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status line and body.
    Answer(&'static str, &'static str),
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Never answers, and keeps the connection.
    Never,
    /// Closes the connection without an answer.
    HangUp,
    /// Takes frames over a WebSocket, and answers like this; POSTs are acknowledged.
    Socket(Answers),
}

/// How frames over a WebSocket are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Not at all.
    Nothing,
    /// With numbers that nobody sent.
    Wrong,
    /// Rightly, and then the connection is closed.
    ThenClose,
}

/// An upload as it arrived.
pub type Upload = Message;

/// See the module's documentation.
#[derive(Debug)]
pub struct FakeRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    uploads: Mutex<Vec<Upload>>,
    connections: Mutex<usize>,
    stop: AtomicBool,
}

const NO_WEBSOCKET: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// A good acknowledgement, as the tutorial's.
pub const OK: Behaviour = Behaviour::Answer("200 OK", "");

impl FakeRelay {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// There is none.
    pub fn start(behaviour: Behaviour) -> FakeRelay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            uploads: Mutex::new(Vec::new()),
            connections: Mutex::new(0),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                *accepting.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        FakeRelay { address, shared }
    }

    /// Its URL, with the tutorial's password.
    pub fn url(&self) -> String {
        format!("http://{}/?password=123", self.address)
    }

    /// Changes what it does from the next upload on.
    pub fn set(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// All uploads so far.
    pub fn uploads(&self) -> Vec<Upload> {
        self.shared.uploads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeRelay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        while let Ok(Some(upload)) = Message::read(&mut stream, true) {
            let behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let (Behaviour::Socket(answers), true) =
                (&behaviour, upload.first.starts_with("GET "))
            {
                return talk(stream, &upload, *answers);
            }
            // It knows no WebSockets, as the tutorial's server.
            if upload.first.starts_with("GET ") && matches!(behaviour, Behaviour::Answer(..)) {
                if stream.write_all(NO_WEBSOCKET).is_err() {
                    return;
                }
                continue;
            }
            self.uploads.lock().unwrap_or_else(PoisonError::into_inner).push(upload);
            let answer = match behaviour {
                Behaviour::Answer(status, body) => {
                    let length = body.len();
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
                }
                Behaviour::Garbage => "\0\x01\x02 garbage \r\n\r\n".to_owned(),
                Behaviour::Never => {
                    // Until the agent gives up and closes the connection.
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    let _ = Message::read(&mut stream, false);
                    return;
                }
                Behaviour::HangUp => return,
                Behaviour::Socket(_) => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Until the agent goes, or it is closed.
fn talk(mut stream: TcpStream, handshake: &Upload, answers: Answers) {
    let key = handshake.header("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: stillwatch.v1\r\n\r\n"
    );
    if stream.write_all(answer.as_bytes()).is_err() {
        return;
    }
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    // A ping is answered by reading on.
    while let Ok(message) = socket.read() {
        let tungstenite::Message::Binary(message) = message else { continue };
        let seq = frame::wire::Head::decode(message).map_or(0, |(head, _)| head.seq);
        let said = match answers {
            Answers::Nothing => continue,
            Answers::Wrong => seq + 1_000_000,
            Answers::ThenClose => seq,
        };
        let sent = socket.send(tungstenite::Message::text(format!("{{\"ack\":{said}}}")));
        if sent.is_err() || answers == Answers::ThenClose {
            // Whoever is there has been told.
            let _ = socket.close(None);
            return;
        }
    }
}
