//! What holds when somebody wants too much.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use testbed::eventually::becomes_true;
use testbed::program::SOON;

use crate::mjpeg::Viewer;
use crate::relay::{PHOTO, ROOT, Relay, answer, jpeg};

#[test]
fn one_address_has_only_so_many_connections() {
    let relay =
        Relay::with("relay.max_connections_per_address = 2\nrelay.proxies = \"192.0.2.1/32\"");
    let held = relay.hold(2);
    let refused = answer(&mut relay.connect());
    assert_eq!((refused.status(), refused.header("retry-after")), (429, Some("5")));
    assert_eq!(refused.body, b"too many connections from your address\n");
    relay.program.line("relay.max_connections_per_address");
    drop(held);
    becomes_true("a free place", SOON, || relay.request("GET", "/healthz").status() == 200);
}

#[test]
fn a_proxy_on_this_machine_may_have_many() {
    let relay = Relay::with("relay.max_connections_per_address = 1");
    let _held: Vec<TcpStream> = (0..20).map(|_| relay.connect()).collect();
    assert_eq!(relay.get("/healthz").status(), 200);
}

#[test]
fn a_camera_has_only_so_many_uploads_a_second() {
    let relay = Relay::with("relay.max_upload_rate = 1");
    let answers: Vec<_> = (0..10).map(|n| relay.post(ROOT, &[], &jpeg(n))).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
    assert!(refused.len() >= 5, "{answers:?}");
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    assert!(answers.iter().any(|answer| answer.status() == 200));
    // Another camera is another camera.
    let other = relay.post("/cameras/garden?password=story-password", &[], PHOTO);
    assert_eq!(other.status(), 200);
    let metric = "stillwatch_uploads_refused_total{camera=\"default\",reason=\"too_fast\"}";
    assert!(relay.metric(metric) >= 5.0);
}

#[test]
fn ten_thousand_viewers_that_came_and_went_leave_nothing() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let mut stays = Viewer::new(&relay, "/live.mjpeg");
    stays.part();
    let open = || {
        let pid = relay.program.id();
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    };
    relay.get("/healthz");
    let before = open();
    for n in 0..10_000 {
        let mut stream = relay.connect();
        let path = ["/live.mjpeg", "/live.jpeg", "/live8x6.jpeg", "/live.ws"][n % 4];
        // Some go without a word, some in the middle of their request.
        let request = format!("GET {path} HTTP/1.1\r\nHost: r\r\n\r\n");
        let sent = if n % 5 == 0 { &request[..n % request.len()] } else { &request };
        stream.write_all(sent.as_bytes()).unwrap();
    }
    relay.becomes("default", "/viewers/mjpeg", &1.into());
    becomes_true("as many descriptors as before", SOON, || open() <= before + 1);
    relay.upload(&jpeg(1));
    assert_eq!(stays.part().1, jpeg(1), "who watched goes on watching");
}

#[test]
fn prometheus_takes_the_metrics() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    Viewer::new(&relay, "/live.mjpeg").part();
    let answer = relay.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: run scripts/setup test");
    promtool.stdin.take().unwrap().write_all(&answer.body).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && said.is_empty(), "{said}");
    assert!(
        (relay.metric("stillwatch_camera_state{camera=\"default\",state=\"live\"}") - 1.0).abs()
            < 0.1
    );
    assert!(relay.metric("stillwatch_frame_age_seconds{camera=\"default\"}") < 60.0);
    for name in [
        "stillwatch_frames_received_total{camera=\"default\"}",
        "stillwatch_frames_sent_total{camera=\"default\",kind=\"mjpeg\"}",
        "stillwatch_sent_age_seconds_count{camera=\"default\",kind=\"mjpeg\"}",
    ] {
        assert!((relay.metric(name) - 1.0).abs() < 0.1, "{name}");
    }
}

#[test]
fn the_dashboard_shows_what_there_is() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    // Of what nobody looks at nothing is counted.
    assert_eq!(relay.get("/live.jpeg").status(), 200);
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    let dashboard = include_str!("../../../docs/grafana/stillwatch-relay.json");
    let names: std::collections::BTreeSet<&str> = dashboard
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("stillwatch_"))
        // There where there are other relays.
        .filter(|word| {
            !["stillwatch_cluster_clock_offset_seconds", "stillwatch_cluster_works"].contains(word)
        })
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let found = metrics
            .lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(found, "{name} is no metric");
    }
}
