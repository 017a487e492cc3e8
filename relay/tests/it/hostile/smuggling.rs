//! Requests that two programs would read differently: what follows an ambiguous one is never answered.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::Bystanders;
use crate::relay::{PASSWORD, Relay};

/// A request of its own, if it is one: its answer names the camera.
const SMUGGLED: &str = "GET /cameras/smuggled/live.jpeg HTTP/1.1\r\nHost: r\r\n\r\n";

/// All that comes back.
fn told(relay: &Relay, request: &str) -> String {
    let mut stream = relay.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut answered = Vec::new();
    // Until it is closed, or nothing more comes.
    let _ = stream.read_to_end(&mut answered);
    let _ = stream.shutdown(Shutdown::Both);
    String::from_utf8_lossy(&answered).into_owned()
}

#[test]
fn what_is_behind_an_ambiguous_request_is_not_answered() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    for password in ["guess", PASSWORD] {
        for (case, request) in
            ambiguous(&format!("POST /?password={password} HTTP/1.1\r\nHost: r\r\n"))
        {
            let answered = told(&relay, &request);
            assert!(!answered.contains("smuggled"), "{case}: {answered}");
            assert!(answered.matches("HTTP/1.1 ").count() <= 1, "{case}: {answered}");
            others.go_on();
        }
    }
}

fn ambiguous(post: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "both lengths",
            format!(
                "{post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "both, the other way",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        ("two lengths", format!("{post}Content-Length: 0\r\nContent-Length: 72\r\n\r\n{SMUGGLED}")),
        ("a list of lengths", format!("{post}Content-Length: 0, 72\r\n\r\n{SMUGGLED}")),
        ("a signed length", format!("{post}Content-Length: +0\r\n\r\n{SMUGGLED}")),
        ("no length at all", format!("{post}Content-Length: \r\n\r\n{SMUGGLED}")),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n{SMUGGLED}")),
        (
            "a length beyond all",
            format!("{post}Content-Length: 18446744073709551616\r\n\r\n{SMUGGLED}"),
        ),
        (
            "chunked, and then not",
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "no known coding",
            format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a hidden coding",
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        ("a folded line", format!("{post}X: y\r\n Transfer-Encoding: chunked\r\n\r\n{SMUGGLED}")),
        ("a bare CR", format!("{post}X: y\rTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}")),
        ("a NUL", format!("{post}X: y\0\r\n\r\n{SMUGGLED}")),
        (
            "a chunk beyond all",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{SMUGGLED}"),
        ),
        ("a chunk's bare LF", format!("{post}Transfer-Encoding: chunked\r\n\r\n0\n\n{SMUGGLED}")),
        (
            "HTTP/1.0 in chunks",
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
    ]
}

#[test]
fn a_request_is_for_the_path_that_it_names() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    for (target, status) in [
        // Absolute, as for a proxy: the path counts, wherever it says it goes.
        ("GET http://elsewhere.example/healthz", 200),
        ("GET http://elsewhere.example/nothing", 404),
        ("GET http://elsewhere.example", 200),
        ("GET \\healthz", 400),
        ("GET /healthz\0", 400),
        ("OPTIONS *", 404),
    ] {
        assert_eq!(status_of(&relay, target), status, "{target}");
        others.go_on();
    }
}

/// Found by `scripts/fuzz request`: warp panicked, which ended the connection without an answer.
#[test]
fn a_target_without_a_path_is_nothing() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    for target in
        ["GET elsewhere.example", "CONNECT elsewhere.example:443", "GET f0f0.blocks", "POST a"]
    {
        assert_eq!(status_of(&relay, target), 404, "{target}");
        others.go_on();
    }
    assert_eq!(relay.count_lines("panicked"), 0);
}

fn status_of(relay: &Relay, target: &str) -> u16 {
    let answered =
        told(relay, &format!("{target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n"));
    let code = answered.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}
