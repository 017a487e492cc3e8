//! Live, stale, frozen, offline, in real time with short limits.

use serde_json::json;
use testbed::eventually::eventually;
use testbed::program::SOON;

use crate::relay::{ROOT, Relay, jpeg};

#[test]
fn a_camera_that_falls_silent_is_stale_then_offline_and_says_each_once() {
    let relay =
        Relay::with("freshness.stale_after = \"500ms\"\nfreshness.offline_after = \"1500ms\"");
    assert_eq!(relay.get("/cameras/default/healthz").status(), 503);
    relay.upload(&jpeg(1));
    relay.program.line("camera default: live, its first picture");
    for state in ["stale", "offline"] {
        relay.becomes("default", "/state", &json!(state));
        assert_eq!(relay.get("/cameras/default/healthz").status(), 503, "{state}");
        relay.program.line(&format!("camera default: {state}"));
    }
    let answer = relay.get("/live.jpeg");
    assert_eq!((answer.status(), answer.header("frame-state")), (200, Some("offline")));
    assert_eq!(relay.get("/healthz").status(), 200);
    relay.upload(&jpeg(2));
    assert_eq!(relay.get("/live.jpeg").header("frame-state"), Some("live"));
    relay.program.line("camera default: live again");
    for line in ["default: stale", "default: offline", "live again"] {
        relay.said(line, 1);
    }
}

#[test]
fn a_camera_that_repeats_itself_is_frozen_unless_it_may() {
    let relay = Relay::with(
        "freshness.frozen_after = \"300ms\"\nfreshness.stale_after = \"1h\"\n[cameras.folder]\n",
    );
    let folder = "/cameras/folder?password=story-password";
    eventually("the frozen state", SOON, || {
        relay.upload(&jpeg(1));
        let may_repeat = [("Frame-Flags", "may-repeat")];
        assert_eq!(relay.post(folder, &may_repeat, &jpeg(1)).status(), 200);
        let state = relay.of_camera("default", "/state");
        if state == json!("frozen") { Ok(()) } else { Err(state) }
    });
    assert_eq!(relay.of_camera("folder", "/state"), json!("live"));
    assert_eq!(relay.get("/cameras/default/healthz").status(), 503);
    assert_eq!(relay.get("/cameras/folder/healthz").status(), 200);
    relay.program.line("camera default: frozen");
    let unchanged = |path: &str| -> Option<u64> {
        relay.get(path).header("frame-unchanged-ms").map(|text| text.parse().unwrap())
    };
    assert!(unchanged("/live.jpeg").is_some_and(|ms| ms >= 300), "since when");
    assert_eq!(unchanged("/cameras/folder/live.jpeg"), None);
    relay.upload(&jpeg(2));
    assert_eq!(relay.of_camera("default", "/state"), json!("live"));
    assert_eq!(unchanged("/live.jpeg"), None);
}

#[test]
fn refused_uploads_are_stale_and_the_journal_says_why() {
    let relay = Relay::with("freshness.stale_after = \"500ms\"");
    relay.upload(&jpeg(1));
    relay.program.line("its first picture");
    eventually("the stale state", SOON, || {
        assert_eq!(relay.post(ROOT, &[], b"hello").status(), 415);
        let state = relay.of_camera("default", "/state");
        if state == json!("stale") { Ok(()) } else { Err(state) }
    });
    relay.program.line("stale, no new picture; uploads come, but are refused");
}
