//! The tutorial's own pieces work with ours, unchanged: its camera loop and its page with our
//! relay, our agent with its server.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use stories::card::on_screenshot;
use stories::{PASSWORD, PYTHON, Relay, agent};
use testbed::eventually::eventually;
use testbed::http::get;
use testbed::program::{Program, SOON};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tutorial").join(name)
}

/// A JPEG of the agent's test card.
#[expect(clippy::unwrap_used, reason = "it is test code")]
fn test_card(folder: &Path) -> Vec<u8> {
    let relay = Relay::start();
    let _agent = agent(&relay.url(), &["--source", "pattern", "--size", "320x240"], &[]);
    let jpeg = relay.frame("/live.jpeg").body;
    fs::write(folder.join("card.jpg"), &jpeg).unwrap();
    jpeg
}

#[test]
fn the_tutorials_camera_uploads_to_our_relay() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = test_card(folder.path());
    let relay = Relay::start();
    let mut command = Command::new(PYTHON);
    command.arg(script("camera.py")).arg(format!("{}?password={PASSWORD}", relay.url()));
    let camera = Program::start("camera.py", command.arg(folder.path().join("card.jpg")));
    camera.line("200");
    assert_eq!(relay.frame("/live.jpeg").body, jpeg);
    let mut command = Command::new(PYTHON);
    command.arg(script("camera.py")).arg(format!("{}?password=wrong", relay.url()));
    let refused = Program::start("camera.py", command.arg(folder.path().join("card.jpg")));
    refused.line("400");
}

#[test]
fn our_agent_uploads_to_the_tutorials_server() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(PYTHON);
    command.arg(script("server.py")).arg(port.to_string()).arg(folder.path());
    let _server = Program::start("server.py", command.env("PASSWORD", "123"));
    let url = format!("http://127.0.0.1:{port}/?password=123");
    // The URL's own password counts where no other is given.
    let nothing = [("STILLWATCH_PASSWORD".to_owned(), String::new())];
    let _agent = agent(&url, &["--source", "pattern", "--size", "320x240"], &nothing);
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let frames = || {
        eventually("a picture on the tutorial's server", SOON, || {
            let answer = get(address, "/live.jpeg").map_err(|error| error.to_string())?;
            let whole = answer.body.starts_with(b"\xff\xd8") && answer.body.ends_with(b"\xff\xd9");
            if whole { Ok(answer.body) } else { Err(format!("{} bytes", answer.body.len())) }
        })
    };
    let first = frames();
    eventually(
        "another picture",
        SOON,
        || if frames() == first { Err("the same") } else { Ok(()) },
    );
}

#[test]
fn the_tutorials_page_shows_a_moving_picture_in_chromium() {
    let relay = Relay::start();
    let _agent =
        agent(&relay.url(), &["--source", "pattern", "--size", "640x360", "--fps", "10"], &[]);
    relay.frame("/live.jpeg");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}test", relay.url());
    // Several refreshes happen before the picture of the page is taken.
    let shown = |name| on_screenshot(folder.path(), name, "--virtual-time-budget=2000", &url);
    let first = shown("first.png");
    let second = shown("second.png");
    assert!(second > first && first > 0, "{first}, then {second}");
}
