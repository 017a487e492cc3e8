//! `stillwatch-relay status`, and what uptime monitors ask.

use std::process::Output;

use serde_json::{Value, json};

use crate::relay::{Relay, command, jpeg};

fn status(relay: &Relay, arguments: &[&str]) -> Output {
    let listen = relay.address.to_string();
    let mut command = command();
    // As at home: no password, and the same address.
    command.args(["--config", "/dev/null", "--listen", &listen, "status"]).args(arguments);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_table_and_an_exit_code() {
    let mut relay =
        Relay::with("freshness.stale_after = \"1h\"\n[cameras.garden]\nstale_after = \"300ms\"");
    let asked = status(&relay, &[]);
    assert_eq!(asked.status.code(), Some(1), "no camera is live: {asked:?}");
    relay.upload(&jpeg(1));
    let asked = status(&relay, &[]);
    let said = text(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    let line = said.lines().find(|line| line.starts_with("default")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[1], words[4], words[5], words[6]), ("live", "64x48", "0", "0"), "{said}");
    assert!(!said.contains('\x1b'), "{said:?}");

    let garden = "/cameras/garden?password=story-password";
    assert_eq!(relay.post(garden, &[], &jpeg(1)).status(), 200);
    relay.becomes("garden", "/state", &json!("stale"));
    let asked = status(&relay, &["--json"]);
    assert_eq!(asked.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(json["cameras"][1]["camera"], "garden");

    let url = format!("http://{}/", relay.address);
    let elsewhere = command().args(["status", "--url", &url]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    assert!(text(&elsewhere.stdout).contains("garden   stale"), "{elsewhere:?}");

    assert!(relay.program.stop().success());
    let asked = status(&relay, &[]);
    assert_eq!(asked.status.code(), Some(2));
    let said = text(&asked.stderr);
    assert!(said.starts_with("error: no relay answers at http://127.0.0.1:"), "{said}");
    assert!(said.contains("refused") && said.contains("systemctl status"), "{said}");
}

#[test]
fn what_is_no_relay_is_said() {
    let other =
        testbed::relay::FakeRelay::start(testbed::relay::Behaviour::Answer("200 OK", "hello"));
    let url = other.url().replace("/?password=123", "");
    let asked = command().args(["status", "--url", &url]).output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    let wrong = command().args(["--listen", "localhost", "status"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
}

#[test]
fn monitors_may_ask_with_head() {
    let relay = Relay::start();
    relay.upload(&jpeg(1));
    for path in ["/healthz", "/cameras/default/healthz", "/status.json", "/metrics"] {
        let answer = relay.request("HEAD", path);
        assert_eq!((answer.status(), answer.body.len()), (200, 0), "{path}");
    }
    assert_eq!(relay.request("HEAD", "/cameras/garden/healthz").status(), 404);
}

#[test]
fn the_journal_gets_fields() {
    let mut relay = Relay::start();
    relay.upload(&jpeg(1));
    let first = relay.program.line("camera default: live, its first picture");
    for field in [
        "stillwatch_event=\"camera-first\"",
        "camera=default",
        "state=\"live\"",
        "seq=0",
        "age_ms=",
    ] {
        assert!(first.contains(field), "{field}: {first}");
    }
    assert!(!first.contains("errno"), "{first}");
    relay.program.line("has started with 1 camera stillwatch_event=\"relay-started\"");
    assert_eq!(relay.post("/cameras/x?password=wrong", &[], &jpeg(1)).status(), 400);
    let refused = relay.program.line("camera x: upload from 127.0.0.1 refused");
    for field in [
        "reason=\"password\"",
        "peer=127.0.0.1",
        "failures=1",
        "stillwatch_event=\"uploads-refused\"",
    ] {
        assert!(refused.contains(field), "{field}: {refused}");
    }
    assert!(relay.program.stop().success());
    relay.program.line("SIGTERM: stopping stillwatch_event=\"relay-stopping\"");
}
