//! Capture times: which count, and that a delayed retry never turns time back.

use serde_json::json;

use crate::relay::{Relay, captured_at, jpeg};

#[test]
fn an_older_frame_is_acknowledged_and_dropped() {
    let relay = Relay::start();
    let (t, earlier) = (captured_at(-1_000), captured_at(-1_500));
    let shown = |n| assert_eq!(relay.shown(), jpeg(n));
    relay.upload_with(&[("Frame-Captured-At", &t), ("Frame-Seq", "5")], &jpeg(1));
    relay.upload_with(&[("Frame-Captured-At", &earlier), ("Frame-Seq", "9")], &jpeg(2));
    shown(1);
    relay.upload_with(&[("Frame-Captured-At", &t), ("Frame-Seq", "5")], &jpeg(3));
    shown(1);
    relay.upload_with(&[("Frame-Captured-At", &t), ("Frame-Seq", "6")], &jpeg(4));
    shown(4);
    assert_eq!(relay.of_camera("default", "/uploads/older"), json!(2));
    // Without a time of its own, a frame is newer than anything.
    relay.upload(&jpeg(5));
    shown(5);
    let answer = relay.get("/live.jpeg");
    assert_eq!(answer.header("frame-seq"), Some("7"));
    assert_eq!(answer.header("frame-time-source"), Some("arrived"));
}

#[test]
fn which_clock_is_believed() {
    let relay = Relay::start();
    let past = captured_at(-60_000);
    for (time, flags, source) in [
        (past.as_str(), "", "captured"),
        (&past, "may-repeat", "captured"),
        (&past, "clock-unsynchronised", "arrived"),
        (&captured_at(600_000), "", "arrived"),
        ("yesterday", "", "arrived"),
    ] {
        let relay_headers = [("Frame-Captured-At", time), ("Frame-Flags", flags)];
        relay.upload_with(&relay_headers, &jpeg(1));
        let answer = relay.get("/live.jpeg");
        assert_eq!(answer.header("frame-time-source"), Some(source), "{time} {flags}");
        let age: u64 = answer.header("frame-age-ms").unwrap().parse().unwrap();
        assert_eq!(age >= 60_000, source == "captured", "{time} {flags}: {age}");
        let at = answer.header("frame-captured-at").unwrap();
        assert_eq!(at[..20] == past[..20], source == "captured", "{at}");
    }
}

#[test]
fn a_camera_clock_that_is_set_back_does_not_freeze_the_picture() {
    let relay = Relay::start();
    relay.upload_with(&[("Frame-Captured-At", &captured_at(3_600_000))], &jpeg(1));
    relay.upload_with(&[("Frame-Captured-At", &captured_at(0))], &jpeg(2));
    assert_eq!(relay.shown(), jpeg(2));
}

#[test]
fn a_restart_does_not_turn_time_back_either() {
    let mut relay = Relay::start();
    let (t, earlier, later) = (captured_at(-1_000), captured_at(-1_500), captured_at(-500));
    relay.upload_with(&[("Frame-Captured-At", &t), ("Frame-Seq", "5")], &jpeg(1));
    assert!(relay.program.stop().success());
    relay.restart();
    let answer = relay.get("/live.jpeg");
    assert_eq!(answer.body, jpeg(1));
    assert_eq!(answer.header("frame-seq"), Some("5"));
    assert_eq!(answer.header("frame-time-source"), Some("captured"));
    assert_eq!(&answer.header("frame-captured-at").unwrap()[..23], &t[..23]);
    relay.upload_with(&[("Frame-Captured-At", &earlier)], &jpeg(2));
    assert_eq!(relay.shown(), jpeg(1));
    relay.upload_with(&[("Frame-Captured-At", &later), ("Frame-Seq", "0")], &jpeg(3));
    assert_eq!(relay.shown(), jpeg(3));
}
