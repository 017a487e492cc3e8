//! Several relays as their operators start them, real agents, and what dies: the picture goes on.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it is test code, and a panic is how a test fails"
)]

use serde_json::Value;
use stories::{Relay, agent, seq_of};
use testbed::eventually::{becomes_true, eventually};
use testbed::http::get;
use testbed::nats::Nats;
use testbed::program::SOON;

const PATTERN: [&str; 6] = ["--source", "pattern", "--size", "320x240", "--fps", "20"];

fn relay(nats: &Nats, name: &str, role: &str) -> Relay {
    let relay = Relay::with(&[
        ("STILLWATCH_CLUSTER_URL", &nats.url()),
        ("STILLWATCH_CLUSTER_NAME", name),
        ("STILLWATCH_CLUSTER_ROLE", role),
    ]);
    becomes_true("the bus works", SOON, || status(&relay)["cluster"]["bus"] == "works");
    relay
}

fn status(relay: &Relay) -> Value {
    serde_json::from_slice(&get(relay.address, "/status.json").unwrap().body).unwrap()
}

/// Waits until a relay shows a frame after this one, which that relay took.
fn shows_after(relay: &Relay, seq: u64, home: &str) -> u64 {
    eventually(&format!("a frame that {home} took"), SOON, || {
        let seen = seq_of(&relay.frame_after(seq));
        let cameras = &status(relay)["cameras"];
        if cameras[0]["relay"] == home { Ok(seen) } else { Err(cameras.to_string()) }
    })
}

#[test]
fn a_relay_dies_and_its_cameras_and_their_viewers_go_on() {
    let nats = Nats::start("");
    let mut a = relay(&nats, "a", "both");
    let (b, edge) = (relay(&nats, "b", "both"), relay(&nats, "edge", "edge"));
    // The first takes no uploads, which the agent finds out by itself.
    let urls = [&edge, &a, &b].map(Relay::url).join(" ");
    let mut agent = agent(&urls, &PATTERN, &[]);
    let seq = shows_after(&edge, 5, "a");
    a.program.signal("KILL");
    a.program.ended();
    let seq = shows_after(&edge, seq, "b");
    // It comes back, and shows what another takes now.
    a.restart();
    shows_after(&a, seq, "b");
    assert!(agent.runs());
    let camera = &status(&a)["cameras"][0];
    assert_eq!(camera["state"], "live", "{camera}");
}

#[test]
fn the_bus_dies_and_every_relay_goes_on_with_what_it_has() {
    let mut nats = Nats::start("");
    let (a, edge) = (relay(&nats, "a", "both"), relay(&nats, "edge", "edge"));
    let _agent = agent(&a.url(), &PATTERN, &[]);
    shows_after(&edge, 5, "a");
    nats.kill();
    let seq = seq_of(&edge.frame("/live.jpeg"));
    let seq = seq_of(&a.frame_after(seq + 20));
    assert_eq!(edge.frame("/live.jpeg").status(), 200, "as old as it is");
    nats.restart();
    shows_after(&edge, seq, "a");
}
