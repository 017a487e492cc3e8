//! The agent's own page, for who stands on the ladder: it shows what is captured whether uploads work or
//! not, calls nothing live that is not, and whatever happens to it, pictures go on to the relay.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use stories::browser::{Browser, Tab};
use stories::{Relay, agent, test_card};
use testbed::eventually::eventually;
use testbed::http::{Message, get, request};
use testbed::program::{Program, SOON};

/// Nobody listens there (RFC 863).
const NOWHERE: &str = "http://127.0.0.1:9/";

const PATTERN: [&str; 4] = ["--source", "pattern", "--size", "640x360"];

const WORDS: &str = "document.querySelector('.words').textContent";
const STATE: &str = "document.querySelector('.camera').dataset.state";

/// An agent whose viewer listens somewhere, with a status file of its own.
fn with_viewer(folder: &Path, relay: &str, arguments: &[&str]) -> (Program, SocketAddr) {
    let status = folder.join("status.json").display().to_string();
    let variables = [
        ("STILLWATCH_VIEWER_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("STILLWATCH_AGENT_STATUS_FILE".to_owned(), status),
    ];
    let program = agent(relay, arguments, &variables);
    let line = program.line("the local viewer listens on ");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    (program, address)
}

fn answers(address: SocketAddr, path: &str, status: u16) -> Message {
    eventually(&format!("{status} at {path}"), SOON, || {
        let answer = get(address, path).map_err(|error| error.to_string())?;
        if answer.status() == status { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
}

fn picture_of_the_screen(tab: &Tab, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.screenshot(&folder.join(format!("{name}.png")));
}

#[test]
fn it_shows_the_camera_while_the_relay_is_away_and_says_nothing_to_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let (_agent, address) = with_viewer(folder.path(), NOWHERE, &PATTERN);
    let picture = answers(address, "/live.jpeg", 200);
    assert_eq!(picture.header("frame-state"), Some("live"));
    assert!(picture.header("frame-age-ms").is_some_and(|age| age.parse::<u64>().unwrap() < 5_000));
    assert!(picture.body.starts_with(b"\xff\xd8"), "{:?}", picture.headers);
    let status = answers(address, "/status", 200);
    let text = String::from_utf8_lossy(&status.body).into_owned();
    assert!(text.contains("camera: works") && text.contains("upload: "), "{text}");
    assert_eq!(
        answers(address, "/status.json", 200).header("content-type"),
        Some("application/json")
    );
    let page = answers(address, "/", 200);
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let status_of = |method, path, headers: &[(&str, &str)]| {
        request(address, method, path, headers, &[]).unwrap().status()
    };
    assert_eq!(status_of("POST", "/", &[]), 405);
    assert_eq!(status_of("GET", "/nothing", &[]), 404);
    // A web site whose name leads here.
    assert_eq!(status_of("GET", "/live.jpeg", &[("Host", "evil.example.org")]), 421);
}

#[test]
fn nothing_listens_unless_asked_and_a_port_in_use_costs_no_picture() {
    let relay = Relay::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = ("STILLWATCH_VIEWER_LISTEN".to_owned(), address.to_string());
    let agent = agent(&relay.url(), &PATTERN, &[listen]);
    let line = agent.line("viewer.listen: ");
    assert!(line.contains("another program does already"), "{line}");
    relay.frame("/live.jpeg");
    drop(taken);
    agent.line("the local viewer listens on ");
    answers(address, "/live.jpeg", 200);
    let lines = agent.lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains("viewer.listen: ")).count(),
        1,
        "{lines:?}"
    );
}

#[test]
fn the_page_on_a_phone_calls_nothing_live_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let photograph = |name: &str, padding: u8| {
        let mut card = test_card("640x360");
        card.push(padding);
        fs::write(pictures.join(".new"), card).unwrap();
        fs::rename(pictures.join(".new"), pictures.join(name)).unwrap();
    };
    let path = pictures.display().to_string();
    let arguments = ["--source", "directory", "--path", &path];
    let (mut agent, address) = with_viewer(folder.path(), NOWHERE, &arguments);
    let browser = Browser::start(&[]);
    let tab = browser.tab();
    tab.resize(390, 844, 2.0, true);
    tab.go(&format!("http://{address}/"));
    tab.becomes(&format!("{WORDS} === 'No picture yet'"));
    photograph("1.jpg", 1);
    tab.becomes(&format!("{STATE} === 'live'"));
    // A folder in which nothing happens any more: the picture on the screen is not called live.
    let answer = answers(address, "/live.jpeg", 503);
    assert_eq!(answer.header("frame-state"), Some("stale"));
    let why = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        why.contains("the newest picture is") && answer.header("retry-after").is_some(),
        "{why}"
    );
    tab.becomes(&format!("/^No new picture for 1[0-9] s$/.test({WORDS})"));
    tab.becomes("getComputedStyle(document.querySelector('canvas')).filter.includes('grayscale')");
    tab.becomes("document.querySelector('.status').textContent.includes('stillwatch-agent ')");
    picture_of_the_screen(&tab, "local-viewer-stale");
    photograph("2.jpg", 2);
    tab.becomes(&format!("{WORDS} === 'Live'"));
    picture_of_the_screen(&tab, "local-viewer-live");
    // What the browser itself says of answers with 503 is no complaint of the page's.
    let complaints: Vec<String> =
        tab.complaints().into_iter().filter(|line| !line.contains("503")).collect();
    assert_eq!(complaints, [] as [String; 0]);
    agent.signal("KILL");
    agent.ended();
    tab.becomes(&format!("/^The camera does not answer for/.test({WORDS})"));
}
