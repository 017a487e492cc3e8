//! Measures the page in Chromium, for `scripts/bench page`: how soon the first picture is there, how
//! old pictures are when they are drawn, what hours of them leave in memory. Prints tables.

use std::process::ExitCode;

use chromiumoxide::cdp::browser_protocol::network::{
    EmulateNetworkConditionsByRuleParams, NetworkConditions,
};
use serde_json::Value;
use stories::browser::{Browser, Tab};
use stories::card::SHOWN;
use stories::{Relay, agent};
use testbed::eventually::{eventually, pause};
use testbed::program::SOON;

const FPS: u64 = 10;

/// Added to each of the browser's requests, in ms.
const ROUND_TRIP_MS: f64 = 400.0;

/// Notes each frame that is drawn: how old it is by this machine's clock (camera, relay and browser
/// have the same), how old the page thinks it is, and whether the number in its pixels is that of
/// the frame whose capture time it goes by.
fn watch() -> String {
    format!(
        "(() => {{
            globalThis.measured = {{ ages: [], wrong: 0 }};
            document.querySelector('.camera').addEventListener('drawn', ({{ detail }}) => {{
                measured.ages.push(Date.now() - detail.captured);
                if (String({SHOWN}?.number) !== detail.seq) measured.wrong += 1;
            }});
        }})()"
    )
}

/// When the first picture was drawn, in ms after the page's HTML had come.
const FIRST: &str = "document.addEventListener('DOMContentLoaded', () => {
    document.querySelector('.camera').addEventListener('drawn', () => {
        const [page] = performance.getEntriesByType('navigation');
        globalThis.first = performance.now() - page.responseEnd;
    }, { once: true });
});";

fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20);
    let relay = Relay::start();
    let fps = FPS.to_string();
    let arguments = ["--source", "pattern", "--size", "640x360", "--fps", fps.as_str()];
    let camera = agent(&relay.url(), &arguments, &[]);
    relay.frame("/live.jpeg");
    let browser = Browser::start(&[]);
    let first = first_pictures(&relay);
    let ages = ages(&browser, &relay, seconds);
    drop(browser);
    drop(camera);
    memory(&relay, seconds);
    if first && ages { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(met: bool, what: &str) {
    println!("- {}: {what}", if met { "met" } else { "NOT MET" });
}

/// How many round trips after its HTML the page shows its first picture.
fn first_pictures(relay: &Relay) -> bool {
    println!("\n**First picture after the HTML** ({ROUND_TRIP_MS} ms added to each request)\n");
    println!("| | ms | round trips |\n|---|---|---|");
    let mut trips = Vec::new();
    for (name, latency) in [("loopback", 0.0), ("far away", ROUND_TRIP_MS)] {
        // With nothing in its cache.
        let browser = Browser::start(&[]);
        let tab = browser.tab();
        tab.before_each_page(FIRST);
        let unlimited = -1.0;
        let conditions = NetworkConditions::new("", latency, unlimited, unlimited);
        tab.command(EmulateNetworkConditionsByRuleParams::new(false, vec![conditions]));
        // The browser delays no WebSocket, so that way would look better than it is.
        tab.go(&format!("{}?transport=poll", relay.url()));
        tab.becomes("globalThis.first > 0");
        let first = tab.eval("first").as_f64().unwrap_or(f64::NAN);
        let count = first / latency;
        let shown = if latency > 0.0 { format!("{count:.2}") } else { "–".to_owned() };
        println!("| {name} | {first:.0} | {shown} |");
        trips.push(count);
    }
    println!();
    let far = trips.last().copied().unwrap_or(f64::NAN);
    // What the machine takes by itself is no round trip.
    let met = far < 2.0 + 0.5;
    verdict(met, &format!("{far:.2} round trips (two, and what the machine takes)"));
    met
}

/// From capture to the canvas, on each way.
fn ages(browser: &Browser, relay: &Relay, seconds: u64) -> bool {
    println!("\n**Capture to pixel** ({FPS} fps, {seconds} s each, stamp checked in the pixels)\n");
    println!(
        "| way | frames | p50 ms | p95 ms | max ms | wrong stamps |\n|---|---|---|---|---|---|"
    );
    let mut medians = Vec::new();
    for way in ["websocket", "mjpeg", "poll"] {
        let tab = browser.open(&format!("{}?transport={way}", relay.url()));
        tab.becomes("document.querySelector('.camera').dataset.state === 'live'");
        tab.becomes(&format!("document.querySelector('.camera').dataset.way === '{way}'"));
        tab.eval(&watch());
        pause(std::time::Duration::from_secs(seconds));
        let measured = tab.eval("measured");
        let mut ages: Vec<f64> = list(&measured, "ages");
        ages.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "it is a place in the list"
            )]
            let n = ((ages.len() as f64 - 1.0) * share) as usize;
            ages.get(n).copied().unwrap_or(f64::NAN)
        };
        let wrong = measured.get("wrong").and_then(Value::as_u64).unwrap_or(0);
        let (p50, p95, max, count) = (at(0.5), at(0.95), at(1.0), ages.len());
        println!("| {way} | {count} | {p50:.0} | {p95:.0} | {max:.0} | {wrong} |");
        medians.push((way, p50, wrong));
    }
    println!();
    let limit = 1000 / FPS + 50;
    let mut met = true;
    for (way, p50, wrong) in medians.into_iter().filter(|(way, ..)| *way != "poll") {
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        let good = p50 < limit as f64 && wrong == 0;
        verdict(good, &format!("{way}: p50 {p50:.0} ms (one interval and 50 ms: {limit} ms)"));
        met &= good;
    }
    met
}

fn list(measured: &Value, name: &str) -> Vec<f64> {
    let list = measured.get(name).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}

/// An hour at one frame a second, as fast as the camera can.
fn memory(relay: &Relay, seconds: u64) {
    const HOUR: u64 = 3_600;
    let arguments = ["--source", "pattern", "--size", "640x360", "--fps", "60"];
    let _camera = agent(&relay.url(), &arguments, &[]);
    let mut browser = Browser::start(&[]);
    let tab = browser.open(&relay.url());
    tab.becomes("document.querySelector('.camera').dataset.state === 'live'");
    tab.eval(&watch());
    let frames = HOUR.min(seconds * 180);
    println!("\n**Memory of the tab** ({frames} frames, drawn as fast as they come)\n");
    println!("| frames drawn | JavaScript heap and buffers, KiB | nodes | all processes, MiB |");
    println!("|---|---|---|---|");
    for step in 0..=4 {
        let wanted = frames * step / 4 + 60;
        let drawn = drawn_to(&tab, wanted);
        let heap = tab.heap();
        let rss = browser.rss_kib() / 1024;
        println!("| {drawn} | {} | {} | {rss} |", heap.bytes / 1024, heap.nodes);
    }
    println!();
}

fn drawn_to(tab: &Tab, wanted: u64) -> u64 {
    eventually("so many frames", SOON * 3, || {
        let drawn = tab.eval("measured.ages.length").as_u64().unwrap_or(0);
        if drawn >= wanted { Ok(drawn) } else { Err(drawn) }
    })
}
