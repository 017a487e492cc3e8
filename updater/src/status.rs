//! `stillwatch-updater status`: for people.

use std::fs;
use std::process::ExitCode;

use runtime::update::{STATE, State};

use crate::place::{Place, Running};
use crate::record::{Became, Record};

/// Prints which system runs, what is under way, and what became of earlier updates.
pub(crate) fn report(place: &Place, running: &Running) -> ExitCode {
    let state = fs::read(place.below(STATE)).ok();
    let state: Option<State> = state.and_then(|text| serde_json::from_slice(&text).ok());
    print!("{}", text(running, state.as_ref(), &Record::read(&place.state)));
    ExitCode::SUCCESS
}

fn text(running: &Running, state: Option<&State>, record: &Record) -> String {
    let Running { slot, version, compatible, .. } = running;
    let mut lines = vec![format!("{version} ({compatible}) runs in slot {slot}")];
    match state {
        None => {
            lines.push("the service does not run: systemctl status stillwatch-updater".to_owned())
        }
        Some(State { phase, version: Some(version), percent, why, .. }) => {
            let percent = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            lines.push(format!("{version} {phase}{percent}{why}"));
        }
        Some(_) => lines.push("no update is under way".to_owned()),
    }
    for past in &record.past {
        let became = match past.became {
            Became::Kept => "was kept",
            Became::TakenBack => "was taken back",
            Became::Unproven => "could not prove itself",
            Became::Refused => "was refused",
            Became::NotInstalled => "was not installed",
            Became::Later => "had another end",
        };
        let when = jiff::Timestamp::from_second(past.wall_s).unwrap_or_default();
        let why = past.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("{when}  {} {became}{why}", past.version));
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootloader::Bootloader;
    use crate::record::Past;
    use crate::slot::Slot;
    use runtime::update::Phase;

    #[test]
    fn it_reads_like_sentences() {
        let running = Running {
            bootloader: Bootloader::UBoot,
            slot: Slot::A,
            version: "0.1.0-20261128.0312".parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
        };
        let mut record = Record::default();
        record.remember(Past {
            version: "0.2.0-20261128.0312".parse().unwrap(),
            became: Became::TakenBack,
            why: Some("no picture".to_owned()),
            wall_s: 1_795_835_520,
        });
        let state = State {
            phase: Phase::Installing,
            version: Some("0.3.0-20261128.0312".to_owned()),
            percent: Some(40),
            ..State::default()
        };
        let expected = "0.1.0-20261128.0312 (stillwatch-debian) runs in slot A\n\
            0.3.0-20261128.0312 is being installed, 40 %\n\
            2026-11-28T03:12:00Z  0.2.0-20261128.0312 was taken back: no picture\n";
        assert_eq!(text(&running, Some(&state), &record), expected);
    }
}
