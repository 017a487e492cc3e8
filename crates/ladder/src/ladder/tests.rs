use proptest::prelude::*;

use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Mono {
    Mono::from_boot(s(1_000 + seconds))
}

fn plan() -> Plan<&'static str> {
    let rung = |action, patience, tries, cool_down| {
        let (patience, cool_down) = (s(patience), s(cool_down));
        Rung { action, patience, tries, cool_down }
    };
    Plan {
        detect: s(5),
        rungs: vec![rung("reopen", 5, 2, 0), rung("reset", 10, 1, 0), rung("reboot", 60, 1, 1_000)],
        proof: s(10),
        rest: s(300),
    }
}

/// What happens, second by second, while the organ is as `well` says; actions take a second.
fn play(
    ladder: &mut Ladder<&'static str>,
    seconds: std::ops::Range<u64>,
    well: impl Fn(u64) -> bool,
) -> Vec<(u64, String)> {
    play_if(ladder, seconds, well, |_| true)
}

fn play_if(
    ladder: &mut Ladder<&'static str>,
    seconds: std::ops::Range<u64>,
    well: impl Fn(u64) -> bool,
    may: impl Fn(&&'static str) -> bool,
) -> Vec<(u64, String)> {
    let mut said = Vec::new();
    let mut acting = None;
    for second in seconds {
        if acting.take_if(|done| *done == second).is_some() {
            ladder.done(at(second), true);
        }
        match ladder.see(at(second), well(second), &may) {
            Some(Step::Act { action, attempt, .. }) => {
                acting = Some(second + 1);
                said.push((second, format!("{action} {attempt}")));
            }
            Some(Step::Recovered { rung, lasted }) => {
                said.push((second, format!("well {rung:?} {}", lasted.as_secs())));
            }
            Some(Step::Rests { rest, .. }) => {
                said.push((second, format!("rests {}", rest.as_secs())));
            }
            None => {}
        }
    }
    said
}

fn texts(said: &[(u64, String)]) -> Vec<(u64, &str)> {
    said.iter().map(|(second, text)| (*second, text.as_str())).collect()
}

#[test]
fn a_fault_that_stays_is_climbed_rests_and_begins_anew_but_no_rung_before_it_cooled() {
    let mut ladder = Ladder::new(plan());
    let said = play(&mut ladder, 0..1_100, |_| false);
    let expected = [
        (5, "reopen 1"),
        (11, "reopen 2"),
        (17, "reset 1"),
        (28, "reboot 1"),
        (89, "rests 300"),
        (389, "reopen 1"),
        (395, "reopen 2"),
        (401, "reset 1"),
        (1_028, "reboot 1"),
        (1_089, "rests 600"),
    ];
    assert_eq!(texts(&said), expected);
}

#[test]
fn what_may_not_be_done_is_left_out() {
    let mut ladder = Ladder::new(plan());
    let said = play_if(&mut ladder, 0..100, |_| false, |action| *action != "reset");
    assert_eq!(texts(&said)[2], (17, "reboot 1"));
    let mut ladder = Ladder::new(plan());
    assert_eq!(texts(&play_if(&mut ladder, 0..100, |_| false, |_| false)), [(5, "rests 300")]);
}

#[test]
fn where_there_is_nothing_to_do_it_to_the_next_is_tried_at_once() {
    let mut ladder = Ladder::new(plan());
    ladder.see(at(0), false, |_| true);
    assert!(matches!(ladder.see(at(5), false, |_| true), Some(Step::Act { rung: 0, .. })));
    ladder.done(at(5), false);
    assert!(matches!(ladder.see(at(5), false, |_| true), Some(Step::Act { rung: 1, .. })));
}

#[test]
fn health_has_to_last_and_then_it_is_on_the_ground_again() {
    let mut ladder = Ladder::new(plan());
    // Cured by the second rung; well for three seconds before that, which does not count.
    let said = play(&mut ladder, 0..60, |t| (12..15).contains(&t) || t >= 22);
    let expected = [(5, "reopen 1"), (11, "reopen 2"), (20, "reset 1"), (32, "well Some(1) 22")];
    assert_eq!(texts(&said), expected);
    assert_eq!(ladder.ill_since(), None);
}

#[test]
fn a_hiccup_is_cured_by_nobody() {
    let mut ladder = Ladder::new(plan());
    let said = play(&mut ladder, 0..60, |t| t >= 4);
    assert_eq!(texts(&said), [(14, "well None 4")]);
}

#[test]
fn flapping_gets_more_patience() {
    let mut ladder = Ladder::new(plan());
    // Ill for 20 s of each minute.
    let said = play(&mut ladder, 0..600, |t| t % 60 >= 20);
    let count = |from: u64, to: u64| {
        said.iter().filter(|(t, text)| (from..to).contains(t) && text.starts_with("re")).count()
    };
    assert!(count(0, 120) > 2 && count(480, 600) == 0, "{said:?}");
}

#[test]
fn a_hold_counts_for_no_illness() {
    // It fell ill before, and waits for its second rung.
    let mut ladder = Ladder::new(plan());
    play(&mut ladder, 0..15, |_| false);
    ladder.hold(at(15), true);
    play(&mut ladder, 15..10_000, |_| false);
    ladder.hold(at(10_000), false);
    assert_eq!(ladder.ill_since(), Some(at(9_985)));
    // It fell ill meanwhile.
    let mut ladder = Ladder::new(plan());
    ladder.hold(at(0), true);
    play(&mut ladder, 900..1_000, |_| false);
    ladder.hold(at(1_000), false);
    assert_eq!(ladder.ill_since(), Some(at(1_000)));
    assert_eq!(texts(&play(&mut ladder, 1_000..1_006, |_| false)), [(1_005, "reopen 1")]);
}

#[test]
fn begun_anew_it_is_climbed_from_the_ground() {
    let mut ladder = Ladder::new(plan());
    play(&mut ladder, 0..70, |_| false);
    ladder.begin_anew(at(70));
    assert_eq!((ladder.ill_since(), ladder.rung()), (Some(at(70)), None));
    assert_eq!(texts(&play(&mut ladder, 70..77, |_| false)), [(75, "reopen 1")]);
}

#[test]
fn a_good_moment_in_a_rest_makes_it_no_longer_and_claims_no_cure() {
    let mut ladder = Ladder::new(plan());
    let said = play(&mut ladder, 0..600, |t| t > 100 && t % 50 == 0);
    assert!(said.contains(&(389, "reopen 1".to_owned())), "{said:?}");
    // Recovers during the rest: by itself.
    let mut ladder = Ladder::new(plan());
    let said = play(&mut ladder, 0..200, |t| t > 150);
    assert!(said.contains(&(161, "well None 151".to_owned())), "{said:?}");
}

#[test]
fn what_was_ill_from_the_start_has_no_relapse() {
    let mut ladder = Ladder::new(plan());
    // A camera that comes late, and falls ill later.
    let said = play(&mut ladder, 0..120, |t| (20..80).contains(&t));
    assert!(said.contains(&(85, "reopen 1".to_owned())), "{said:?}");
}

#[test]
fn while_another_organ_heals_time_stands_still() {
    let mut ladder = Ladder::new(plan());
    ladder.see(at(0), false, |_| true);
    ladder.hold(at(2), true);
    for second in 2..100 {
        assert_eq!(ladder.see(at(second), false, |_| true), None);
    }
    ladder.hold(at(100), false);
    assert_eq!(ladder.see(at(102), false, |_| true), None);
    let step = ladder.see(at(103), false, |_| true);
    assert!(matches!(step, Some(Step::Act { rung: 0, .. })), "{step:?}");
}

proptest! {
    /// Any course of health: one cure at a time, rungs in order, reboots far enough apart, always
    /// something within bounded time while it is ill, and on the ground in the end.
    #[test]
    fn any_course(course in prop::collection::vec((any::<bool>(), 1_u64..90), 1..60)) {
        let mut ladder = Ladder::new(plan());
        let (mut second, mut last, mut rebooted): (u64, _, Option<u64>) = (0, None, None);
        let mut acting: Option<u64> = None;
        for (well, lasts) in course {
            for _ in 0..lasts {
                second += 1;
                if acting.take_if(|done| *done <= second).is_some() {
                    ladder.done(at(second), true);
                }
                match ladder.see(at(second), well, |_| true) {
                    Some(Step::Act { rung, attempt, action, .. }) => {
                        prop_assert!(acting.is_none());
                        let step = (rung, attempt);
                        let next = match last {
                            Some((0, 1)) => step == (0, 2) || step == (0, 1),
                            Some((rung, _)) => step == (rung + 1, 1) || step == (0, 1),
                            None => step == (0, 1),
                        };
                        prop_assert!(next, "{step:?} after {last:?}");
                        if action == "reboot" {
                            prop_assert!(rebooted.is_none_or(|last| second >= last + 1_000));
                            rebooted = Some(second);
                        }
                        last = Some(step);
                        acting = Some(second + 3);
                    }
                    Some(Step::Recovered { .. } | Step::Rests { .. }) => last = None,
                    None => {}
                }
            }
        }
        // And well for good.
        for _ in 0..20 {
            second += 1;
            if acting.take_if(|done| *done <= second).is_some() {
                ladder.done(at(second), true);
            }
            ladder.see(at(second), true, |_| true);
        }
        prop_assert_eq!(ladder.ill_since(), None);
    }

    /// An illness that stays is always climbed to the top, however long it was well before.
    #[test]
    fn what_stays_is_always_climbed(before in prop::collection::vec((any::<bool>(), 1_u64..400), 0..20)) {
        let mut ladder = Ladder::new(plan());
        let mut second = 0;
        for (well, lasts) in before {
            play(&mut ladder, second..second + lasts, |_| well);
            second += lasts;
            ladder.done(at(second), true);
        }
        let said = play(&mut ladder, second..second + 20_000, |_| false);
        prop_assert!(said.iter().any(|(_, text)| text == "reboot 1"), "{said:?}");
    }
}
