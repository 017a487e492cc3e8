//! TLS that never begins, and HTTP/2 frames that cost the server more than the peer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use testbed::eventually::becomes_true;
use testbed::program::SOON;

use super::{Bystanders, peak_kib};
use crate::relay::Relay;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A relay with HTTPS beside HTTP, where it listens for that, and who trusts it.
struct Https {
    relay: Relay,
    address: SocketAddr,
    client: Arc<ClientConfig>,
    _folder: TempDir,
}

impl Https {
    fn with(more: &str) -> Https {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = folder.path().join("both.pem");
        std::fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
        let relay = Relay::with(&format!(
            "tls.certificate_file = \"{}\"\ntls.listen = \"127.0.0.1:0\"\ntls.redirect_listen = \"none\"\n\
             tls.plain_http = true\n{more}",
            file.display()
        ));
        let line = relay.program.line("HTTPS on ");
        let address = line.split("HTTPS on ").nth(1).unwrap().trim().parse().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let mut client = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        Https { relay, address, client: Arc::new(client), _folder: folder }
    }

    /// A connection of HTTP/2 that has begun.
    fn open(&self) -> Tls {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        tls.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
        assert_eq!(tls.conn.alpn_protocol(), Some(&b"h2"[..]));
        tls
    }
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// RFC 9113, 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET https://r/`, from the static table (RFC 7541, appendix A).
const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'r'];

/// Sends pieces until the relay closes, or there are no more; returns whether it closed, and what it had said.
fn send(
    tls: &mut Tls,
    pieces: impl Iterator<Item = Vec<u8>>,
    mut meanwhile: impl FnMut(),
) -> (bool, Vec<u8>) {
    let mut told = Vec::new();
    let mut scratch = [0; 16_384];
    let mut closed = false;
    let waits = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    };
    for piece in pieces {
        if tls.write_all(&piece).is_err_and(|error| !waits(&error)) {
            closed = true;
        }
        match tls.read(&mut scratch) {
            Ok(0) => closed = true,
            Ok(length) => told.extend(&scratch[..length]),
            Err(error) => closed |= !waits(&error),
        }
        meanwhile();
        if closed {
            break;
        }
    }
    // What it said before it closed.
    while let Ok(length @ 1..) = tls.read(&mut scratch) {
        told.extend(&scratch[..length]);
    }
    (closed, told)
}

/// Whether a frame of this kind is among those.
fn has(kind: u8, mut frames: &[u8]) -> bool {
    while let [a, b, c, found, _, _, _, _, _, rest @ ..] = frames {
        if *found == kind {
            return true;
        }
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}

#[test]
fn handshakes_that_drip_end_with_their_deadline() {
    let https = Https::with("relay.header_timeout = \"500ms\"");
    let mut others = Bystanders::of(&https.relay);
    let mut slow: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(https.address).unwrap()).collect();
    // The head of a record that would be a ClientHello of 16 KiB.
    let mut hello = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc].into_iter().chain(std::iter::repeat(3));
    becomes_true("all of them closed", SOON, || {
        let byte = [hello.next().unwrap()];
        slow.retain_mut(|stream| {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write_all(&byte);
            let open = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
            stream.read(&mut [0; 64]).map_or_else(open, |length| length > 0)
        });
        others.go_on();
        slow.is_empty()
    });
    assert!(https.relay.metric("stillwatch_tls_handshakes_failed_total") > 99.5);
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let https = Https::with("");
    let mut others = Bystanders::of(&https.relay);
    for _ in 0..3 {
        let mut tls = https.open();
        // So many at once that none of them can have begun to be answered.
        let requests = (0..50_u32).map(|n| {
            let each = |of: u32| {
                let stream = (n * 500 + of) * 2 + 1;
                [frame(HEADERS, 5, stream, GET), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
                    .concat()
            };
            (0..500).flat_map(each).collect()
        });
        let (closed, told) = send(&mut tls, requests, || others.go_on());
        assert!(closed && has(GOAWAY, &told), "it goes on");
    }
}

#[test]
fn a_head_without_an_end_is_not_collected() {
    let https = Https::with("");
    let mut others = Bystanders::of(&https.relay);
    let before = peak_kib(&https.relay);
    // A header of 4,000 bytes in each piece of a head that never ends.
    let mut header = vec![0, 1, b'x', 0x7f, 0xa1, 0x1e];
    header.extend([b'y'; 4_000]);
    for end_stream in [0, 1] {
        let mut tls = https.open();
        tls.write_all(&frame(HEADERS, end_stream, 1, GET)).unwrap();
        let more = (0..10_000).map(|_| frame(CONTINUATION, 0, 1, &header));
        let (closed, _) = send(&mut tls, more, || others.go_on());
        assert!(closed, "40 MB of it");
    }
    let grown = peak_kib(&https.relay) - before;
    assert!(grown < 10_000, "{grown} KiB");
}

#[test]
fn floods_of_control_frames_cost_nobody_else() {
    let https = Https::with("relay.peer_timeout = \"2s\"");
    let mut others = Bystanders::of(&https.relay);
    let before = peak_kib(&https.relay);
    for piece in [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
        frame(PING, 0, 0, &[7; 8]),
        frame(HEADERS, 4, 1, GET),
    ] {
        let mut tls = https.open();
        let mut n = 0;
        // Nothing of what it answers is read: it has to stop taking more, and then to give up.
        becomes_true("its end, or our patience's", SOON, || {
            n += 1;
            let closed = tls.write_all(&piece.repeat(500)).is_err_and(|error| {
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            });
            others.go_on();
            closed || n > 100
        });
    }
    let grown = peak_kib(&https.relay) - before;
    assert!(grown < 20_000, "{grown} KiB");
}

#[test]
fn streams_whose_window_is_shut_are_given_up() {
    let https = Https::with("relay.peer_timeout = \"1s\"\nrelay.header_timeout = \"1s\"");
    let mut others = Bystanders::of(&https.relay);
    let viewers = || https.relay.of_camera("default", "/viewers/mjpeg").as_u64().unwrap();
    let mut tls = https.open();
    // SETTINGS_INITIAL_WINDOW_SIZE: not one byte of an answer's body may be sent.
    tls.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    let get = [&[0x82, 0x87, 0x04, 11][..], b"/live.mjpeg", &[0x41, 1, b'r']].concat();
    for n in 0..20 {
        tls.write_all(&frame(HEADERS, 5, n * 2 + 1, &get)).unwrap();
    }
    becomes_true("they are there", SOON, || viewers() > 20);
    let mut scratch = [0; 16_384];
    becomes_true("they are gone", SOON, || {
        // It reads what it is told, and answers nothing.
        let _ = tls.read(&mut scratch);
        others.go_on();
        viewers() == 1
    });
}
