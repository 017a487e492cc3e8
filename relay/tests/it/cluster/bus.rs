//! The bus itself: it dies and comes back, once and as a cluster of three; who may use it, and how it is encrypted.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use testbed::eventually::{becomes_true, pause};
use testbed::nats::Nats;
use testbed::program::SOON;

use super::{EDGE, HASTY, bus_is, config, relay, shows, upload, works};
use crate::relay::{Relay, captured_at, jpeg};

/// It is killed and comes back, and what it kept is lost or not.
fn restart(storage: &str) {
    let mut nats = Nats::start("");
    let a = relay("a", &nats.url(), &format!("storage = \"{storage}\"\n{HASTY}"));
    let edge = relay("edge", &nats.url(), &format!("{EDGE}\n{HASTY}"));
    upload(&a, "garden", &[], &jpeg(1));
    upload(&a, "roof", &[], &jpeg(2));
    shows(&edge, "garden", &jpeg(1));
    shows(&edge, "roof", &jpeg(2));
    nats.kill();
    for relay in [&a, &edge] {
        let problem = bus_is(relay, "away");
        assert!(!problem.is_empty());
        relay.said("stillwatch_event=\"cluster-away\"", 1);
        assert!(
            String::from_utf8(relay.get("/healthz").body).unwrap().contains("\"cluster\":\"away\"")
        );
    }
    // Each serves what it has, and says how old that is: stale, and not offline, which nobody knows.
    edge.becomes("garden", "/state", &json!("stale"));
    pause(std::time::Duration::from_secs(4));
    let answer = edge.get("/cameras/garden/live.jpeg");
    assert_eq!((answer.status(), answer.header("frame-state")), (200, Some("stale")));
    assert_eq!(answer.body, jpeg(1));
    assert!(answer.header("frame-age-ms").unwrap().parse::<u64>().unwrap() >= 4_000);
    // Uploads go on.
    for n in 10..20 {
        upload(&a, "garden", &[], &jpeg(n));
    }
    shows(&a, "garden", &jpeg(19));
    nats.restart();
    for relay in [&a, &edge] {
        works(relay);
    }
    shows(&edge, "garden", &jpeg(19));
    shows(&edge, "roof", &jpeg(2));
    a.said("shares frames by the bus again after", 1);
    // What others see of it from now on.
    let late = relay("late", &nats.url(), EDGE);
    shows(&late, "garden", &jpeg(19));
    shows(&late, "roof", &jpeg(2));
}

#[test]
fn a_bus_that_forgets_is_told_again() {
    restart("memory");
}

#[test]
fn a_bus_that_remembers_is_gone_on_with() {
    restart("file");
}

#[test]
fn a_relay_comes_up_before_its_bus() {
    let mut nats = Nats::start("");
    nats.kill();
    let a = Relay::with(&config("a", &nats.url(), ""));
    upload(&a, "garden", &[], &jpeg(1));
    shows(&a, "garden", &jpeg(1));
    bus_is(&a, "away");
    nats.restart();
    works(&a);
    shows(&relay("edge", &nats.url(), EDGE), "garden", &jpeg(1));
}

#[test]
fn a_relay_that_was_killed_puts_back_what_the_bus_lost() {
    let mut nats = Nats::start("");
    let mut a = relay("a", &nats.url(), "");
    upload(&a, "default", &[("Frame-Captured-At", &captured_at(-1_000))], &jpeg(1));
    a.stored(&jpeg(1));
    nats.kill();
    nats.restart();
    a.kill_and_restart();
    works(&a);
    let edge = relay("edge", &nats.url(), EDGE);
    shows(&edge, "default", &jpeg(1));
}

#[test]
fn three_servers_lose_one_and_nothing_else() {
    let mut servers = Nats::cluster();
    let url: Vec<String> = servers.iter().map(Nats::url).collect();
    let url = url.join(" ");
    let a = relay("a", &url, "replicas = 3");
    let edge = relay("edge", &url, EDGE);
    upload(&a, "garden", &[], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    for (n, server) in (0_u32..).zip(&mut servers) {
        server.kill();
        // One of them led, and another has to be chosen.
        upload(&a, "garden", &[], &jpeg(100 + n));
        shows(&edge, "garden", &jpeg(100 + n));
        server.restart();
        for relay in [&a, &edge] {
            works(relay);
        }
        upload(&a, "garden", &[], &jpeg(200 + n));
        shows(&edge, "garden", &jpeg(200 + n));
    }
}

#[test]
fn who_is_not_let_in_is_told_which_keys_to_look_at() {
    let users = "authorization { users: [ { user: alps, password: \"right-password\" } ] }";
    let nats = Nats::start(users);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (file("right", "right-password\n"), file("wrong", "wrong"));
    for (more, sentence) in [
        (String::new(), "cluster.user"),
        (format!("user = \"alps\"\npassword_file = {wrong:?}"), "the user \"alps\""),
    ] {
        let stranger = Relay::with(&config("a", &nats.url(), &more));
        let problem = bus_is(&stranger, "refused");
        assert!(problem.contains(sentence) && problem.contains("cluster."), "{problem}");
        stranger.said("stillwatch_event=\"cluster-refused\"", 1);
        // It is a relay all the same.
        stranger.upload(&jpeg(1));
        assert_eq!(stranger.shown(), jpeg(1));
    }
    relay("a", &nats.url(), &format!("user = \"alps\"\npassword_file = {right:?}"));
}

#[test]
fn what_a_user_may_not_do_is_said() {
    let users = "authorization { users: [ { user: alps, password: p, permissions: { publish: { \
                 deny: \"stillwatch.frame.>\" } } } ] }";
    let nats = Nats::start(users);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, "p").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let a = relay("a", &nats.url(), &format!("user = \"alps\"\npassword_file = {path:?}"));
    upload(&a, "garden", &[], &jpeg(1));
    let problem = bus_is(&a, "refused");
    assert!(problem.to_lowercase().contains("permissions violation"), "{problem}");
}

#[test]
fn over_tls_the_authority_is_the_one_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    fs::write(path("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    for name in ["server", "relay"] {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    // It asks for the relays' certificates, too.
    let nats = Nats::start(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem"),
    ));
    let url = format!("tls://localhost:{}", nats.address.port());
    let ca_file = format!("ca_file = {:?}", path("ca.pem"));
    let own =
        format!("certificate_file = {:?}\nkey_file = {:?}", path("relay.pem"), path("relay.key"));
    let stranger = Relay::with(&config("a", &url, ""));
    becomes_true("it does not believe it", SOON, || {
        let status = stranger.status();
        let problem = status["cluster"]["problem"].as_str().unwrap_or_default().to_lowercase();
        status["cluster"]["bus"] != "works" && problem.contains("certificate")
    });
    let a = relay("a", &url, &format!("{ca_file}\n{own}"));
    upload(&a, "garden", &[], &jpeg(1));
    shows(&relay("edge", &url, &format!("{EDGE}\n{ca_file}\n{own}")), "garden", &jpeg(1));
}
