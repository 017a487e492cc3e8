//! WebSockets whose peers send too much, or what never ends, or read nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use testbed::eventually::becomes_true;
use testbed::program::SOON;

use super::Bystanders;
use crate::mjpeg::Viewer;
use crate::relay::{PASSWORD, Relay, padded};

/// A connection that became a WebSocket.
fn upgraded(relay: &Relay, path: &str) -> TcpStream {
    let mut stream = relay.connect();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: r\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: stillwatch.v1\r\nAuthorization: Bearer {PASSWORD}\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

/// Writes `piece` on all, again and again, until each is closed.
fn flood(mut sockets: Vec<TcpStream>, piece: &[u8], others: &mut Bystanders) {
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    becomes_true("the end of all of them", SOON, || {
        sockets.retain_mut(|socket| {
            let mut scratch = [0; 65_536];
            let open = !matches!(socket.read(&mut scratch), Ok(0));
            let sent = socket.write(piece);
            let full = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            open && sent.map_or_else(full, |_| true)
        });
        others.go_on();
        sockets.is_empty()
    });
}

const FLOOD: &str = "stillwatch_viewers_dropped_total{kind=\"websocket\",reason=\"flood\"}";

#[test]
fn floods_of_pings_and_of_words_are_closed() {
    let relay = Relay::with("relay.peer_timeout = \"3s\"");
    let mut others = Bystanders::of(&relay);
    for (n, piece) in [frame(0x89, &[b'p'; 125]), frame(0x81, br#"{"ready":1}"#), frame(0x8a, b"")]
        .iter()
        .enumerate()
    {
        let sockets = (0..20).map(|_| upgraded(&relay, "/live.ws")).collect();
        flood(sockets, &piece.repeat(300), &mut others);
        let expected = f64::from(u32::try_from(n + 1).unwrap()) * 20.0;
        becomes_true("each was counted", SOON, || relay.metric(FLOOD) > expected - 0.5);
    }
    // An agent may say more, and not that much.
    let sockets = (0..5).map(|_| upgraded(&relay, "/upload.ws")).collect();
    flood(sockets, &frame(0x89, &[b'p'; 125]).repeat(2_000), &mut others);
    becomes_true("no viewer left", SOON, || relay.of_camera("default", "/viewers/websocket") == 0);
}

#[test]
fn fragments_without_an_end_are_given_up() {
    let relay = Relay::with("relay.peer_timeout = \"600ms\"\nrelay.body_timeout = \"500ms\"");
    let mut others = Bystanders::of(&relay);
    // A message begins, and goes on with nothing: it is never complete, so it is never too long.
    let begun = |path| {
        let mut socket = upgraded(&relay, path);
        socket.write_all(&frame(0x01, b"{")).unwrap();
        socket
    };
    let sockets = (0..10).map(|_| begun("/live.ws")).collect();
    flood(sockets, &frame(0x00, b"").repeat(10_000), &mut others);
    becomes_true("each was counted", SOON, || relay.metric(FLOOD) > 9.5);
    let sockets = (0..10).map(|_| begun("/upload.ws")).collect();
    flood(sockets, &frame(0x00, b"").repeat(10_000), &mut others);
    let slow = "stillwatch_uploads_refused_total{camera=\"default\",reason=\"too_slow\"}";
    becomes_true("each was counted", SOON, || relay.metric(slow) > 9.5);
}

#[test]
fn fragments_add_up_to_the_limit_of_one_message() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let mut socket = upgraded(&relay, "/live.ws");
    socket.write_all(&frame(0x01, &[b' '; 100])).unwrap();
    flood(vec![socket], &frame(0x00, &[b' '; 100]), &mut others);
}

#[test]
fn viewers_that_never_read_are_cut_off_and_hold_one_picture_at_most() {
    let relay = Relay::with("relay.peer_timeout = \"1s\"\nrelay.max_upload_rate = 10000");
    let mut others = Bystanders::of(&relay);
    let path = "/cameras/large?password=story-password";
    assert_eq!(relay.post(path, &[], &padded(0, 4_000_000)).status(), 200);
    let mut deaf: Vec<TcpStream> = Vec::new();
    for n in 0..40 {
        if n % 2 == 0 {
            deaf.push(upgraded(&relay, "/cameras/large/live.ws"));
        } else {
            let mut stream = relay.connect();
            stream.write_all(b"GET /cameras/large/live.mjpeg HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
            deaf.push(stream);
        }
    }
    let viewers = |kind: &str| relay.of_camera("large", &format!("/viewers/{kind}"));
    let mut n = 0;
    becomes_true("all cut off", SOON, || {
        n += 1;
        assert_eq!(relay.post(path, &[], &padded(n, 4_000_000)).status(), 200);
        others.go_on();
        n > 3 && viewers("mjpeg") == 0 && viewers("websocket") == 0
    });
    let mut late = Viewer::new(&relay, "/cameras/large/live.mjpeg");
    assert_eq!(late.part().1.len(), 4_000_000);
}
