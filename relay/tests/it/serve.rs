//! Connections: time-outs, limits, addresses, and the end.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::eventually::eventually;
use testbed::program::{Program, SOON};

use crate::relay::{CEILING, PASSWORD, PHOTO, Relay, answer, command, jpeg, rest};

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let relay = Relay::with("relay.header_timeout = \"300ms\"");
    for begun in ["", "GET /live.jpeg HT", "GET /live.jpeg HTTP/1.1\r\nHost: relay\r\n"] {
        let mut stream = relay.connect();
        stream.set_read_timeout(Some(CEILING)).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        // Closed, in one way or another; not silent until our own patience ended.
        let closed = match &ended {
            Ok(length) => *length == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(closed, "{begun:?}: {ended:?}");
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let relay = Relay::start();
    let mut stream = relay.connect();
    for n in 0..3 {
        let body = jpeg(n);
        let head = format!(
            "POST /?password={PASSWORD} HTTP/1.1\r\nHost: r\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(answer(&mut stream).status(), 200);
        stream.write_all(b"GET /live.jpeg HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
        assert_eq!(answer(&mut stream).body, body);
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let relay = Relay::with("relay.max_connections = 2");
    let held = relay.hold(2);
    let mut third = relay.connect();
    let refused = answer(&mut third);
    assert_eq!((refused.status(), refused.body.as_slice()), (503, &b"too many connections\n"[..]));
    relay.program.line("was refused: 2 are open (limits: relay.max_connections,");
    drop(held);
    eventually("a place", SOON, || {
        let answer = testbed::http::get(relay.address, "/healthz").map_err(|e| e.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(answer.first) }
    });
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let relay = Relay::start();
    let mut stream = relay.connect();
    let head = format!("GET /live.jpeg HTTP/1.1\r\nHost: r\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // The relay may answer before all is sent.
    let _ = stream.write_all(head.as_bytes());
    let answered = String::from_utf8_lossy(&rest(&mut stream)).into_owned();
    assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 431"), "{answered:.80}");
    assert_eq!(relay.get("/healthz").status(), 200);
}

#[test]
fn ipv6_and_ipv4_through_one_socket() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (listen, hosts) in [("[::1]:0", &["::1"] as &[&str]), ("[::]:0", &["::1", "127.0.0.1"])] {
        let mut command = command();
        command.args(["--listen", listen, "--data-dir"]).arg(folder.path()).env("PASSWORD", "x");
        let mut program = Program::start("the relay", &mut command);
        let line = program.line("listening on ");
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        for host in hosts {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            assert_eq!(testbed::http::get(address, "/healthz").unwrap().status(), 200, "{host}");
        }
        assert!(program.stop().success());
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures another process")]
fn stop_within(relay: &mut Relay, ceiling: Duration) {
    let began = Instant::now();
    assert!(relay.program.stop().success());
    let took = began.elapsed();
    assert!(took < ceiling, "{took:?}");
}

#[test]
fn it_ends_at_once_when_viewers_are_idle_and_keeps_the_picture() {
    for signal in ["TERM", "INT"] {
        let mut relay = Relay::start();
        let mut idle = relay.connect();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
        answer(&mut idle);
        let _silent = relay.connect();
        relay.upload(PHOTO);
        relay.program.signal(signal);
        assert_eq!(relay.program.ended().code(), Some(0));
        relay.program.line(&format!("SIG{signal}: stopping"));
        assert_eq!(relay.count_lines("WARN") + relay.count_lines("ERROR"), 0);
        relay.restart();
        assert_eq!(relay.shown(), PHOTO);
    }
}

#[test]
fn who_was_let_in_just_before_the_end_is_answered() {
    // A machine that stalls makes the request come too late; without patience it would each time.
    let answered = (0..5).any(|_| {
        let relay = Relay::start();
        let mut let_in = relay.connect();
        // Connections are accepted in their order.
        relay.get("/healthz");
        relay.program.signal("TERM");
        relay.program.line("SIGTERM: stopping");
        let_in.write_all(b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n").is_ok()
            && rest(&mut let_in).starts_with(b"HTTP/1.1 200")
    });
    assert!(answered);
}

#[test]
fn an_upload_in_progress_is_finished_and_kept() {
    let mut relay = Relay::start();
    let mut stream = relay.begin_upload(PHOTO.len(), &PHOTO[..5_000]);
    relay.program.signal("TERM");
    relay.program.line("SIGTERM: stopping");
    stream.write_all(&PHOTO[5_000..]).unwrap();
    assert_eq!(answer(&mut stream).status(), 200);
    assert_eq!(relay.program.ended().code(), Some(0));
    relay.restart();
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn an_upload_that_never_ends_does_not_hold_it_up() {
    let mut relay = Relay::start();
    relay.upload(&jpeg(1));
    let _stream = relay.begin_upload(PHOTO.len(), &PHOTO[..5_000]);
    stop_within(&mut relay, CEILING);
    relay.program.line("connections were not done in time");
    relay.restart();
    assert_eq!(relay.shown(), jpeg(1));
}

#[test]
fn only_a_proxy_may_say_who_asks() {
    let claimed = [("X-Forwarded-For", "198.51.100.9, 192.0.2.7")];
    for (proxies, from) in [("127.0.0.0/8", "192.0.2.7"), ("none", "127.0.0.1")] {
        let relay = Relay::with(&format!("relay.proxies = \"{proxies}\""));
        assert_eq!(relay.post("/?password=wrong", &claimed, b"").status(), 400);
        relay.program.line(&format!("upload from {from} refused: "));
    }
}
