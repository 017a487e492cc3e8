//! What is told of updates, to the relay and to whoever asks for the status. Pure.

use frame::report::{Rejected, Update};
use runtime::update::{Phase, State};

/// Longest text, in characters: a report has 2 KiB.
const MAX_TEXT: usize = 120;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The version that runs.
    pub system: Option<String>,
    pub slot: Option<String>,
    pub update: Option<Update>,
    /// The last one.
    pub rejected: Option<Rejected>,
}

/// How far fetching is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    pub version: String,
    pub percent: u8,
    /// What it waits for.
    pub why: Option<String>,
}

/// Puts together what the updater says, how far fetching is, and which version was handed over.
pub(super) fn told(state: &State, fetching: Option<&Progress>, handed: Option<&str>) -> Told {
    let said = |text: &str| (!text.is_empty()).then(|| short(text));
    let rejected = state.rejected.last().map(|rejected| Rejected {
        version: short(&rejected.version),
        why: short(&rejected.why),
        ran: rejected.ran,
    });
    let update = update(state, fetching, handed);
    Told { system: said(&state.system), slot: said(&state.slot), update, rejected }
}

fn update(state: &State, fetching: Option<&Progress>, handed: Option<&str>) -> Option<Update> {
    let by_updater = |doing: &str| {
        let version = state.version.as_deref().or(handed).unwrap_or_default();
        Update {
            version: short(version),
            doing: doing.to_owned(),
            percent: state.percent.map(|percent| percent.min(100)),
            why: state.why.as_deref().map(short),
        }
    };
    match state.phase {
        Phase::Installing => return Some(by_updater("installing")),
        Phase::Restarting => return Some(by_updater("restarting")),
        Phase::Trial => return Some(by_updater("trial")),
        Phase::Idle | Phase::Waiting => {}
    }
    if let Some(Progress { version, percent, why }) = fetching {
        let doing = if why.is_some() { "waiting" } else { "downloading" };
        return Some(Update {
            version: short(version),
            doing: doing.to_owned(),
            percent: Some(*percent),
            why: why.as_deref().map(short),
        });
    }
    // Before the updater has looked, it waits all the same.
    (state.phase == Phase::Waiting || handed.is_some()).then(|| by_updater("waiting"))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use frame::report::DOING;

    use super::*;

    fn state(phase: Phase) -> State {
        State {
            system: "1".to_owned(),
            slot: "A".to_owned(),
            phase,
            version: Some("2".to_owned()),
            percent: Some(40),
            why: Some("it is not night".to_owned()),
            ..State::default()
        }
    }

    fn fetching(why: Option<&str>) -> Progress {
        Progress { version: "3".to_owned(), percent: 7, why: why.map(str::to_owned) }
    }

    fn doing(told: &Told) -> Option<(&str, &str, Option<u8>, Option<&str>)> {
        let Update { version, doing, percent, why } = told.update.as_ref()?;
        assert!(DOING.contains(&doing.as_str()));
        Some((doing, version, *percent, why.as_deref()))
    }

    #[test]
    fn what_goes_on_is_told() {
        let why = Some("it is not night");
        for (phase, fetch, handed, expected) in [
            (Phase::Installing, None, None, Some(("installing", "2", Some(40), why))),
            (Phase::Restarting, Some(None), None, Some(("restarting", "2", Some(40), why))),
            (Phase::Trial, None, None, Some(("trial", "2", Some(40), why))),
            (Phase::Waiting, None, Some("2"), Some(("waiting", "2", Some(40), why))),
            (Phase::Idle, Some(None), None, Some(("downloading", "3", Some(7), None))),
            (
                Phase::Waiting,
                Some(Some("no room")),
                Some("2"),
                Some(("waiting", "3", Some(7), Some("no room"))),
            ),
            (Phase::Idle, None, None, None),
        ] {
            let fetch = fetch.map(fetching);
            let told = told(&state(phase), fetch.as_ref(), handed);
            assert_eq!(doing(&told), expected, "{phase:?}");
            assert_eq!((told.system.as_deref(), told.slot.as_deref()), (Some("1"), Some("A")));
        }
        let quiet = State { phase: Phase::Idle, ..State::default() };
        let told = told(&quiet, None, Some("5"));
        assert_eq!(doing(&told), Some(("waiting", "5", None, None)));
        assert_eq!(told.system, None);
    }

    #[test]
    fn texts_are_short_and_the_last_rejected_one_counts() {
        let rejected = |version: &str| runtime::update::Rejected {
            version: version.to_owned(),
            why: "é\n".repeat(500),
            ran: true,
        };
        let state = State { rejected: vec![rejected("1"), rejected("2")], ..State::default() };
        let rejected = told(&state, None, None).rejected.unwrap();
        assert_eq!(rejected.version, "2");
        assert_eq!(rejected.why, "é".repeat(MAX_TEXT));
    }
}
