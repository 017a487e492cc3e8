use bytes::Bytes;
use frame::Picture;

use super::*;

const LIMITS: Limits = Limits {
    stale_after: Duration::from_secs(10),
    frozen_after: Duration::from_secs(15),
    frozen_uploads: 5,
    offline_after: Duration::from_secs(60),
};

fn at(secs: f64) -> Mono {
    Mono::from_boot(Duration::from_secs(1_000) + Duration::from_secs_f64(secs))
}

/// The hash of the `n`th of many different pictures.
fn hash(n: u8) -> ContentHash {
    let mut bytes = include_bytes!("../../assets/no-picture-yet.jpeg").to_vec();
    // Padding after the end belongs to a picture's bytes.
    bytes.push(n);
    Picture::accept(Bytes::from(bytes)).unwrap().hash()
}

/// Shows a frame every `every` seconds from 0 until `until`; equal ones if `same`.
fn shown(every: f64, until: f64, same: bool, may_repeat: bool) -> Signs {
    let mut signs = Signs::default();
    let mut n = 0;
    let mut now = 0.0;
    while now <= until {
        signs.shown(at(now), hash(if same { 0 } else { n }), may_repeat);
        n = n.wrapping_add(1);
        now = f64::from(n) * every;
    }
    signs
}

#[test]
fn states_of_a_camera_that_falls_silent() {
    // (interval, last frame, [(time, state)])
    use State::{Live, Offline, Stale};
    type Story<'a> = (f64, f64, &'a [(f64, State)]);
    let stories: [Story<'_>; 5] = [
        (0.2, 20.0, &[(20.0, Live), (30.0, Live), (30.1, Stale), (80.0, Stale), (80.1, Offline)]),
        // Five of its own intervals are longer than ten seconds.
        (4.0, 20.0, &[(40.0, Live), (40.1, Stale), (80.0, Stale), (80.1, Offline)]),
        // Never offline before stale.
        (60.0, 180.0, &[(480.0, Live), (480.1, Offline)]),
        // One gap alone is no rhythm.
        (60.0, 60.0, &[(70.0, Live), (70.1, Stale), (120.1, Offline)]),
        (1.0, 0.0, &[(10.0, Live), (10.1, Stale), (60.1, Offline)]),
    ];
    for (every, until, states) in stories {
        let signs = shown(every, until, false, false);
        for (now, state) in states {
            assert_eq!(signs.state(at(*now), &LIMITS), *state, "every {every} s, at {now} s");
        }
    }
}

#[test]
fn nothing_yet_is_empty_whatever_is_heard() {
    let mut signs = Signs::default();
    assert_eq!(signs.state(at(100.0), &LIMITS), State::Empty);
    signs.heard(at(100.0));
    assert_eq!(signs.state(at(100.0), &LIMITS), State::Empty);
}

#[test]
fn uploads_that_bring_nothing_new_are_stale_and_not_offline() {
    let mut signs = shown(1.0, 20.0, false, false);
    signs.heard(at(100.0));
    assert_eq!(signs.state(at(101.0), &LIMITS), State::Stale);
    signs.shown(at(102.0), hash(200), false);
    assert_eq!(signs.state(at(102.0), &LIMITS), State::Live);
}

#[test]
fn frozen_needs_time_and_uploads() {
    use State::{Frozen, Live, Stale};
    for (case, every, until, same, may_repeat, state) in [
        ("moving", 1.0, 20.0, false, false, Live),
        ("not long enough", 0.1, 14.9, true, false, Live),
        ("long enough", 0.1, 15.0, true, false, Frozen),
        ("too few", 5.0, 15.0, true, false, Live),
        ("enough", 5.0, 20.0, true, false, Frozen),
        ("may repeat", 1.0, 100.0, true, true, Live),
    ] {
        let signs = shown(every, until, same, may_repeat);
        assert_eq!(signs.state(at(until), &LIMITS), state, "{case}");
    }
    let mut signs = shown(1.0, 20.0, true, false);
    assert_eq!(signs.state(at(31.0), &LIMITS), Stale, "silence explains more");
    signs.shown(at(32.0), hash(0), false);
    assert_eq!(signs.state(at(32.0), &LIMITS), Frozen, "the same again");
    signs.shown(at(33.0), hash(1), false);
    assert_eq!(signs.state(at(33.0), &LIMITS), Live, "left by one different picture");
}

#[test]
fn one_long_pause_does_not_make_a_slow_camera() {
    let mut signs = shown(1.0, 20.0, false, false);
    signs.shown(at(4_000.0), hash(1), false);
    assert_eq!(signs.state(at(4_010.1), &LIMITS), State::Stale);
    // Nor does one at the beginning.
    let mut signs = shown(1.0, 0.0, false, false);
    for now in [4_000.0, 4_000.2] {
        signs.shown(at(now), hash(1), false);
    }
    assert_eq!(signs.state(at(4_011.0), &LIMITS), State::Stale);
}

#[test]
fn what_an_earlier_process_left() {
    for (arrived, now, state) in [
        (Some(at(0.0)), 5.0, State::Live),
        (Some(at(0.0)), 10.1, State::Stale),
        (Some(at(0.0)), 60.1, State::Offline),
        // Before boot, or by a clock that was wrong.
        (None, 0.0, State::Offline),
    ] {
        assert_eq!(Signs::restored(arrived).state(at(now), &LIMITS), state, "{arrived:?} {now}");
    }
    // The pause over a restart is no rhythm either.
    let mut signs = Signs::restored(None);
    signs.shown(at(1.0), hash(0), false);
    assert_eq!(signs.state(at(1.0), &LIMITS), State::Live);
}
