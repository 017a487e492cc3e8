//! Bad ways between a relay and the bus: cut, silent, slow, late.

use std::time::Duration;

use serde_json::json;
use testbed::eventually::becomes_true;
use testbed::link::Link;
use testbed::nats::Nats;
use testbed::program::SOON;

use super::{EDGE, HASTY, bus_is, relay, shows, through, upload, works};
use crate::relay::{jpeg, photo};
use crate::websocket::{frame, ready, watch};

#[test]
fn a_relay_that_is_cut_off_says_so_and_is_whole_when_the_way_is_back() {
    let nats = Nats::start("");
    let link = Link::to(nats.address);
    let a = relay("a", &nats.url(), HASTY);
    let edge = relay("edge", &through(link.address), &format!("{EDGE}\n{HASTY}"));
    upload(&a, "garden", &[], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    // A way on which nothing comes through, and nobody says so.
    link.silent(true);
    upload(&a, "garden", &[], &jpeg(2));
    bus_is(&edge, "away");
    edge.becomes("garden", "/state", &json!("stale"));
    a.said("the relay edge has not been heard", 1);
    assert_eq!(a.status()["cluster"]["relays"][0]["state"], "missing");
    link.silent(false);
    link.cut();
    works(&edge);
    shows(&edge, "garden", &jpeg(2));
    becomes_true("it is heard again", SOON, || {
        a.status()["cluster"]["relays"][0]["state"] == "heard"
    });
}

#[test]
fn over_a_thin_link_frames_are_skipped_and_the_newest_comes() {
    let nats = Nats::start("");
    let link = Link::to(nats.address);
    let a = relay("a", &nats.url(), "");
    let edge = relay("edge", &through(link.address), EDGE);
    upload(&a, "garden", &[], &photo(160, 120, 0));
    edge.becomes("garden", "/state", &json!("live"));
    let mut viewer = watch(&edge, "/cameras/garden/live.ws");
    let (head, _) = frame(&mut viewer);
    ready(&mut viewer, head.seq);
    // Less than a picture of 20 KB takes at this rate of uploads.
    link.slow(100_000);
    let large = |seed: u8| photo(400, 300, seed);
    let mut uploads = 0;
    let fetched = || edge.metric("stillwatch_cluster_fetched_total{outcome=\"shown\"}");
    becomes_true("twenty came through", Duration::from_secs(120), || {
        uploads += 1;
        upload(&a, "garden", &[], &large(u8::try_from(uploads % 200).unwrap()));
        fetched() >= 20.0
    });
    let last = large(250);
    upload(&a, "garden", &[], &last);
    // None of those that were skipped is waited for.
    loop {
        let (head, picture) = frame(&mut viewer);
        ready(&mut viewer, head.seq);
        if picture == last {
            break;
        }
    }
    assert!(fetched() < f64::from(uploads), "{} of {uploads}", fetched());
}

#[test]
fn far_away_two_pictures_are_on_their_way_at_a_time() {
    let nats = Nats::start("");
    let link = Link::to(nats.address);
    link.late(Duration::from_millis(40));
    let a = relay("a", &nats.url(), "");
    let edge = relay("edge", &through(link.address), EDGE);
    upload(&a, "garden", &[], &jpeg(0));
    edge.becomes("garden", "/state", &json!("live"));
    let mut viewer = watch(&edge, "/cameras/garden/live.ws");
    for n in 1..30 {
        upload(&a, "garden", &[], &jpeg(n));
    }
    loop {
        let (head, picture) = frame(&mut viewer);
        ready(&mut viewer, head.seq);
        if picture == jpeg(29) {
            break;
        }
    }
}
