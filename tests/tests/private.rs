//! A private camera in Debian's Chromium: its page opens by a signed link, moves, stays open without the key in the
//! address, stands in another site's page, and closes when the link is revoked.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stories::browser::{Browser, Tab};
use stories::card::SHOWN;
use stories::{PYTHON, Relay, agent};
use testbed::eventually::eventually;
use testbed::http::{get, request};
use testbed::program::{Program, SOON, command};

const GARDEN: [&str; 8] =
    ["--source", "pattern", "--size", "640x360", "--fps", "10", "--camera", "garden"];

const STATE: &str = "document.querySelector('.camera')?.dataset.state";
const LIVE: &str = "document.querySelector('.camera')?.dataset.state === 'live'";

fn screenshot(tab: &Tab, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.screenshot(&folder.join(format!("{name}.png")));
}

/// What the relay's command line prints.
fn run(relay: &Relay, config: &Path, arguments: &[&str]) -> String {
    let mut relays = command("stillwatch-relay");
    relays.args(arguments).arg("--config").arg(config).arg("--data-dir").arg(relay.data());
    let done = relays.args(["--listen", &relay.address.to_string()]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Waits until a frame is drawn that was sent after this.
fn moves(tab: &Tab) {
    let number = || tab.eval(SHOWN).get("number").and_then(Value::as_u64);
    let before = eventually("a test card", SOON, || number().ok_or(tab.text(STATE)));
    eventually("a newer one", SOON, || number().filter(|now| *now > before).ok_or(before));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
fn a_link_shows_a_private_camera_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("relay.toml"), folder.path().join("secret"));
    fs::write(&secret, "gardens-secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let port = stories::nginx::free_port();
    let (origin, secret) = (format!("http://localhost:{port}"), secret.display());
    let text = format!(
        "embed.origins = \"{origin}\"\n[cameras.garden]\ntitle = \"The garden\"\n\
         view_password_file = \"{secret}\"\n"
    );
    fs::write(&config, text).unwrap();
    let relay = Relay::configured(&config);
    let _agent = agent(&relay.url(), &GARDEN, &[]);
    let link = run(&relay, &config, &["link", "garden", "--for", "1h"]);
    let link = link.lines().next().unwrap().to_owned();
    let path = link.strip_prefix(&format!("http://{}", relay.address)).unwrap();
    let status = |path: &str| get(relay.address, path).map_or(0, |answer| answer.status());
    eventually("the link is good", SOON, || match status(path) {
        200 => Ok(()),
        status => Err(status),
    });
    assert_eq!(status("/cameras/garden/"), 401);

    let browser = Browser::start(&[]);
    let tab = browser.open(&link);
    tab.becomes(LIVE);
    moves(&tab);
    tab.becomes("document.querySelector('.camera').dataset.way === 'websocket'");
    tab.becomes("document.querySelector('.past').hidden === false");
    screenshot(&tab, "private-by-link");
    assert_eq!(tab.complaints(), [] as [String; 0]);
    for way in ["mjpeg", "poll"] {
        tab.go(&format!("{link}&transport={way}"));
        tab.becomes(&format!("document.querySelector('.camera')?.dataset.way === '{way}'"));
        tab.becomes(LIVE);
        moves(&tab);
    }
    // The cookie alone, which no script can read.
    tab.go(&format!("{}cameras/garden/", relay.url()));
    tab.becomes(LIVE);
    moves(&tab);
    assert_eq!(tab.text("document.cookie"), "");
    tab.becomes("document.querySelector('.camera').dataset.way === 'websocket'");

    // In another site's page there are no cookies: the lines to copy bring the key.
    let howto = browser.open(&format!("{}cameras/garden/embed?{}", relay.url(), query(&link)));
    let line = howto.text("document.querySelectorAll('code')[0].textContent");
    let html = format!("<!DOCTYPE html><link rel=icon href=data:,><h1>A site</h1>{line}");
    fs::write(folder.path().join("index.html"), html).unwrap();
    let mut site = Command::new(PYTHON);
    site.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path());
    let _site = Program::start("a site", site.arg(port.to_string()));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the site", SOON, || get(address, "/index.html").map_err(|e| e.to_string()));
    // All frames in one process: or else the test could not look into one of another site.
    let other = Browser::start(&[
        "disable-site-isolation-trials",
        "disable-features=IsolateOrigins,site-per-process",
    ]);
    let embedded = other.open(&format!("{origin}/index.html"));
    eventually("the viewer in the frame", SOON, || {
        let states = embedded.eval_in_frames(STATE);
        if states.iter().any(|found| found.as_str() == Some("live")) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    });
    screenshot(&embedded, "private-embedded");

    // Who is looking sees that it is over, and why.
    tab.to_front();
    tab.go(&link);
    tab.becomes(LIVE);
    run(&relay, &config, &["link", "--revoke-all"]);
    tab.becomes("document.body.innerText.includes('this link has run out, or was revoked')");
    screenshot(&tab, "private-revoked");
    let asked = request(relay.address, "GET", "/cameras/garden/live.jpeg", &[], b"").unwrap();
    assert_eq!(asked.status(), 401);
}

fn query(link: &str) -> &str {
    link.split_once('?').unwrap().1
}
