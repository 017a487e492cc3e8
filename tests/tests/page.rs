//! The pages, in Debian's Chromium: what is on the screen is the frame that was sent, and the badge
//! says how fresh it is. Pictures of the screen are left in the target directory, for people.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it is test code, and a panic is how a test fails"
)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use chromiumoxide::cdp::browser_protocol::browser::{
    SetDownloadBehaviorBehavior, SetDownloadBehaviorParams,
};
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetEmulatedMediaParams, SetScriptExecutionDisabledParams,
};
use chromiumoxide::cdp::browser_protocol::network::OverrideNetworkStateParams;
use serde_json::{Value, json};
use stories::browser::{Browser, Tab};
use stories::card::SHOWN;
use stories::nginx::nginx;
use stories::{PASSWORD, PYTHON, Relay, agent};
use testbed::eventually::eventually;
use testbed::http::{get, request};
use testbed::link::Link;
use testbed::program::{Program, SOON};

const PATTERN: [&str; 6] = ["--source", "pattern", "--size", "640x360", "--fps", "10"];

/// What the badge is about, in a word.
const STATE: &str = "document.querySelector('.camera').dataset.state";
const WORDS: &str = "document.querySelector('.words').textContent";
const GREY: &str = "getComputedStyle(document.querySelector('.picture')).filter !== 'none'";

fn screenshot(tab: &Tab, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.screenshot(&folder.join(format!("{name}.png")));
}

fn is(state: &str) -> String {
    format!("{STATE} === '{state}'")
}

/// A relay that shows the test card, and the agent that brings it.
fn with_test_card() -> (Relay, Program) {
    let relay = Relay::start();
    let agent = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    (relay, agent)
}

/// The number on the canvas, once there is one.
fn number(tab: &Tab) -> u64 {
    eventually("a test card on the canvas", SOON, || {
        let found = tab.eval(SHOWN);
        found["number"].as_u64().ok_or_else(|| format!("{found} {:?}", tab.complaints()))
    })
}

/// Waits until a frame is drawn that was sent after this.
fn moves(tab: &Tab) {
    let before = number(tab);
    eventually("a newer picture on the canvas", SOON, || {
        let now = number(tab);
        if now > before { Ok(()) } else { Err(format!("{now} after {before}")) }
    });
}

/// Nothing went wrong on the page, and it asked nobody but its relay.
fn is_clean(tab: &Tab, relay: &Relay) {
    assert_eq!(tab.complaints(), [] as [String; 0]);
    let ours = format!("//{}/", relay.address);
    for url in tab.requests() {
        assert!(url.contains(&ours) || url.starts_with("blob:") || url == "about:blank", "{url}");
    }
}

fn post(relay: &Relay, path: &str, body: &[u8]) {
    let target = format!("{path}?password={PASSWORD}");
    let answer = request(relay.address, "POST", &target, &[], body).unwrap();
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn each_way_shows_the_very_frame_that_was_sent() {
    let (relay, _agent) = with_test_card();
    let browser = Browser::start(&[]);
    for way in ["websocket", "mjpeg", "poll"] {
        let tab = browser.open(&format!("{}?transport={way}", relay.url()));
        tab.becomes(&is("live"));
        moves(&tab);
        moves(&tab);
        tab.becomes(&format!("document.querySelector('.camera').dataset.way === '{way}'"));
        let found = tab.eval(SHOWN);
        // The agent counts its uploads as the card its frames.
        assert_eq!(found["seq"], found["number"].to_string(), "{way}");
        assert_eq!(tab.eval(GREY), false, "{way}");
        tab.becomes(&format!("/^Live · [0-9.]+ fps$/.test({WORDS})"));
        screenshot(&tab, &format!("live-{way}"));
        is_clean(&tab, &relay);
    }
}

#[test]
fn what_a_proxy_blocks_is_gone_round() {
    let (relay, _agent) = with_test_card();
    let to = relay.address.to_string();
    let browser = Browser::start(&[]);
    let to = ("127.0.0.1:5000", to.as_str());
    // A proxy of those that know no WebSocket, and one that does not let streams through either.
    let no_upgrade = ("proxy_set_header Upgrade $http_upgrade;", "");
    let no_streams = ("location / {", "location ~ live.mjpeg { return 404; }\n location / {");
    for (way, changes) in
        [("mjpeg", &[to, no_upgrade][..]), ("poll", &[to, no_upgrade, no_streams])]
    {
        let nginx = nginx("stillwatch-proxy.conf", changes);
        let tab = browser.open(&format!("http://{}/", nginx.address));
        tab.becomes(&format!("document.querySelector('.camera').dataset.way === '{way}'"));
        tab.becomes(&is("live"));
        moves(&tab);
    }
}

#[test]
fn a_relay_that_is_gone_is_said_to_be_gone_and_comes_back_by_itself() {
    let mut relay = Relay::start();
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes(&is("live"));
    relay.program.signal("KILL");
    relay.program.ended();
    tab.becomes(&is("unreachable"));
    assert_eq!(tab.eval(GREY), true);
    tab.becomes(&format!("{WORDS}.startsWith('Relay unreachable since ')"));
    screenshot(&tab, "unreachable");
    relay.restart();
    tab.becomes(&is("live"));
    moves(&tab);
    assert_eq!(tab.eval(GREY), false);
    tab.becomes("document.querySelector('.camera').dataset.way === 'websocket'");
}

#[test]
fn stale_frozen_offline_and_none_at_all_look_different_and_none_looks_live() {
    let relay = Relay::with(&[
        ("STILLWATCH_FRESHNESS_STALE_AFTER", "2s"),
        ("STILLWATCH_FRESHNESS_FROZEN_AFTER", "2s"),
        ("STILLWATCH_FRESHNESS_OFFLINE_AFTER", "6s"),
    ]);
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes(&is("empty"));
    assert_eq!(tab.text(WORDS), "No picture yet");
    let camera = agent(&relay.url(), &PATTERN, &[]);
    tab.becomes(&is("live"));
    moves(&tab);
    let picture = relay.frame("/live.jpeg").body;
    camera.signal("STOP");
    tab.becomes(&is("stale"));
    assert_eq!(tab.eval(GREY), true);
    tab.becomes(&format!("/^Stale since .*:.. .*\\(\\d+ sec\\)$/.test({WORDS})"));
    screenshot(&tab, "stale");
    camera.signal("CONT");
    tab.becomes(&is("live"));
    assert_eq!(tab.eval(GREY), false);
    drop(camera);
    tab.becomes(&is("offline"));
    assert_eq!(tab.eval(GREY), true);
    tab.becomes(&format!("{WORDS}.startsWith('Camera offline since ')"));
    screenshot(&tab, "offline");
    // A camera that hangs, and an agent that does not notice.
    eventually("a frozen picture", SOON, || {
        post(&relay, "/", &picture);
        if tab.eval(STATE) == "frozen" { Ok(()) } else { Err(tab.text(WORDS)) }
    });
    assert_eq!(tab.eval(GREY), true);
    tab.becomes(&format!("{WORDS}.startsWith('Frozen since ')"));
    screenshot(&tab, "frozen");
    is_clean(&tab, &relay);
}

fn watching(relay: &Relay) -> Value {
    let status = request(relay.address, "GET", "/status.json", &[], &[]).unwrap();
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    status["cameras"][0]["viewers"]["websocket"].clone()
}

#[test]
fn a_hidden_tab_takes_no_frames_and_goes_on_when_it_is_seen() {
    let (relay, _agent) = with_test_card();
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    moves(&tab);
    eventually("a viewer", SOON, || if watching(&relay) == 1 { Ok(()) } else { Err("none") });
    let other = browser.open("about:blank");
    other.to_front();
    tab.becomes("document.visibilityState === 'hidden'");
    eventually("no viewer", SOON, || if watching(&relay) == 0 { Ok(()) } else { Err("one") });
    let asked = tab.requests().len();
    let seen = tab.eval(SHOWN);
    relay.frame_after(stories::seq_of(&relay.frame("/live.jpeg")) + 10);
    assert_eq!((tab.requests().len(), tab.eval(SHOWN)), (asked, seen));
    tab.to_front();
    tab.becomes(&is("live"));
    moves(&tab);
}

#[test]
fn on_a_slow_link_the_picture_is_late_and_says_so_and_a_silent_one_is_noticed() {
    let relay = Relay::with(&[("STILLWATCH_FRESHNESS_STALE_AFTER", "2s")]);
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let link = Link::to(relay.address);
    let browser = Browser::start(&[]);
    let tab = browser.open(&format!("http://{}/?transport=websocket", link.address));
    tab.becomes(&is("live"));
    // About 30 KB each: several seconds for one.
    link.slow(6_000);
    tab.becomes(&is("late"));
    assert_eq!(tab.eval(GREY), true);
    tab.becomes(&format!("{WORDS}.startsWith('Slow connection: the picture is ')"));
    screenshot(&tab, "late");
    link.slow(0);
    tab.becomes(&is("live"));
    link.silent(true);
    tab.becomes(&is("unreachable"));
    link.silent(false);
    tab.becomes(&is("live"));
    moves(&tab);
    // A router that restarts: what was open is dead, and nobody is told.
    link.forget();
    moves(&tab);
    moves(&tab);
    tab.becomes(&is("live"));
}

#[test]
fn the_viewers_clock_may_be_wrong() {
    let (relay, _agent) = with_test_card();
    for (name, offset) in [("ahead", "+3600"), ("behind", "-3600")] {
        let browser = Browser::start(&[]);
        let tab = browser.tab();
        tab.before_each_page(&format!(
            "{{ const off = ({offset}) * 1000, RealDate = Date; \
             Date = class extends RealDate {{ \
                constructor(...args) {{ args.length ? super(...args) : super(RealDate.now() + off); }} \
                static now() {{ return RealDate.now() + off; }} }}; }}"
        ));
        tab.go(&relay.url());
        tab.becomes(&is("live"));
        moves(&tab);
        let shown = tab.text("document.querySelector('.taken').dateTime");
        let wrong = tab.text("new Date().toISOString()");
        assert_ne!(shown[..13], wrong[..13], "the clock is not {name}");
        assert_eq!(tab.eval(STATE), "live", "{name}: {}", tab.text(WORDS));
    }
}

#[test]
fn it_fits_a_phone_and_a_wall() {
    let relay = Relay::start();
    let _agent =
        agent(&relay.url(), &["--source", "pattern", "--size", "1920x1080", "--fps", "5"], &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    for (name, width, height, density, canvas) in [
        ("phone", 320, 568, 2.0, 640),
        ("desktop", 1000, 700, 1.0, 960),
        ("wall", 3840, 2160, 1.0, 1920),
    ] {
        let tab = browser.tab();
        tab.resize(width, height, density, name == "phone");
        tab.go(&relay.url());
        tab.becomes(&is("live"));
        tab.becomes(&format!("document.querySelector('canvas').width === {canvas}"));
        let overflow = "document.documentElement.scrollWidth > innerWidth \
                        || document.documentElement.scrollHeight > innerHeight";
        assert_eq!(tab.eval(overflow), false, "{name}");
        screenshot(&tab, &format!("layout-{name}"));
        is_clean(&tab, &relay);
    }
}

#[test]
fn several_cameras_are_an_overview_with_the_problems_first() {
    let relay = Relay::with(&[("STILLWATCH_FRESHNESS_STALE_AFTER", "3s")]);
    let cameras: Vec<Program> = ["alpha", "beta", "gamma"]
        .into_iter()
        .map(|id| {
            let status = std::env::temp_dir().join(format!("stillwatch-overview-{id}.json"));
            let status =
                [("STILLWATCH_AGENT_STATUS_FILE".to_owned(), status.to_str().unwrap().to_owned())];
            let arguments = [&PATTERN[..], &["--camera", id]].concat();
            agent(&relay.url(), &arguments, &status)
        })
        .collect();
    for id in ["alpha", "beta", "gamma"] {
        relay.frame(&format!("/cameras/{id}/live.jpeg"));
    }
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    let order = "[...document.querySelectorAll('.camera')].map(c => c.dataset.camera).join()";
    let states = "[...document.querySelectorAll('.camera')].map(c => c.dataset.state).join()";
    tab.becomes(&format!("{states} === 'live,live,live'"));
    assert_eq!(tab.text(order), "alpha,beta,gamma");
    tab.becomes("document.querySelector('canvas').width === 320");
    cameras[1].signal("STOP");
    tab.becomes(&format!("{states} === 'stale,live,live'"));
    assert_eq!(tab.text(order), "beta,alpha,gamma");
    screenshot(&tab, "overview");
    tab.resize(320, 568, 2.0, true);
    screenshot(&tab, "overview-phone");
    // What is scrolled out of sight is not drawn, and not called late for that.
    tab.resize(320, 240, 2.0, true);
    let gamma = "/cameras/gamma/live.jpeg";
    let later = stories::seq_of(&relay.frame(gamma)) + 60;
    eventually("six seconds of frames", SOON, || {
        let now = stories::seq_of(&relay.frame(gamma));
        if now > later { Ok(()) } else { Err(now) }
    });
    assert_eq!(tab.text(states), "stale,live,live");
    is_clean(&tab, &relay);
    // Without a script, the same order.
    tab.go(&relay.url());
    assert_eq!(tab.text(order), "beta,alpha,gamma");
}

#[test]
fn titles_are_text_whatever_is_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let title = r#"</script><img src=x onerror="alert(1)">'&amp; \"Tor\" {name} ☃"#;
    let config = folder.path().join("relay.toml");
    let toml = format!("[cameras.gate]\ntitle = '''{title}'''\n[site]\ntitle = '''{title}'''\n");
    fs::write(&config, toml).unwrap();
    let relay = Relay::configured(&config);
    let _agent = agent(&relay.url(), &[&PATTERN[..], &["--camera", "gate"]].concat(), &[]);
    relay.frame("/cameras/gate/live.jpeg");
    let browser = Browser::start(&[]);
    for path in ["", "cameras/gate/", "cameras/gate/embed"] {
        let tab = browser.open(&format!("{}{path}", relay.url()));
        tab.becomes("document.readyState === 'complete'");
        assert!(tab.text("document.querySelector('h1').textContent").contains(title), "{path}");
        assert_eq!(tab.eval("document.images.length"), 0, "{path}");
        screenshot(&tab, &format!("markup{}", path.replace('/', "-")));
        is_clean(&tab, &relay);
    }
}

/// A JPEG that passes inspection and that no browser draws: its frame is of 12 bits a sample.
fn undrawable(jpeg: &[u8]) -> Vec<u8> {
    let mut broken = jpeg.to_vec();
    let frame_header = broken.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    // Marker, length, then the precision (T.81, B.2.2); SOF1 may have 12 bits.
    broken[frame_header + 1] = 0xc1;
    broken[frame_header + 4] = 12;
    broken
}

#[test]
fn pictures_that_can_not_be_drawn_are_no_live_pictures() {
    let relay = Relay::start();
    let source = Relay::start();
    let _agent = agent(&source.url(), &PATTERN, &[]);
    let jpeg = source.frame("/live.jpeg").body;
    post(&relay, "/", &jpeg);
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes(&is("live"));
    let shown = number(&tab);
    let mut broken = undrawable(&jpeg);
    eventually("damaged pictures", SOON, || {
        // Another one each time: else it would be frozen.
        let last = broken.len() - 10;
        broken[last] = broken[last].wrapping_add(1) & 0x7f;
        post(&relay, "/", &broken);
        if tab.eval(STATE) == "unreadable" { Ok(()) } else { Err(tab.text(WORDS)) }
    });
    assert_eq!((tab.eval(GREY), number(&tab)), (json!(true), shown));
    screenshot(&tab, "unreadable");
    post(&relay, "/", &source.frame("/live.jpeg").body);
    tab.becomes(&is("live"));
    assert_eq!(tab.eval(GREY), false);
}

#[test]
fn browsers_without_create_image_bitmap_and_without_javascript() {
    let (relay, _agent) = with_test_card();
    let browser = Browser::start(&[]);
    let tab = browser.tab();
    tab.before_each_page("delete globalThis.createImageBitmap;");
    tab.go(&relay.url());
    tab.becomes(&is("live"));
    moves(&tab);
    is_clean(&tab, &relay);
    let tab = browser.tab();
    tab.command(SetScriptExecutionDisabledParams::new(true));
    tab.go(&relay.url());
    tab.becomes("document.querySelector('img.picture').naturalWidth === 640");
    assert_eq!(tab.text(WORDS), "Live");
    assert_eq!(tab.eval(GREY), false);
    tab.becomes("document.querySelector('.no-script a').textContent === 'The picture alone'");
    screenshot(&tab, "without-javascript");
    let pictures = |tab: &Tab| tab.requests().iter().filter(|u| u.ends_with("live.jpeg")).count();
    eventually("it refreshes itself", SOON, || {
        if pictures(&tab) >= 2 { Ok(()) } else { Err(format!("{:?}", tab.requests())) }
    });
}

#[test]
fn pause_save_full_screen_by_button_and_by_key() {
    let (relay, _agent) = with_test_card();
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    moves(&tab);
    tab.eval("document.querySelector('.pause').click()");
    tab.becomes(&is("paused"));
    let shown = number(&tab);
    relay.frame_after(stories::seq_of(&relay.frame("/live.jpeg")) + 5);
    assert_eq!((number(&tab), tab.eval(GREY)), (shown, json!(true)));
    screenshot(&tab, "paused");
    let press = |key: &str| tab.press(".camera", key);
    press("p");
    tab.becomes(&is("live"));
    moves(&tab);
    let folder = tempfile::tempdir().unwrap();
    let mut downloads = SetDownloadBehaviorParams::new(SetDownloadBehaviorBehavior::Allow);
    downloads.download_path = Some(folder.path().to_str().unwrap().to_owned());
    tab.command(downloads);
    press("s");
    let saved = eventually("a file", SOON, || {
        let mut files = fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.path());
        files.find(|path| path.extension().is_some_and(|e| e == "jpeg")).ok_or("none")
    });
    let name = saved.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("default-20") && name.ends_with("Z.jpeg"), "{name}");
    let bytes = fs::read(saved).unwrap();
    assert!(bytes.starts_with(b"\xff\xd8") && bytes.ends_with(b"\xff\xd9"));
    press("f");
    tab.becomes("document.fullscreenElement?.className === 'camera'");
    screenshot(&tab, "full-screen");
    press("f");
    tab.becomes("document.fullscreenElement === null");
    is_clean(&tab, &relay);
}

/// Moves the slider to `moment`, in ms since the Unix epoch.
fn slide(tab: &Tab, moment: i64) {
    tab.eval(&format!(
        "(() => {{ const slider = document.querySelector('.past input'); slider.value = {moment}; \
         slider.dispatchEvent(new Event('input')); }})()"
    ));
}

#[test]
fn the_past_can_be_looked_at_and_is_never_taken_for_the_present() {
    let (relay, _agent) = with_test_card();
    // Half a minute, ten minutes ago, and a gap before the present.
    let start = runtime::clock::wall_us() / 1_000 - 600_000;
    let mut kept = Vec::new();
    for n in 0..4 {
        let card = relay.frame_after(kept.last().map_or(0, |(_, seq)| *seq));
        let at = start + n * 10_000;
        let time = frame::wire::format_time(at * 1_000, 6);
        let headers = [("Frame-Captured-At", time.as_str()), ("Frame-Flags", "history")];
        let path = format!("/?password={PASSWORD}");
        let answer = request(relay.address, "POST", &path, &headers, &card.body).unwrap();
        assert_eq!(answer.status(), 200);
        kept.push((at, stories::seq_of(&card)));
    }
    let list = |pointer: &str| {
        let answer = get(relay.address, "/history").unwrap();
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        list.pointer(pointer).cloned()
    };
    eventually("the history", SOON, || list("/frames/4").ok_or("too few frames"));
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    moves(&tab);
    tab.becomes("!document.querySelector('.past').hidden");
    tab.becomes(&format!("document.querySelector('.past input').min === '{start}'"));
    for (at, seq) in &kept {
        slide(&tab, at + 500);
        tab.becomes(&format!("document.querySelector('.camera').dataset.captured === '{at}'"));
        tab.becomes(&is("recorded"));
        assert_eq!((number(&tab), tab.text(WORDS).starts_with("Recorded")), (*seq, true));
    }
    screenshot(&tab, "past");
    assert!(tab.text(WORDS).contains(" min ago"), "{}", tab.text(WORDS));
    // Nothing of the present is drawn over it.
    relay.frame_after(stories::seq_of(&relay.frame("/live.jpeg")) + 5);
    assert_eq!(number(&tab), kept[3].1);
    slide(&tab, start + 300_000);
    tab.becomes(&is("gap"));
    assert!(tab.text(WORDS).starts_with("No pictures from"), "{}", tab.text(WORDS));
    assert_eq!(tab.eval("document.querySelector('.picture').hidden"), json!(true));
    screenshot(&tab, "gap");
    tab.press(".past input", "PageDown");
    tab.becomes(&format!("document.querySelector('.camera').dataset.captured === '{start}'"));
    tab.eval("document.querySelector('.past button').click()");
    tab.becomes(&is("live"));
    moves(&tab);
    is_clean(&tab, &relay);
}

#[test]
fn behind_a_login_page_nothing_is_called_live() {
    let relay = Relay::with(&[("STILLWATCH_FRESHNESS_STALE_AFTER", "2s")]);
    let link = Link::to(relay.address);
    let agent = agent(&format!("http://{}/", link.address), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes(&is("live"));
    link.portal(true);
    link.cut();
    agent.line("login page");
    tab.becomes(&format!("{STATE} !== 'live'"));
    assert_eq!(tab.eval(GREY), json!(true));
    link.portal(false);
    tab.becomes(&is("live"));
    moves(&tab);
}

#[test]
fn in_five_languages() {
    let (relay, _agent) = with_test_card();
    for (tag, live, pause) in [
        ("en-GB", "Live", "Pause"),
        ("de-CH", "Live", "Anhalten"),
        ("fr", "En direct", "Pause"),
        ("es-MX", "En directo", "Pausar"),
        ("ja", "ライブ", "一時停止"),
    ] {
        let accept = format!("accept-lang={tag}");
        let browser = Browser::start(&[&accept]);
        let tab = browser.open(&relay.url());
        tab.becomes(&is("live"));
        assert_eq!(tab.text("document.documentElement.lang"), tag[..2]);
        assert!(tab.text(WORDS).starts_with(live), "{tag}: {}", tab.text(WORDS));
        assert_eq!(tab.text("document.querySelector('.pause').textContent"), pause, "{tag}");
        screenshot(&tab, &format!("language-{tag}"));
    }
}

/// What a script on the page finds out about a relay's camera.
fn reads(tab: &Tab, relay: &Relay) -> String {
    let url = format!("{}live.jpeg", relay.url());
    tab.text(&format!(
        "fetch('{url}', {{ headers: {{ 'If-None-Match': '\"x\"' }} }})
            .then((answer) => answer.headers.get('frame-state'), () => 'refused')"
    ))
}

#[test]
fn one_line_puts_it_on_another_site() {
    let port = stories::nginx::free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let relay = Relay::with(&[("STILLWATCH_EMBED_ORIGINS", &origin)]);
    let closed = Relay::start();
    let _agents = [&relay, &closed].map(|relay| agent(&relay.url(), &PATTERN, &[]));
    let browser = Browser::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PYTHON);
    command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path());
    let _site = Program::start("a site", command.arg(port.to_string()));
    let show = |name: &str, body: &str| {
        let html = format!("<!DOCTYPE html><link rel=icon href=data:,><h1>A site</h1>{body}");
        fs::write(folder.path().join(name), html).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let path = format!("/{name}");
        eventually("the site", SOON, || get(address, &path).map_err(|e| e.to_string()));
        browser.open(&format!("{origin}{path}"))
    };
    for relay in [&relay, &closed] {
        relay.frame("/live.jpeg");
    }
    // The lines that its page says, as it says them.
    let howto = browser.open(&format!("{}embed", relay.url()));
    let line = |n: u32| howto.text(&format!("document.querySelectorAll('code')[{n}].textContent"));
    howto.becomes("document.querySelector('.copy').hidden === false");
    screenshot(&howto, "embed-howto");
    is_clean(&howto, &relay);
    let script = show("script.html", &line(0));
    script.becomes("document.querySelector('iframe') !== null");
    let frames = |tab: &Tab, state: &str| {
        eventually("the viewer in the frame", SOON, || {
            let states = tab.eval_in_frames(STATE);
            if states.iter().any(|found| found == state) {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        });
    };
    frames(&script, "live");
    screenshot(&script, "embedded-by-script");
    assert_eq!(script.complaints(), [] as [String; 0]);
    frames(&show("frame.html", &line(1)), "live");
    for (name, n) in [("mjpeg.html", 2), ("still.html", 3)] {
        show(name, &line(n)).becomes("document.images[0].naturalWidth === 640");
    }
    // A script of this site may read pictures and states, of the relay that lets it.
    assert_eq!([reads(&script, &relay), reads(&script, &closed)], ["live", "refused"]);
    // Where the relay does not let it, plain pictures are shown in the frame's place.
    let line = line(0).replace(&relay.url(), &closed.url());
    let refused = show("refused.html", &line);
    refused.becomes("document.images[0]?.naturalWidth === 640");
    assert_eq!(refused.eval("document.querySelector('iframe')"), Value::Null);
    screenshot(&refused, "embedded-refused");
}

#[test]
fn the_owner_sees_everything_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("owner");
    fs::write(&file, "böse:geheim\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = Relay::with(&[("STILLWATCH_OWNER_PASSWORD_FILE", file.to_str().unwrap())]);
    let _agent = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let refused = request(relay.address, "POST", "/?password=wrong", &[], b"x").unwrap();
    assert_eq!(refused.status(), 400);
    let browser = Browser::start(&[]);
    let tab = browser.tab();
    tab.go(&format!("http://owner:b%C3%B6se%3Ageheim@{}/status", relay.address));
    tab.becomes("document.querySelector('.cameras section')?.dataset.state === 'live'");
    let body = "document.body.innerText";
    for text in ["Frame rate", "640 × 360", "password 1", "Viewers now", "Agent\n0.1.0"] {
        tab.becomes(&format!("{body}.includes({})", json!(text)));
    }
    tab.becomes("document.querySelector('.sparkline path') !== null");
    screenshot(&tab, "owner");
    assert_eq!(tab.complaints(), [] as [String; 0]);
}

#[test]
fn watching_for_long_leaves_nothing_in_the_tab() {
    let relay = Relay::start();
    let _agent =
        agent(&relay.url(), &["--source", "pattern", "--size", "640x360", "--fps", "50"], &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    for way in ["websocket", "mjpeg"] {
        let tab = browser.open(&format!("{}?transport={way}", relay.url()));
        let drawn_to = |wanted: u64| {
            eventually("so many frames", SOON, || {
                let now = number(&tab);
                if now >= wanted { Ok(()) } else { Err(now) }
            });
            tab.heap()
        };
        let begun = number(&tab);
        let early = drawn_to(begun + 100);
        let late = drawn_to(begun + 500);
        // 400 pictures of 14 KB; what the engine itself keeps for speed is less.
        let grown = late.bytes.saturating_sub(early.bytes);
        assert!(grown < 2_000_000, "{way}: {early:?}, then {late:?}");
        // A text that just changed counts twice.
        assert!(late.nodes <= early.nodes + 5, "{way}: {early:?}, then {late:?}");
    }
}

#[test]
fn after_a_sleep_nothing_is_called_live_that_was_not_drawn_since() {
    let relay = Relay::start();
    let camera = agent(&relay.url(), &PATTERN, &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    let tab = browser.tab();
    // The wall clock goes on while the computer sleeps, the monotonic one may not.
    tab.before_each_page(
        "{ const now = Date.now; globalThis.asleep = 0; Date.now = () => now() + asleep; }",
    );
    let link = Link::to(relay.address);
    tab.go(&format!("http://{}/", link.address));
    moves(&tab);
    tab.becomes(&is("live"));
    // The network is not back yet when it wakes.
    link.silent(true);
    tab.eval(
        "globalThis.states = []; new MutationObserver(() => \
            states.push(document.querySelector('.camera').dataset.state)) \
            .observe(document.querySelector('.camera'), { attributeFilter: ['data-state'] }); \
        asleep = 3600 * 1000;",
    );
    tab.becomes(&is("unreachable"));
    // At once, and not only when the relay had not answered for long.
    assert_eq!(tab.eval("states"), json!(["connecting", "unreachable"]));
    link.cut();
    link.silent(false);
    tab.becomes(&is("live"));
    moves(&tab);
    drop(camera);
}

#[test]
fn dark_or_light_with_or_without_motion_and_the_exact_moment() {
    let (relay, _agent) = with_test_card();
    let browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes(&is("live"));
    let feature = |name: &str, value: &str| {
        let feature = MediaFeature::new(name, value);
        let media = SetEmulatedMediaParams::builder().feature(feature).build();
        tab.command(media);
    };
    let background = "getComputedStyle(document.body).backgroundColor";
    feature("prefers-color-scheme", "light");
    assert_eq!(tab.text(background), "rgb(244, 246, 248)");
    feature("prefers-color-scheme", "dark");
    assert_eq!(tab.text(background), "rgb(16, 20, 24)");
    screenshot(&tab, "dark");
    let motion = "document.getAnimations().length";
    tab.becomes(&format!("{motion} === 1"));
    feature("prefers-reduced-motion", "reduce");
    tab.becomes(&format!("{motion} === 0"));
    // Weekday, day, month, year, time with milliseconds, zone.
    tab.becomes(
        "/^Taken \\w+, .*\\d{4}.*\\d:\\d\\d:\\d\\d\\.\\d{3}.* \\w+/\
         .test(document.querySelector('.taken').title)",
    );
    is_clean(&tab, &relay);
}

#[test]
fn in_another_network_it_begins_anew_at_once() {
    let (relay, _agent) = with_test_card();
    let link = Link::to(relay.address);
    let browser = Browser::start(&[]);
    let tab = browser.open(&format!("http://{}/", link.address));
    moves(&tab);
    let sockets = |tab: &Tab| tab.requests().iter().filter(|url| url.starts_with("ws:")).count();
    assert_eq!(sockets(&tab), 1);
    let offline = |offline: bool| {
        tab.command(OverrideNetworkStateParams::new(offline, 0.0, -1.0, -1.0));
    };
    offline(true);
    tab.becomes("!navigator.onLine");
    link.forget();
    offline(false);
    eventually("another connection", SOON, || {
        if sockets(&tab) > 1 { Ok(()) } else { Err(tab.text(WORDS)) }
    });
    tab.becomes(&is("live"));
    moves(&tab);
}
