//! What is seen of all organs at one moment: from the marks of the loops, from the network's and the
//! system's state to what the ladders go by.

use std::time::Duration;

use ladder::Mono;
use runtime::heal::State;
use runtime::settings::duration_text;

use super::healing::{CameraSight, Sight, WifiSight};
use super::system::{Disk, System};
use crate::config::SourceKind;
use crate::health::{Health, rounded};
use crate::network::{AccessPoint, Blame, Facts, WifiTrouble, Wire};
use crate::sensor::CameraFault;
use crate::sensor::thread::Sensor;

/// On top of the time without a picture after which the capture thread itself gives up.
const GRACE: Duration = Duration::from_secs(2);

/// What does not change while the agent runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub started: Mono,
    pub has_power: bool,
    pub keeps_pictures: bool,
}

/// Whether uploads get through, as far as there were any: a camera that is dead, slow or idle says nothing
/// of the network.
pub(super) fn uploads_work(health: &Health) -> bool {
    health.upload.progress.get().count > 0 && health.upload.trouble().is_none()
}

fn camera(now: Mono, setup: &Setup, health: &Health, sensor: &Sensor) -> CameraSight {
    let config = &sensor.config;
    let limit = config.patience() + config.interval() * sensor.capture.divisor() * 3 + GRACE;
    let age = health.camera.progress.get().age(now);
    // A camera that was never seen gets its warm-up, too.
    let silent = age.map_or(now.since(setup.started) > limit + config.warm_up, |age| age > limit);
    // A folder may have nothing new for as long as it likes.
    let silent = silent && config.source != SourceKind::Directory;
    let trouble = health.camera.trouble();
    let (fault, cause) = match &trouble {
        Some(trouble) => (trouble.failure.fault, trouble.failure.cause.clone()),
        None => {
            let age = rounded(age.unwrap_or_else(|| now.since(setup.started)));
            (CameraFault::NoFrame, format!("no picture for {}", duration_text(age)))
        }
    };
    let place = sensor.place();
    CameraSight {
        well: trouble.is_none() && !silent,
        fault,
        cause,
        usb: place.as_ref().is_some_and(|place| place.usb.is_some()),
        device: place.is_some(),
        helper: sensor.has_helper(),
        power: setup.has_power,
    }
}

fn wifi(network: Option<&Facts>, blame: Blame) -> WifiSight {
    let heard = network.and_then(|facts| facts.wifi.as_ref()).map_or(0, |wifi| wifi.heard);
    match blame {
        Blame::Nobody | Blame::OutThere | Blame::Wired(_) | Blame::Unseen => WifiSight::Well,
        Blame::AccessPointGone => WifiSight::NoAccessPoint { heard_others: heard > 0 },
        // Nothing at all is heard: it may be gone, and nobody else be there.
        Blame::Wifi(WifiTrouble::NotAssociated(AccessPoint::Unknown)) if heard == 0 => {
            WifiSight::NoAccessPoint { heard_others: false }
        }
        Blame::Wifi(_) => WifiSight::Ill(network.map_or(String::new(), |f| blame.sentence(f))),
    }
}

/// What is seen of everything.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub now: Mono,
    pub setup: &'a Setup,
    pub health: &'a Health,
    pub sensor: &'a Sensor,
    pub network: Option<&'a Facts>,
    pub blame: Blame,
    pub system: System,
    pub clock_set: bool,
    /// `None`: there is no healer.
    pub healer: Option<&'a State>,
}

impl Seen<'_> {
    pub(super) fn sight(&self) -> Sight {
        let wifi_facts = self.network.and_then(|facts| facts.wifi.as_ref());
        let heard = wifi_facts.and_then(|wifi| wifi.last_heard);
        Sight {
            camera: camera(self.now, self.setup, self.health, self.sensor),
            wifi: wifi(self.network, self.blame),
            wifi_present: wifi_facts.is_some_and(|wifi| wifi.present),
            access_point_heard: heard,
            wired: self.network.is_some_and(|facts| facts.wire == Wire::Carries),
            online: uploads_work(self.health) || self.blame == Blame::OutThere,
            keeps_pictures: self.setup.keeps_pictures,
            disk_full: self.system.disk == Disk::Full,
            memory_low: self.system.memory_low,
            clock_set: self.clock_set,
            reboots_left: self.healer.map(|state| state.reboots_left),
        }
    }
}
