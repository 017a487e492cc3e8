//! What several targets share: the relay they talk to, and what holds of each of its answers.

use std::path::PathBuf;

use stillwatch_relay::fuzzing::Relay;

/// So that what bounds a stranger in the long run does not hide what is behind it.
const SETTINGS: &str = "\
relay.max_upload_rate = 10000\n\
relay.max_cameras = 16\n\
relay.max_sizes = 1000\n\
history.interval = \"1s\"\n\
history.max_bytes = 1000000\n\
embed.origins = \"https://example.org\"\n\
[cameras.garden]\n\
title = \"Fuzz & <b>garden</b>\"\n";

/// Starts the relay, in a folder of this process' own, with a log whose every line is looked at.
pub fn relay() -> Relay {
    log::watch();
    // As Rust's own main does: a peer that is gone is an error, and no end.
    // SAFETY: nothing else here handles this signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    Relay::start(&folder("relay"), SETTINGS)
}

/// A folder of this process' own, in memory where there is such a place.
pub fn folder(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    base.join(format!("stillwatch-fuzz-{}-{name}", std::process::id()))
}

/// An answer, as far as HTTP goes.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, &'a str)>,
    pub body: &'a [u8],
    /// What follows it.
    pub rest: &'a [u8],
}

/// Every status that an answer of the relay may have.
const STATUSES: &[u16] = &[
    100, 101, 200, 204, 206, 302, 304, 308, 400, 401, 403, 404, 405, 408, 413, 414, 415, 416, 421,
    422, 426, 429, 431, 501, 503,
];

/// Every header; docs/protocol.md has those that are ours.
const HEADERS: &[&str] = &[
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "agent-report",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "frame-age-ms",
    "frame-captured-at",
    "frame-challenge",
    "frame-history",
    "frame-seq",
    "frame-state",
    "frame-time-source",
    "frame-unchanged-ms",
    "frame-viewers",
    "last-modified",
    "location",
    "referrer-policy",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
    "x-content-type-options",
    "x-robots-tag",
];

/// Takes an answer apart and checks it; `None` if more of it is to come. `bare` says that it has no body
/// whatever its length says.
pub fn answer(bytes: &[u8], bare: bool) -> Option<Answer<'_>> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in UTF-8");
    let mut lines = head.split("\r\n");
    let first = lines.next().expect("a first line");
    let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
    let status: u16 =
        status.and_then(|text| text.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{first:?}"));
    assert!(STATUSES.contains(&status), "{first:?}");
    let headers: Vec<(String, &str)> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            let name = name.to_ascii_lowercase();
            assert!(HEADERS.contains(&&*name), "the header {line:?}");
            assert!(!value.contains(|c: char| c.is_control()), "{line:?}");
            (name, value)
        })
        .collect();
    let mut lengths = headers.iter().filter(|(name, _)| name == "content-length");
    let length = lengths.next().map(|(_, text)| text.parse::<usize>().expect("a length"));
    assert!(lengths.next().is_none(), "{head}");
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && *value == "chunked");
    assert!(!(chunked && length.is_some()), "{head}");
    let rest = &bytes[end + 4..];
    let bodyless = bare || status < 200 || matches!(status, 204 | 304);
    let taken = match length {
        _ if bodyless => 0,
        Some(length) if rest.len() < length => return None,
        Some(length) => length,
        // A stream: what has come of it.
        None => rest.len(),
    };
    let (body, rest) = rest.split_at(taken);
    Some(Answer { status, headers, body, rest })
}

/// All answers there are.
pub fn answers(bytes: &[u8], bare: bool) -> Vec<Answer<'_>> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Some(found) = answer(rest, bare) {
        rest = found.rest;
        let upgraded = found.status == 101;
        all.push(found);
        if upgraded {
            break;
        }
    }
    all
}

/// The first answer that says something.
pub fn last(bytes: &[u8], bare: bool) -> Option<u16> {
    let all = answers(bytes, bare);
    all.iter().map(|answer| answer.status).find(|status| *status >= 101)
}

mod log {
    //! What a stranger sends may be logged; it makes no line of its own, and no colours.

    use std::io::{self, Write};

    struct Looked;

    impl Write for Looked {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let text = std::str::from_utf8(line).expect("a line in UTF-8");
            let text = text.strip_suffix('\n').unwrap_or(text);
            assert!(!text.contains(|c: char| c.is_control()), "the line {text:?}");
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn watch() {
        let started = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(|| Looked)
            .try_init();
        started.expect("a log");
    }
}
