use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    after: Duration::from_secs(60),
    recovered_after: Duration::from_secs(30),
    max_per_hour: 6,
};

fn at(seconds: u64) -> Mono {
    Mono::from_boot(Duration::from_secs(1_000_000 + seconds))
}

fn camera(id: &str) -> Subject {
    Subject::Camera(id.parse().unwrap())
}

/// What is told, second by second, of one camera that is so from these seconds on.
fn transcript(rules: Rules, until: u64, changes: &[(u64, Option<Trouble>)]) -> Vec<String> {
    let mut damping = Damping::new(rules);
    told(&mut damping, 0..until, |second| {
        let is = changes.iter().rev().find(|(from, _)| *from <= second).and_then(|(_, is)| *is);
        BTreeMap::from([(camera("garden"), is)])
    })
}

fn told(
    damping: &mut Damping,
    seconds: std::ops::Range<u64>,
    all: impl Fn(u64) -> BTreeMap<Subject, Option<Trouble>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for second in seconds {
        let notices = damping.turn(at(second), &all(second));
        if !notices.is_empty() {
            lines.push(format!("{second}: {}", words(&notices)));
        }
    }
    lines
}

fn words(notices: &[Notice]) -> String {
    let is = |now: Option<Trouble>| now.map_or("well", Trouble::word);
    let of = |notice: &Notice| {
        let subject = match &notice.subject {
            Subject::Camera(id) => id.to_string(),
            other
            @ (Subject::Store | Subject::Export | Subject::Certificate | Subject::Cluster) => {
                format!("{other:?}")
            }
        };
        let what = match notice.what {
            What::Trouble { now, lasted } => format!("{} {}s", now.word(), lasted.as_secs()),
            What::Again { was, lasted } => format!("again {} {}s", was.word(), lasted.as_secs()),
            What::Flapping { now, outages } => format!("flaps {outages} {}", is(now)),
            What::StillFlapping { now, outages } => format!("still flaps {outages} {}", is(now)),
            What::Steady { now, lasted } => format!("steady {} {}s", is(now), lasted.as_secs()),
        };
        format!("{subject} {what}")
    };
    notices.iter().map(of).collect::<Vec<_>>().join(", ")
}

use Trouble::{Degraded, Frozen, Offline, Stale};

#[test]
fn trouble_is_told_once_and_so_is_its_end() {
    let changes = [(100, Some(Stale)), (150, Some(Offline)), (1_000, None)];
    assert_eq!(
        transcript(RULES, 20_000, &changes),
        ["165: garden offline 65s", "1035: garden again offline 900s"]
    );
}

#[test]
fn what_is_over_before_is_never_mentioned() {
    let changes = [(100, Some(Stale)), (159, None), (300, Some(Offline)), (355, None)];
    assert_eq!(transcript(RULES, 20_000, &changes), [""; 0]);
    // Nor is a moment of health in between.
    let changes = [(100, Some(Stale)), (500, None), (529, Some(Stale)), (1_000, None)];
    assert_eq!(
        transcript(RULES, 20_000, &changes),
        ["165: garden stale 65s", "1035: garden again stale 900s"]
    );
}

#[test]
fn another_kind_of_trouble_is_news_when_it_lasts() {
    let changes = [
        (100, Some(Frozen)),
        (300, Some(Stale)),
        (330, Some(Frozen)),
        (500, Some(Offline)),
        (900, None),
    ];
    assert_eq!(
        transcript(RULES, 20_000, &changes),
        ["165: garden frozen 65s", "565: garden offline 465s", "935: garden again offline 800s"]
    );
}

#[test]
fn who_comes_and_goes_is_summed_up() {
    // 5 min away, 5 min there, for three hours; then it stays.
    let changes: Vec<_> =
        (0..18).flat_map(|n| [(n * 600, Some(Offline)), (n * 600 + 300, None)]).collect();
    assert_eq!(
        transcript(RULES, 40_000, &changes),
        [
            "65: garden offline 65s",
            "335: garden again offline 300s",
            "665: garden offline 65s",
            "935: garden again offline 300s",
            "1265: garden flaps 3 offline",
            "4870: garden still flaps 6 offline",
            "8475: garden still flaps 6 offline",
            "11105: garden steady well 605s",
        ]
    );
}

#[test]
fn who_flaps_and_stays_away_is_told_away_in_the_end() {
    let mut changes: Vec<_> =
        (0..4).flat_map(|n| [(n * 600, Some(Offline)), (n * 600 + 300, None)]).collect();
    changes.push((2_400, Some(Stale)));
    changes.push((20_000, None));
    let lines = transcript(RULES, 40_000, &changes);
    assert_eq!(
        lines[4..],
        [
            "1265: garden flaps 3 offline",
            "3005: garden steady stale 605s",
            "20035: garden again stale 17600s"
        ]
    );
}

#[test]
fn what_happens_together_is_one_message() {
    let mut damping = Damping::new(RULES);
    let names: Vec<Subject> = (0..40).map(|n| camera(&format!("c{n:02}"))).collect();
    let all = |second: u64| {
        // They fall silent within four seconds, and one comes back before it is told.
        let away = |n: usize| (n != 7 || second < 155) && second >= 100 + n as u64 / 10;
        let state = |n: usize| (second < 1_000 && away(n)).then_some(Offline);
        let cameras = names.iter().enumerate().map(|(n, name)| (name.clone(), state(n)));
        cameras
            .chain([(Subject::Store, (100..1_000).contains(&second).then_some(Degraded))])
            .collect()
    };
    let lines = told(&mut damping, 0..5_000, all);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line.matches("c").count() - line.matches("c07").count(), 39, "{line}");
        assert!(line.contains("Store") && !line.contains("c07"), "{line}");
    }
}

#[test]
fn a_restart_repeats_nothing_and_forgets_no_end() {
    let away = |_| BTreeMap::from([(camera("a"), Some(Offline)), (camera("b"), None)]);
    let mut before = Damping::new(RULES);
    assert_eq!(told(&mut before, 0..500, away), ["65: a offline 65s"]);
    let remembered: Vec<_> =
        before.told().map(|(subject, told, sent)| (subject.clone(), told, sent.clone())).collect();
    let after = || {
        let mut after = Damping::new(RULES);
        for (subject, told, sent) in remembered.clone() {
            after.recall(at(600), subject, told, sent);
        }
        after
    };
    // `b` went away meanwhile, and `a` is as it was.
    let both = |_| BTreeMap::from([(camera("a"), Some(Offline)), (camera("b"), Some(Stale))]);
    assert_eq!(told(&mut after(), 600..5_000, both), ["665: b stale 65s"]);
    let well = |_| BTreeMap::from([(camera("a"), None), (camera("b"), None)]);
    assert_eq!(told(&mut after(), 600..5_000, well), ["635: a again offline 600s"]);
}

#[test]
fn what_flapped_before_a_restart_has_to_be_steady_after_it() {
    let mut damping = Damping::new(RULES);
    damping.recall(at(0), camera("a"), Told::Flapping, VecDeque::from([at(0)]));
    let lines = told(&mut damping, 0..5_000, |_| BTreeMap::from([(camera("a"), None)]));
    assert_eq!(lines, ["605: a steady well 605s"]);
}

#[test]
fn what_was_told_is_not_forgotten_before_the_camera_is_seen() {
    let none = BTreeMap::new;
    let after = || {
        let mut after = Damping::new(RULES);
        let told = Told::Trouble { what: Offline, since: at(0) };
        after.recall(at(600), camera("a"), told, VecDeque::from([at(65)]));
        after.recall(at(600), camera("b"), Told::Flapping, VecDeque::from([at(65)]));
        after
    };
    // It takes a while until the pictures are read, or until the next one comes.
    for (seen, is, lines) in [
        (900, Some(Offline), &["1505: b steady well 605s"][..]),
        (9_000, Some(Offline), &["9005: b still flaps 0 well", "9605: b steady well 605s"]),
        (900, None, &["935: a again offline 900s", "1505: b steady well 605s"]),
    ] {
        let all = |second| match second < seen {
            true => none(),
            false => BTreeMap::from([(camera("a"), is), (camera("b"), None)]),
        };
        let mut after = after();
        assert_eq!(told(&mut after, 600..seen, all), [""; 0], "nothing is seen of them");
        assert_eq!(after.told().count(), 2, "it is kept for the next process as well");
        assert_eq!(told(&mut after, seen..seen + 3_000, all), lines, "{seen}");
    }
    // But not for ever; and who was seen and is no more is forgotten at once.
    let (mut after, day) = (after(), 24 * 3_600);
    assert!(after.turn(at(600 + day - 1), &none()).is_empty());
    assert_eq!(after.told().count(), 2);
    after.turn(at(600 + day - 1), &BTreeMap::from([(camera("a"), None)]));
    after.turn(at(600 + day - 1), &none());
    assert_eq!(after.told().count(), 1);
    after.turn(at(600 + day), &none());
    assert_eq!(after.told().count(), 0);
}

#[test]
fn a_first_start_tells_all_at_once() {
    let all = |_| BTreeMap::from([(camera("a"), Some(Offline)), (camera("b"), Some(Stale))]);
    let lines = told(&mut Damping::new(RULES), 0..9_000, all);
    assert_eq!(lines, ["65: a offline 65s, b stale 65s"]);
}

/// Spells of one subject: how long, and how it is then.
fn spells() -> impl Strategy<Value = Vec<(u64, Option<Trouble>)>> {
    let is = prop_oneof![Just(None), Just(Some(Stale)), Just(Some(Frozen)), Just(Some(Offline))];
    let lasts = prop_oneof![1_u64..40, 1_u64..400, 1_u64..4_000];
    prop::collection::vec((lasts, is), 1..60)
}

fn is_at(spells: &[(u64, Option<Trouble>)], second: u64) -> Option<Trouble> {
    let mut until = 0;
    for (lasts, is) in spells {
        until += lasts;
        if second < until {
            return *is;
        }
    }
    spells.last().and_then(|(_, is)| *is)
}

/// The longest time without health.
fn longest_outage(spells: &[(u64, Option<Trouble>)]) -> u64 {
    let (mut longest, mut current) = (0, 0);
    for (lasts, is) in spells {
        current = if is.is_some() { current + lasts } else { 0 };
        longest = longest.max(current);
    }
    longest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bounded_whatever_happens_and_true_in_the_end(
        subjects in prop::collection::vec(spells(), 1..4),
        after in 5_u64..300,
        recovered_after in 1_u64..300,
        max_per_hour in 4_usize..12,
        step in 1_u64..20,
    ) {
        let rules = Rules {
            after: Duration::from_secs(after),
            recovered_after: Duration::from_secs(recovered_after),
            max_per_hour,
        };
        let names: Vec<Subject> = (0..subjects.len()).map(|n| camera(&format!("c{n}"))).collect();
        let length = |spells: &[(u64, _)]| spells.iter().map(|(lasts, _)| lasts).sum::<u64>();
        let changing = subjects.iter().map(|spells| length(spells)).max().unwrap_or(0);
        let mut damping = Damping::new(rules);
        let mut said: BTreeMap<Subject, Vec<(u64, What)>> = BTreeMap::new();
        let mut messages = Vec::new();
        for second in (0..changing + 3 * 3_600).step_by(usize::try_from(step).unwrap()) {
            let all = names.iter().zip(&subjects).map(|(n, s)| (n.clone(), is_at(s, second)));
            let notices = damping.turn(at(second), &all.collect());
            if !notices.is_empty() {
                messages.push(second);
            }
            for Notice { subject, what } in notices {
                said.entry(subject).or_default().push((second, what));
            }
        }
        prop_assert!(messages.windows(2).all(|pair| pair[1] - pair[0] >= after.min(5)));
        for (name, spells) in names.iter().zip(&subjects) {
            let said = said.remove(name).unwrap_or_default();
            for (first, _) in &said {
                let hour = said.iter().filter(|(at, _)| (*first..first + 3_600).contains(at));
                prop_assert!(hour.count() <= max_per_hour, "{said:?}");
            }
            // A turn may see it late, and never early.
            let end = spells.last().and_then(|(_, is)| *is);
            if longest_outage(spells) + step < after && end.is_none() {
                prop_assert!(said.is_empty(), "{said:?}");
            }
            let told = match said.last() {
                None => None,
                Some((_, What::Trouble { now, .. })) => Some(*now),
                Some((_, What::Steady { now, .. })) => *now,
                Some((_, What::Again { .. })) => None,
                Some((_, What::Flapping { .. } | What::StillFlapping { .. })) => {
                    return Err(TestCaseError::fail(format!("left open: {said:?}")));
                }
            };
            prop_assert_eq!(told, end, "{:?}", said);
            // Each kind follows from the one before.
            let mut open = false;
            for (_, what) in &said {
                match what {
                    What::Again { .. } => { prop_assert!(open, "{:?}", said); open = false; }
                    What::Trouble { .. } | What::Flapping { .. } => open = true,
                    What::StillFlapping { .. } => prop_assert!(open, "{:?}", said),
                    What::Steady { now, .. } => { prop_assert!(open, "{:?}", said); open = now.is_some(); }
                }
            }
        }
    }
}
