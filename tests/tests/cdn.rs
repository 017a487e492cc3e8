//! Shared caches before a relay, with the real nginx: ten thousand pollers are about one request a second, nobody sees a
//! picture that is older than docs/cdn.md says, what is private is never kept, and a relay that is gone does not look
//! live. The first story prints its figures with `-- --nocapture`.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stories::browser::Browser;
use stories::nginx::{Nginx, nginx};
use stories::photographer::{Photographer, age};
use stories::{PASSWORD, Relay, agent, seq_of};
use testbed::eventually::{becomes_true, eventually};
use testbed::http::{Message, get, request};
use testbed::program::{SOON, binary, command};

/// Between two pictures of the camera.
const EVERY: Duration = Duration::from_millis(100);

/// docs/cdn.md: kept for a second, which nginx makes up to two, and shown for one more while it asks.
const BOUND: Duration = Duration::from_secs(3);

/// What a machine that stalls may add to it.
const STALLS: Duration = Duration::from_secs(10);

fn before(relay: &Relay) -> Nginx {
    nginx("stillwatch-cache.conf", &[("127.0.0.1:5000", &relay.address.to_string())])
}

/// Pictures of this camera that the relay has handed out as stills.
fn asked(relay: &Relay, camera: &str) -> u64 {
    let text = String::from_utf8(get(relay.address, "/metrics").unwrap().body).unwrap();
    let name = format!("stillwatch_frames_sent_total{{camera=\"{camera}\",kind=\"still\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

fn picture(address: SocketAddr) -> Message {
    eventually("a picture", SOON, || {
        let answer = get(address, "/live.jpeg").map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(answer) } else { Err(answer.first) }
    })
}

/// Asks until it is not 200, and says how old the oldest picture was by then.
fn oldest_until_there_is_none(address: SocketAddr) -> Duration {
    let mut oldest = Duration::ZERO;
    becomes_true("no picture", SOON, || match get(address, "/live.jpeg") {
        Ok(answer) if answer.status() == 200 => {
            oldest = oldest.max(age(&answer.body));
            false
        }
        answer => answer.is_ok(),
    });
    oldest
}

#[test]
fn any_number_of_pollers_are_one_request_a_second() {
    let relay = Relay::start();
    let _camera = Photographer::start(relay.address, "default", EVERY);
    relay.frame("/live.jpeg");
    let nginx = before(&relay);
    let (seconds, settle) = (4_u32, 2_u32);
    println!("clients  requests/s at nginx  requests/s at the relay  oldest picture");
    for clients in [10_u64, 100, 1_000, 10_000] {
        let before = asked(&relay, "default");
        let mut crowd = Command::new(binary("crowd"));
        crowd.args(["--kind", "still", "--address", &nginx.address.to_string()]);
        // What pollers append, each its own.
        let paths: Vec<String> = (0..clients.min(500)).map(|n| format!("/live.jpeg?{n}")).collect();
        crowd.args(["--paths", &paths.join(","), "--viewers", &clients.to_string()]);
        crowd.args(["--seconds", &seconds.to_string(), "--settle", &settle.to_string()]);
        // Each of them once a second, which ten thousand do at any time in it.
        let output = crowd.args(["--every", "1000"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let saw: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| saw[name].as_f64().unwrap();
        let came = asked(&relay, "default") - before;
        let at_nginx = number("frames") / f64::from(seconds);
        let at_relay = came as f64 / f64::from(seconds + settle);
        let oldest = Duration::from_secs_f64(number("age_max_ms") / 1_000.0);
        println!("{clients:>7}  {at_nginx:>19.0}  {at_relay:>23.2}  {oldest:>14.2?}");
        assert!(number("ended") == 0.0 && number("fps_min") > 0.0, "each was answered: {saw}");
        assert!(came > 0 && came <= 3 * u64::from(seconds + settle), "{came} of {clients}");
        assert!(oldest <= BOUND + EVERY + STALLS, "{oldest:?}");
    }
}

#[test]
fn a_relay_that_is_gone_does_not_look_live() {
    let mut relay = Relay::start();
    let _camera = Photographer::start(relay.address, "default", EVERY);
    let nginx = before(&relay);
    picture(nginx.address);
    relay.program.signal("KILL");
    relay.program.ended();
    let oldest = oldest_until_there_is_none(nginx.address);
    assert!(oldest <= BOUND + EVERY + STALLS, "{oldest:?}");
    assert_eq!(get(nginx.address, "/live.jpeg").unwrap().status(), 502);
    relay.restart();
    picture(nginx.address);
    // It is there, and says nothing.
    relay.program.signal("STOP");
    let oldest = oldest_until_there_is_none(nginx.address);
    relay.program.signal("CONT");
    assert!(oldest <= BOUND + EVERY + STALLS, "{oldest:?}");
    picture(nginx.address);
}

#[test]
fn what_nginx_keeps_stays_true() {
    let relay = Relay::with(&[("STILLWATCH_FRESHNESS_STALE_AFTER", "4s")]);
    let camera = Photographer::start(relay.address, "default", EVERY);
    let nginx = before(&relay);
    let first = picture(nginx.address);
    assert!(first.header("frame-captured-at").is_some() && first.header("last-modified").is_none());
    // How old it was when the relay was asked, it says only then.
    becomes_true("a picture that was kept", SOON, || {
        picture(nginx.address).header("frame-age-ms").is_none()
    });
    for _ in 0..20 {
        let answer = get(nginx.address, "/live.jpeg?max_age=3600").unwrap();
        assert!(answer.header("frame-age-ms").is_some(), "{:?}", answer.headers);
        // Unchanged is only what really is.
        let kept = picture(nginx.address);
        let etag = kept.header("etag").unwrap();
        let again =
            [("If-None-Match", etag), ("If-Modified-Since", "Fri, 01 Jan 2038 00:00:00 GMT")];
        let again = request(nginx.address, "GET", "/live.jpeg", &again, b"").unwrap();
        assert!(again.status() == 200 || again.header("etag") == Some(etag), "{:?}", again.headers);
    }
    drop(camera);
    // The picture stays the same, and what is said of it does not.
    becomes_true("it is stale", SOON, || {
        picture(nginx.address).header("frame-state") == Some("stale")
    });
    assert_eq!(get(nginx.address, "/live.jpeg?max_age=1").unwrap().status(), 503);
    // What a cache of one's own has is asked for with each request.
    let browser = Browser::start(&[]);
    let _agent = agent(&relay.url(), &["--source", "pattern", "--fps", "20"], &[]);
    relay.frame_after(100);
    let tab = browser.open(&format!("{}healthz", relay.url()));
    let seen = tab.eval(
        "(async () => { const seen = new Set(); for (let i = 0; i < 6; i++) {
            const answer = await fetch('/live.jpeg'); await answer.blob();
            seen.add(answer.headers.get('frame-seq'));
            await new Promise((resolve) => setTimeout(resolve, 300)); }
        return seen.size; })()",
    );
    assert_eq!(seen, 6, "a browser shows what it had before");
    assert!(seq_of(&relay.frame("/live.jpeg")) > 100);
}

#[test]
fn what_is_private_is_never_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("relay.toml"), folder.path().join("secret"));
    fs::write(&secret, "gardens-secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&config, "").unwrap();
    let mut relay = Relay::configured(&config);
    let _camera = Photographer::start(relay.address, "garden", EVERY);
    let nginx = before(&relay);
    let path = "/cameras/garden/live.jpeg";
    let status = |path: &str, headers: &[(&str, &str)]| {
        let answer = request(nginx.address, "GET", path, headers, b"").unwrap();
        // One that reached somebody's eyes is never one that was kept for another.
        if answer.status() == 200 && answer.header("cache-control") == Some("private, no-store") {
            assert!(answer.header("frame-age-ms").is_some(), "{:?}", answer.headers);
        }
        answer.status()
    };
    becomes_true("everybody's picture", SOON, || status(path, &[]) == 200);
    assert!(holds_a_picture(&nginx.kept()), "it is kept while it is for everybody");

    fs::write(
        &config,
        format!("[cameras.garden]\nview_password_file = \"{}\"\n", secret.display()),
    )
    .unwrap();
    relay.program.stop();
    relay.restart();
    becomes_true("nobody's picture", SOON, || status(path, &[]) == 401);
    becomes_true("what was kept is forgotten", SOON, || !holds_a_picture(&nginx.kept()));
    let mut link = command("stillwatch-relay");
    link.args(["link", "garden", "--for", "1h", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(relay.data());
    let link = link
        .args(["--listen", &relay.address.to_string()])
        .env("PASSWORD", PASSWORD)
        .output()
        .unwrap();
    let link = String::from_utf8(link.stdout).unwrap();
    let key = link.lines().next().unwrap().split("?key=").nth(1).unwrap().to_owned();
    let cookie = format!("theme=dark; stillwatch-garden={key}");
    // any:gardens-secret
    let password = [("Authorization", "Basic YW55OmdhcmRlbnMtc2VjcmV0")];
    becomes_true("the link counts", SOON, || status(&format!("{path}?key={key}"), &[]) == 200);
    for _ in 0..5 {
        assert_eq!(status(path, &password), 200);
        assert_eq!(status(path, &[]), 401);
        assert_eq!(status(&format!("{path}?key={key}"), &[]), 200);
        // nginx does not see that this is a key.
        assert_eq!(status(&format!("{path}?k%65y={key}"), &[]), 200);
        assert_eq!(status(path, &[("Cookie", &cookie)]), 200);
        for other in ["", "?key=", "?key=wrong", "?17"] {
            assert!([401, 403].contains(&status(&format!("{path}{other}"), &[])), "{other}");
        }
        assert_eq!(status("/cameras/garden/live8x8.jpeg", &[]), 401);
    }
    assert!(!holds_a_picture(&nginx.kept()));
}

/// Whether one is in a file of this folder.
fn holds_a_picture(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds_a_picture(&path);
        }
        // It may be gone by now.
        fs::read(path).unwrap_or_default().windows(8).any(|window| window == b"SWSTAMP:")
    })
}
