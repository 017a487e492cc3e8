//! What is fixed about each verb: whose organ it heals, what it may be done to, how drastic it is.

use runtime::heal::Verb;

/// What a verb is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To the machine: no device is named.
    Nothing,
    /// A USB device that is a camera.
    UsbCamera,
    /// That, or a V4L2 device.
    Camera,
    /// A wireless network interface.
    Wifi,
}

pub(crate) fn needs(verb: Verb) -> Needs {
    match verb {
        Verb::CameraUsb => Needs::UsbCamera,
        Verb::CameraRebind => Needs::Camera,
        Verb::WifiReassociate
        | Verb::WifiRescan
        | Verb::WifiCycle
        | Verb::WifiRestart
        | Verb::WifiReload
        | Verb::WifiRebind
        | Verb::WifiTune => Needs::Wifi,
        Verb::DiskVacuum
        | Verb::ClockRetry
        | Verb::Reboot
        | Verb::Poweroff
        | Verb::Well
        | Verb::Ill => Needs::Nothing,
    }
}

/// Of each organ one verb runs at a time. The budget is the machine's.
pub(crate) fn organ(verb: Verb) -> &'static str {
    match verb {
        Verb::CameraUsb | Verb::CameraRebind => "camera",
        Verb::WifiReassociate
        | Verb::WifiRescan
        | Verb::WifiCycle
        | Verb::WifiRestart
        | Verb::WifiReload
        | Verb::WifiRebind
        | Verb::WifiTune => "wifi",
        Verb::DiskVacuum => "disk",
        Verb::ClockRetry => "clock",
        Verb::Reboot | Verb::Poweroff | Verb::Well | Verb::Ill => "machine",
    }
}

/// Whether it may be the last thing that the machine does: the journal is synced before.
pub(crate) fn drastic(verb: Verb) -> bool {
    !matches!(verb, Verb::WifiReassociate | Verb::WifiTune | Verb::Well | Verb::Ill)
}
