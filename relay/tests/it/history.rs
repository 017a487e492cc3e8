//! The history: what is kept of the past, what is given up, and that it is never taken for live.

use frame::wire::format_time;
use rusqlite::Connection;
use serde_json::{Value, json};
use testbed::eventually::eventually;
use testbed::program::SOON;

use crate::relay::{PHOTO, Relay, jpeg, padded};

const SECOND: i64 = 1_000_000;

/// A round time an hour ago, µs since the Unix epoch: places in the history begin there.
fn hour_ago() -> i64 {
    let now = runtime::clock::wall_us();
    (now / (3_600 * SECOND) - 1) * 3_600 * SECOND
}

fn upload_at(relay: &Relay, captured_us: i64, flags: &str, jpeg: &[u8]) {
    let time = format_time(captured_us, 6);
    relay.upload_with(&[("Frame-Captured-At", &time), ("Frame-Flags", flags)], jpeg);
}

fn list(relay: &Relay, query: &str) -> Value {
    let answer = relay.get(&format!("/history{query}"));
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

/// The times of a list, in seconds after `start`.
fn times(list: &Value, start: i64) -> Vec<i64> {
    let frames = list["frames"].as_array().unwrap();
    let time = |frame: &Value| frame["captured_at"].as_str().unwrap().to_owned();
    let after = |text: String| (frame::wire::parse_time(&text).unwrap() - start) / SECOND;
    frames.iter().map(time).map(after).collect()
}

fn holds(relay: &Relay, start: i64, expected: &[i64]) {
    eventually("the history", SOON, || {
        let found = times(&list(relay, ""), start);
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn one_frame_of_each_interval_is_kept_and_can_be_had() {
    let relay = Relay::with("store.interval = \"20ms\"");
    let start = hour_ago();
    assert_eq!(list(&relay, "")["frames"], json!([]));
    for (n, at) in (0..).zip([0, 1, 9, 10, 25, 60]) {
        upload_at(&relay, start + at * SECOND, "", &jpeg(n));
    }
    holds(&relay, start, &[0, 10, 25, 60]);
    let whole = list(&relay, "");
    assert_eq!((&whole["interval_ms"], &whole["more"]), (&json!(10_000), &json!(false)));
    let first = format_time(start, 6);
    let gap = json!({ "from": format_time(start + 25 * SECOND, 6),
        "to": format_time(start + 60 * SECOND, 6) });
    assert_eq!(whole["gaps"], json!([gap]));
    assert_eq!(
        whole["frames"][0],
        json!({ "captured_at": first, "time_source": "captured", "bytes": jpeg(0).len(),
            "width": 64, "height": 48 })
    );
    let picture = relay.get(&format!("/cameras/default/history/{first}.jpeg"));
    assert_eq!((picture.status(), &picture.body), (200, &jpeg(0)));
    assert_eq!(picture.header("frame-captured-at"), Some(first.as_str()));
    assert!(picture.header("cache-control").unwrap().contains("immutable"));
    let etag = picture.header("etag").unwrap();
    let again = relay.get_with(&format!("/history/{first}.jpeg"), &[("If-None-Match", etag)]);
    assert_eq!((again.status(), again.body.len()), (304, 0));
    let other = format_time(start + SECOND, 6);
    assert_eq!(relay.get(&format!("/history/{other}.jpeg")).status(), 404);
    assert_eq!(relay.of_camera("default", "/history/frames"), json!(4));
    assert!((relay.metric("stillwatch_history_frames{camera=\"default\"}") - 4.0).abs() < 0.1);
}

#[test]
fn a_part_of_it_can_be_asked_for() {
    let relay = Relay::with("store.interval = \"20ms\"");
    let start = hour_ago();
    for n in 0..10 {
        upload_at(&relay, start + i64::from(n) * 10 * SECOND, "", &jpeg(n));
    }
    holds(&relay, start, &[0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    let at = |s: i64| format_time(start + s * SECOND, 0);
    for (query, expected, more) in [
        (format!("?from={}&to={}", at(20), at(40)), vec![20, 30], false),
        (format!("?from={}&limit=3", at(20)), vec![20, 30, 40], true),
        (format!("?to={}&limit=2", at(50)), vec![30, 40], true),
        ("?limit=2".to_owned(), vec![80, 90], true),
        (format!("?from={}", at(91)), vec![], false),
    ] {
        let found = list(&relay, &query);
        assert_eq!((times(&found, start), &found["more"]), (expected, &json!(more)), "{query}");
    }
    for query in ["?limit=0", "?from=yesterday", "?to=12"] {
        let refused = relay.get(&format!("/history{query}"));
        assert_eq!(refused.status(), 400, "{query}");
    }
    assert_eq!(relay.get("/cameras/nobody/history").status(), 404);
}

#[test]
fn a_frame_of_the_past_fills_a_gap_and_is_never_shown_as_the_newest() {
    let relay = Relay::with("store.interval = \"20ms\"");
    let start = hour_ago();
    // Before anything live came, nobody knows the camera: it is acknowledged, and has no place.
    upload_at(&relay, start, "history", &jpeg(9));
    upload_at(&relay, start, "", &jpeg(0));
    upload_at(&relay, start + 60 * SECOND, "", PHOTO);
    holds(&relay, start, &[0, 60]);
    for (n, at) in (1..).zip([10, 20, 30, 31, 40, 50]) {
        upload_at(&relay, start + at * SECOND, "history", &jpeg(n));
        assert_eq!(relay.shown(), PHOTO);
    }
    holds(&relay, start, &[0, 10, 20, 30, 40, 50, 60]);
    assert_eq!(list(&relay, "")["gaps"], json!([]));
    // Once more, from a second agent's point of view: nothing is there twice.
    upload_at(&relay, start + 20 * SECOND, "history", &jpeg(8));
    // A time that nobody vouches for, or that is to come, has no place.
    upload_at(&relay, start + 70 * SECOND, "history, clock-unsynchronised", &jpeg(8));
    upload_at(&relay, runtime::clock::wall_us() + 3_600 * SECOND, "history", &jpeg(8));
    // Later than all of these, so that they were written by then.
    upload_at(&relay, start + 80 * SECOND, "history", &jpeg(8));
    holds(&relay, start, &[0, 10, 20, 30, 40, 50, 60, 80]);
    let picture = relay.get(&format!("/history/{}.jpeg", format_time(start + 20 * SECOND, 6)));
    assert_eq!(picture.body, jpeg(2));
    assert_eq!(relay.shown(), PHOTO);
    assert_eq!(relay.of_camera("default", "/uploads/accepted"), json!(2));
}

#[test]
fn it_is_bounded_by_bytes_and_by_age() {
    let size = 10_000;
    let relay = Relay::with(
        "store.interval = \"20ms\"\nhistory.max_bytes = 45000\nhistory.max_age = \"30m\"",
    );
    let start = hour_ago();
    for n in 0..8_u32 {
        let at = start + i64::from(n) * 10 * SECOND;
        upload_at(&relay, at, "", &padded(n, size));
    }
    // By a clock that is synchronised they are too old, too; this machine's may be either.
    eventually("the limit of bytes", SOON, || {
        let found = times(&list(&relay, ""), start);
        let held = relay.of_camera("default", "/history/bytes");
        if found.is_empty() || found == [40, 50, 60, 70] { Ok(()) } else { Err(held) }
    });
    let later = start + 3_600 * SECOND;
    upload_at(&relay, later, "", &padded(99, size));
    holds(&relay, later, &[0]);
}

#[test]
fn it_survives_and_an_older_database_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("stillwatch.db");
    let older = Connection::open(&database).unwrap();
    older.execute_batch(include_str!("../../src/store/schema.sql")).unwrap();
    older.pragma_update(None, "user_version", 1).unwrap();
    drop(older);
    let mut relay = Relay::at(folder.path(), "store.interval = \"20ms\"", &[]);
    let start = hour_ago();
    upload_at(&relay, start, "", PHOTO);
    holds(&relay, start, &[0]);
    relay.kill_and_restart();
    holds(&relay, start, &[0]);
    assert_eq!(relay.of_camera("default", "/history/frames"), json!(1));
    upload_at(&relay, start + 10 * SECOND, "", &jpeg(1));
    holds(&relay, start, &[0, 10]);
    assert_eq!(relay.count_lines("ERROR"), 0);
}

#[test]
fn a_damaged_frame_is_left_out() {
    let relay = Relay::with("store.interval = \"20ms\"");
    let start = hour_ago();
    upload_at(&relay, start, "", PHOTO);
    holds(&relay, start, &[0]);
    let damage = Connection::open(relay.data.join("stillwatch.db")).unwrap();
    damage.busy_timeout(SOON).unwrap();
    damage.execute("UPDATE history SET hash = 'x'", []).unwrap();
    let path = format!("/history/{}.jpeg", format_time(start, 6));
    assert_eq!(relay.get(&path).status(), 404);
    relay.said("damaged frame in the history", 1);
}

#[test]
fn agents_are_told_whether_there_is_one() {
    for (config, offered) in [("", Some("wanted")), ("history.max_bytes = 0", None)] {
        let relay = Relay::with(config);
        let answer = relay.post(crate::relay::ROOT, &[], PHOTO);
        assert_eq!((answer.status(), answer.header("frame-history")), (200, offered));
        let expected = if offered.is_some() { 200 } else { 404 };
        assert_eq!(relay.get("/history").status(), expected);
    }
}
