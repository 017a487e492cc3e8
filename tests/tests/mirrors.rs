//! Two relays that show the same camera, and a page in Debian's Chromium: when the relay that it came from is gone, it
//! goes on at the other one, and no picture is followed by an older one. How long that takes is printed
//! (`--nocapture`).

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use stories::browser::{Browser, Tab};
use stories::nginx::free_port;
use stories::{PASSWORD, PYTHON, Relay, agent, seq_of};
use testbed::eventually::{eventually, pause};
use testbed::http::{Message, get, request};
use testbed::program::{Program, SOON};

const STATE: &str = "document.querySelector('.camera').dataset.state";
const GREY: &str = "getComputedStyle(document.querySelector('.picture')).filter !== 'none'";

/// What is drawn from now on: when it was captured, and which relay it is of.
const RECORD: &str = "globalThis.drawn = []; document.querySelector('.camera').addEventListener('drawn', \
    ({ detail }) => drawn.push({ ...detail, at: performance.now() }))";

/// Two relays that know one another, and one camera whose frames both get.
struct Pair {
    a: Relay,
    b: Relay,
    /// So many frames are on their way to the second, always.
    behind: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    feeders: Vec<JoinHandle<()>>,
    _source: (Relay, Program),
}

impl Pair {
    fn start() -> Pair {
        Pair::with(&["/"], &[])
    }

    /// `cameras` are where its frames are uploaded to, `more` is how the first relay is set.
    fn with(cameras: &'static [&'static str], more: &[(&str, &str)]) -> Pair {
        let ports = [free_port(), free_port()];
        let url = |port: u16| format!("http://127.0.0.1:{port}/");
        let [a, b] = ports;
        let (to_a, to_b) = (url(a), url(b));
        let of_a = [&[("STILLWATCH_SITE_MIRRORS", to_b.as_str())], more].concat();
        let (a, b) = (Relay::at(a, &of_a), Relay::at(b, &[("STILLWATCH_SITE_MIRRORS", &to_a)]));
        let source = Relay::start();
        let pattern = ["--source", "pattern", "--size", "640x360", "--fps", "10"];
        let camera = agent(&source.url(), &pattern, &[]);
        source.frame("/live.jpeg");
        let (behind, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        // One each: a relay that hangs must not keep the other one waiting.
        let feeders = [(a.address, Arc::default()), (b.address, Arc::clone(&behind))];
        let feeders = feeders.map(|(to, behind)| {
            let (from, over) = (source.address, Arc::clone(&over));
            std::thread::spawn(move || feed(from, to, cameras, &behind, &over))
        });
        for relay in [&a, &b] {
            relay.frame("/live.jpeg");
        }
        Pair { a, b, behind, over, feeders: feeders.into(), _source: (source, camera) }
    }

    fn viewers(&self) -> [Value; 2] {
        [&self.a, &self.b].map(|relay| {
            let Ok(status) = get(relay.address, "/status.json") else { return Value::Null };
            let status: Value = serde_json::from_slice(&status.body).unwrap();
            status.pointer("/cameras/0/viewers/websocket").cloned().unwrap_or_default()
        })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for feeder in self.feeders.drain(..) {
            let _ = feeder.join();
        }
    }
}

/// Brings the frames of one relay to another one, each after so many others.
fn feed(
    from: SocketAddr,
    to: SocketAddr,
    cameras: &[&str],
    behind: &AtomicUsize,
    over: &AtomicBool,
) {
    let mut waiting: VecDeque<Message> = VecDeque::new();
    let mut seq = 0;
    while !over.load(Ordering::Relaxed) {
        pause(Duration::from_millis(10));
        let Ok(frame) = get(from, "/live.jpeg") else { continue };
        if frame.status() != 200 || seq_of(&frame) == seq {
            continue;
        }
        seq = seq_of(&frame);
        waiting.push_back(frame);
        while waiting.len() > behind.load(Ordering::Relaxed) {
            let frame = waiting.pop_front().unwrap();
            for camera in cameras {
                upload(to, camera, &frame);
            }
        }
    }
}

/// A relay that is away gets none.
fn upload(to: SocketAddr, camera: &str, frame: &Message) {
    let header = |name: &str| frame.header(name).unwrap().to_owned();
    let (captured, seq) = (header("frame-captured-at"), header("frame-seq"));
    let headers = [("Frame-Captured-At", captured.as_str()), ("Frame-Seq", seq.as_str())];
    let _ = request(to, "POST", &format!("{camera}?password={PASSWORD}"), &headers, &frame.body);
}

fn screenshot(tab: &Tab, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.screenshot(&folder.join(format!("{name}.png")));
}

fn is(state: &str) -> String {
    format!("{STATE} === '{state}'")
}

fn kill(relay: &mut Relay) {
    relay.program.signal("KILL");
    relay.program.ended();
}

/// Waits until the page draws frames of a relay (0: its own), and says how long that took since `gone`.
fn goes_on_at(tab: &Tab, relay: u32, what: &str) {
    tab.becomes(&format!("drawn.some((frame) => frame.relay === {relay} && frame.at > gone)"));
    let took = tab.eval(&format!(
        "drawn.find((frame) => frame.relay === {relay} && frame.at > gone).at - gone"
    ));
    println!("{what}: the next picture after {:.1} s", took.as_f64().unwrap() / 1000.0);
    tab.becomes(&is("live"));
    assert_eq!(tab.eval(GREY), false);
    let count = tab.eval("drawn.length").as_u64().unwrap();
    tab.becomes(&format!("drawn.length > {count} + 5"));
}

/// The relay goes now, by the page's clock.
fn gone(tab: &Tab) {
    tab.eval("globalThis.gone = performance.now()");
}

/// No picture was followed by an older one, and nothing was forbidden to the page.
fn is_in_order(tab: &Tab, pair: &Pair) {
    let out_of_order = tab.eval(
        "drawn.filter((frame, n) => n > 0 && frame.captured < drawn[n - 1].captured)\
         .map(({ captured, relay }) => `${captured} of relay ${relay}`)",
    );
    assert_eq!(out_of_order, json!([]));
    for complaint in tab.complaints() {
        assert!(
            complaint.contains("ERR_CONNECTION_REFUSED")
                || complaint.contains("ERR_CONNECTION_RESET")
                || complaint.contains("ERR_SOCKET_NOT_CONNECTED")
                || complaint.contains("ERR_EMPTY_RESPONSE")
                || complaint.contains("ERR_INCOMPLETE_CHUNKED_ENCODING"),
            "{complaint}"
        );
    }
    let known = [&pair.a, &pair.b].map(|relay| format!("//{}/", relay.address));
    for url in tab.requests() {
        let ours = known.iter().any(|known| url.contains(known));
        assert!(ours || url.starts_with("blob:") || url == "about:blank", "{url}");
    }
}

#[test]
fn a_page_goes_on_at_the_other_relay_and_stays_there_until_that_one_goes() {
    let mut pair = Pair::start();
    let browser = Browser::start(&[]);
    // A key opens nothing here, but the other relay must not hear of it.
    let tab = browser.open(&format!("{}?key=1.default.1.secret", pair.a.url()));
    tab.becomes(&is("live"));
    tab.eval(RECORD);
    tab.becomes("drawn.length > 5");

    gone(&tab);
    kill(&mut pair.a);
    tab.becomes(&format!("{STATE} !== 'live'"));
    assert_eq!(tab.eval(GREY), true);
    screenshot(&tab, "mirrors-between");
    goes_on_at(&tab, 1, "killed");
    screenshot(&tab, "mirrors-at-the-other");
    let to_b = format!("//{}/", pair.b.address);
    let asked: Vec<String> = tab.requests().into_iter().filter(|url| url.contains(&to_b)).collect();
    assert!(asked.iter().any(|url| url.contains("/cameras/default/live.ws")), "{asked:?}");
    assert!(asked.iter().all(|url| !url.contains("key")), "{asked:?}");

    // It comes back, with newer pictures than the page has: nobody is sent there.
    pair.a.restart();
    pair.a.frame("/live.jpeg");
    let count = tab.eval("drawn.length").as_u64().unwrap();
    tab.becomes(&format!("drawn.length > {count} + 30"));
    assert_eq!(pair.viewers(), [json!(0), json!(1)]);

    gone(&tab);
    kill(&mut pair.b);
    goes_on_at(&tab, 0, "the other killed");
    assert_eq!(pair.viewers(), [json!(1), Value::Null]);
    is_in_order(&tab, &pair);
}

#[test]
fn each_way_leads_to_the_other_relay() {
    let mut pair = Pair::start();
    let browser = Browser::start(&[]);
    for way in ["mjpeg", "poll"] {
        let tab = browser.open(&format!("{}?transport={way}&embedded", pair.a.url()));
        tab.becomes(&is("live"));
        tab.eval(RECORD);
        tab.becomes("drawn.length > 2");
        gone(&tab);
        kill(&mut pair.a);
        goes_on_at(&tab, 1, &format!("killed, {way}"));
        is_in_order(&tab, &pair);
        pair.a.restart();
        pair.a.frame("/live.jpeg");
    }
}

#[test]
fn a_relay_that_is_behind_shows_nothing_until_it_has_caught_up() {
    let mut pair = Pair::start();
    let browser = Browser::start(&[]);
    let tab = browser.open(&pair.a.url());
    tab.becomes(&is("live"));
    tab.eval(RECORD);
    tab.becomes("drawn.length > 5");
    // Four seconds, and so more than it takes to get there.
    pair.behind.store(40, Ordering::Relaxed);
    let (newest, late) = (pair.a.frame("/live.jpeg"), || pair.b.frame("/live.jpeg"));
    eventually("it is behind", SOON, || {
        let (a, b) = (seq_of(&pair.a.frame("/live.jpeg")), seq_of(&late()));
        if a > seq_of(&newest) + 40 && b + 35 < a { Ok(()) } else { Err(format!("{b}, {a}")) }
    });
    gone(&tab);
    kill(&mut pair.a);
    goes_on_at(&tab, 1, "killed, the other one 4 s behind");
    is_in_order(&tab, &pair);
}

#[test]
fn a_relay_that_says_nothing_any_more_is_left_too() {
    let pair = Pair::start();
    let browser = Browser::start(&[]);
    let tab = browser.open(&pair.a.url());
    tab.becomes(&is("live"));
    tab.eval(RECORD);
    tab.becomes("drawn.length > 5");
    gone(&tab);
    // Connections stay open, as those to a machine that lost its power.
    pair.a.program.signal("STOP");
    goes_on_at(&tab, 1, "silent");
    pair.a.program.signal("CONT");
    is_in_order(&tab, &pair);
}

#[test]
fn every_camera_of_an_overview_goes_on() {
    let mut pair = Pair::with(&["/", "/cameras/garden"], &[]);
    for relay in [&pair.a, &pair.b] {
        relay.frame("/cameras/garden/live.jpeg");
    }
    let browser = Browser::start(&[]);
    let tab = browser.open(&pair.a.url());
    let states = "[...document.querySelectorAll('.camera')].map((c) => c.dataset.state).join()";
    tab.becomes(&format!("{states} === 'live,live'"));
    tab.eval(
        "globalThis.drawn = []; for (const camera of document.querySelectorAll('.camera')) \
            camera.addEventListener('drawn', ({ detail }) => \
                drawn.push({ ...detail, camera: camera.dataset.camera, at: performance.now() }))",
    );
    gone(&tab);
    kill(&mut pair.a);
    let at_other = "new Set(drawn.filter((f) => f.relay === 1).map((f) => f.camera)).size";
    tab.becomes(&format!("{at_other} === 2"));
    let took = tab.eval("drawn.filter((f) => f.relay === 1).at(-1).at - gone");
    println!("killed, two cameras: both after {:.1} s", took.as_f64().unwrap() / 1000.0);
    tab.becomes(&format!("{states} === 'live,live'"));
    screenshot(&tab, "mirrors-overview");
    let link = tab.text("document.querySelector('[data-camera=garden] .name a').href");
    assert_eq!(link, format!("{}cameras/garden/", pair.b.url()));
    // The page that is there goes on, too.
    tab.go(&link);
    tab.becomes(&is("live"));
}

#[test]
fn in_another_sites_page_the_viewer_goes_on_as_well() {
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let mut pair = Pair::with(&["/"], &[("STILLWATCH_EMBED_ORIGINS", &origin)]);
    let browser = Browser::start(&[]);
    let howto = browser.open(&format!("{}embed", pair.a.url()));
    let line = howto.text("document.querySelectorAll('code')[0].textContent");
    let folder = tempfile::tempdir().unwrap();
    let html = format!("<!DOCTYPE html><link rel=icon href=data:,><h1>A site</h1>{line}");
    fs::write(folder.path().join("index.html"), html).unwrap();
    let mut site = Command::new(PYTHON);
    site.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path());
    let _site = Program::start("a site", site.arg(port.to_string()));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the site", SOON, || get(address, "/index.html").map_err(|e| e.to_string()));
    let tab = browser.open(&format!("{origin}/index.html"));
    let one_says = |expression: &str| {
        eventually(expression, SOON, || {
            let found = tab.eval_in_frames(expression);
            if found.contains(&json!(true)) { Ok(()) } else { Err(format!("{found:?}")) }
        });
    };
    one_says(&is("live"));
    tab.eval_in_frames(RECORD);
    one_says("drawn.length > 5");
    kill(&mut pair.a);
    one_says(&format!("drawn.some((frame) => frame.relay === 1) && {}", is("live")));
    screenshot(&tab, "mirrors-embedded");
}
