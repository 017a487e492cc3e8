//! Whether an update may be installed now. Pure.
//!
//! Installing takes minutes of a slow card's time and ends in a reboot: not while something is being healed, not on a
//! supply that gives way, not when a reboot too many would leave none for healing, and not at an hour that the owner
//! does not want.

use runtime::update::Window;

/// Where a bundle came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The agent fetched it; `now`: its owner does not want to wait for the window.
    Relay { now: bool },
    /// Somebody stands there, and brought it on the card or on a stick.
    Hand,
}

/// How the machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Whether the agent says how things are: the rest of it is known from there.
    pub agent: bool,
    /// Pictures come from the camera.
    pub frames: bool,
    /// And arrive at the relay.
    pub uploads: bool,
    /// Organs that are being healed, and whether all was tried in vain.
    pub ill: Vec<(String, bool)>,
    /// The supply's voltage is too low.
    pub undervoltage: bool,
    /// Reboots that healing has left.
    pub reboots_left: u32,
    /// Local time, in minutes since midnight; `None`: the clock was never set.
    pub minute: Option<u16>,
}

/// Whether it may be.
///
/// # Errors
/// What it waits for, as one sentence.
pub(crate) fn may(origin: Origin, machine: &Machine, window: Option<Window>) -> Result<(), String> {
    let Machine { agent, frames, uploads, ill, undervoltage, reboots_left, minute } = machine;
    if !agent {
        return Err("the agent does not run".to_owned());
    }
    // What is given up on does not hold up who came to mend it.
    let healed = ill.iter().find(|(_, resting)| origin != Origin::Hand || !resting);
    if let Some((organ, _)) = healed {
        return Err(format!("{organ} is being healed"));
    }
    if *undervoltage {
        return Err("the supply's voltage is too low".to_owned());
    }
    if *reboots_left == 0 {
        return Err("no reboot is left in the budget".to_owned());
    }
    if origin == Origin::Hand {
        return Ok(());
    }
    if !frames {
        return Err("no picture comes from the camera".to_owned());
    }
    if !uploads {
        return Err("no picture arrives at the relay".to_owned());
    }
    match (origin, window, minute) {
        (Origin::Relay { now: false }, Some(window), Some(minute)) if !window.is_open(*minute) => {
            Err(format!("it is installed between {window} (update.window)"))
        }
        // Where nobody knows the hour, each is as good: security fixes can't wait for a time server.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Machine {
        Machine {
            agent: true,
            frames: true,
            uploads: true,
            ill: Vec::new(),
            undervoltage: false,
            reboots_left: 3,
            minute: Some(180),
        }
    }

    const RELAY: Origin = Origin::Relay { now: false };
    const NOW: Origin = Origin::Relay { now: true };

    #[test]
    fn a_machine_that_is_well_may_at_any_hour_without_a_window() {
        for origin in [RELAY, NOW, Origin::Hand] {
            assert_eq!(may(origin, &well(), None), Ok(()));
        }
    }

    #[test]
    fn the_window_is_for_who_is_far_away_and_in_no_hurry() {
        let window: Window = "02:00-05:00".parse().unwrap();
        for (minute, open) in
            [(Some(119), false), (Some(120), true), (Some(300), false), (None, true)]
        {
            let machine = Machine { minute, ..well() };
            assert_eq!(may(RELAY, &machine, Some(window)).is_ok(), open, "{minute:?}");
            assert_eq!(may(NOW, &machine, Some(window)), Ok(()));
            assert_eq!(may(Origin::Hand, &machine, Some(window)), Ok(()));
        }
    }

    #[test]
    fn never_while_healing_on_low_voltage_or_without_a_reboot_left() {
        let cases = [
            Machine { ill: vec![("camera".to_owned(), false)], ..well() },
            Machine { undervoltage: true, ..well() },
            Machine { reboots_left: 0, ..well() },
            Machine { agent: false, ..well() },
        ];
        for machine in cases {
            for origin in [RELAY, NOW, Origin::Hand] {
                assert!(may(origin, &machine, None).is_err(), "{origin:?} {machine:?}");
            }
        }
    }

    #[test]
    fn somebody_who_came_to_mend_it_may_when_healing_has_given_up() {
        let machine = Machine {
            ill: vec![("camera".to_owned(), true)],
            frames: false,
            uploads: false,
            ..well()
        };
        assert_eq!(may(Origin::Hand, &machine, None), Ok(()));
        assert!(may(NOW, &machine, None).is_err());
        assert!(may(NOW, &Machine { uploads: false, ..well() }, None).is_err());
    }
}
