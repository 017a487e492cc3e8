//! `live.ws` and `upload.ws`, with tungstenite at the other end: another implementation than the
//! relay's.

use std::io::{Read, Write};
use std::net::TcpStream;

use frame::wire::{Flags, Head};
use serde_json::{Value, json};
use testbed::eventually::becomes_true;
use testbed::program::SOON;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::relay::{PASSWORD, PHOTO, ROOT, Relay, jpeg, photo};

pub(crate) type Socket = WebSocket<TcpStream>;

fn request(relay: &Relay, path: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{}{path}", relay.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

pub(crate) fn try_open(
    relay: &Relay,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, u16> {
    match tungstenite::client(request(relay, path, headers), relay.connect()) {
        Ok((socket, answer)) => {
            assert_eq!(answer.headers()["sec-websocket-protocol"], "stillwatch.v1");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        #[expect(clippy::panic, reason = "it is test code")]
        Err(other) => panic!("{other}"),
    }
}

pub(crate) const OURS: (&str, &str) = ("sec-websocket-protocol", "stillwatch.v1");

pub(crate) fn watch(relay: &Relay, path: &str) -> Socket {
    try_open(relay, path, &[OURS]).unwrap()
}

pub(crate) fn camera(relay: &Relay, path: &str) -> Socket {
    let token = format!("Bearer {PASSWORD}");
    try_open(relay, path, &[OURS, ("authorization", &token)]).unwrap()
}

/// The same, with what its frames have to be signed with.
pub(crate) fn camera_with_challenge(relay: &Relay) -> (Socket, String) {
    let token = format!("Bearer {PASSWORD}");
    let request = request(relay, "/upload.ws", &[OURS, ("authorization", &token)]);
    let (socket, answer) = tungstenite::client(request, relay.connect()).unwrap();
    let challenge = answer.headers()["frame-challenge"].to_str().unwrap().to_owned();
    (socket, challenge)
}

/// The next message that is no ping.
fn next(socket: &mut Socket) -> Message {
    loop {
        let message = socket.read().unwrap();
        if !message.is_ping() && !message.is_pong() {
            return message;
        }
    }
}

/// The next frame: its head and its picture. What is said of the state meanwhile is skipped.
pub(crate) fn frame(socket: &mut Socket) -> (Head, Vec<u8>) {
    loop {
        if let Message::Binary(message) = next(socket) {
            let (head, jpeg) = Head::decode(message).unwrap();
            return (head, jpeg.to_vec());
        }
    }
}

pub(crate) fn text(socket: &mut Socket) -> Value {
    serde_json::from_str(next(socket).to_text().unwrap()).unwrap()
}

pub(crate) fn ready(socket: &mut Socket, seq: u64) {
    socket.send(Message::text(format!("{{\"ready\":{seq}}}"))).unwrap();
}

fn closed(socket: &mut Socket) -> Option<CloseFrame> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

pub(crate) fn message(seq: u64, jpeg: &[u8]) -> Message {
    let captured_us = runtime::clock::wall_us();
    let head = Head { captured_us, seq, flags: Flags::default() };
    Message::binary(head.message(jpeg))
}

#[test]
fn who_gets_a_websocket() {
    let relay = Relay::start();
    let bearer = format!("Bearer {PASSWORD}");
    for (path, headers, expected) in [
        ("/live.ws", &[][..], 400),
        ("/live.ws", &[("sec-websocket-protocol", "chat")], 400),
        ("/live.ws?size=0x1", &[OURS], 400),
        ("/cameras/nobody/live.ws", &[OURS], 404),
        ("/upload.ws", &[OURS], 400),
        ("/upload.ws?password=wrong", &[OURS], 400),
        ("/upload.ws", &[OURS, ("authorization", "Bearer wrong")], 401),
        ("/upload.ws", &[("authorization", &bearer)], 400),
        ("/live.jpeg", &[OURS], 503),
    ] {
        assert_eq!(try_open(&relay, path, headers).err(), Some(expected), "{path} {headers:?}");
    }
    assert_eq!(relay.get("/live.ws").status(), 426, "no upgrade");
    assert_eq!(relay.get("/upload.ws").status(), 426);
    assert!(
        try_open(&relay, "/live.ws", &[("sec-websocket-protocol", "x, stillwatch.v1")]).is_ok()
    );
    assert!(try_open(&relay, &format!("/upload.ws?password={PASSWORD}"), &[OURS]).is_ok());
}

#[test]
fn a_viewer_gets_the_next_frame_when_it_has_drawn_the_last() {
    let relay = Relay::start();
    relay.upload_with(&[("Frame-Seq", "10")], PHOTO);
    let mut viewer = watch(&relay, "/live.ws");
    assert_eq!(text(&mut viewer)["state"], "live");
    let (head, jpeg_shown) = frame(&mut viewer);
    assert_eq!((head.seq, jpeg_shown.as_slice()), (10, PHOTO));
    for n in 11..20 {
        relay.upload_with(&[("Frame-Seq", &n.to_string())], &jpeg(n));
    }
    ready(&mut viewer, 10);
    let (head, newest) = frame(&mut viewer);
    assert_eq!((head.seq, newest), (19, jpeg(19)), "the newest, and none between");
    let skipped = "stillwatch_frames_skipped_total{camera=\"default\",kind=\"websocket\"}";
    assert!((relay.metric(skipped) - 8.0).abs() < 0.1);
    assert_eq!(relay.of_camera("default", "/viewers/websocket"), 1);
    viewer.close(None).unwrap();
    assert!(closed(&mut viewer).is_none_or(|frame| u16::from(frame.code) != 1006));
    relay.becomes("default", "/viewers/websocket", &0.into());
}

#[test]
fn viewers_hear_of_the_state_and_may_ask_for_a_size() {
    let relay = Relay::with("freshness.stale_after = \"300ms\"");
    let mut viewer = watch(&relay, "/live.ws?size=32x32");
    assert_eq!(text(&mut viewer), json!({"state": "empty", "age_ms": null}));
    relay.upload(&photo(64, 48, 0));
    let (_, small) = frame(&mut viewer);
    assert_eq!(frame::Picture::accept(small.into()).unwrap().width(), 32);
    loop {
        let told = text(&mut viewer);
        if told["state"] == "stale" {
            assert!(told["age_ms"].as_u64().unwrap() >= 300, "{told}");
            break;
        }
        assert_eq!(told["state"], "live");
    }
}

#[test]
fn an_agent_uploads_and_is_answered() {
    let relay = Relay::start();
    let mut agent = camera(&relay, "/cameras/garden/upload.ws");
    for seq in 1..=5 {
        let picture = jpeg(u32::try_from(seq).unwrap());
        agent.send(message(seq, &picture)).unwrap();
        assert_eq!(text(&mut agent), json!({"ack": seq}));
        let shown = relay.get("/cameras/garden/live.jpeg");
        assert_eq!(shown.header("frame-seq"), Some(seq.to_string().as_str()));
        assert_eq!(shown.body, picture);
    }
    // Older: acknowledged and dropped.
    let head = Head { captured_us: 1_000, seq: 1, flags: Flags::default() };
    agent.send(Message::binary(head.message(PHOTO))).unwrap();
    assert_eq!(text(&mut agent), json!({"ack": 1}));
    assert_eq!(relay.of_camera("garden", "/uploads/older"), 1);
    // Not a picture, and not even a head: said, and the connection goes on.
    agent.send(message(6, b"GIF89a")).unwrap();
    let refused = text(&mut agent);
    assert_eq!(refused["refused"], 6);
    assert!(refused["why"].as_str().unwrap().contains("JPEG"), "{refused}");
    agent.send(Message::binary(&b"short"[..])).unwrap();
    assert_eq!(text(&mut agent)["refused"], 0);
    assert_eq!(relay.get("/cameras/garden/live.jpeg").body, jpeg(5));
    agent.send(message(7, PHOTO)).unwrap();
    assert_eq!(text(&mut agent), json!({"ack": 7}));
}

#[test]
fn a_camera_is_offline_when_its_agent_is_gone_and_only_then() {
    let relay =
        Relay::with("freshness.stale_after = \"300ms\"\nfreshness.offline_after = \"400ms\"");
    let mut agent = camera(&relay, "/upload.ws");
    agent.send(message(1, PHOTO)).unwrap();
    assert_eq!(text(&mut agent), json!({"ack": 1}));
    relay.becomes("default", "/state", &"stale".into());
    relay.program.line("camera default: stale");
    drop(agent);
    relay.becomes("default", "/state", &"offline".into());
    relay.program.line("camera default: offline");
    let lines = relay.program.lines();
    let offline = lines.iter().filter(|line| line.contains("camera default: offline")).count();
    assert_eq!(offline, 1);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_a_reason() {
    let relay = Relay::with("relay.max_frame_bytes = 100000");
    relay.upload(PHOTO);
    let code = |socket: &mut Socket| closed(socket).map(|frame| u16::from(frame.code));

    let mut agent = camera(&relay, "/upload.ws");
    agent.send(Message::text("a frame")).unwrap();
    assert_eq!(code(&mut agent), Some(1003), "text from a camera that is no report");

    let mut agent = camera(&relay, "/upload.ws");
    agent.send(Message::text(r#"{"report":{"version":"7"}}"#)).unwrap();
    agent.send(message(1, PHOTO)).unwrap();
    assert_eq!(text(&mut agent), json!({"ack": 1}), "a report is taken, and not answered");

    let mut agent = camera(&relay, "/upload.ws");
    agent.send(Message::binary(vec![0; 200_000])).unwrap();
    assert_eq!(code(&mut agent), Some(1009), "too large");

    let mut viewer = watch(&relay, "/live.ws");
    viewer.send(Message::binary(&b"frame"[..])).unwrap();
    assert_eq!(code(&mut viewer), Some(1003), "binary from a viewer");

    let mut viewer = watch(&relay, "/live.ws");
    viewer.send(Message::text("x".repeat(2_000))).unwrap();
    assert_eq!(code(&mut viewer), Some(1009), "a viewer has little to say");

    let mut flood = watch(&relay, "/live.ws");
    let sent =
        (0..5_000).take_while(|_| flood.send(Message::Ping(Vec::new().into())).is_ok()).count();
    assert!(sent < 5_000 || code(&mut flood) == Some(1008), "a flood of pings");
    becomes_true("the flood's end", SOON, || {
        relay.metric("stillwatch_viewers{camera=\"default\",kind=\"websocket\"}") < 0.5
    });
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn a_head_that_lies_about_its_length_takes_nothing() {
    let relay = Relay::with("relay.max_frame_bytes = 100000\nrelay.body_timeout = \"300ms\"");
    relay.upload(PHOTO);
    let handshake = |stream: &mut TcpStream, path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: r\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: stillwatch.v1\r\nAuthorization: Bearer {PASSWORD}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
    };
    // A masked binary frame of 2^63-1 bytes.
    let mut huge = relay.connect();
    handshake(&mut huge, "/upload.ws");
    let mut lie = vec![0x82, 0xff];
    lie.extend(i64::MAX.to_be_bytes());
    lie.extend([0; 16]);
    huge.write_all(&lie).unwrap();
    assert!(crate::relay::rest(&mut huge).windows(4).any(|w| w[2..] == 1009_u16.to_be_bytes()));
    // One of 50 000 bytes, of which 5 000 come.
    let mut stingy = relay.connect();
    handshake(&mut stingy, "/upload.ws");
    stingy.write_all(&[0x82, 0xfe, 0xc3, 0x50, 0, 0, 0, 0]).unwrap();
    stingy.write_all(&[0; 5_000]).unwrap();
    crate::relay::rest(&mut stingy);
    let metric = "stillwatch_uploads_refused_total{camera=\"default\",reason=\"too_slow\"}";
    assert!((relay.metric(metric) - 1.0).abs() < 0.1);
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn a_relay_that_stops_says_goodbye() {
    let mut relay = Relay::start();
    relay.upload(PHOTO);
    let mut viewer = watch(&relay, "/live.ws");
    let mut agent = camera(&relay, "/upload.ws");
    frame(&mut viewer);
    relay.program.signal("TERM");
    for socket in [&mut viewer, &mut agent] {
        assert_eq!(closed(socket).map(|frame| u16::from(frame.code)), Some(1001));
    }
    assert_eq!(relay.program.ended().code(), Some(0));
    assert_eq!(relay.count_lines("cut off"), 0);
}

#[test]
fn a_peer_that_is_only_half_there_is_given_up() {
    let relay = Relay::with("relay.peer_timeout = \"300ms\"");
    relay.upload(PHOTO);
    // Neither answers pings, as one whose network is gone.
    let viewer = watch(&relay, "/live.ws");
    let agent = camera(&relay, "/upload.ws");
    // Not when there is no viewer: there is none before it is counted, either.
    let metric = "stillwatch_viewers_dropped_total{kind=\"websocket\",reason=\"stalled\"}";
    becomes_true("a stalled viewer", SOON, || (relay.metric(metric) - 1.0).abs() < 0.1);
    relay.becomes("default", "/viewers/websocket", &0.into());
    becomes_true("no connection but ours", SOON, || relay.status()["connections"] == 1);
    drop((viewer, agent));
    // One that answers stays.
    let mut alive = watch(&relay, "/live.ws");
    let seq = frame(&mut alive).0.seq;
    let mut pings = 0;
    while pings < 6 {
        pings += usize::from(matches!(alive.read().unwrap(), Message::Ping(_)));
        alive.flush().unwrap();
    }
    relay.upload(&jpeg(1));
    ready(&mut alive, seq);
    assert_eq!(frame(&mut alive).1, jpeg(1));
}

#[test]
fn an_agent_that_asks_is_told_how_many_watch() {
    let relay = Relay::start();
    let token = format!("Bearer {PASSWORD}");
    let headers = [OURS, ("authorization", token.as_str()), ("frame-viewers", "wanted")];
    let mut agent = try_open(&relay, "/upload.ws", &headers).unwrap();
    let head = Head { captured_us: runtime::clock::wall_us(), seq: 1, flags: Flags::default() };
    agent.send(Message::Binary(head.message(PHOTO))).unwrap();
    assert_eq!(text(&mut agent), json!({ "ack": 1 }));
    assert_eq!(text(&mut agent), json!({ "viewers": 0 }));
    let viewer = watch(&relay, "/live.ws");
    assert_eq!(text(&mut agent), json!({ "viewers": 1 }));
    relay.get("/live.jpeg");
    assert_eq!(text(&mut agent), json!({ "viewers": 2 }));
    drop(viewer);
    assert_eq!(text(&mut agent), json!({ "viewers": 1 }));
    // By POST it stands in the answer, for whoever asks.
    let told = relay.post(ROOT, &[("Frame-Viewers", "wanted")], &jpeg(2));
    assert_eq!(told.header("frame-viewers"), Some("1"));
    assert_eq!(relay.post(ROOT, &[], &jpeg(3)).header("frame-viewers"), None);
}
