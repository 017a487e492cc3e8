//! What the page's script decides, in simulated time: the relay's clock, the badge, the ways frames
//! come on, the parts of a stream. The files of `relay/assets/js/` and `crates/web/assets/` run as they
//! are, in Chromium.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;

use serde_json::{Value, json};
use stories::browser::Browser;
use stories::of_repository;

/// What `body` returns, with these files before it.
fn run(files: &[&str], body: &str) -> Value {
    let read = |file: &&str| match *file {
        "badge.js" => fs::read_to_string(of_repository("crates/web/assets/badge.js")),
        file => fs::read_to_string(of_repository("relay/assets/js").join(file)),
    };
    let code: String = files.iter().map(|file| read(file).unwrap()).collect();
    let browser = Browser::start(&[]);
    browser.tab().eval(&format!("(() => {{ {code}\n{body} }})()"))
}

#[test]
fn the_relays_clock_is_known_as_well_as_the_quickest_answer_says() {
    let found = run(
        &["clock.js"],
        "const clock = new RelayClock(), at = (local) => Math.round(clock.at(local));
        const found = [clock.at(0)];
        // The relay is 1,000,000 ms ahead; the first answer took 200 ms one way only.
        clock.sample(1_000_000 + 200, 0, 200);
        found.push(at(200));
        // A quicker one counts for more,
        clock.sample(1_001_005, 1000, 1010);
        found.push(at(1010));
        // a slower one for nothing,
        clock.sample(1_002_900, 2000, 2900);
        found.push(at(2900));
        // until it is so old that the clocks may have drifted apart more than it can be wrong.
        clock.sample(101_000_030, 100_000_000, 100_000_040);
        found.push(at(100_000_040));
        // A clock that was set by an hour counts at once, however slow the answer.
        clock.sample(104_700_900, 100_100_000, 100_100_900);
        found.push(at(100_100_900) - 104_700_900);
        clock.forget();
        found.push(clock.at(0));
        return found;",
    );
    assert_eq!(found, json!([null, 1_000_300, 1_001_010, 1_002_900, 101_000_050, 450, null]));
}

#[test]
fn nothing_but_a_fresh_picture_of_a_live_camera_is_called_live() {
    let found = run(
        &["badge.js"],
        "const good = { paused: false, unreachable: false, state: 'live', age: 500, unchanged: null,
            silence: 100, damaged: false, staleMs: 10_000 };
        const of = (facts) => { const { kind, lasts } = judge({ ...good, ...facts });
            return [kind, lasts]; };
        return [of({}), of({ age: 10_000 }), of({ age: 10_001 }), of({ age: null }),
            of({ state: null }), of({ state: 'empty', age: null }), of({ state: 'stale', age: 15_000 }),
            of({ state: 'stale', age: 5 }), of({ state: 'offline', age: 70_000 }),
            of({ state: 'frozen', unchanged: 20_000 }), of({ state: 'frozen' }),
            of({ damaged: true }), of({ damaged: true, state: 'offline' }),
            of({ unreachable: true, silence: 9_000 }), of({ unreachable: true, silence: null }),
            of({ paused: true, unreachable: true }), of({ paused: true, age: null })];",
    );
    let expected = json!([
        ["live", 500],
        ["live", 10_000],
        ["late", 10_001],
        ["connecting", null],
        ["connecting", null],
        ["empty", null],
        ["stale", 15_000],
        ["stale", 5],
        ["offline", 70_000],
        ["frozen", 20_000],
        ["frozen", 500],
        ["unreadable", 500],
        ["offline", 500],
        ["unreachable", 9_000],
        ["unreachable", null],
        ["paused", 500],
        ["paused", null],
    ]);
    assert_eq!(found, expected);
}

#[test]
fn the_frame_rate_is_of_the_last_ten_seconds_and_not_of_a_burst() {
    let found = run(
        &["badge.js"],
        "const rate = new FrameRate(), found = [];
        for (const now of [0, 5, 10]) rate.drawn(now);
        found.push(rate.at(10));
        for (let now = 1000; now <= 5000; now += 500) rate.drawn(now);
        found.push(Math.round(rate.at(5000) * 10) / 10);
        for (let now = 20_000; now <= 30_000; now += 200) rate.drawn(now);
        found.push(rate.at(30_000), rate.at(45_000));
        rate.forget();
        found.push(rate.at(30_000));
        return found;",
    );
    assert_eq!(found, json!([null, 2.2, 5, null, null]));
}

#[test]
fn a_blocked_way_is_left_and_tried_again_later_and_a_dead_relay_is_no_reason_to_leave() {
    let found = run(
        &["ladder.js"],
        "const found = [];
        const ladder = new Ladder(null);
        let now = 0;
        const ended = (alive, reachable) => {
            const wait = ladder.ended({ now, alive, reachable, random: 1 });
            found.push(`${ladder.way} ${wait}`);
        };
        // The relay is dead: the same way again, waiting longer each time, up to 5 s.
        for (let n = 0; n < 7; n++) ended(false, false);
        // It worked and broke: no blame, and no long wait.
        ladder.worked();
        ended(true, true);
        // It answers, but nothing comes this way; nor that.
        ended(false, true); ended(false, true);
        // The last way is never left.
        ended(false, true);
        found.push(ladder.mayClimb(now + 59_999));
        now += 120_000;
        found.push(ladder.mayClimb(now));
        ladder.climb();
        found.push(ladder.way, ladder.mayClimb(now));
        // Still blocked: not so soon again, and never later than after ten minutes.
        for (let n = 0; n < 8; n++) {
            ended(false, true); ended(false, true);
            let from = now;
            while (!ladder.mayClimb(now)) now += 1000;
            found.push((now - from) / 1000);
            ladder.climb();
        }
        const forced = new Ladder('mjpeg');
        forced.ended({ now, alive: false, reachable: true, random: 0 });
        found.push(forced.way, new Ladder('nonsense').way);
        return found;",
    );
    let text = found.to_string();
    let begins = [
        "websocket 200",
        "websocket 400",
        "websocket 800",
        "websocket 1600",
        "websocket 3200",
        "websocket 5000",
        "websocket 5000",
        "websocket 200",
        "mjpeg 0",
        "poll 0",
        "poll 200",
    ];
    let found = found.as_array().unwrap();
    assert_eq!(found[..11], begins.map(Value::from), "{text}");
    assert_eq!(found[11..15], [json!(false), json!(true), json!("websocket"), json!(false)]);
    let waits: Vec<f64> = found[15..].iter().filter_map(Value::as_f64).collect();
    assert_eq!(waits, [480.0, 600.0, 600.0, 600.0, 600.0, 600.0, 600.0, 600.0], "{text}");
    assert_eq!(found[found.len() - 2..], [json!("mjpeg"), json!("websocket")]);
}

#[test]
fn streams_are_taken_apart_however_they_are_cut() {
    let found = run(
        &["multipart.js"],
        r#"const bytes = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));
        const part = (seq, body) => 'Content-Type: image/jpeg\r\nContent-Length: ' + body.length
            + '\r\nframe-seq: ' + seq + '\r\n\r\n' + body + '\r\n--frame\r\n';
        // A body may look like a boundary and like a head.
        const bodies = ['a', 'b\r\n--frame\r\n\r\n', 'c'.repeat(5000)];
        const stream = bytes('--frame\r\n' + bodies.map((body, n) => part(n, body)).join(''));
        const found = [];
        for (const cut of [1, 2, 7, 1000, stream.length]) {
            const parser = new Multipart(), parts = [];
            for (let n = 0; n < stream.length; n += cut) {
                parts.push(...parser.push(stream.subarray(n, n + cut)));
            }
            const texts = parts.map(({ body }) => String.fromCharCode(...body));
            const seqs = parts.map(({ head }) => head.get('frame-seq')).join();
            found.push(seqs + (texts.join('|') === bodies.join('|')));
        }
        const fails = (text) => {
            try { new Multipart().push(bytes(text)); return false; } catch { return true; }
        };
        found.push(fails('--frame\r\nContent-Type: image/jpeg\r\n\r\n'),
            fails('--frame\r\nContent-Length: 99999999999\r\n\r\n'),
            fails('--frame\r\nContent-Length: -1\r\n\r\n'),
            fails('<html>'.repeat(1000)), fails('--frame\r\nContent-Length: 5\r\n\r\n1234'));
        return found;"#,
    );
    let same = "0,1,2true";
    assert_eq!(found, json!([same, same, same, same, same, true, true, true, true, false]));
}

#[test]
fn a_moment_of_the_past_has_a_frame_or_is_in_a_gap() {
    let found = run(
        &["past.js"],
        "const times = [0, 10, 19, 100, 110], seen = (moment) => {
            const { index, gap } = seenAt(times, 10, moment);
            return gap ? [gap.from, gap.to] : index;
        };
        return [[-1, 0, 5, 10, 19, 29, 30, 99, 100, 119, 130, 131, 500].map(seen),
            seenAt([], 10, 5), covered(times, 10, 0, 200), covered([], 10, 0, 0),
            covered([5], 10, 5, 5)];",
    );
    assert_eq!(
        found,
        json!([
            [[null, 0], 0, 0, 1, 2, 2, [19, 100], [19, 100], 3, 4, 4, [110, null], [110, null]],
            { "index": null, "gap": { "from": null, "to": null } },
            [[0, 0.145], [0.5, 0.6]],
            [],
            [[0, 1]]
        ])
    );
}
