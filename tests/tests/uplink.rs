//! The agent against relays that are absent, go away, or answer nonsense: it recovers by itself,
//! and its journal names the cause and the next attempt.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use stories::nginx::Authority;
use stories::{Relay, agent, seq_of};
use testbed::eventually::{becomes_true, eventually, pause};
use testbed::link::Link;
use testbed::program::{Program, SOON, command};
use testbed::relay::{Answers, Behaviour, FakeRelay, OK, Upload};

const PATTERN: [&str; 6] = ["--source", "pattern", "--size", "320x240", "--fps", "20"];

/// As an agent's own variables.
fn variables(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn uploads_are_the_tutorials_and_keep_one_connection() {
    let relay = FakeRelay::start(OK);
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    becomes_true("ten uploads", SOON, || relay.uploads().len() >= 10);
    let uploads = relay.uploads();
    let mut last_seq = 0;
    for upload in &uploads {
        // The story's own password wins over the URL's.
        assert_eq!(upload.first, "POST /?password=story-password HTTP/1.1");
        assert_eq!(upload.header("content-type"), Some("image/jpeg"));
        let seq = seq(upload).unwrap();
        assert!(seq > last_seq, "{seq} after {last_seq}");
        last_seq = seq;
        assert!(upload.header("frame-captured-at").unwrap().ends_with('Z'));
        assert_eq!(upload.header("frame-flags"), None);
        assert!(upload.body.starts_with(b"\xff\xd8") && upload.body.ends_with(b"\xff\xd9"));
    }
    assert_eq!(relay.connections(), 1);
}

#[test]
fn each_start_of_the_agent_says_which_it_is() {
    let boot = || {
        let relay = FakeRelay::start(Behaviour::HangUp);
        let _agent = agent(&relay.url(), &PATTERN, &[]);
        becomes_true("a handshake", SOON, || !relay.uploads().is_empty());
        relay.set(OK);
        let of = |method: &str| -> Vec<Upload> {
            let mut uploads = relay.uploads();
            uploads.retain(|upload| upload.first.starts_with(method));
            uploads
        };
        becomes_true("uploads", SOON, || of("POST ").len() >= 3);
        assert!(!of("GET /upload.ws ").is_empty());
        let boots = relay.uploads();
        let boots: BTreeSet<&str> =
            boots.iter().map(|upload| upload.header("frame-boot").unwrap_or_default()).collect();
        assert_eq!(boots.len(), 1, "{boots:?}");
        boots.first().copied().unwrap_or_default().to_owned()
    };
    let (first, second) = (boot(), boot());
    assert!(first.len() == 16 && first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
    assert_ne!(first, second);
}

#[test]
fn frames_go_over_a_websocket_which_is_opened_again() {
    let mut relay = Relay::start();
    let mut agent = agent(&relay.url(), &PATTERN, &[]);
    agent.line("uploading over a WebSocket");
    let seq = seq_of(&relay.frame_after(10));
    let metrics = testbed::http::get(relay.address, "/metrics").unwrap();
    assert_eq!(metrics.status(), 200);
    relay.program.signal("KILL");
    relay.program.ended();
    relay.restart();
    relay.frame_after(seq + 10);
    assert!(agent.runs());
    let posts = agent.lines().iter().filter(|line| line.contains("POST")).count();
    assert_eq!(posts, 0, "a network that fails is no reason to change the way");
}

#[test]
fn without_a_websocket_it_uploads_by_post_and_says_so_once() {
    let relay = FakeRelay::start(OK);
    let agent = agent(&relay.url(), &PATTERN, &[]);
    becomes_true("thirty uploads", SOON, || relay.uploads().len() >= 30);
    let line = agent.line("takes no WebSocket (HTTP 404): uploading by POST, asking again in");
    assert!(line.contains("1m"), "{line}");
    let said = agent.lines().iter().filter(|line| line.contains("WebSocket")).count();
    assert_eq!(said, 1);
}

#[test]
fn an_owner_who_wants_a_websocket_gets_no_post() {
    let relay = FakeRelay::start(OK);
    let arguments = [&PATTERN[..], &["--transport", "websocket"]].concat();
    let agent = agent(&relay.url(), &arguments, &[]);
    agent.line("the relay takes no WebSocket (HTTP 404); set upload.transport");
    assert_eq!(relay.uploads().len(), 0);
}

#[test]
fn a_relay_that_misbehaves_is_survived_and_named() {
    let portal = "<html><title>Hotel</title></html>";
    std::thread::scope(|scope| {
        for (behaviour, cause) in [
            (
                Behaviour::Answer("500 Oops", "database is locked"),
                "answered 500: database is locked",
            ),
            (Behaviour::Answer("400 Bad Request", ""), "is the password right?"),
            (Behaviour::Answer("401 Unauthorized", "wrong password"), "(401): wrong password"),
            (Behaviour::Answer("302 Found", ""), "set upload.relay to the right URL"),
            (Behaviour::Answer("200 OK", portal), "captive portal"),
            (Behaviour::Garbage, "makes no sense"),
            (Behaviour::Never, "did not answer within 500ms"),
            (Behaviour::HangUp, "upload: "),
        ] {
            scope.spawn(move || misbehaves(behaviour, cause));
        }
    });
}

fn misbehaves(behaviour: Behaviour, cause: &str) {
    let relay = FakeRelay::start(OK);
    let quick = [("STILLWATCH_UPLOAD_TIMEOUT", "500ms"), ("STILLWATCH_UPLOAD_RETRY_MAX", "500ms")];
    let agent = agent(&relay.url(), &PATTERN, &variables(&quick));
    becomes_true("an upload", SOON, || !relay.uploads().is_empty());
    relay.set(behaviour);
    let line = agent.line(cause);
    assert!(line.contains("upload: ") && line.contains("trying again in "), "{line}");
    assert!(!line.contains(stories::PASSWORD), "{line}");
    relay.set(OK);
    agent.line("upload: works again after");
    let known = relay.uploads().len();
    becomes_true("uploads go on", SOON, || relay.uploads().len() > known + 3);
    // Newest wins: while it could not send, frames were replaced, not queued, and none came twice
    // after another.
    let seqs: Vec<u64> = relay.uploads().iter().filter_map(seq).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
}

fn seq(upload: &Upload) -> Option<u64> {
    upload.header("frame-seq")?.parse().ok()
}

#[test]
fn each_further_attempt_sends_the_newest_frame() {
    let relay = FakeRelay::start(Behaviour::Answer("500 Oops", ""));
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    becomes_true("four attempts", SOON, || relay.uploads().len() >= 4);
    let seqs: Vec<u64> = relay.uploads().iter().filter_map(seq).collect();
    // At 20 frames a second, each wait brings newer ones.
    assert!(seqs.is_sorted_by(|earlier, later| earlier < later), "{seqs:?}");
}

#[test]
fn a_relay_absent_at_first_and_away_for_a_while() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let absent = agent(&format!("http://127.0.0.1:{port}/"), &PATTERN, &[]);
    let line = absent.line("no relay listens there");
    assert!(line.contains("trying again in "), "{line}");
    drop(absent);

    let mut relay = Relay::start();
    let agent = agent(&relay.url(), &PATTERN, &[]);
    let before = seq_of(&relay.frame("/live.jpeg"));
    assert!(relay.program.stop().success());
    agent.line("upload: no relay listens there");
    relay.restart();
    agent.line("upload: works again after");
    relay.frame_after(before);
}

#[test]
fn it_stops_soon_even_while_the_relay_keeps_it_waiting() {
    for signal in ["TERM", "INT"] {
        let relay = FakeRelay::start(Behaviour::Never);
        let mut agent = agent(&relay.url(), &PATTERN, &[]);
        becomes_true("an upload in flight", SOON, || !relay.uploads().is_empty());
        agent.signal(signal);
        assert!(agent.ended().success());
    }
}

#[test]
fn status_tells_how_the_running_agent_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status.json").display().to_string();
    let own = variables(&[("STILLWATCH_AGENT_STATUS_FILE", &file)]);
    let status = |arguments: &[&str]| {
        let mut command = command("stillwatch-agent");
        command.arg("status").args(arguments).envs(own.iter().cloned());
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = status(&[]);
    assert!(code == 3 && text.contains("does not run"), "{code} {text}");
    let relay = FakeRelay::start(OK);
    let mut agent = agent(&relay.url(), &PATTERN, &own);
    eventually("a healthy status", SOON, || match status(&["--json"]) {
        (0, json) if json.contains("\"successes\"") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    eventually("a status with a frame", SOON, || match status(&[]) {
        (0, text) if text.contains(" fps, last frame ") && text.contains("camera: works") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    relay.set(Behaviour::Answer("500 Oops", ""));
    eventually("an unhealthy status", SOON, || match status(&[]) {
        (1, text) if text.contains("upload: the relay answered 500, for ") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(agent.stop().success());
    assert_eq!(status(&[]).0, 3);
}

#[test]
fn a_system_without_certificates_uploads_over_plain_http() {
    let none = tempfile::tempdir().unwrap();
    let (file, folder) = (none.path().join("none.pem"), none.path().display().to_string());
    std::fs::write(&file, "").unwrap();
    let file = file.display().to_string();
    let certificates = variables(&[("SSL_CERT_FILE", &file), ("SSL_CERT_DIR", &folder)]);
    let relay = FakeRelay::start(OK);
    let _agent = agent(&relay.url(), &PATTERN, &certificates);
    becomes_true("an upload", SOON, || !relay.uploads().is_empty());
    let mut secure = agent("https://127.0.0.1:9/", &PATTERN, &certificates);
    secure.line("is the package ca-certificates installed?");
    assert_eq!(secure.ended().code(), Some(1));
}

#[test]
fn the_status_can_be_read_without_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, "[upload]\nrelay = \"http://h/\"\n").unwrap();
    let mut command = command("stillwatch-agent");
    let file = folder.path().join("status.json");
    command.args(["status", "--config"]).arg(&path).env("STILLWATCH_AGENT_STATUS_FILE", file);
    assert_eq!(command.output().unwrap().status.code(), Some(3));
}

#[test]
fn systemd_is_told_ready_status_and_watchdog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let relay = FakeRelay::start(OK);
    let path = path.display().to_string();
    let systemd = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "3000000")];
    let agent = agent(&relay.url(), &PATTERN, &variables(&systemd));
    let mut told = Vec::new();
    let mut buffer = [0; 1024];
    let wanted = ["READY=1", "WATCHDOG=1", "0 uploads failed"];
    while !wanted.iter().all(|word| told.iter().any(|line: &String| line.contains(word))) {
        let read = socket.recv(&mut buffer).unwrap();
        told.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
        assert!(told.len() < 10_000, "{told:?}");
    }
    agent.signal("TERM");
    while !told.iter().any(|line| line.contains("STOPPING=1")) {
        let read = socket.recv(&mut buffer).unwrap();
        told.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
    }
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_the_fix() {
    let run = |arguments: &[&str]| {
        let mut command = command("stillwatch-agent");
        let mut program = Program::start("the agent", command.args(arguments));
        let code = program.ended().code();
        eventually("its last words", SOON, || {
            let lines = program.lines().join("\n");
            if lines.is_empty() { Err("none") } else { Ok((code, lines)) }
        })
    };
    for (arguments, says) in [
        (vec!["run"], "set upload.relay"),
        (vec!["run", "--relay", "http://h/"], "set STILLWATCH_PASSWORD"),
        (vec!["run", "--fps", "fast"], "--fps: camera.fps: \"fast\" is not a number"),
        (vec!["check-config", "--config", "/none.toml"], "/none.toml: can't read"),
    ] {
        let (code, lines) = run(&arguments);
        assert!(code == Some(78) && lines.contains(says), "{arguments:?}: {code:?} {lines}");
    }
    let (code, lines) = run(&["check-config", "--relay", "http://h/?password=1"]);
    assert!(code == Some(0) && lines.contains("uploads to http://h/"), "{code:?} {lines}");
    let mut probe = Command::new(testbed::program::binary("stillwatch-agent"));
    let output = probe.args(["probe", "--json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"cameras\""));
}

#[test]
fn on_a_thin_link_pictures_get_smaller_and_come_in_time() {
    let relay = Relay::start();
    let link = Link::to(relay.address);
    // A card of this size has about 60 KB: three seconds each.
    link.slow(20_000);
    let url = format!("http://{}/", link.address);
    let card = ["--source", "pattern", "--size", "1920x1080", "--fps", "5"];
    let agent = agent(&url, &card, &[]);
    let untouched = relay.frame("/live.jpeg").body.len();
    agent.line("uplink: ");
    // Time for what was sent before to arrive.
    let first = relay.frame_after(seq_of(&relay.frame("/live.jpeg")));
    let mut ages = Vec::new();
    let mut seq = seq_of(&first);
    let mut bytes = 0;
    for _ in 0..20 {
        let frame = relay.frame_after(seq);
        seq = seq_of(&frame);
        bytes = frame.body.len();
        ages.push(frame.header("frame-age-ms").and_then(|age| age.parse::<u64>().ok()).unwrap());
    }
    ages.sort_unstable();
    println!("{untouched} bytes, then {bytes}; ages in ms: {ages:?}");
    assert!(bytes * 4 < untouched, "{bytes} bytes, before {untouched}");
    // An untouched one would be older than that when its last byte comes.
    assert!(ages[10] < 2_500, "{ages:?}");
}

#[test]
fn a_long_way_alone_makes_no_picture_smaller() {
    let relay = Relay::start();
    let link = Link::to(relay.address);
    link.late(Duration::from_millis(400));
    let url = format!("http://{}/", link.address);
    let agent = agent(&url, &["--source", "pattern", "--size", "640x360", "--fps", "5"], &[]);
    let first = seq_of(&relay.frame("/live.jpeg"));
    let mut seq = first;
    for _ in 0..10 {
        seq = seq_of(&relay.frame_after(seq));
    }
    let said = agent.lines().into_iter().filter(|line| line.contains("uplink: ")).count();
    assert_eq!(said, 0, "{:?}", agent.lines());
}

#[test]
fn over_tls_only_to_who_it_should_be() {
    let (relay, ours, others) = (Relay::start(), Authority::default(), Authority::default());
    let trusting = |authority: &Authority| {
        let file = authority.file();
        variables(&[("STILLWATCH_UPLOAD_CA_FILE", file.to_str().unwrap())])
    };
    for (authority, name, until, trusts, line) in [
        (&ours, "127.0.0.1", 2020, &ours, "certificate is not valid at this time"),
        (&ours, "relay.example.org", 2099, &ours, "certificate is for another name"),
        (&ours, "127.0.0.1", 2099, &others, "certificate is from an authority that is not trusted"),
    ] {
        let nginx = authority.nginx(relay.address, name, until);
        let url = format!("https://{}/", nginx.address);
        let agent = agent(&url, &PATTERN, &trusting(trusts));
        agent.line(line);
        assert!(relay.is_empty(), "{line}");
    }
    let nginx = ours.nginx(relay.address, "127.0.0.1", 2099);
    let url = format!("https://{}/", nginx.address);
    let agent = agent(&url, &PATTERN, &trusting(&ours));
    agent.line("uploading over a WebSocket");
    relay.frame_after(seq_of(&relay.frame("/live.jpeg")));
}

#[test]
fn a_relay_that_answers_nothing_or_nonsense_over_a_websocket_gets_posts() {
    std::thread::scope(|scope| {
        for answers in [Answers::Nothing, Answers::Wrong] {
            scope.spawn(move || {
                let relay = FakeRelay::start(Behaviour::Socket(answers));
                let timeout = variables(&[("STILLWATCH_UPLOAD_TIMEOUT", "1s")]);
                let agent = agent(&relay.url(), &PATTERN, &timeout);
                agent.line("the relay did not answer within 1s");
                agent.line("(it opens and says nothing): uploading by POST");
                let posts =
                    || relay.uploads().iter().filter(|u| u.first.starts_with("POST")).count();
                becomes_true("posts", SOON, || posts() > 3);
                // It does not open one after the other: three, and then it goes another way.
                assert!(relay.connections() <= 6, "{}", relay.connections());
            });
        }
    });
}

#[test]
fn a_relay_that_closes_after_each_frame_gets_one_frame_after_the_other() {
    let relay = FakeRelay::start(Behaviour::Socket(Answers::ThenClose));
    let agent = agent(&relay.url(), &PATTERN, &[]);
    becomes_true("ten connections", SOON, || relay.connections() >= 10);
    agent.line("the relay cut the connection");
    // Each time it is news for nobody: one line in 10 s.
    let lines = agent.lines();
    let said = lines.iter().filter(|line| line.contains("cut the connection")).count();
    assert!(said <= 10, "{lines:?}");
}

#[test]
fn nobody_watches_and_it_slows_down_until_somebody_does() {
    let relay = Relay::start();
    let idle = variables(&[("STILLWATCH_UPLOAD_IDLE_INTERVAL", "3s")]);
    let card = ["--source", "pattern", "--size", "320x240", "--fps", "10"];
    let _agent = agent(&relay.url(), &card, &idle);
    let accepted = || {
        let answer = testbed::http::get(relay.address, "/status.json").unwrap();
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        status["cameras"][0]["uploads"]["accepted"].as_u64().unwrap_or(0)
    };
    becomes_true("frames", SOON, || accepted() > 10);
    // Half a minute without anybody, and then no more than one frame in 3 s.
    becomes_true("it slows down", SOON, || {
        let before = accepted();
        pause(Duration::from_millis(2_500));
        accepted() - before <= 2
    });
    // Somebody looks: nobody has to wait for the next 3 s.
    let first = seq_of(&relay.frame("/live.jpeg"));
    let next = relay.frame_after(first + 10);
    let age: u64 = next.header("frame-age-ms").unwrap().parse().unwrap();
    println!("{age} ms old after {} frames", seq_of(&next) - first);
    let before = accepted();
    becomes_true("all frames again", SOON, || accepted() >= before + 10);
}

#[test]
fn a_pinned_key_is_trusted_whatever_its_certificate_says_and_no_other_is() {
    let (relay, authority) = (Relay::start(), Authority::default());
    // Run out, for another name, of an authority nobody knows.
    let nginx = authority.nginx(relay.address, "relay.example.org", 2020);
    let url = format!("https://{}/", nginx.address);
    let other = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let refused = agent(&url, &PATTERN, &variables(&[("STILLWATCH_UPLOAD_PIN", other)]));
    let pin = authority.pin();
    refused.line(&format!("the relay's key is {pin}, and upload.pin names another"));
    assert!(relay.is_empty());
    drop(refused);
    let trusting = agent(&url, &PATTERN, &variables(&[("STILLWATCH_UPLOAD_PIN", &pin)]));
    trusting.line("uploading over a WebSocket");
    relay.frame("/live.jpeg");
}

#[test]
fn without_a_clock_certificates_are_judged_by_the_build_and_by_the_relay() {
    let (relay, authority) = (Relay::start(), Authority::default());
    let file = authority.file();
    let clockless = [
        ("STILLWATCH_UPLOAD_CA_FILE", file.to_str().unwrap()),
        ("STILLWATCH_AGENT_CLOCK", "untrusted"),
    ];
    let nginx = authority.nginx(relay.address, "127.0.0.1", 2020);
    let url = format!("https://{}/", nginx.address);
    let refused = agent(&url, &PATTERN, &variables(&clockless));
    refused.line("certificate is not valid at this time");
    assert!(relay.is_empty());
    drop(refused);
    let nginx = authority.nginx(relay.address, "127.0.0.1", 2099);
    let url = format!("https://{}/", nginx.address);
    let agent = agent(&url, &PATTERN, &variables(&clockless));
    agent.line("certificates are judged by the relay's");
    let frame = relay.frame("/live.jpeg");
    assert_eq!(frame.header("frame-time-source"), Some("arrived"));
}

#[test]
fn frames_are_signed_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, others) = (file("ours", "key one"), file("others", "key two"));
    let config = folder.path().join("relay.toml");
    std::fs::write(&config, format!("cameras.default.sign_key_file = \"{ours}\"")).unwrap();
    let relay = Relay::configured(&config);
    let stranger =
        agent(&relay.url(), &PATTERN, &variables(&[("STILLWATCH_UPLOAD_SIGN_KEY_FILE", &others)]));
    stranger.line("not signed with this camera's key");
    assert!(relay.is_empty());
    drop(stranger);
    for transport in ["websocket", "http"] {
        let arguments = [&PATTERN[..], &["--transport", transport]].concat();
        let key = variables(&[("STILLWATCH_UPLOAD_SIGN_KEY_FILE", &ours)]);
        let agent = agent(&relay.url(), &arguments, &key);
        agent.line("uploading ");
        relay.frame("/live.jpeg");
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    for content in ["", "no certificate\n"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, content).unwrap();
        let mut agent = agent(
            "https://127.0.0.1:1/",
            &PATTERN,
            &variables(&[("STILLWATCH_UPLOAD_CA_FILE", file.to_str().unwrap())]),
        );
        let line = agent.line("upload.ca_file");
        assert!(line.contains("ca.pem") && line.contains("PEM"), "{line}");
        assert_eq!(agent.ended().code(), Some(78), "a wrong configuration");
    }
}
