//! What a cluster does after something went wrong: load, loss, lies and thin links.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testbed::eventually::{becomes_true, eventually, pause};
use testbed::link::Link;
use testbed::nats::Nats;
use testbed::program::SOON;
use tungstenite::Message;

use super::foreign::{hash, headers, messages, publish};
use super::{EDGE, HASTY, bus_is, config, relay, shows, through, upload, works};
use crate::relay::{CEILING, Relay, captured_at, jpeg, padded};
use crate::websocket::{Socket, frame, ready, watch};

/// Connections to the bus that worked and ended.
fn reconnects(relay: &Relay) -> f64 {
    relay.metric("stillwatch_cluster_reconnects_total")
}

/// Pictures that were asked for, whatever came of it.
fn asked(relay: &Relay) -> f64 {
    let text = String::from_utf8(relay.get("/metrics").body).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("stillwatch_cluster_fetched_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What a viewer is told within so long: words of states, and "picture".
fn told(viewer: &mut Socket, within: Duration) -> Vec<String> {
    viewer.get_ref().set_read_timeout(Some(within)).unwrap();
    let mut told = Vec::new();
    while let Ok(message) = viewer.read() {
        if let Message::Binary(message) = message {
            let (head, _) = frame::wire::Head::decode(message).unwrap();
            ready(viewer, head.seq);
            told.push("picture".to_owned());
        } else if let Message::Text(text) = message {
            let said: serde_json::Value = serde_json::from_str(&text).unwrap();
            told.push(said["state"].as_str().unwrap().to_owned());
        }
    }
    viewer.get_ref().set_read_timeout(Some(SOON)).unwrap();
    told
}

#[test]
fn many_cameras_are_put_back_by_a_session_that_holds() {
    const MANY_CAMERAS: u32 = 1_500;
    const MANY: &str = "[relay]\nmax_cameras = 2000";
    let mut nats = Nats::start("");
    let a = relay("a", &nats.url(), &format!("storage = \"memory\"\n{MANY}"));
    let edge = relay("edge", &nats.url(), &format!("{EDGE}\n{MANY}"));
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= MANY_CAMERAS {
                        return;
                    }
                    upload(&a, &format!("camera-{n}"), &[], &jpeg(n));
                }
            });
        }
    });
    becomes_true("all are on the bus", SOON, || messages(&nats) == u64::from(MANY_CAMERAS));
    assert!(reconnects(&a) + reconnects(&edge) < 0.5, "no session was ended by its load");
    nats.kill();
    for relay in [&a, &edge] {
        bus_is(relay, "away");
    }
    nats.restart();
    eventually("all are on the bus again", SOON, || {
        let found = messages(&nats);
        if found == u64::from(MANY_CAMERAS) { Ok(()) } else { Err(found) }
    });
    for relay in [&a, &edge] {
        works(relay);
        assert!((reconnects(relay) - 1.0).abs() < 0.5, "{} sessions ended", reconnects(relay));
    }
    let late = relay("late", &nats.url(), &format!("{EDGE}\n{MANY}"));
    for relay in [&edge, &late] {
        becomes_true("all are known", SOON, || {
            let status = relay.status();
            let cameras = status["cameras"].as_array().unwrap();
            cameras.iter().filter(|camera| camera["relay"] == "a").count() == MANY_CAMERAS as usize
        });
        for n in [0, 700, MANY_CAMERAS - 1] {
            shows(relay, &format!("camera-{n}"), &jpeg(n));
        }
    }
}

/// A relay's section for a camera that is not for everybody.
fn private(folder: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let secret = folder.join("view.password");
    std::fs::write(&secret, "let me see").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!("[cameras.garden]\nview_password_file = {secret:?}")
}

#[test]
fn a_private_camera_is_not_taken_by_who_does_not_know_for_whom() {
    let nats = Nats::start("");
    let folder = tempfile::tempdir().unwrap();
    let a = relay("a", &nats.url(), &private(folder.path()));
    let b = relay("b", &nats.url(), "");
    let edge = relay("edge", &nats.url(), EDGE);
    upload(&a, "garden", &[], &jpeg(1));
    for relay in [&b, &edge] {
        relay.said("camera garden: it is private at the relay a", 1);
    }
    // Its agent can't reach the one that knows.
    drop(a);
    let answer = b.post("/cameras/garden?password=story-password", &[], &jpeg(2));
    assert_eq!(answer.status(), 403);
    let sentence = String::from_utf8(answer.body).unwrap();
    assert!(sentence.contains("private") && sentence.contains("view_password_file"), "{sentence}");
    let text = String::from_utf8(b.get("/metrics").body).unwrap();
    let refused = text.lines().find(|l| l.contains("uploads_refused") && l.contains("\"private\""));
    assert!(refused.is_some_and(|line| line.ends_with(" 1")), "{refused:?}");
    for relay in [&b, &edge] {
        for path in ["live.jpeg", "live.mjpeg", "status.json"] {
            assert_eq!(relay.get(&format!("/cameras/garden/{path}")).status(), 404, "{path}");
        }
        assert!(!relay.status().to_string().contains("garden"));
    }
    // Which cameras there are is nobody's business who has no password.
    let answer = b.post("/cameras/garden?password=wrong", &[], &jpeg(2));
    assert_eq!(answer.status(), b.post("/cameras/roof?password=wrong", &[], &jpeg(2)).status());
}

#[test]
fn a_camera_becomes_private_and_public_again_everywhere() {
    let nats = Nats::start("");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let private = private(folder.path());
    let start = |more: &str| {
        let relay = Relay::at(&data, &config("a", &nats.url(), more), &[]);
        works(&relay);
        relay
    };
    let mut a = start("");
    let edge = relay("edge", &nats.url(), EDGE);
    let status = |path: &str| edge.get(path).status();
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(-1_000))], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    let mut viewer = watch(&edge, "/cameras/garden/live.ws");
    assert_eq!(frame(&mut viewer).1, jpeg(1));
    ready(&mut viewer, 0);
    a.program.stop();
    let mut a = start(&private);
    becomes_true("nobody sees it", SOON, || status("/cameras/garden/live.jpeg") == 404);
    assert!(!edge.status().to_string().contains("garden"));
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(0))], &jpeg(2));
    let told = told(&mut viewer, Duration::from_millis(700));
    assert!(!told.iter().any(|word| word == "picture"), "who watched already sees it: {told:?}");
    assert_eq!(status("/cameras/garden/live.jpeg"), 404);
    a.program.stop();
    let a = start("");
    shows(&edge, "garden", &jpeg(2));
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(1_000))], &jpeg(3));
    shows(&edge, "garden", &jpeg(3));
}

#[test]
fn a_stream_that_goes_back_is_neither_waited_for_nor_asked_again_and_again() {
    let mut nats = Nats::start("");
    let folder = tempfile::tempdir().unwrap();
    let start = |more: &str| Relay::at(folder.path(), &config("a", &nats.url(), more), &[]);
    let first = start("storage = \"memory\"");
    works(&first);
    let [never, behind] = ["never", "behind"].map(|name| relay(name, &nats.url(), EDGE));
    upload(&first, "default", &[("Frame-Captured-At", &captured_at(-3_000))], &jpeg(1));
    first.stored(&jpeg(1));
    drop(first);
    // It keeps nothing from now on.
    let mut a = start("storage = \"memory\"\n[store]\ninterval = \"1h\"");
    works(&a);
    let mut viewer = watch(&behind, "/live.ws");
    assert_eq!(frame(&mut viewer).1, jpeg(1));
    drop(viewer);
    behind.becomes("default", "/viewers/websocket", &json!(0));
    let newest = captured_at(-2_000);
    upload(&a, "default", &[("Frame-Captured-At", &newest), ("Frame-Seq", "2")], &jpeg(2));
    for edge in [&never, &behind] {
        edge.becomes("default", "/seq", &json!(2));
    }
    a.program.signal("KILL");
    a.program.ended();
    nats.kill();
    nats.restart();
    a.restart();
    for relay in [&a, &never, &behind] {
        works(relay);
    }
    becomes_true("the older one is put back", SOON, || messages(&nats) == 1);
    thread::scope(|scope| {
        for edge in [&never, &behind] {
            scope.spawn(|| {
                shows(edge, "default", &jpeg(1));
                let began = runtime::clock::mono();
                for _ in 0..20 {
                    assert_eq!(edge.get("/live.jpeg").body, jpeg(1));
                }
                // Each of them would wait for 1.5 s.
                assert!(runtime::clock::mono().since(began) < CEILING);
                assert!(asked(edge) < 10.0, "asked {} times", asked(edge));
                assert_eq!(edge.of_camera("default", "/seq"), json!(0), "what there is");
            });
        }
    });
    upload(&a, "default", &[("Frame-Captured-At", &captured_at(0))], &jpeg(3));
    for relay in [&a, &never, &behind] {
        shows(relay, "default", &jpeg(3));
    }
}

#[test]
fn a_picture_that_was_refused_is_not_fetched_again() {
    let nats = Nats::start("");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(-2_000))], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    let mut viewer = watch(&edge, "/cameras/garden/live.ws");
    let (head, _) = frame(&mut viewer);
    ready(&mut viewer, head.seq);
    let refused = || edge.metric("stillwatch_cluster_fetched_total{outcome=\"refused\"}");
    let pictures = [(1.0, -1_000, jpeg(4)), (2.0, -500, b"no picture".to_vec())];
    for (count, at, body) in pictures {
        publish(
            &nats,
            "stillwatch.frame.garden",
            &headers(&captured_at(at), &hash(&jpeg(3))),
            &body,
        );
        becomes_true("it is fetched", SOON, || refused() >= count);
        // Somebody watches, and somebody asks.
        for _ in 0..2 {
            assert_eq!(edge.get("/cameras/garden/live.jpeg").body, jpeg(1));
        }
        assert!((refused() - count).abs() < 0.5, "fetched {} times", refused());
    }
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(0))], &jpeg(5));
    assert_eq!(frame(&mut viewer).1, jpeg(5));
    shows(&edge, "garden", &jpeg(5));
}

const CAMERAS: usize = 30;

fn name(n: usize) -> String {
    format!("camera-{n}")
}

/// Viewers of many cameras, and what they have seen.
#[derive(Default)]
struct Crowd {
    /// How many of them have seen enough.
    satisfied: AtomicUsize,
    /// They go with the next picture.
    over: AtomicBool,
}

impl Crowd {
    fn look_on(&self, viewer: &mut Socket, enough: usize) {
        let mut last = 0;
        for seen in 0.. {
            let (head, _) = frame(viewer);
            ready(viewer, head.seq);
            assert!(head.captured_us > last, "time goes on");
            last = head.captured_us;
            if seen == enough {
                self.satisfied.fetch_add(1, Ordering::Relaxed);
            }
            if self.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Also when a test fails: the viewers wait for it.
struct Over<'a>(&'a Crowd);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Many cameras are watched at an edge, and more comes from them than a thin link carries, until each viewer has seen
/// `enough` of their pictures of about `size` bytes, and at least for as long as patience with a silent stream lasts.
fn share(link: &Link, a: &Relay, edge: &Relay, size: usize, enough: usize) {
    for n in 0..CAMERAS {
        upload(a, &name(n), &[], &jpeg(0));
    }
    let viewers: Vec<_> = (0..CAMERAS)
        .map(|n| {
            edge.becomes(&name(n), "/state", &json!("live"));
            watch(edge, &format!("/cameras/{}/live.ws", name(n)))
        })
        .collect();
    link.slow(300_000);
    let crowd = Crowd::default();
    thread::scope(|scope| {
        for mut viewer in viewers {
            let crowd = &crowd;
            scope.spawn(move || crowd.look_on(&mut viewer, enough));
        }
        let over = Over(&crowd);
        let began = runtime::clock::mono();
        let mut round = 0_u32;
        becomes_true("all go on", SOON, || {
            round += 1;
            for n in 0..CAMERAS {
                let size = size - size / 3 + size * n / 45;
                upload(a, &name(n), &[], &padded(round, size));
                // Three times what the link carries; their headers alone are not much.
                pause(Duration::from_millis(12));
            }
            for relay in [a, edge] {
                assert_eq!(relay.status()["cluster"]["bus"], "works");
            }
            let long = runtime::clock::mono().since(began) > Duration::from_secs(8);
            long && crowd.satisfied.load(Ordering::Relaxed) == CAMERAS
        });
        drop(over);
        for n in 0..CAMERAS {
            upload(a, &name(n), &[], &padded(round + 1, 10_000));
        }
    });
}

fn thin(slow_taker: bool, size: usize, enough: usize) {
    let nats = Nats::start("");
    let link = Link::to(nats.address);
    let (of_a, of_edge) = if slow_taker {
        (through(link.address), nats.url())
    } else {
        (nats.url(), through(link.address))
    };
    let (a, edge) = (relay("a", &of_a, ""), relay("edge", &of_edge, EDGE));
    for relay in [&a, &edge] {
        becomes_true("the other one is heard", SOON, || {
            relay.status()["cluster"]["relays"][0]["state"] == "heard"
        });
    }
    share(&link, &a, &edge, size, enough);
    for relay in [&a, &edge] {
        assert!(reconnects(relay) < 0.5, "{} sessions ended", reconnects(relay));
        for told in ["has not been heard", "the clocks of this relay"] {
            assert_eq!(relay.count_lines(told), 0, "{told}");
        }
    }
}

#[test]
fn many_watched_cameras_share_a_thin_link_to_an_edge() {
    thin(false, 15_000, 6);
}

#[test]
fn many_watched_cameras_share_a_thin_link_of_the_relay_that_takes_them() {
    // All of them together take longer than the bus may take to answer.
    thin(true, 60_000, 2);
}

#[test]
fn an_old_picture_is_not_called_live_while_the_bus_is_away() {
    let mut nats = Nats::start("");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    // One whose picture was never here, and one whose picture is not the newest.
    for camera in ["garden", "roof"] {
        upload(&a, camera, &[], &jpeg(1));
        edge.becomes(camera, "/state", &json!("live"));
    }
    let mut viewer = watch(&edge, "/cameras/roof/live.ws");
    assert_eq!(frame(&mut viewer).1, jpeg(1));
    drop(viewer);
    edge.becomes("roof", "/viewers/websocket", &json!(0));
    upload(&a, "roof", &[("Frame-Seq", "2")], &jpeg(2));
    edge.becomes("roof", "/seq", &json!(2));
    nats.kill();
    bus_is(&edge, "away");
    let viewers = ["garden", "roof"].map(|camera| {
        let mut viewer = watch(&edge, &format!("/cameras/{camera}/live.ws"));
        let told = told(&mut viewer, Duration::from_millis(700));
        assert!(!told.is_empty() && !told.iter().any(|word| word == "live"), "{camera}: {told:?}");
        (camera, viewer)
    });
    nats.restart();
    works(&edge);
    works(&a);
    for (n, (camera, mut viewer)) in (10..).zip(viewers) {
        upload(&a, camera, &[], &jpeg(n));
        let (mut live, mut shown) = (false, false);
        while !(live && shown) {
            let message = viewer.read().unwrap();
            if let Message::Binary(message) = message {
                let (head, picture) = frame::wire::Head::decode(message).unwrap();
                shown |= *picture == jpeg(n);
                ready(&mut viewer, head.seq);
            } else if let Message::Text(said) = message {
                live = said.contains("\"live\"");
            }
        }
    }
}

#[test]
fn who_was_offline_before_the_bus_was_away_is_not_told_of_again() {
    let mut nats = Nats::start("");
    let a = relay("a", &nats.url(), HASTY);
    let edge = relay("edge", &nats.url(), &format!("{EDGE}\n{HASTY}"));
    upload(&a, "garden", &[], &jpeg(1));
    let told = |relay: &Relay| {
        ["camera-stale", "camera-offline"]
            .map(|event| relay.count_lines(&format!("stillwatch_event=\"{event}\"")))
    };
    for relay in [&a, &edge] {
        relay.becomes("garden", "/state", &json!("offline"));
        relay.said("camera garden: offline", 1);
        assert_eq!(told(relay), [1, 1]);
    }
    // The stream says once a second that it is there; what it was then counts.
    pause(Duration::from_millis(1_500));
    nats.kill();
    bus_is(&edge, "away");
    pause(Duration::from_secs(2));
    nats.restart();
    works(&a);
    works(&edge);
    // As long as it takes until they are sure, and to become offline.
    pause(Duration::from_secs(6));
    for relay in [&a, &edge] {
        relay.becomes("garden", "/state", &json!("offline"));
        assert_eq!(told(relay), [1, 1], "what was known before is no news");
    }
}
