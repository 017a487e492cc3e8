//! How each organ is healed: ladders as data. What a rung does is `act.rs`' affair, when it is climbed
//! `healing.rs`'.

use std::time::Duration;

use ladder::{Plan, Rung};

/// An organ that has a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Organ {
    Camera,
    Wifi,
    Disk,
    Memory,
    Clock,
}

impl Organ {
    /// All, those first whose trouble costs the picture.
    pub(crate) const ALL: [Organ; 5] =
        [Organ::Camera, Organ::Wifi, Organ::Disk, Organ::Memory, Organ::Clock];

    /// Its name in the journal, and in the status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Organ::Camera => "camera",
            Organ::Wifi => "wifi",
            Organ::Disk => "disk",
            Organ::Memory => "memory",
            Organ::Clock => "clock",
        }
    }
}

/// What a rung does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Closes the camera and opens it anew.
    Reopen,
    /// The same in another format or size.
    OtherFormat,
    /// Kills the program that captures, and what is left of earlier ones, and starts another.
    Helper,
    /// Takes the USB camera away from its driver and gives it back.
    Usb,
    /// Unbinds the camera's driver and binds it again.
    Rebind,
    /// Switches the camera off and on.
    Power,
    /// Looks for the access point where it was last.
    Reassociate,
    /// Looks for it everywhere.
    Rescan,
    /// Takes the interface down and up.
    Cycle,
    /// Restarts what manages the WiFi.
    Restart,
    /// Reloads the WiFi's driver.
    Reload,
    /// Takes the WiFi's chip off its bus and gives it back.
    RebindChip,
    /// Makes room on the disk.
    Vacuum,
    /// Ends the largest of our own processes; it is started anew.
    Shrink,
    /// Asks for the time now.
    AskTime,
    /// Reboots the machine.
    Reboot,
}

impl Action {
    /// The rung's name in the journal, and in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Action::Reopen => "reopen",
            Action::OtherFormat => "other-format",
            Action::Helper => "helper",
            Action::Usb => "usb",
            Action::Rebind | Action::RebindChip => "rebind",
            Action::Power => "power",
            Action::Reassociate => "reassociate",
            Action::Rescan => "rescan",
            Action::Cycle => "cycle",
            Action::Restart => "restart",
            Action::Reload => "reload",
            Action::Vacuum => "vacuum",
            Action::Shrink => "shrink",
            Action::AskTime => "ask-time",
            Action::Reboot => "reboot",
        }
    }
}

/// The camera's rungs, from the cheapest to the most drastic.
pub(crate) const CAMERA: [Action; 7] = [
    Action::Reopen,
    Action::OtherFormat,
    Action::Helper,
    Action::Usb,
    Action::Rebind,
    Action::Power,
    Action::Reboot,
];

/// The WiFi's.
pub(crate) const WIFI: [Action; 7] = [
    Action::Reassociate,
    Action::Rescan,
    Action::Cycle,
    Action::Restart,
    Action::Reload,
    Action::RebindChip,
    Action::Reboot,
];

/// Reads a ladder from the configuration: names of `rungs`, in their order, any of them left out.
///
/// # Errors
/// A sentence: a name that is none, or an order that would do the drastic before the cheap.
pub(crate) fn parse(text: &str, rungs: &[Action]) -> Result<Vec<Action>, String> {
    let all: Vec<&str> = rungs.iter().map(|rung| rung.name()).collect();
    let mut found: Vec<Action> = Vec::new();
    let mut last: Option<usize> = None;
    for name in text.split_whitespace() {
        let Some(at) = all.iter().position(|known| *known == name) else {
            return Err(format!("there is no rung \"{name}\"; there are: {}", all.join(" ")));
        };
        if let Some(before) = last.filter(|last| *last >= at) {
            let before = all.get(before).copied().unwrap_or_default();
            return Err(format!(
                "the rung \"{name}\" can't come after \"{before}\": from the cheapest to the most \
                 drastic they are: {}",
                all.join(" ")
            ));
        }
        last = Some(at);
        found.extend(rungs.get(at));
    }
    Ok(found)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rung(action: Action, tries: u32, patience: Duration, cool_down: Duration) -> Rung<Action> {
    Rung { action, patience, tries, cool_down }
}

/// How long a camera may take, from being opened to a picture that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CameraPace {
    pub warm_up: Duration,
    pub interval: Duration,
}

/// The camera's ladder, of these rungs. The numbers: USB cameras (UVC) give their first picture 0.3 to
/// 1.5 s after they were opened, and their device files appear 0.5 to 2 s after they were authorized
/// anew; whoever measures others changes them here.
pub(crate) fn camera(rungs: &[Action], pace: CameraPace) -> Plan<Action> {
    let open = Duration::from_millis(1_500) + pace.warm_up + pace.interval * 3;
    let of = |action: &Action| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "what others do is not the camera's")]
        let (tries, patience, cool_down) = match action {
            Action::Helper => (1, open + seconds(2), seconds(0)),
            Action::Usb => (2, open + seconds(4), seconds(20)),
            Action::Rebind => (1, open + seconds(4), seconds(60)),
            // Capacitors, and firmware that boots.
            Action::Power => (1, open + seconds(8), seconds(120)),
            Action::Reboot => (1, seconds(180), seconds(20 * 60)),
            _ => (1, open, seconds(0)),
        };
        rung(*action, tries, patience, cool_down)
    };
    Plan {
        // The capture thread opens it anew by itself, at once.
        detect: Duration::from_millis(300),
        rungs: rungs.iter().map(of).collect(),
        proof: seconds(10),
        rest: seconds(3 * 60),
    }
}

/// The WiFi's ladder, of these rungs. The numbers, measured with mac80211_hwsim and wpa_supplicant: an
/// association with four-way handshake takes 0.1 to 1 s where the channel is known, a scan of all
/// channels 2 to 4 s, DHCP 0.1 to 2 s; brcmfmac loads its firmware in 2 to 4 s.
pub(crate) fn wifi(rungs: &[Action]) -> Plan<Action> {
    let of = |action: &Action| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "what others do is not the WiFi's")]
        let (tries, patience, cool_down) = match action {
            Action::Reassociate => (2, 3, 0),
            Action::Restart => (1, 8, 30),
            Action::Reload => (3, 12, 0),
            Action::RebindChip => (1, 15, 120),
            Action::Reboot => (1, 180, 30 * 60),
            _ => (1, 5, 0),
        };
        rung(*action, tries, seconds(patience), seconds(cool_down))
    };
    Plan {
        // Roaming, and an access point that changes its channel, take about a second.
        detect: seconds(3),
        rungs: rungs.iter().map(of).collect(),
        proof: seconds(10),
        rest: seconds(3 * 60),
    }
}

/// What has one cure, which is tried again after `rest`.
fn single(action: Action, detect: u64, patience: u64, rest: u64) -> Plan<Action> {
    Plan {
        detect: seconds(detect),
        rungs: vec![rung(action, 1, seconds(patience), seconds(rest))],
        proof: seconds(10),
        rest: seconds(rest),
    }
}

/// A full disk.
pub(crate) fn disk() -> Plan<Action> {
    single(Action::Vacuum, 10, 60, 3_600)
}

/// Too little memory.
pub(crate) fn memory() -> Plan<Action> {
    single(Action::Shrink, 10, 60, 600)
}

/// A clock that nobody sets. Ten minutes: network time services ask at intervals of up to half an
/// hour after failures (systemd-timesyncd: `PollIntervalMaxSec`, 34 min).
pub(crate) fn clock() -> Plan<Action> {
    single(Action::AskTime, 300, 60, 600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_read_and_wrong_ones_are_named() {
        assert_eq!(parse("reopen usb reboot", &CAMERA).unwrap().len(), 3);
        assert_eq!(parse("", &WIFI), Ok(Vec::new()));
        for (text, says) in [
            ("reboot reopen", "\"reopen\" can't come after \"reboot\""),
            ("reopen reopen", "can't come after"),
            ("reset", "no rung \"reset\"; there are: reopen other-format"),
        ] {
            let error = parse(text, &CAMERA).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_default_ladders_are_in_order() {
        for rungs in [&CAMERA, &WIFI] {
            let names: Vec<_> = rungs.iter().map(|rung| rung.name()).collect();
            assert_eq!(parse(&names.join(" "), rungs).unwrap(), *rungs);
        }
    }
}
