//! What is remembered between looks, and what a reading means by it. Pure.

use std::time::Duration;

use ladder::Mono;
use serde::{Deserialize, Serialize};

use super::kernel::Reading;
use super::route::{Link, Nature};
use super::wifi::Heard;
use super::{AccessPoint, Facts, Gateway, Sight, Wifi, Wire};

/// So long the kernel keeps what it has heard (net/wireless/scan.c, `IEEE80211_SCAN_RESULT_EXPIRE`);
/// a scan that flushes it, or that has only begun, makes nothing vanish before.
const RECENT: Duration = Duration::from_secs(30);

/// What is worth knowing after a restart: else a chip that is not there would be one that never was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// The WiFi interface.
    interface: Option<String>,
    /// The network that it was connected to last.
    ssid: Option<Vec<u8>>,
    /// Its access point: it may hide the network's name.
    bssid: Option<Vec<u8>>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: Known,
    last_heard: Option<Mono>,
    last: Option<Facts>,
}

impl Memory {
    /// With what was known before.
    pub(super) fn with(known: Known) -> Memory {
        Memory { known, ..Memory::default() }
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    pub(super) fn interface(&self) -> Option<&str> {
        self.known.interface.as_deref()
    }

    /// What there was when the kernel could still be asked.
    pub(super) fn stuck(&self, now: Mono) -> Facts {
        let nothing = Facts {
            at: now,
            sight: Sight::Stuck,
            wire: Wire::Absent,
            wifi: None,
            gateway: Gateway::Unknown,
        };
        match &self.last {
            Some(last) => Facts { at: now, sight: Sight::Stuck, ..last.clone() },
            None => nothing,
        }
    }

    pub(super) fn facts(&mut self, reading: &Reading, now: Mono) -> Facts {
        let facts = Facts {
            at: now,
            sight: reading.sight,
            wire: wire(reading),
            wifi: self.wifi(reading, now),
            gateway: reading.gateway,
        };
        self.last = Some(facts.clone());
        facts
    }

    fn wifi(&mut self, reading: &Reading, now: Mono) -> Option<Wifi> {
        let station = reading.station.as_ref();
        if let Some(station) = station {
            self.known.interface = Some(station.name.clone());
        }
        let interface = self.known.interface.clone()?;
        let link = station
            .and_then(|station| reading.links.iter().find(|link| link.index == station.index));
        let associated = link.is_some_and(|link| link.running);
        let ours = reading.heard.iter().find(|heard| heard.ours);
        // Some drivers tell what they are connected to in the scan's results only.
        let named = ours.map(|ours| &ours.ssid).filter(|ssid| !ssid.is_empty());
        if let Some(ssid) = station.and_then(|station| station.ssid.as_ref()).or(named)
            && associated
        {
            self.connected(ssid, ours, now);
        }
        Some(Wifi {
            interface,
            present: station.is_some(),
            up: link.is_some_and(|link| link.up),
            associated,
            address: link.is_some_and(|link| reading.addressed.contains(&link.index)),
            ssid: self.known.ssid.as_deref().map(|ssid| String::from_utf8_lossy(ssid).into_owned()),
            signal_dbm: reading.signal_dbm.or_else(|| ours?.signal_dbm).filter(|_| associated),
            access_point: self.access_point(&reading.heard, now),
            last_heard: self.last_heard,
            heard: reading.heard.len(),
        })
    }

    fn connected(&mut self, ssid: &[u8], ours: Option<&Heard>, now: Mono) {
        if self.known.ssid.as_deref() != Some(ssid) {
            self.known.ssid = Some(ssid.to_vec());
            self.known.bssid = None;
        }
        self.known.bssid = ours.map(|ours| ours.bssid.clone()).or(self.known.bssid.take());
        self.last_heard = Some(now);
    }

    fn access_point(&mut self, heard: &[Heard], now: Mono) -> AccessPoint {
        let Some(ssid) = &self.known.ssid else { return AccessPoint::Unknown };
        let is_it = |heard: &&Heard| {
            heard.ssid == *ssid
                || (heard.ssid.is_empty() && self.known.bssid.as_ref() == Some(&heard.bssid))
        };
        if let Some(ago) = heard.iter().filter(is_it).map(|heard| heard.ago).min() {
            let when = Mono::from_boot(now.since_boot().saturating_sub(ago));
            self.last_heard = self.last_heard.max(Some(when));
        }
        match self.last_heard {
            Some(when) if now.since(when) <= RECENT => AccessPoint::Seen(when),
            _ if heard.is_empty() => AccessPoint::Unknown,
            _ => AccessPoint::NotSeen,
        }
    }
}

/// How far the best of them has come.
fn wire(reading: &Reading) -> Wire {
    let of = |link: &Link| {
        let leads = reading.routes.iter().any(|route| route.interface == link.index);
        let wire = match (link.running, reading.addressed.contains(&link.index), leads) {
            (false, _, _) => Wire::NoCarrier,
            (true, false, _) => Wire::NoAddress,
            (true, true, false) => Wire::NoRoute,
            (true, true, true) => Wire::Carries,
        };
        match link.nature {
            Nature::Device => Some(wire),
            // What containers are connected to is no way out.
            Nature::Virtual => Some(wire).filter(|wire| *wire == Wire::Carries),
            Nature::Other => None,
        }
    };
    let wired = reading.links.iter().filter(|link| !reading.radios.contains(&link.index));
    wired.filter_map(of).max().unwrap_or(Wire::Absent)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::slice;

    use super::*;
    use crate::network::route::Route;
    use crate::network::wifi::Station;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(s))
    }

    fn link(index: u32, name: &str, running: bool) -> Link {
        Link { index, name: name.to_owned(), up: true, running, nature: Nature::Device }
    }

    fn heard(ssid: &str, bssid: u8, ago: u64) -> Heard {
        Heard {
            bssid: vec![bssid],
            ssid: ssid.into(),
            ago: Duration::from_secs(ago),
            ..Heard::default()
        }
    }

    /// wlan0, connected to this network or to none, with what it hears.
    fn reading(ssid: Option<&str>, heard: &[Heard]) -> Reading {
        let ssid: Option<Vec<u8>> = ssid.map(Into::into);
        Reading {
            links: vec![link(3, "wlan0", ssid.is_some())],
            radios: HashSet::from([3]),
            addressed: ssid.iter().map(|_| 3).collect(),
            station: Some(Station { index: 3, name: "wlan0".to_owned(), ssid }),
            signal_dbm: Some(-57),
            heard: heard.to_vec(),
            ..Reading::default()
        }
    }

    #[test]
    fn a_machine_without_wifi_has_none_until_one_appears() {
        let mut memory = Memory::default();
        assert_eq!(memory.facts(&Reading::default(), at(1)).wifi, None);
        let wifi = memory.facts(&reading(None, &[]), at(2)).wifi.unwrap();
        assert!(wifi.present && wifi.up && !wifi.associated && !wifi.address);
        assert_eq!((wifi.ssid, wifi.signal_dbm), (None, None));
        assert_eq!(wifi.access_point, AccessPoint::Unknown);
        // It is remembered when it is gone.
        let wifi = memory.facts(&Reading::default(), at(3)).wifi.unwrap();
        assert!(!wifi.present && !wifi.up && !wifi.associated && !wifi.address);
        assert_eq!(wifi.interface, "wlan0");
    }

    #[test]
    fn the_access_point_is_looked_for_among_what_is_heard() {
        let mut memory = Memory::default();
        let mut sees = |ssid, all: &[Heard], now| {
            memory.facts(&reading(ssid, all), at(now)).wifi.unwrap().access_point
        };
        let (garden, other) = (heard("garden", 1, 0), heard("other", 2, 1));
        // Not known yet which it is.
        assert_eq!(sees(None, &[garden.clone(), other.clone()], 100), AccessPoint::Unknown);
        assert_eq!(sees(Some("garden"), &[], 101), AccessPoint::Seen(at(101)));
        // Whoever scans may flush what was heard: that alone means nothing.
        assert_eq!(sees(None, slice::from_ref(&other), 103), AccessPoint::Seen(at(101)));
        assert_eq!(sees(None, &[heard("garden", 1, 2)], 105), AccessPoint::Seen(at(103)));
        assert_eq!(sees(None, slice::from_ref(&other), 133), AccessPoint::Seen(at(103)));
        assert_eq!(sees(None, slice::from_ref(&other), 134), AccessPoint::NotSeen);
        // Deaf, or nobody scans.
        assert_eq!(sees(None, &[], 135), AccessPoint::Unknown);
        assert_eq!(sees(None, &[other, garden], 140), AccessPoint::Seen(at(140)));
        let wifi = memory.facts(&reading(None, &[]), at(999)).wifi.unwrap();
        assert_eq!((wifi.last_heard, wifi.heard), (Some(at(140)), 0));
        assert_eq!(wifi.ssid.as_deref(), Some("garden"));
    }

    #[test]
    fn one_that_hides_its_name_is_known_by_its_address() {
        let mut memory = Memory::default();
        let ours = Heard { ours: true, ..heard("", 1, 0) };
        memory.facts(&reading(Some("garden"), &[ours]), at(100));
        let seen = |memory: &mut Memory, all: &[Heard], now| {
            memory.facts(&reading(None, all), at(now)).wifi.unwrap().access_point
        };
        assert_eq!(seen(&mut memory, &[heard("", 1, 0)], 200), AccessPoint::Seen(at(200)));
        assert_eq!(seen(&mut memory, &[heard("", 2, 0)], 300), AccessPoint::NotSeen);
        // Another network: what belonged to the last is forgotten.
        memory.facts(&reading(Some("house"), &[]), at(400));
        assert_eq!(seen(&mut memory, &[heard("", 1, 0)], 500), AccessPoint::NotSeen);
    }

    #[test]
    fn a_network_that_did_not_let_us_in_is_not_remembered() {
        let mut memory = Memory::default();
        let mut reading = reading(Some("garden"), &[]);
        reading.links = vec![link(3, "wlan0", false)];
        let wifi = memory.facts(&reading, at(1)).wifi.unwrap();
        assert_eq!((wifi.associated, wifi.ssid, wifi.signal_dbm), (false, None, None));
    }

    #[test]
    fn drivers_that_name_the_network_in_scan_results_only() {
        let ours = Heard { ours: true, signal_dbm: Some(-61), ..heard("garden", 1, 0) };
        let mut reading = reading(Some(""), &[ours]);
        reading.station = reading.station.map(|station| Station { ssid: None, ..station });
        reading.signal_dbm = None;
        let wifi = Memory::default().facts(&reading, at(1)).wifi.unwrap();
        assert_eq!((wifi.ssid.as_deref(), wifi.signal_dbm), (Some("garden"), Some(-61)));
    }

    #[test]
    fn while_the_kernel_is_stuck_the_last_facts_stay() {
        let mut memory = Memory::default();
        assert_eq!(memory.stuck(at(1)).wifi, None);
        let seen = memory.facts(&reading(Some("garden"), &[]), at(2));
        let expected = Facts { at: at(3), sight: Sight::Stuck, ..seen };
        assert_eq!(memory.stuck(at(3)), expected);
    }

    #[test]
    fn the_best_wire_counts_and_only_what_is_one() {
        let route = |interface| Route { interface, gateway: None, ipv6: false, metric: 0 };
        let wired = |nature, running, addressed, leads: bool| {
            let links = vec![
                link(3, "wlan0", true),
                link(4, "eth1", false),
                Link { nature, ..link(5, "eth0", running) },
            ];
            let radios = HashSet::from([3]);
            let addressed = if addressed { HashSet::from([3, 5]) } else { HashSet::from([3]) };
            let routes = vec![route(if leads { 5 } else { 3 })];
            wire(&Reading { links, radios, addressed, routes, ..Reading::default() })
        };
        for (running, addressed, leads, expected) in [
            (false, true, true, Wire::NoCarrier),
            (true, false, true, Wire::NoAddress),
            (true, true, false, Wire::NoRoute),
            (true, true, true, Wire::Carries),
        ] {
            assert_eq!(wired(Nature::Device, running, addressed, leads), expected);
            let virtual_one =
                if leads && running && addressed { expected } else { Wire::NoCarrier };
            assert_eq!(wired(Nature::Virtual, running, addressed, leads), virtual_one);
            assert_eq!(wired(Nature::Other, running, addressed, leads), Wire::NoCarrier);
        }
    }
}
