//! The relay with the viewers and web servers that people have: nginx, ffmpeg, curl, Chromium, and a
//! client in another language that was written from docs/protocol.md.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use stories::caddy::Caddy;
use stories::card::on_screenshot;
use stories::nginx::nginx;
use stories::{PASSWORD, PYTHON, Relay, agent, of_repository, seq_of};
use testbed::eventually::becomes_true;
use testbed::http::{get, request};
use testbed::program::SOON;

const PATTERN: [&str; 6] = ["--source", "pattern", "--size", "640x360", "--fps", "10"];

#[test]
fn nginx_serves_the_export_and_never_says_not_modified() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap().to_owned();
    let relay = Relay::with(&[
        ("STILLWATCH_EXPORT_DIR", &dir),
        ("STILLWATCH_EXPORT_SIZES", "320x240"),
        ("STILLWATCH_EXPORT_INTERVAL", "20ms"),
    ]);
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    becomes_true("the files", SOON, || folder.path().join("live320x240.jpeg").exists());
    let nginx = nginx("stillwatch-static.conf", &[("/var/www/stillwatch", &dir)]);
    let mut pictures: Vec<Vec<u8>> = Vec::new();
    let mut reads = 0;
    while pictures.len() < 6 {
        reads += 1;
        assert!(reads < 100_000, "it does not move");
        let soon = [("If-Modified-Since", "Fri, 01 Jan 2038 00:00:00 GMT")];
        let answer = request(nginx.address, "GET", "/live.jpeg", &soon, b"").unwrap();
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("image/jpeg")));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("etag"), None);
        let whole = answer.body.starts_with(b"\xff\xd8") && answer.body.ends_with(b"\xff\xd9");
        assert!(whole, "{} bytes", answer.body.len());
        if pictures.last() != Some(&answer.body) {
            pictures.push(answer.body);
        }
    }
    for (path, status) in
        [("/live320x240.jpeg", 200), ("/status.json", 200), ("/.live.jpeg.tmp", 404)]
    {
        assert_eq!(get(nginx.address, path).unwrap().status(), status, "{path}");
    }
}

#[test]
fn everything_works_through_nginx_as_a_proxy() {
    let relay = Relay::start();
    let to = relay.address.to_string();
    let nginx = nginx("stillwatch-proxy.conf", &[("127.0.0.1:5000", &to)]);
    // Who asks is on this machine, too, so what it claims is believed.
    everything_works_through(&relay, nginx.address, "192.0.2.7");
}

#[test]
fn everything_works_through_nginx_that_keeps_stills() {
    let relay = Relay::start();
    let to = relay.address.to_string();
    let nginx = nginx("stillwatch-cache.conf", &[("127.0.0.1:5000", &to)]);
    everything_works_through(&relay, nginx.address, "192.0.2.7");
}

#[test]
fn everything_works_through_caddy_as_a_proxy() {
    let relay = Relay::start();
    let caddy = Caddy::before(relay.address);
    // Caddy passes no claims on.
    everything_works_through(&relay, caddy.address, "127.0.0.1");
}

fn everything_works_through(relay: &Relay, proxy: SocketAddr, from: &str) {
    let agent = agent(&format!("http://{proxy}/"), &PATTERN, &[]);
    agent.line("uploading over a WebSocket");
    relay.frame_after(5);
    let still = get(proxy, "/live320x240.jpeg").unwrap();
    assert_eq!((still.status(), seq_of(&still) > 0), (200, true));
    assert_eq!(watched(&proxy.to_string(), 5).len(), 5);
    assert!(snapshot(&format!("http://{proxy}/live.mjpeg")) > 1_000);
    let upload = |claimed: &[(&str, &str)], password: &str| {
        let path = format!("/?password={password}");
        request(proxy, "POST", &path, claimed, b"GIF").unwrap().status()
    };
    assert_eq!(upload(&[], PASSWORD), 415);
    assert_eq!(upload(&[("X-Forwarded-For", "192.0.2.7")], "wrong"), 400);
    relay.program.line(&format!("upload from {from} refused: "));
}

#[test]
fn ffmpeg_and_curl_read_the_stream() {
    let relay = Relay::start();
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let url = format!("{}live.mjpeg", relay.url());
    for arguments in [&["-f", "mpjpeg"][..], &[]] {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-xerror"])
            .args(arguments)
            .args(["-i", &url, "-frames:v", "15", "-f", "framehash", "-"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
        let frames = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut hashes: Vec<&str> = frames
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split(',').nth(5))
            .collect();
        assert_eq!(hashes.len(), 15, "{frames}");
        hashes.dedup();
        assert!(hashes.len() > 10, "different pictures: {frames}");
    }
    let output = Command::new("curl").args(["-sN", "--max-time", "2", &url]).output().unwrap();
    let heads = output.stdout.windows(15).filter(|window| window == b"Content-Length:").count();
    assert!(heads >= 5, "{heads} parts in 2 s");
}

/// What the Python client saw: numbers of frames.
fn watched(address: &str, count: usize) -> Vec<u64> {
    let output = client(&["watch", address, &count.to_string()]);
    let seen = output.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    seen.collect()
}

fn snapshot(url: &str) -> usize {
    client(&["snapshot", url]).trim().parse().unwrap()
}

fn client(arguments: &[&str]) -> String {
    let mut command = Command::new(PYTHON);
    command.arg(of_repository("tests/clients/stillwatch.py")).args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_client_written_from_the_documentation_works() {
    let relay = Relay::start();
    let address = relay.address.to_string();
    let camera = agent(&relay.url(), &PATTERN, &[]);
    let numbers = watched(&address, 10);
    assert!(numbers.is_sorted() && numbers.len() == 10, "{numbers:?}");
    assert!(snapshot(&format!("{}live.mjpeg", relay.url())) > 1_000);
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.jpeg");
    fs::write(&good, relay.frame("/live.jpeg").body).unwrap();
    drop(camera);
    let bad = folder.path().join("bad.jpeg");
    fs::write(&bad, b"GIF89a").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let answers = client(&["upload", &address, PASSWORD, good, bad, good]);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!((answers[0], answers[2]), ("{\"ack\":1}", "{\"ack\":3}"));
    assert!(answers[1].starts_with("{\"refused\":2,\"why\":\""), "{answers:?}");
}

/// Blink draws a part when the next one's head has come. The last picture before a pause is what
/// matters: it has to be on the screen without another one.
#[test]
fn chromium_shows_the_last_picture_though_no_other_follows() {
    let relay = Relay::start();
    let camera = agent(&relay.url(), &PATTERN, &[]);
    relay.frame_after(3);
    drop(camera);
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let image = |path: &str| format!("<img src=\"{}{path}\">", relay.url());
    let shown = |name: &str, html: &str| {
        fs::write(&page, html).unwrap();
        let url = format!("file://{}", page.display());
        on_screenshot(folder.path(), name, "--timeout=3000", &url)
    };
    let still = shown("still.png", &image("live.jpeg"));
    assert_eq!(shown("stream.png", &image("live.mjpeg")), still);
}
