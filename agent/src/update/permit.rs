//! Whether an offer is taken, and whether it may be fetched now. Pure.

use frame::update::Offer;
use frame::version::Version;
use runtime::update::{Phase, State};

/// What has to stay free beside a bundle, in bytes: pictures and the journal go on.
const RESERVE: u64 = 32 << 20;

/// What else goes on here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Surroundings {
    /// The organ that is being healed.
    pub healing: Option<&'static str>,
    /// The supply's voltage is too low now.
    pub low_voltage: bool,
    /// `None`: there is no healer.
    pub reboots_left: Option<u32>,
}

/// Room on the data partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// What is still to come.
    pub wanted: u64,
    pub free: u64,
}

/// Whether an offer is one for this system.
///
/// # Errors
/// Why it is not: one sentence without the version.
pub(super) fn takes(state: &State, offer: &Offer) -> Result<(), String> {
    let Offer { version, compatible, .. } = offer;
    if *compatible != state.compatible {
        return Err(format!("it is for {compatible:?}, and this is {:?}", state.compatible));
    }
    let Ok(running) = state.system.parse::<Version>() else {
        return Err("nobody knows which version runs".to_owned());
    };
    if *version <= running {
        return Err(format!("it is not newer than {running}, which runs"));
    }
    // What the owner wants now, may fail again.
    if let Some(rejected) = rejected(state, version).filter(|_| !offer.now) {
        return Err(format!("it was rejected before: {rejected}"));
    }
    Ok(())
}

/// Why a version was rejected, if it was.
fn rejected<'a>(state: &'a State, version: &Version) -> Option<&'a str> {
    let version = version.to_string();
    let found = state.rejected.iter().find(|rejected| rejected.version == version);
    found.map(|rejected| rejected.why.as_str())
}

/// Whether a bundle of this version is of no more use: it runs, or an even newer one, or it was rejected, unless the owner
/// wants it `now`.
pub(super) fn is_done_with(state: &State, version: &str, now: bool) -> bool {
    let Ok(version) = version.parse::<Version>() else { return true };
    let runs = state.system.parse::<Version>().is_ok_and(|running| version <= running);
    let on_trial = matches!(state.phase, Phase::Trial | Phase::Restarting);
    // On trial it may have to be installed again from there; the updater knows.
    (runs && !on_trial) || (rejected(state, &version).is_some() && !now)
}

/// Whether something may be fetched now.
///
/// # Errors
/// What is waited for: one sentence.
pub(super) fn may_fetch(phase: Phase, around: &Surroundings, room: Room) -> Result<(), String> {
    match phase {
        Phase::Idle | Phase::Waiting => {}
        Phase::Installing => return Err("another version is being installed".to_owned()),
        Phase::Restarting => return Err("another version is being started".to_owned()),
        Phase::Trial => return Err("the version that runs is on trial".to_owned()),
    }
    if let Some(organ) = around.healing {
        return Err(format!("the {organ} is being healed"));
    }
    if around.low_voltage {
        return Err("the supply's voltage is too low".to_owned());
    }
    if around.reboots_left == Some(0) {
        return Err("no reboot is left in the budget".to_owned());
    }
    let wanted = room.wanted.saturating_add(RESERVE);
    if room.free < wanted {
        // Up, and down: 36 of 36 would be no reason.
        let (wanted, free) = (wanted.div_ceil(1 << 20), room.free >> 20);
        return Err(format!("the data partition has no room: {wanted} MB wanted, {free} free"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use runtime::update::Rejected;

    use super::*;

    const RUNS: &str = "0.1.0-20261128.0312";
    const NEWER: &str = "0.2.0-20261128.0312";
    const ROOM: Room = Room { wanted: 1 << 20, free: 1 << 30 };

    fn state() -> State {
        let rejected = Rejected {
            version: "0.1.9-20261128.0312".to_owned(),
            why: "no picture came".to_owned(),
            ran: true,
        };
        State {
            system: RUNS.to_owned(),
            compatible: "stillwatch-debian".to_owned(),
            rejected: vec![rejected],
            ..State::default()
        }
    }

    fn offer(version: &str) -> Offer {
        Offer {
            version: version.parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
            bytes: 1,
            sha256: String::new(),
            path: String::new(),
            now: false,
        }
    }

    #[test]
    fn only_what_fits_is_newer_and_was_not_rejected_is_taken() {
        assert_eq!(takes(&state(), &offer(NEWER)), Ok(()));
        let other = Offer { compatible: "stillwatch-pi".to_owned(), ..offer(NEWER) };
        for (state, offer, says) in [
            (state(), other, "it is for \"stillwatch-pi\", and this is \"stillwatch-debian\""),
            (state(), offer(RUNS), "not newer than 0.1.0-20261128.0312"),
            (state(), offer("0.0.9-20261128.0312"), "not newer than"),
            (state(), offer("0.1.9-20261128.0312"), "rejected before: no picture came"),
            (State { system: String::new(), ..state() }, offer(NEWER), "nobody knows which"),
        ] {
            let why = takes(&state, &offer).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn what_is_of_no_more_use() {
        let trial = State { phase: Phase::Trial, ..state() };
        for (state, version, expected) in [
            (state(), RUNS, true),
            (state(), "0.0.9-20261128.0312", true),
            (state(), "0.1.9-20261128.0312", true),
            (state(), NEWER, false),
            (state(), "nonsense", true),
            (trial, RUNS, false),
        ] {
            assert_eq!(is_done_with(&state, version, false), expected, "{version}");
        }
    }

    #[test]
    fn what_is_waited_for() {
        let around = Surroundings::default();
        for phase in [Phase::Idle, Phase::Waiting] {
            assert_eq!(may_fetch(phase, &around, ROOM), Ok(()));
        }
        let idle = Phase::Idle;
        let healing = Surroundings { healing: Some("camera"), ..around };
        let weak = Surroundings { low_voltage: true, ..around };
        let spent = Surroundings { reboots_left: Some(0), ..around };
        let narrow = Room { wanted: 100 << 20, free: (132 << 20) - 1 };
        for (phase, around, room, why) in [
            (Phase::Installing, around, ROOM, "another version is being installed"),
            (Phase::Restarting, around, ROOM, "another version is being started"),
            (Phase::Trial, around, ROOM, "the version that runs is on trial"),
            (idle, healing, ROOM, "the camera is being healed"),
            (idle, weak, ROOM, "the supply's voltage is too low"),
            (idle, spent, ROOM, "no reboot is left in the budget"),
            (idle, around, narrow, "the data partition has no room: 132 MB wanted, 131 free"),
        ] {
            assert_eq!(may_fetch(phase, &around, room), Err(why.to_owned()));
        }
        let enough = Room { free: 132 << 20, ..narrow };
        assert_eq!(
            may_fetch(idle, &Surroundings { reboots_left: Some(1), ..around }, enough),
            Ok(())
        );
    }
}
