//! What is refused, and that it is said why.

use std::io::Write;
use std::net::Shutdown;

use runtime::heal::{MAX_REQUEST, Outcome, Verb};

use crate::stage::{Stage, receive};

#[test]
fn nonsense_is_refused_with_a_reason_and_one_line_in_the_log() {
    let stage = Stage::new();
    stage.hook(Verb::ClockRetry, "echo fine");
    let healer = stage.serve();
    let long = format!("{{\"verb\":\"reboot\",\"reason\":\"{}\"}}\n", "x".repeat(MAX_REQUEST));
    for (line, why) in [
        ("{\"verb\":\"rm\",\"reason\":\"\"}\n", "unknown variant `rm`"),
        ("{\"verb\":\"reboot\",\"reason\":\"\",\"force\":true}\n", "unknown field `force`"),
        ("{\"verb\":\"reboot\"}\n", "missing field `reason`"),
        ("reboot\n", "this is no request"),
        ("\n", "this is no request"),
        ("\0\u{ff}\n", "this is no request"),
        (&long, "at most 1024 bytes"),
        (&"x".repeat(100_000), "at most 1024 bytes"),
        ("{\"verb\":\"reboot\",\"device\":\"now\",\"reason\":\"\"}\n", "done to no device"),
    ] {
        let answer = healer.send(line.as_bytes());
        assert_eq!(answer.outcome, Outcome::Refused, "{line}");
        assert!(answer.said.contains(why), "{}", answer.said);
    }
    assert_eq!(healer.expect(Verb::ClockRetry, None, Outcome::Done), "fine");
    assert_eq!(stage.read("state/reboots"), "");
    healer.told(&[("refused: ", 1)]);
}

#[test]
fn a_request_at_the_limit_is_one() {
    let stage = Stage::new();
    stage.hook(Verb::ClockRetry, "echo ${#STILLWATCH_REASON}");
    let healer = stage.serve();
    let request = |length: usize| {
        let empty = "{\"verb\":\"clock-retry\",\"reason\":\"\"}\n".len();
        format!("{{\"verb\":\"clock-retry\",\"reason\":\"{}\"}}\n", "x".repeat(length - empty))
    };
    let answer = healer.send(request(MAX_REQUEST).as_bytes());
    assert_eq!((answer.outcome, answer.said.as_str()), (Outcome::Done, "400"));
    let answer = healer.send(request(MAX_REQUEST + 1).as_bytes());
    assert_eq!(answer.outcome, Outcome::Refused);
}

#[test]
fn half_a_line_is_waited_for_but_not_long() {
    let stage = Stage::new();
    let healer = stage.serve();
    let mut stream = healer.connect();
    stream.write_all(b"{\"verb\":").unwrap();
    let answer = receive(&stream);
    assert_eq!(answer.outcome, Outcome::Refused);
    assert!(answer.said.contains("within 2s"), "{}", answer.said);
    let mut stream = healer.connect();
    stream.write_all(b"{\"verb\":\"ill\",\"reason\":\"\"}").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive(&stream).outcome, Outcome::Refused);
    // A request in two pieces is one.
    let mut stream = healer.connect();
    stream.write_all(b"{\"verb\":\"ill\",").unwrap();
    stream.write_all(b"\"reason\":\"\"}\n").unwrap();
    assert_eq!(receive(&stream).outcome, Outcome::Done);
}

#[test]
fn a_device_that_is_none_reaches_no_hook() {
    let stage = Stage::new();
    stage.file("/sys/bus/usb/devices/1-1:1.0/bInterfaceClass", "08\n");
    stage.file("/sys/class/net/eth0/address", "");
    for verb in [Verb::CameraUsb, Verb::CameraRebind, Verb::WifiReload, Verb::WifiTune] {
        stage.hook(verb, "touch $STAGE/ran");
    }
    let healer = stage.serve();
    let long = "1-1.".repeat(100);
    for (verb, device) in [
        (Verb::CameraUsb, Some("1-1")),
        (Verb::CameraUsb, Some("../../../etc")),
        (Verb::CameraUsb, Some(long.as_str())),
        (Verb::CameraUsb, None),
        (Verb::CameraRebind, Some("video0")),
        (Verb::WifiReload, Some("eth0")),
        (Verb::WifiReload, Some("..")),
        (Verb::WifiTune, Some("lo; reboot")),
    ] {
        let said = healer.expect(verb, device, Outcome::Refused);
        assert!(said.contains("is done to a"), "{said}");
    }
    assert!(!stage.path("ran").exists());
}
