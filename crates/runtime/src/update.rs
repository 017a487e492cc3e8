//! What the agent and the updater say to each other, each in a file of its own: the agent fetches updates of the
//! whole system, the updater, which has the privileges, installs them.
//!
//! Versions are texts here; `frame::version` says which of two is newer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the updater says what everybody may know of it: [`State`], as JSON. Without it there is nothing here that
/// could be updated.
pub const STATE: &str = "/run/stillwatch/update.json";

/// Below the agent's state directory: where it leaves what it has fetched.
pub const FOLDER: &str = "update";

/// In that folder: [`Handed`], as JSON. Written last of all.
pub const HANDED: &str = "handed.json";

/// When updates are installed unless the owner says otherwise: a [`Window`].
pub const WINDOW: &str = "02:00-05:00";

/// What the agent has fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The version that it was offered as.
    pub version: String,
    /// The bundle's name in the same folder, and nothing but a name.
    pub file: String,
    /// Whether the owner wants it now, whatever time of day it is.
    #[serde(default)]
    pub now: bool,
}

/// What the updater does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing: there is no update.
    #[default]
    Idle,
    /// It has one, which can't be installed yet; `why` says what for it waits.
    Waiting,
    /// It writes one into the other slot.
    Installing,
    /// The machine is about to start it.
    Restarting,
    /// The system that runs has to prove itself; `why` says what is missing.
    Trial,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Idle => "none",
            Phase::Waiting => "waits",
            Phase::Installing => "is being installed",
            Phase::Restarting => "is being started",
            Phase::Trial => "is on trial",
        })
    }
}

/// A version that is not tried again, unless it is asked for on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which one.
    pub version: String,
    /// Why: one sentence.
    pub why: String,
    /// Whether it ran here and was taken back; else it was never installed.
    pub ran: bool,
}

/// What everybody may know of updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The version of the system that runs.
    pub system: String,
    /// What it runs on: only bundles that name the same fit.
    pub compatible: String,
    /// `A` or `B`.
    pub slot: String,
    /// What the updater does.
    pub phase: Phase,
    /// With which version; `None` while it does nothing.
    pub version: Option<String>,
    /// How far it is, in percent, while it installs.
    pub percent: Option<u8>,
    /// What it waits for, or what is missing: one sentence.
    pub why: Option<String>,
    /// The last ones, oldest first.
    pub rejected: Vec<Rejected>,
}

/// The hours of a day in which updates are installed, by the camera's own time zone: `02:00-05:00`, both in
/// minutes since midnight. `22:00-04:00` goes over midnight, `00:00-24:00` is all of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: u16,
    to: u16,
}

/// It is no such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such hours: write them like \"02:00-05:00\"")]
pub struct NoWindow;

impl Window {
    /// Whether it is open at a minute of the day, counted from midnight.
    pub fn is_open(self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Window {
    type Err = NoWindow;

    fn from_str(text: &str) -> Result<Window, NoWindow> {
        let (from, to) = text.split_once('-').ok_or(NoWindow)?;
        let (from, to) = (minute(from.trim())?, minute(to.trim())?);
        Ok(Window { from, to })
    }
}

/// `24:00` is midnight as well.
fn minute(text: &str) -> Result<u16, NoWindow> {
    let (hours, minutes) = text.split_once(':').ok_or(NoWindow)?;
    let number = |text: &str, digits: usize, end: u16| {
        let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u16| right && *number < end).ok_or(NoWindow)
    };
    let hour = number(hours, 2, 25)?;
    let minute = hour * 60 + number(minutes, 2, 60)?;
    if minute > 24 * 60 { Err(NoWindow) } else { Ok(minute % (24 * 60)) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_between_its_hours() {
        let minutes = |text: &str| -> Vec<u16> {
            let window: Window = text.parse().unwrap();
            (0..24 * 60).filter(|minute| window.is_open(*minute)).collect()
        };
        assert_eq!(minutes("02:00-05:00"), (120..300).collect::<Vec<_>>());
        assert_eq!(minutes("23:59-00:01"), [0, 1439]);
        assert_eq!(minutes("00:00-24:00").len(), 24 * 60);
        assert_eq!(minutes("23:00-24:00"), (1380..1440).collect::<Vec<_>>());
        assert_eq!("2:00 - 05:00".parse::<Window>(), Err(NoWindow));
        assert_eq!("02:00 - 05:00".parse::<Window>().unwrap().to_string(), "02:00-05:00");
    }

    #[test]
    fn what_is_no_window() {
        for text in [
            "",
            "02:00",
            "02-05",
            "25:00-26:00",
            "24:01-02:00",
            "02:60-03:00",
            "3:00-4:00",
            "a",
            "+2:00-03:00",
        ] {
            assert_eq!(text.parse::<Window>(), Err(NoWindow), "{text}");
        }
    }
}
