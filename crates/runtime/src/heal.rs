//! What the agent asks of the healer, and what it is told: the only program with privileges does a
//! fixed list of things, for the agent only.
//!
//! The healer listens on a Unix socket ([`SOCKET`]). A request is one line of JSON, at most
//! [`MAX_REQUEST`] bytes; the answer is one line, and then the connection is closed. Doing it is the
//! healer's affair, deciding it the agent's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the healer listens: `systemd/stillwatch-healer.socket`.
pub const SOCKET: &str = "/run/stillwatch/healer.sock";

/// Where the healer says what everybody may know of it: [`State`], as JSON.
pub const STATE: &str = "/run/stillwatch/healer.json";

/// Longest request, in bytes, its line break included.
pub const MAX_REQUEST: usize = 1 << 10;

/// Longest answer, in bytes, its line break included.
pub const MAX_ANSWER: usize = 4 << 10;

/// What the healer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Takes a USB device (such as `1-1.2`) away from its driver and gives it back: `authorized` 0, 1.
    CameraUsb,
    /// Unbinds the driver of a camera (a USB device, or `video0`) and binds it again.
    CameraRebind,
    /// Makes the WiFi look for its access point now, where it saw it last.
    WifiReassociate,
    /// Sets the regulatory domain and looks on all channels.
    WifiRescan,
    /// Takes the WiFi's interface down and up.
    WifiCycle,
    /// Restarts what manages the WiFi: wpa_supplicant, or NetworkManager's device.
    WifiRestart,
    /// Removes the WiFi's driver and loads it again.
    WifiReload,
    /// Takes the WiFi's chip away from its bus (SDIO, USB, PCI) and gives it back.
    WifiRebind,
    /// After each new connection: power saving off, regulatory domain set.
    WifiTune,
    /// Makes room on the disk.
    DiskVacuum,
    /// Makes the time service look for the time now.
    ClockRetry,
    /// Reboots, if the budget has one left.
    Reboot,
    /// Shuts down for good: the button.
    Poweroff,
    /// The machine was well since it was last asked about: the budget refills.
    Well,
    /// It was not: the budget refills much slower.
    Ill,
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Verb] = &[
        Verb::CameraUsb,
        Verb::CameraRebind,
        Verb::WifiReassociate,
        Verb::WifiRescan,
        Verb::WifiCycle,
        Verb::WifiRestart,
        Verb::WifiReload,
        Verb::WifiRebind,
        Verb::WifiTune,
        Verb::DiskVacuum,
        Verb::ClockRetry,
        Verb::Reboot,
        Verb::Poweroff,
        Verb::Well,
        Verb::Ill,
    ];

    /// Its name on the wire, and of its hook in `heal.d`.
    pub fn name(self) -> &'static str {
        match self {
            Verb::CameraUsb => "camera-usb",
            Verb::CameraRebind => "camera-rebind",
            Verb::WifiReassociate => "wifi-reassociate",
            Verb::WifiRescan => "wifi-rescan",
            Verb::WifiCycle => "wifi-cycle",
            Verb::WifiRestart => "wifi-restart",
            Verb::WifiReload => "wifi-reload",
            Verb::WifiRebind => "wifi-rebind",
            Verb::WifiTune => "wifi-tune",
            Verb::DiskVacuum => "disk-vacuum",
            Verb::ClockRetry => "clock-retry",
            Verb::Reboot => "reboot",
            Verb::Poweroff => "poweroff",
            Verb::Well => "well",
            Verb::Ill => "ill",
        }
    }

    /// How long it may take; then what still runs of it is killed.
    pub fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            Verb::Well | Verb::Ill => 5,
            Verb::CameraUsb | Verb::WifiReassociate | Verb::WifiTune => 10,
            Verb::WifiCycle | Verb::WifiRescan => 15,
            Verb::CameraRebind | Verb::ClockRetry | Verb::Reboot | Verb::Poweroff => 20,
            Verb::WifiRestart | Verb::WifiRebind => 30,
            Verb::WifiReload | Verb::DiskVacuum => 45,
        })
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub verb: Verb,
    /// To which device, where the verb needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Why, for the journal: one sentence.
    pub reason: String,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done. Whether it helped has to be seen.
    Done,
    /// It was tried and failed, or took too long.
    Failed,
    /// There is nothing here that it could be done to.
    Unavailable,
    /// It is not done: an unknown verb, a device that is none, no reboot left.
    Refused,
    /// Another request is being worked on: ask again.
    Busy,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// What the hook said, or why it was refused; for the journal.
    #[serde(default)]
    pub said: String,
}

/// What everybody may know of the healer; it writes this into [`STATE`] whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Why the machine was started last, as a sentence; `None`: not known.
    pub booted: Option<String>,
    /// Reboots left in the budget.
    pub reboots_left: u32,
    /// Reboots that were spent, ever.
    pub reboots_spent: u64,
    /// Why a reboot was asked for while a new system is on trial: that is taken back instead.
    pub reboot_wanted: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_named_on_the_wire_as_their_hooks() {
        for verb in Verb::ALL {
            assert_eq!(serde_json::to_string(verb).unwrap(), format!("\"{}\"", verb.name()));
        }
    }

    #[test]
    fn a_request_reads_like_one() {
        let line = r#"{"verb":"wifi-reload","device":"wlan0","reason":"no network"}"#;
        let request: Request = serde_json::from_str(line).unwrap();
        assert_eq!((request.verb, request.device.as_deref()), (Verb::WifiReload, Some("wlan0")));
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        for bad in [r#"{"verb":"rm","reason":""}"#, r#"{"verb":"reboot"}"#, "reboot", ""] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
