//! Connections: slow ones, many of them, and much on one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testbed::eventually::becomes_true;
use testbed::http;
use testbed::program::SOON;

use super::{Bystanders, connect_from, peak_kib};
use crate::relay::{ROOT, Relay, answer, padded};

const STALLED: &str = "stillwatch_viewers_dropped_total{kind=\"connection\",reason=\"stalled\"}";

/// Whether the other end has closed; what it said before that is thrown away.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut scratch = [0; 4096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn slow_heads_end_with_their_deadline_however_they_drip() {
    let relay = Relay::with("relay.header_timeout = \"500ms\"");
    let mut others = Bystanders::of(&relay);
    let mut slow: Vec<TcpStream> = (0..200).map(|_| relay.connect()).collect();
    let head = "GET /live.jpeg HTTP/1.1\r\nHost: r\r\nX: ".bytes().chain(std::iter::repeat(b'x'));
    let mut head = head.take(10_000);
    becomes_true("all of them closed", SOON, || {
        let byte = [head.next().unwrap()];
        slow.retain_mut(|stream| {
            // One that is closed can't be written to.
            let _ = stream.write_all(&byte);
            !is_closed(stream)
        });
        others.go_on();
        slow.is_empty()
    });
    becomes_true("no place taken", SOON, || relay.status()["connections"].as_u64().unwrap() <= 3);
}

#[test]
fn slow_bodies_without_a_password_are_refused_before_they_come() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let mut slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = relay.connect();
            let head =
                "POST /?password=guess HTTP/1.1\r\nHost: r\r\nContent-Length: 8000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &mut slow {
        // Not one byte of the body has come.
        assert!([400, 429].contains(&answer(stream).status()));
        others.go_on();
    }
}

#[test]
fn slow_bodies_with_a_password_take_their_places_and_no_longer_than_they_may() {
    let relay = Relay::with("relay.max_uploads = 4\nrelay.body_timeout = \"1s\"");
    let mut others = Bystanders::of(&relay);
    let mut slow: Vec<TcpStream> = (0..4).map(|_| relay.begin_upload(50_000, &[0xff])).collect();
    // All places are taken: whoever comes by POST is told to come again, and is not kept waiting.
    assert_eq!(relay.post(ROOT, &[], &padded(1, 1_000)).status(), 503);
    for stream in &mut slow {
        assert_eq!(answer(stream).status(), 408);
    }
    others.go_on();
}

#[test]
fn who_does_not_read_its_answer_is_cut_off() {
    let relay = Relay::with("relay.peer_timeout = \"500ms\"");
    let mut others = Bystanders::of(&relay);
    assert_eq!(
        relay.post("/cameras/large?password=story-password", &[], &padded(1, 8_000_000)).status(),
        200
    );
    let deaf: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = relay.connect();
            stream.write_all(b"GET /cameras/large/live.jpeg HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
            stream
        })
        .collect();
    becomes_true("all cut off", SOON, || {
        others.go_on();
        relay.metric(STALLED) > 29.5
    });
    drop(deaf);
}

#[test]
fn a_flood_from_one_address_leaves_the_places_of_others() {
    let config = "relay.max_connections = 100\nrelay.max_connections_per_address = 20\nrelay.proxies = \"none\"";
    let relay = Relay::with(config);
    let mut others = Bystanders::of(&relay);
    let mut flood = Vec::new();
    for n in 0..500 {
        flood.push(connect_from("127.0.0.2", relay.address));
        if n % 100 == 0 {
            others.go_on();
        }
    }
    let refused = "stillwatch_connections_refused_total{reason=\"address\"}";
    becomes_true("480 refused", SOON, || relay.metric(refused) > 479.5);
    assert!(relay.metric(refused) < 480.5, "and nobody else");
    others.go_on();
}

#[test]
fn a_flood_from_many_addresses_keeps_out_who_comes_and_not_who_is_there() {
    let config = "relay.max_connections = 100\nrelay.max_connections_per_address = 20\n\
                  relay.proxies = \"none\"\nrelay.header_timeout = \"1s\"";
    let relay = Relay::with(config);
    let mut others = Bystanders::of(&relay);
    let full = "stillwatch_connections_refused_total{reason=\"total\"}";
    let mut flood = Vec::new();
    for n in 0..400 {
        flood.push(connect_from(&format!("127.0.1.{}", n / 10 + 1), relay.address));
        if n % 100 == 0 {
            others.go_on();
        }
    }
    others.go_on();
    // They say nothing, so their time is over soon: then there is a place again.
    becomes_true("a place", SOON, || {
        others.go_on();
        http::get(relay.address, "/healthz").is_ok_and(|answer| answer.status() == 200)
    });
    assert!(relay.metric(full) >= 300.0, "{}", relay.metric(full));
}

#[test]
fn a_thousand_requests_at_once_on_one_connection_wait_their_turn() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let large = padded(1, 200_000);
    assert_eq!(relay.post("/cameras/large?password=story-password", &[], &large).status(), 200);
    let before = peak_kib(&relay);
    let mut stream = relay.connect();
    let request = b"GET /cameras/large/live.jpeg HTTP/1.1\r\nHost: r\r\n\r\n";
    let all = request.repeat(1_000);
    // As much as the relay takes while nobody reads what it answers.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Some(rest) = all.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(length) => sent += length,
            Err(_) => break,
        }
        others.go_on();
    }
    others.go_on();
    for _ in 0..sent / request.len() {
        assert_eq!(answer(&mut stream).body.len(), large.len());
    }
    let grown = peak_kib(&relay) - before;
    assert!(grown < 20_000, "{grown} KiB for what would have been 200 MB of answers");
}

#[test]
fn heads_are_bounded_in_every_direction() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let long = "x".repeat(60_000);
    for (case, request, statuses) in [
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: r\r\n\r\n"), &[404, 414, 431][..]),
        (
            "a long query",
            format!("GET /live.jpeg?{long} HTTP/1.1\r\nHost: r\r\n\r\n"),
            &[200, 414, 431],
        ),
        (
            "a longer query",
            format!("GET /live.jpeg?{long}{long} HTTP/1.1\r\nHost: r\r\n\r\n"),
            &[414, 431],
        ),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nHost: r\r\n{}\r\n", "A: b\r\n".repeat(1_000)),
            &[431],
        ),
        (
            "many ranges",
            format!(
                "GET /live.jpeg HTTP/1.1\r\nHost: r\r\nRange: bytes={}\r\n\r\n",
                "0-0,".repeat(10_000)
            ),
            &[200, 431],
        ),
    ] {
        let mut stream = relay.connect();
        // It may be answered before all of it is sent.
        let _ = stream.write_all(request.as_bytes());
        let status =
            http::Message::read(&mut stream, false).ok().flatten().map(|answer| answer.status());
        assert!(status.is_none_or(|status| statuses.contains(&status)), "{case}: {status:?}");
        others.go_on();
    }
}

#[test]
fn connections_that_come_and_go_at_once_leave_nothing() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", relay.program.id())).unwrap().count();
    relay.get("/healthz");
    let before = descriptors();
    for n in 0..3_000 {
        let stream = relay.connect();
        // The rudest way to go: a reset.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        if n % 300 == 0 {
            others.go_on();
        }
    }
    becomes_true("as many descriptors as before", SOON, || descriptors() <= before + 1);
    others.go_on();
}
