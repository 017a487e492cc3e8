//! Several relays and the real NATS server: what one takes, all show.

mod bus;
mod examples;
mod foreign;
mod healing;
mod links;

use std::net::SocketAddr;

use serde_json::json;
use testbed::eventually::{becomes_true, pause};
use testbed::nats::Nats;
use testbed::program::SOON;
use tungstenite::Message;

use crate::relay::{PASSWORD, Relay, captured_at, jpeg};
use crate::websocket::{OURS, camera, frame, message, ready, text, try_open, watch};

/// A relay of a cluster, with more of its configuration.
pub(crate) fn relay(name: &str, url: &str, more: &str) -> Relay {
    let relay = Relay::with(&config(name, url, more));
    works(&relay);
    relay
}

/// A relay's configuration; what is added is of the section `[cluster]`.
fn config(name: &str, url: &str, more: &str) -> String {
    format!("[cluster]\nurl = \"{url}\"\nname = \"{name}\"\n{more}\n")
}

/// Waits until the bus works.
fn works(relay: &Relay) {
    becomes_true("the bus works", SOON, || relay.status()["cluster"]["bus"] == "works");
}

fn bus_is(relay: &Relay, word: &str) -> String {
    becomes_true(&format!("the bus is {word}"), SOON, || relay.status()["cluster"]["bus"] == word);
    relay.status()["cluster"]["problem"].as_str().unwrap_or_default().to_owned()
}

fn upload(relay: &Relay, camera: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = relay.post(&format!("/cameras/{camera}?password={PASSWORD}"), headers, body);
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// Waits until the relay shows this picture of a camera.
fn shows(relay: &Relay, camera: &str, body: &[u8]) {
    let path = format!("/cameras/{camera}/live.jpeg");
    becomes_true(&format!("{camera} is shown"), SOON, || relay.get(&path).body == body);
}

const EDGE: &str = "role = \"edge\"";

#[test]
fn what_one_relay_takes_all_show_as_it_was_uploaded() {
    let nats = Nats::start("");
    let [a, b, edge] =
        [("a", ""), ("b", ""), ("edge", EDGE)].map(|(name, more)| relay(name, &nats.url(), more));
    let t = captured_at(-100);
    upload(&a, "garden", &[("Frame-Captured-At", &t), ("Frame-Seq", "7")], &jpeg(1));
    for other in [&b, &edge] {
        shows(other, "garden", &jpeg(1));
        let answer = other.get("/cameras/garden/live.jpeg");
        assert_eq!(answer.header("frame-seq"), Some("7"));
        assert_eq!(answer.header("frame-captured-at").map(|at| &at[..23]), Some(&t[..23]));
        assert_eq!(answer.header("frame-time-source"), Some("captured"));
        assert_eq!(answer.header("frame-state"), Some("live"));
        assert_eq!(other.of_camera("garden", "/relay"), json!("a"));
    }
    // Any relay takes any camera's uploads.
    upload(&b, "garden", &[("Frame-Captured-At", &captured_at(0))], &jpeg(2));
    for other in [&a, &b, &edge] {
        shows(other, "garden", &jpeg(2));
    }
    assert_eq!(a.of_camera("garden", "/relay"), json!("b"));
    assert_eq!(b.of_camera("garden", "/relay"), json!(null));
}

#[test]
fn the_older_of_two_frames_wins_nowhere() {
    let nats = Nats::start("");
    let [a, b] = ["a", "b"].map(|name| relay(name, &nats.url(), ""));
    let at = |ms| captured_at(ms);
    let (older, newer) = (at(-2_000), at(-1_000));
    upload(&a, "garden", &[("Frame-Captured-At", &newer)], &jpeg(1));
    shows(&b, "garden", &jpeg(1));
    // A retry that was on its way for long, to the other relay.
    upload(&b, "garden", &[("Frame-Captured-At", &older)], &jpeg(2));
    assert_eq!(b.of_camera("garden", "/uploads/older"), json!(1));
    shows(&b, "garden", &jpeg(1));
    // A camera without a clock: its numbers tell, whatever relay they come to.
    let of = |boot: &'static str, seq: &'static str| {
        [("Frame-Boot", boot), ("Frame-Seq", seq), ("Frame-Flags", "clock-unsynchronised")]
    };
    let (first, second) = ("00000000000000aa", "00000000000000bb");
    upload(&a, "roof", &of(first, "5"), &jpeg(5));
    shows(&b, "roof", &jpeg(5));
    upload(&b, "roof", &of(first, "4"), &jpeg(4));
    assert_eq!(b.of_camera("roof", "/uploads/older"), json!(1));
    upload(&b, "roof", &of(first, "6"), &jpeg(6));
    upload(&b, "roof", &of(second, "0"), &jpeg(10));
    shows(&a, "roof", &jpeg(10));
}

#[test]
fn two_relays_at_once_and_the_same_newest_frame_in_the_end() {
    let nats = Nats::start("");
    let [a, b, edge] =
        [("a", ""), ("b", ""), ("edge", EDGE)].map(|(name, more)| relay(name, &nats.url(), more));
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(-60_000))], &jpeg(0));
    becomes_true("it is known", SOON, || edge.of_camera("garden", "/seq") == json!(0));
    let seen = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut viewer = watch(&edge, "/cameras/garden/live.ws");
            let mut seen = Vec::new();
            loop {
                let (head, picture) = frame(&mut viewer);
                ready(&mut viewer, head.seq);
                seen.push(head.captured_us);
                if picture == jpeg(200) {
                    return seen;
                }
            }
        });
        // The network of an agent that moves to and fro: what it sent comes late, twice, out of order.
        for (number, taker) in [(1, &a), (2, &b)] {
            scope.spawn(move || {
                for n in 0..100_u32 {
                    let n = 2 * n + number;
                    let at = captured_at(i64::from(n) - 1_000_000);
                    let at = if n % 10 == 3 { captured_at(-2_000_000) } else { at };
                    upload(taker, "garden", &[("Frame-Captured-At", &at)], &jpeg(n));
                }
            });
        }
        // Uploaded last, and the newest.
        becomes_true("all came", SOON, || {
            let taken = |relay: &Relay| {
                let count = |what| relay.of_camera("garden", what).as_u64().unwrap_or(0);
                count("/uploads/accepted") + count("/uploads/older")
            };
            taken(&a) + taken(&b) >= 201
        });
        upload(&b, "garden", &[("Frame-Captured-At", &captured_at(0))], &jpeg(200));
        watching.join().unwrap()
    });
    for relay in [&a, &b, &edge] {
        shows(relay, "garden", &jpeg(200));
    }
    assert!(seen.is_sorted(), "a viewer saw time go back: {seen:?}");
}

#[test]
fn pictures_travel_where_somebody_watches_and_once() {
    let nats = Nats::start("");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    let fetched = || edge.metric("stillwatch_cluster_fetched_total{outcome=\"shown\"}");
    for n in 0..20 {
        upload(&a, "garden", &[("Frame-Seq", &n.to_string())], &jpeg(n));
    }
    becomes_true("all were heard of", SOON, || edge.of_camera("garden", "/seq") == json!(19));
    edge.becomes("garden", "/state", &json!("live"));
    assert!(fetched().abs() < 0.5, "nobody watches: {}", fetched());
    // Three who watch.
    let mut viewers: Vec<_> = (0..3).map(|_| watch(&edge, "/cameras/garden/live.ws")).collect();
    for viewer in &mut viewers {
        assert_eq!(text(viewer)["state"], "live");
        assert_eq!(frame(viewer).1, jpeg(19), "the newest first, and no older one");
        ready(viewer, 19);
    }
    for n in 20..40_u32 {
        upload(&a, "garden", &[("Frame-Seq", &n.to_string())], &jpeg(n));
        for viewer in &mut viewers {
            assert_eq!(frame(viewer).1, jpeg(n));
            ready(viewer, n.into());
        }
    }
    assert!((fetched() - 21.0).abs() < 0.5, "each once: {}", fetched());
    assert!(edge.metric("stillwatch_cluster_heads_total") >= 21.0);
    assert!(a.metric("stillwatch_cluster_fetched_total{outcome=\"shown\"}").abs() < 0.5);
}

#[test]
fn a_relay_that_starts_has_what_there_is() {
    let nats = Nats::start("");
    let a = relay("a", &nats.url(), "");
    for n in 0..30 {
        upload(&a, &format!("camera-{n}"), &[("Frame-Seq", &n.to_string())], &jpeg(n));
    }
    let published = "stillwatch_cluster_published_total{outcome=\"published\"}";
    becomes_true("all are published", SOON, || a.metric(published) >= 30.0);
    let edge = relay("edge", &nats.url(), EDGE);
    // From the moment when it says that the bus works.
    for n in 0..30 {
        let answer = edge.get(&format!("/cameras/camera-{n}/live.jpeg"));
        assert_eq!((answer.status(), answer.body), (200, jpeg(n)));
    }
    // And when none of those who took them is there any more.
    drop(a);
    let late = relay("late", &nats.url(), "");
    shows(&late, "camera-7", &jpeg(7));
}

#[test]
fn an_edge_takes_no_uploads_and_has_no_password() {
    let nats = Nats::start("");
    let folder = tempfile::tempdir().unwrap();
    let edge = Relay::at(folder.path(), &config("edge", &nats.url(), EDGE), &[("PASSWORD", "")]);
    let answer = edge.post("/?password=anything", &[], &jpeg(1));
    assert_eq!(answer.status(), 403);
    assert!(String::from_utf8(answer.body).unwrap().contains("cluster.role"));
    assert_eq!(try_open(&edge, "/upload.ws?password=anything", &[OURS]).err(), Some(403));
    assert!(
        edge.metric("stillwatch_uploads_refused_total{camera=\"default\",reason=\"not_here\"}")
            > 0.5
    );
}

#[test]
fn an_ingest_relay_shows_its_own_and_knows_where_a_camera_has_gone() {
    let nats = Nats::start("");
    let ingest = relay("ingest", &nats.url(), "role = \"ingest\"");
    let b = relay("b", &nats.url(), "");
    upload(&b, "garden", &[], &jpeg(1));
    upload(&ingest, "roof", &[("Frame-Captured-At", &captured_at(-1_000))], &jpeg(2));
    shows(&b, "roof", &jpeg(2));
    assert_eq!(ingest.get("/cameras/garden/live.jpeg").status(), 404);
    // It moves.
    upload(&b, "roof", &[("Frame-Captured-At", &captured_at(0)), ("Frame-Seq", "9")], &jpeg(3));
    ingest.becomes("roof", "/relay", &json!("b"));
    ingest.becomes("roof", "/state", &json!("live"));
    let answer = ingest.get("/cameras/roof/live.jpeg");
    assert_eq!(answer.header("frame-state"), Some("stale"));
    assert_eq!(answer.body, jpeg(2));
}

#[test]
fn an_agent_hears_of_those_who_watch_at_other_relays() {
    let nats = Nats::start("");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    let token = format!("Bearer {PASSWORD}");
    let headers = [OURS, ("authorization", token.as_str()), ("frame-viewers", "wanted")];
    let mut agent = try_open(&a, "/cameras/garden/upload.ws", &headers).unwrap();
    agent.send(message(1, &jpeg(1))).unwrap();
    assert_eq!(text(&mut agent)["ack"], 1);
    assert_eq!(text(&mut agent)["viewers"], 0);
    edge.becomes("garden", "/state", &json!("live"));
    let viewer = watch(&edge, "/cameras/garden/live.ws");
    assert_eq!(text(&mut agent)["viewers"], 1);
    let second = watch(&a, "/cameras/garden/live.ws");
    drop(viewer);
    // It is told with the next frame, as ever.
    let mut seq = 1;
    becomes_true("one watches", SOON, || {
        seq += 1;
        agent.send(message(seq, &jpeg(1))).unwrap();
        loop {
            let said = text(&mut agent);
            if said["viewers"] == 1 {
                return true;
            }
            if said["ack"] == json!(seq) {
                pause(std::time::Duration::from_millis(100));
                return false;
            }
        }
    });
    drop(second);
}

/// With limits that a test can wait for.
const HASTY: &str = "[freshness]\nstale_after = \"600ms\"\noffline_after = \"3s\"";

#[test]
fn how_an_agent_stands_is_known_at_all_relays() {
    let nats = Nats::start("");
    let a = relay("a", &nats.url(), HASTY);
    let edge = relay("edge", &nats.url(), &format!("{EDGE}\n{HASTY}"));
    let mut agent = camera(&a, "/cameras/garden/upload.ws");
    for seq in 1..4 {
        agent.send(message(seq, &jpeg(u32::try_from(seq).unwrap()))).unwrap();
        assert_eq!(text(&mut agent)["ack"], seq);
    }
    edge.becomes("garden", "/state", &json!("live"));
    // Its camera hangs, and it is there all the same.
    edge.becomes("garden", "/state", &json!("stale"));
    for _ in 0..12 {
        pause(std::time::Duration::from_millis(400));
        agent.send(Message::Ping(Vec::new().into())).unwrap();
        assert_eq!(edge.of_camera("garden", "/state"), json!("stale"));
        assert_eq!(a.of_camera("garden", "/state"), json!("stale"));
    }
    drop(agent);
    a.becomes("garden", "/state", &json!("offline"));
    edge.becomes("garden", "/state", &json!("offline"));
}

#[test]
fn a_private_camera_is_shown_by_those_only_who_know_for_whom() {
    let nats = Nats::start("");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("view.password");
    std::fs::write(&secret, "let me see").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let private = format!("[cameras.garden]\nview_password_file = {secret:?}");
    let a = relay("a", &nats.url(), &private);
    let knows = relay("knows", &nats.url(), &format!("{EDGE}\n{private}"));
    let edge = relay("edge", &nats.url(), EDGE);
    upload(&a, "garden", &[], &jpeg(1));
    upload(&a, "roof", &[], &jpeg(2));
    shows(&edge, "roof", &jpeg(2));
    edge.said("camera garden: it is private at the relay a", 1);
    assert_eq!(edge.get("/cameras/garden/live.jpeg").status(), 404);
    assert!(!edge.status().to_string().contains("garden"));
    assert_eq!(knows.get("/cameras/garden/live.jpeg").status(), 401);
    let basic = [("authorization", "Basic djpsZXQgbWUgc2Vl")];
    becomes_true("who knows the password sees it", SOON, || {
        knows.get_with("/cameras/garden/live.jpeg", &basic).body == jpeg(1)
    });
}

#[test]
fn cameras_with_one_name_are_told_so() {
    let nats = Nats::start("");
    let [a, b] = ["a", "b"].map(|name| relay(name, &nats.url(), ""));
    let boots = ["00000000000000aa", "00000000000000bb"];
    for n in 0..12_u32 {
        for (relay, boot) in [&a, &b].into_iter().zip(boots) {
            let seq = n.to_string();
            upload(relay, "garden", &[("Frame-Boot", boot), ("Frame-Seq", &seq)], &jpeg(n));
            shows(&a, "garden", &jpeg(n));
        }
    }
    for relay in [&a, &b] {
        relay.said("camera garden: two agents have this name", 1);
    }
}

#[test]
fn relays_with_one_name_are_told_so() {
    let nats = Nats::start("");
    let a = relay("same", &nats.url(), "");
    let b = relay("same", &nats.url(), "");
    for relay in [&a, &b] {
        relay.said("another relay calls itself \"same\"", 1);
    }
}

/// What to connect to instead of a server.
fn through(address: SocketAddr) -> String {
    format!("nats://{address}")
}
