//! `history`: which frames of the past there are, and `history/{captured_at}.jpeg`: one of them.
//!
//! A frame of the past never changes, so a browser may keep it for as long as it likes; where none
//! was kept, the list says so.

use std::time::Duration;

use bytes::Bytes;
use frame::wire;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::board::Camera;
use crate::respond::{self, Body, Response};
use crate::status::millis;
use crate::store::{Entry, Range, Store, Unread};

/// Entries of an answer if the query does not say.
const LIMIT: u32 = 1_000;

/// And at most.
const MAX_LIMIT: u32 = 10_000;

/// As long as RFC 9111 lets a cache count.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

#[derive(Serialize)]
struct List {
    camera: String,
    /// One frame is kept in so long.
    interval_ms: u64,
    /// In the order of their times.
    frames: Vec<FrameOfList>,
    /// Where frames are missing between two of them.
    gaps: Vec<Gap>,
    /// There are more than the limit: after the last one if the query has `from`, else before the
    /// first.
    more: bool,
}

#[derive(Serialize)]
struct FrameOfList {
    captured_at: String,
    time_source: &'static str,
    bytes: u64,
    width: u16,
    height: u16,
}

#[derive(Serialize)]
struct Gap {
    from: String,
    to: String,
}

/// Answers `history?from=…&to=…&limit=…`.
pub(crate) async fn list(
    camera: &Camera,
    store: &Store,
    query: &str,
    headers: &HeaderMap,
) -> Response {
    let range = match range(query) {
        Ok(range) => range,
        Err(line) => return respond::line(StatusCode::BAD_REQUEST, &line),
    };
    let (entries, more) = match store.entries(camera.id.clone(), range).await {
        Ok(found) => found,
        Err(why) => return unread(&why),
    };
    let interval = store.history_interval();
    let time = |us| wire::format_time(us, 6);
    let list = List {
        camera: camera.id.to_string(),
        interval_ms: millis(interval),
        gaps: gaps(&entries, interval)
            .map(|(from, to)| Gap { from: time(from), to: time(to) })
            .collect(),
        frames: entries
            .iter()
            .map(|entry| FrameOfList {
                captured_at: time(entry.captured_us),
                time_source: entry.source.word(),
                bytes: entry.bytes,
                width: entry.width,
                height: entry.height,
            })
            .collect(),
        more,
    };
    // Our own structure always serialises.
    let json = serde_json::to_vec(&list).unwrap_or_default();
    Body::once(Bytes::from(json)).answer("application/json", headers)
}

/// Answers `history/{captured_at}.jpeg`.
pub(crate) async fn picture(
    camera: &Camera,
    store: &Store,
    captured_us: i64,
    headers: &HeaderMap,
) -> Response {
    let sample = match store.sample(camera.id.clone(), captured_us).await {
        Ok(Some(sample)) => sample,
        Ok(None) => return respond::not_found("there is no frame of this time"),
        Err(why) => return unread(&why),
    };
    let text = |text: String| HeaderValue::try_from(text).ok();
    let etag = text(format!("\"{}\"", sample.picture.hash()));
    let known = etag.as_ref().is_some_and(|etag| respond::is_known(headers, etag));
    let mut response = if known {
        respond::not_modified()
    } else {
        respond::answer(StatusCode::OK, "image/jpeg", sample.picture.bytes().clone())
    };
    let named = [
        (ETAG, etag),
        (
            HeaderName::from_static(wire::CAPTURED_AT),
            text(wire::format_time(sample.captured_us, 6)),
        ),
        (HeaderName::from_static(wire::TIME_SOURCE), text(sample.source.word().to_owned())),
        (CACHE_CONTROL, Some(FOR_EVER)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn unread(why: &Unread) -> Response {
    match why {
        Unread::Off => respond::not_found("there is no history here (history.max_bytes is 0)"),
        Unread::Busy => respond::later("too many read the history already"),
        Unread::Trouble(why) => respond::later(&format!("the history can't be read: {why}")),
    }
}

/// Between which times more than one interval has no frame. A frame may come at any time within
/// its interval, so two neighbours are up to two of them apart.
fn gaps(entries: &[Entry], interval: Duration) -> impl Iterator<Item = (i64, i64)> {
    let most = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).saturating_mul(2);
    entries
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some((a.captured_us, b.captured_us)),
            _ => None,
        })
        .filter(move |(a, b)| b.saturating_sub(*a) > most)
}

fn range(query: &str) -> Result<Range, String> {
    let mut range = Range { from_us: None, to_us: i64::MAX, limit: LIMIT };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let time = || {
            // Who writes +01:00 without escaping it means no blank.
            wire::parse_time(&value.replace(' ', "+")).ok_or_else(|| {
                format!("{name} has to be a time with its zone, such as 2026-01-31T12:00:00Z")
            })
        };
        match name.as_ref() {
            "from" => range.from_us = Some(time()?),
            "to" => range.to_us = time()?,
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                range.limit = limit
                    .ok_or_else(|| format!("limit has to be a number from 1 to {MAX_LIMIT}"))?;
            }
            // Anything else only defeats caches.
            _ => {}
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::admit::TimeSource;

    #[test]
    fn what_may_be_asked_for() {
        let whole = Range { from_us: None, to_us: i64::MAX, limit: LIMIT };
        for (query, expected) in [
            ("", whole),
            ("_=1", whole),
            ("limit=10000", Range { limit: 10_000, ..whole }),
            ("from=1970-01-01T00:00:01Z", Range { from_us: Some(1_000_000), ..whole }),
            ("from=1970-01-01T01:00:01+01:00", Range { from_us: Some(1_000_000), ..whole }),
            (
                "to=1970-01-01T01%3A00%3A01%2B01:00&limit=1",
                Range { to_us: 1_000_000, limit: 1, ..whole },
            ),
        ] {
            assert_eq!(range(query), Ok(expected), "{query}");
        }
        for query in ["limit=0", "limit=10001", "limit=", "from=now", "to=1552907804", "from="] {
            assert!(range(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_gap_is_where_an_interval_has_no_frame() {
        let second = 1_000_000;
        let entry = |at: i64| Entry {
            captured_us: at * second,
            source: TimeSource::Captured,
            bytes: 1,
            width: 1,
            height: 1,
        };
        let found = |times: &[i64]| {
            let entries: Vec<Entry> = times.iter().map(|at| entry(*at)).collect();
            let in_s = |(a, b): (i64, i64)| (a / second, b / second);
            gaps(&entries, Duration::from_secs(10)).map(in_s).collect::<Vec<_>>()
        };
        assert_eq!(found(&[0, 19, 29, 30]), []);
        assert_eq!(found(&[0, 19, 40, 50, 500]), [(19, 40), (50, 500)]);
        assert_eq!(found(&[7]), []);
        assert_eq!(found(&[]), []);
    }
}
