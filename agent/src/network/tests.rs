//! The watch over real kernel objects: network namespaces and cables between them. This machine's
//! kernel has no WiFi to simulate; the stories in the guest have.

use std::fs;
use std::sync::mpsc;

use super::judge::WireTrouble;
use super::kernel::Want;
use super::testing::{Other, block_on, in_namespace, ip};
use super::*;

/// Looks until the router is as expected.
async fn until(watch: &mut Watch, expected: Gateway) -> Facts {
    let end = clock::mono().after(Duration::from_secs(20));
    loop {
        let facts = watch.look(true).await;
        if facts.gateway == expected {
            return facts;
        }
        assert!(clock::mono() < end, "not {expected:?}, but {facts:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_cable_from_nothing_to_a_router_that_answers() {
    in_namespace(|| {
        let other = Other::start();
        block_on(async {
            let mut watch = Watch::default();
            let mut sees = async |wire, gateway, trouble| {
                let facts = watch.look(false).await;
                let seen = (facts.sight, facts.wire, facts.gateway, facts.wifi.clone());
                assert_eq!(seen, (Sight::Whole, wire, gateway, None));
                assert_eq!(judge(&facts, false), Blame::Wired(trouble));
            };
            sees(Wire::Absent, Gateway::NoRoute, WireTrouble::Absent).await;
            other.cable("near", "far");
            sees(Wire::NoCarrier, Gateway::NoRoute, WireTrouble::NoCarrier).await;
            ip("link set near up");
            sees(Wire::NoCarrier, Gateway::NoRoute, WireTrouble::NoCarrier).await;
            other.ip("link set far up");
            sees(Wire::NoAddress, Gateway::NoRoute, WireTrouble::NoAddress).await;
            ip("addr add 169.254.7.7/16 dev near");
            sees(Wire::NoAddress, Gateway::NoRoute, WireTrouble::NoAddress).await;
            ip("addr add 10.9.0.2/24 dev near");
            sees(Wire::NoRoute, Gateway::NoRoute, WireTrouble::NoRoute).await;
            // A router that nobody has asked for yet is no silent one.
            ip("route add default via 10.9.0.1");
            let facts = watch.look(false).await;
            assert_eq!((facts.wire, facts.gateway), (Wire::Carries, Gateway::Unknown));
            assert_eq!(judge(&facts, false), Blame::OutThere);
            other.ip("addr add 10.9.0.1/24 dev far");
            let facts = until(&mut watch, Gateway::Answers).await;
            assert_eq!(judge(&facts, false), Blame::OutThere);
        });
    });
}

#[test]
fn a_router_that_is_not_there_or_goes_away() {
    in_namespace(|| {
        let other = Other::start();
        other.cable("near", "far");
        other.ip("link set far up");
        ip("link set near up");
        ip("addr add 10.9.0.2/24 dev near");
        ip("route add default via 10.9.0.1");
        // As slow as ever, but for less time.
        for (name, value) in [("delay_first_probe_time", "1"), ("retrans_time_ms", "100")] {
            fs::write(format!("/proc/sys/net/ipv4/neigh/near/{name}"), value).unwrap();
        }
        block_on(async {
            let mut watch = Watch::default();
            let facts = until(&mut watch, Gateway::Silent).await;
            assert_eq!(judge(&facts, false), Blame::Wired(WireTrouble::GatewaySilent));
            other.ip("addr add 10.9.0.1/24 dev far");
            until(&mut watch, Gateway::Answers).await;
            other.ip("addr del 10.9.0.1/24 dev far");
            // It was there a while ago: that proves nothing.
            ip("neigh change 10.9.0.1 dev near nud stale");
            assert_eq!(watch.look(false).await.gateway, Gateway::Unknown);
            until(&mut watch, Gateway::Silent).await;
        });
    });
}

#[test]
fn a_router_of_ipv6_is_as_good() {
    in_namespace(|| {
        let other = Other::start();
        other.cable("near", "far");
        other.ip("link set far up");
        ip("link set near up");
        ip("addr add 2001:db8::2/64 dev near nodad");
        other.ip("addr add fe80::1/64 dev far nodad");
        ip("-6 route add default via fe80::1 dev near");
        block_on(async {
            let mut watch = Watch::default();
            let facts = until(&mut watch, Gateway::Answers).await;
            assert_eq!(facts.wire, Wire::Carries);
        });
    });
}

#[test]
fn what_is_no_way_out_is_none() {
    in_namespace(|| {
        // What containers hang on has an address and no route; a tunnel has a route and is carried
        // by something else.
        let other = Other::start();
        other.cable("port", "far");
        other.ip("link set far up");
        for command in [
            "link add bridge type bridge",
            "link set port master bridge",
            "link set port up",
            "link set bridge up",
            "addr add 172.17.0.1/16 dev bridge",
            "tuntap add dev tunnel mode tap",
            "link set tunnel up",
            "addr add 10.10.0.2/24 dev tunnel",
            "route add default via 10.10.0.1 dev tunnel",
        ] {
            ip(command);
        }
        block_on(async {
            let mut watch = Watch::default();
            let facts = watch.look(true).await;
            assert_eq!((facts.wire, facts.gateway), (Wire::Absent, Gateway::NoRoute));
            // The machine's own bridge is one.
            ip("route add default via 172.17.0.9 dev bridge metric 5");
            let facts = until(&mut watch, Gateway::Silent).await;
            assert_eq!(facts.wire, Wire::Carries);
        });
    });
}

/// Answers when it is told to.
struct Slow(mpsc::Receiver<Reading>);

impl Look for Slow {
    fn look(&mut self, _: &Want) -> Reading {
        self.0.recv().unwrap_or_default()
    }
}

#[tokio::test]
async fn a_kernel_that_is_stuck_is_asked_once_and_holds_nobody_up() {
    let (answers, answer) = mpsc::channel();
    let slow = std::sync::Mutex::new(Some(Slow(answer)));
    let open = move || -> Box<dyn Look> {
        Box::new(slow.lock().unwrap().take().expect("it is opened once"))
    };
    let mut watch = Watch::of(Box::new(open));
    let begin = clock::mono();
    for _ in 0..2 {
        let facts = watch.look(false).await;
        assert_eq!(facts.sight, Sight::Stuck);
        assert_eq!(judge(&facts, false), Blame::Unseen);
    }
    let took = clock::mono().since(begin);
    assert!(took < Duration::from_secs(4), "{took:?}");
    // The late answer is not believed; the next is.
    answers.send(Reading::default()).unwrap();
    let gateway = Gateway::Answers;
    answers.send(Reading { gateway, ..Reading::default() }).unwrap();
    let facts = watch.look(false).await;
    assert_eq!((facts.sight, facts.gateway), (Sight::Whole, Gateway::Answers));
}

#[tokio::test]
async fn one_that_panics_is_asked_anew() {
    struct Broken;
    impl Look for Broken {
        fn look(&mut self, _: &Want) -> Reading {
            panic!("on purpose")
        }
    }
    let mut watch = Watch::of(Box::new(|| Box::new(Broken)));
    for _ in 0..2 {
        let facts = watch.look(false).await;
        // Writing the panic's back trace may take longer than a look may.
        assert_ne!(facts.sight, Sight::Whole);
        assert_eq!(judge(&facts, false), Blame::Unseen);
    }
}

/// What a look costs: `cargo test -p stillwatch-agent --release -- --ignored --nocapture a_look`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_look_costs() {
    let mut watch = Watch::default();
    watch.look(false).await;
    let (begin, cpu) = (clock::mono(), clock::process_cpu());
    for _ in 0..1000 {
        watch.look(false).await;
    }
    let (wall, cpu) = (clock::mono().since(begin), clock::process_cpu().saturating_sub(cpu));
    println!("a look: {:?}, of that {:?} of a processor", wall / 1000, cpu / 1000);
}
