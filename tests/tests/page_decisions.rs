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
        // What a cache kept for a second and a bit is known to half a second,
        clock.sample(1_000_000, 0, 10, 1_000);
        found.push(at(10));
        // and counts for nothing once the relay itself has answered.
        clock.sample(1_000_220, 20, 30);
        clock.sample(1_000_000, 30, 40, 1_000);
        found.push(at(40));
        return found;",
    );
    let known = [1_000_300, 1_001_010, 1_002_900, 101_000_050, 450];
    let kept = [1_000_505, 1_000_235];
    let all =
        [[Value::Null].as_slice(), &known.map(Value::from), &[Value::Null], &kept.map(Value::from)];
    assert_eq!(found, Value::from(all.concat()));
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

/// A page's relays, and when which one is asked: `alive` says which answer, in `ms`.
const MIRRORS: &str = "const mirrors = (count, spread = 0) => new Mirrors(count, spread);
    // Asks whenever it should, and answers for the others at once, until `until`.
    const go = (m, { from, until, alive, random = 0, every = 50 }) => {
        const asked = [];
        for (let now = from; now <= until; now += every) {
            const other = m.next(now, random);
            if (other === null) continue;
            asked.push(other);
            if (m.answered(other, alive(other), now, random)) return { asked, at: now - from };
        }
        return { asked, at: null };
    };";

fn run_mirrors(body: &str) -> Value {
    run(&["mirrors.js"], &format!("{MIRRORS}\n{body}"))
}

#[test]
fn a_relay_is_left_after_two_refusals_or_a_long_silence_and_not_after_one_slow_answer() {
    let found = run_mirrors(
        "const found = [], all = () => true;
        const one = (what) => { const m = mirrors(2); what(m); return go(m, { from: 0, until: 20_000, alive: all }).at; };
        // It refused, and a second time: soon.
        found.push(one((m) => { m.asks(0); m.failed(5); m.failed(200); }));
        // It refused once, or says nothing: not so soon.
        found.push(one((m) => { m.asks(0); m.failed(5); }), one((m) => m.asks(0)));
        // It answers, however late before that; or its frames come; or it was not asked.
        const late = mirrors(2);
        late.asks(0);
        found.push(go(late, { from: 0, until: 4_900, alive: all }).at);
        late.works();
        found.push(go(late, { from: 4_900, until: 100_000, alive: all }).at, one(() => {}));
        // A question before it works counts for nothing after.
        late.failed(100_000); late.works(); late.failed(100_100);
        found.push(go(late, { from: 100_100, until: 105_000, alive: all }).at);
        // Somebody who knows one relay only stays there.
        const alone = mirrors(1);
        alone.failed(0); alone.failed(0);
        found.push(go(alone, { from: 0, until: 100_000, alive: all }).at);
        return found;",
    );
    assert_eq!(found, json!([1200, 5000, 5000, null, null, null, null, null]));
}

#[test]
fn the_next_relay_that_answers_is_taken_round_and_round_and_none_while_none_does() {
    let found = run_mirrors(
        "const found = [];
        const dead = (m, now) => { m.asks(now); m.failed(now); m.failed(now); };
        // From the second of four: the next ones in their order, and the first at last.
        const m = mirrors(4);
        dead(m, 0);
        found.push(go(m, { from: 0, until: 5_000, alive: (n) => n === 1 }).asked, m.here);
        dead(m, 10_000);
        found.push(go(m, { from: 10_000, until: 15_000, alive: (n) => n === 0 }).asked, m.here);
        // Which is the first depends on chance.
        for (const random of [0, 0.34, 0.99]) {
            const other = mirrors(4);
            dead(other, 0);
            found.push(go(other, { from: 0, until: 1_400, alive: () => false, random }).asked);
        }
        // The viewer's own network is gone: it stays, and asks less and less often.
        const cut = mirrors(3);
        dead(cut, 0);
        const { asked, at } = go(cut, { from: 0, until: 600_000, alive: () => false, random: 1 - 1e-9 });
        found.push(at, cut.here, asked.length < 140, asked.length > 100);
        // It works again: nothing more is asked.
        cut.works();
        found.push(go(cut, { from: 600_000, until: 700_000, alive: () => true }).asked);
        // One that does not answer is not waited for; if it answers later, it is taken all the same.
        const slow = mirrors(3);
        dead(slow, 0);
        found.push(slow.next(1_200, 0), slow.next(3_100, 0), slow.next(3_200, 0),
            slow.answered(1, true, 3_300, 0), slow.here);
        // An answer that came after the first relay's own changes nothing.
        const back = mirrors(2);
        dead(back, 0);
        found.push(back.next(1_200, 0));
        back.works();
        found.push(back.answered(1, true, 1_300, 0), back.here);
        return found;",
    );
    let expected = json!([
        [1],
        1,
        [2, 3, 0],
        0,
        [1, 2, 3],
        [2, 3, 1],
        [3, 1, 2],
        null,
        0,
        true,
        true,
        [],
        1,
        null,
        2,
        true,
        1,
        1,
        false,
        0
    ]);
    assert_eq!(found, expected);
}

#[test]
fn who_moves_again_and_again_has_less_hurry_each_time() {
    let found = run_mirrors(
        "const m = mirrors(2), waits = [];
        let now = 0;
        const move = () => {
            m.asks(now); m.failed(now); m.failed(now);
            const { at } = go(m, { from: now, until: now + 60_000, alive: () => true });
            waits.push(at);
            now += at + 1_000;
        };
        // Two relays that both come and go.
        for (let n = 0; n < 9; n++) move();
        // After a quiet minute all is forgotten.
        now += 60_000;
        move();
        return waits;",
    );
    assert_eq!(found, json!([1200, 1200, 2400, 4800, 9600, 19_200, 19_200, 19_200, 19_200, 1200]));
}

#[test]
fn a_thousand_viewers_of_a_dead_relay_come_one_after_the_other_and_to_all_of_the_others() {
    let found = run_mirrors(
        "// The same numbers each time (mulberry32).
        let seed = 12;
        const random = () => {
            seed = (seed + 0x6d2b79f5) | 0;
            let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
            t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
            return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
        };
        const buckets = new Map(), went = [0, 0, 0];
        let last = 0;
        for (let n = 0; n < 1000; n++) {
            const m = mirrors(3, random());
            m.asks(0); m.failed(1); m.failed(150);
            const { at } = go(m, { from: 0, until: 20_000, alive: () => true, random: random(), every: 10 });
            const bucket = Math.floor(at / 100);
            buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
            went[m.here] += 1;
            last = Math.max(last, at);
        }
        return { most: Math.max(...buckets.values()), last, went };",
    );
    println!("1000 viewers, two other relays, by simulated time: {found}");
    let [most, last] = ["most", "last"].map(|key| found.get(key).and_then(Value::as_u64).unwrap());
    assert!(most <= 150, "in the same tenth of a second: {most}");
    assert!(last <= 2_200, "the last one looks for another after {last} ms");
    let went = found.get("went").and_then(Value::as_array).unwrap();
    let went: Vec<u64> = went.iter().filter_map(Value::as_u64).collect();
    assert!(went.first() == Some(&0) && went.iter().skip(1).all(|n| *n > 400), "{went:?}");
}

#[test]
fn no_frame_of_another_relay_is_drawn_after_a_newer_one() {
    let found = run_mirrors(
        "const frame = (captured, seq = '1', relay = 0) => ({ captured, seq, relay });
        const of = (next, drawn, relayTime = 100_000) => follows(next, drawn, relayTime);
        const drawn = frame(90_000, '18446744073709551614');
        return [
            of(frame(1), null), of(frame(1), drawn),
            of(frame(90_001, '1', 1), drawn), of(frame(89_999, '1', 1), drawn),
            // Taken at the same moment: the number counts, all 64 bits of it; the same frame is not drawn again.
            of(frame(90_000, '18446744073709551615', 1), drawn), of(drawn, drawn),
            of({ ...drawn, relay: 1 }, drawn), of(frame(90_000, null, 1), drawn),
            // The relay's clock is behind by more than any frame may be ahead.
            of(frame(1, '1', 1), drawn, 84_999), of(frame(1, '1', 1), drawn, 85_000),
            of(frame(1, '1', 1), drawn, null),
            // Where it is at the others: this relay may stand among them.
            elsewhere('garden', 'https://b.org/ https://a.org/ https://c.org/cams/', 'https://a.org/'),
            elsewhere('default', '', 'https://a.org/'),
        ];",
    );
    let at_others = ["https://b.org/cameras/garden/", "https://c.org/cams/cameras/garden/"];
    assert_eq!(
        found,
        json!([
            true,
            true,
            true,
            false,
            true,
            true,
            false,
            false,
            true,
            false,
            false,
            at_others,
            []
        ])
    );
}
