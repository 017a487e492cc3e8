//! Whose fault it is that uploads fail, as far as the network can be seen from here. Pure.
//!
//! What is healed, and after how long, does not belong here; nor does what an upload's own error says
//! (`upload/kind.rs`).

use super::{AccessPoint, Facts, Gateway, Sight, Wifi, Wire};
use crate::upload::kind::Kind;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nobody's: uploads work.
    Nobody,
    /// The WiFi's: ours to heal.
    Wifi(WifiTrouble),
    /// The access point is gone, not we: nothing here brings it back, so only gentle cures.
    AccessPointGone,
    /// The way out is no WiFi, and it is not well: the WiFi's state does not matter, or there is none.
    Wired(WireTrouble),
    /// All is well as far as the router: nothing to heal, only to try again.
    OutThere,
    /// It can't be seen, so nothing is known to be wrong.
    Unseen,
}

/// What is wrong with the WiFi, from the inside out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WifiTrouble {
    /// The kernel does not answer: a driver holds its locks.
    Stuck,
    /// The interface vanished.
    Gone,
    /// The interface is down.
    Down,
    /// Not connected, though the access point may be there.
    NotAssociated(AccessPoint),
    /// Connected, but without an address.
    NoAddress,
    /// With an address, but without a way out.
    NoRoute,
    /// The router does not answer.
    GatewaySilent,
}

/// What is wrong with the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireTrouble {
    /// No interface at all.
    Absent,
    NoCarrier,
    NoAddress,
    NoRoute,
    GatewaySilent,
}

/// Judges the facts.
pub(crate) fn judge(facts: &Facts, upload_works: bool) -> Blame {
    if upload_works {
        return Blame::Nobody;
    }
    match (facts.sight, &facts.wifi) {
        (Sight::Part, _) | (Sight::Stuck, None) => return Blame::Unseen,
        (Sight::Stuck, Some(_)) => return Blame::Wifi(WifiTrouble::Stuck),
        (Sight::Whole, _) => {}
    }
    if facts.wire == Wire::Carries {
        return match facts.gateway {
            Gateway::Silent => Blame::Wired(WireTrouble::GatewaySilent),
            Gateway::NoRoute | Gateway::Unknown | Gateway::Answers => Blame::OutThere,
        };
    }
    // On a machine with a cable, a WiFi that nobody switched on and that was never connected is not meant.
    let is_meant = |wifi: &&Wifi| wifi.ssid.is_some() || wifi.up || facts.wire == Wire::Absent;
    match facts.wifi.as_ref().filter(is_meant) {
        Some(wifi) => judge_wifi(wifi, facts.gateway),
        None => Blame::Wired(match facts.wire {
            Wire::Absent => WireTrouble::Absent,
            Wire::NoCarrier => WireTrouble::NoCarrier,
            Wire::NoAddress => WireTrouble::NoAddress,
            Wire::NoRoute | Wire::Carries => WireTrouble::NoRoute,
        }),
    }
}

fn judge_wifi(wifi: &Wifi, gateway: Gateway) -> Blame {
    let trouble = if !wifi.present {
        WifiTrouble::Gone
    } else if !wifi.up {
        WifiTrouble::Down
    } else if !wifi.associated {
        match wifi.access_point {
            AccessPoint::NotSeen => return Blame::AccessPointGone,
            AccessPoint::Seen(_) | AccessPoint::Unknown => {
                WifiTrouble::NotAssociated(wifi.access_point)
            }
        }
    } else if !wifi.address {
        WifiTrouble::NoAddress
    } else {
        match gateway {
            Gateway::NoRoute => WifiTrouble::NoRoute,
            Gateway::Silent => WifiTrouble::GatewaySilent,
            Gateway::Unknown | Gateway::Answers => return Blame::OutThere,
        }
    };
    Blame::Wifi(trouble)
}

/// What kind of failure an upload has by these facts, whatever its error says. `None`: by these it
/// could have worked.
pub(crate) fn kind(facts: &Facts) -> Option<Kind> {
    match judge(facts, false) {
        Blame::Wifi(trouble) => match trouble {
            WifiTrouble::Gone | WifiTrouble::Down | WifiTrouble::NotAssociated(_) => {
                Some(Kind::NoLink)
            }
            WifiTrouble::NoAddress => Some(Kind::NoAddress),
            WifiTrouble::NoRoute => Some(Kind::NoRoute),
            WifiTrouble::Stuck | WifiTrouble::GatewaySilent => None,
        },
        Blame::AccessPointGone => Some(Kind::NoLink),
        Blame::Wired(trouble) => match trouble {
            WireTrouble::Absent | WireTrouble::NoCarrier => Some(Kind::NoLink),
            WireTrouble::NoAddress => Some(Kind::NoAddress),
            WireTrouble::NoRoute => Some(Kind::NoRoute),
            WireTrouble::GatewaySilent => None,
        },
        Blame::Nobody | Blame::OutThere | Blame::Unseen => None,
    }
}

impl Blame {
    /// One plain sentence for the journal, without its full stop.
    pub(crate) fn sentence(self, facts: &Facts) -> String {
        match self {
            Blame::Nobody => "the network works".to_owned(),
            Blame::Wifi(trouble) => wifi_sentence(trouble, facts.wifi.as_ref()),
            Blame::AccessPointGone => {
                let (interface, access_point) = names(facts.wifi.as_ref());
                format!(
                    "{interface} is not connected: {access_point} is not heard any more, though \
                     others are"
                )
            }
            Blame::Wired(trouble) => match trouble {
                WireTrouble::Absent => "this machine has no network interface",
                WireTrouble::NoCarrier => "no network cable is plugged in",
                WireTrouble::NoAddress => "the wired network gives this machine no address",
                WireTrouble::NoRoute => "the wired network names no router (no default route)",
                WireTrouble::GatewaySilent => "the router does not answer over the wired network",
            }
            .to_owned(),
            Blame::OutThere if facts.gateway == Gateway::Answers => {
                "the network works as far as the router: what fails is beyond it".to_owned()
            }
            Blame::OutThere => {
                "the network looks well from here: what fails seems to be out there".to_owned()
            }
            Blame::Unseen => "the network can't be looked at".to_owned(),
        }
    }
}

fn wifi_sentence(trouble: WifiTrouble, wifi: Option<&Wifi>) -> String {
    let (interface, access_point) = names(wifi);
    match trouble {
        WifiTrouble::Stuck => {
            "the kernel does not answer questions about the network: a driver is stuck".to_owned()
        }
        WifiTrouble::Gone => format!("the WiFi interface {interface} has vanished"),
        WifiTrouble::Down => format!("{interface} is switched off"),
        WifiTrouble::NotAssociated(AccessPoint::Seen(_)) => {
            format!("{interface} is not connected though {access_point} is heard")
        }
        WifiTrouble::NotAssociated(AccessPoint::NotSeen | AccessPoint::Unknown) => {
            match wifi.map_or(0, |wifi| wifi.heard) {
                0 => format!("{interface} is not connected, and hears no network at all"),
                _ => format!("{interface} is not connected"),
            }
        }
        WifiTrouble::NoAddress => {
            format!("{interface} is connected to {access_point}, but has got no address")
        }
        WifiTrouble::NoRoute => {
            format!("{interface} has an address, but no default route")
        }
        WifiTrouble::GatewaySilent => {
            format!("{interface} is connected to {access_point}, but the router does not answer")
        }
    }
}

/// The interface, and what the access point is called in the middle of a sentence.
fn names(wifi: Option<&Wifi>) -> (&str, String) {
    let interface = wifi.map_or("the WiFi", |wifi| &wifi.interface);
    let access_point = match wifi.and_then(|wifi| wifi.ssid.as_ref()) {
        Some(ssid) => format!("the access point {ssid:?}"),
        None => "its access point".to_owned(),
    };
    (interface, access_point)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ladder::Mono;

    use super::*;

    const WHEN: AccessPoint = AccessPoint::Seen(Mono::from_boot(Duration::from_secs(5)));
    const WIRES: [Wire; 5] =
        [Wire::Absent, Wire::NoCarrier, Wire::NoAddress, Wire::NoRoute, Wire::Carries];
    const GATEWAYS: [Gateway; 4] =
        [Gateway::NoRoute, Gateway::Unknown, Gateway::Answers, Gateway::Silent];

    fn wifi() -> Wifi {
        Wifi {
            interface: "wlan0".to_owned(),
            present: true,
            up: true,
            associated: true,
            address: true,
            ssid: Some("garden".to_owned()),
            signal_dbm: Some(-57),
            access_point: WHEN,
            last_heard: None,
            heard: 3,
        }
    }

    fn facts(wire: Wire, wifi: Option<Wifi>, gateway: Gateway) -> Facts {
        Facts { at: Mono::default(), sight: Sight::Whole, wire, wifi, gateway }
    }

    /// Every combination there is.
    fn all() -> Vec<Facts> {
        let mut wifis = vec![None];
        for bits in 0..16_u8 {
            for access_point in [WHEN, AccessPoint::NotSeen, AccessPoint::Unknown] {
                wifis.push(Some(Wifi {
                    present: bits & 1 != 0,
                    up: bits & 2 != 0,
                    associated: bits & 4 != 0,
                    address: bits & 8 != 0,
                    access_point,
                    ..wifi()
                }));
            }
        }
        let mut all = Vec::new();
        for sight in [Sight::Whole, Sight::Part, Sight::Stuck] {
            for wire in WIRES {
                for wifi in &wifis {
                    let of = |gateway| Facts { sight, ..facts(wire, wifi.clone(), gateway) };
                    all.extend(GATEWAYS.map(of));
                }
            }
        }
        all
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_to_blame() {
        let gone = Wifi { present: false, up: false, associated: false, address: false, ..wifi() };
        let down = Wifi { present: true, ..gone.clone() };
        let idle = Wifi { up: true, ..down.clone() };
        let absent = Wifi { access_point: AccessPoint::NotSeen, ..idle.clone() };
        let deaf = Wifi { access_point: AccessPoint::Unknown, heard: 0, ..idle.clone() };
        let bare = Wifi { associated: true, ..idle.clone() };
        let cases = [
            (gone, Gateway::NoRoute, Blame::Wifi(WifiTrouble::Gone), Some(Kind::NoLink)),
            (down, Gateway::NoRoute, Blame::Wifi(WifiTrouble::Down), Some(Kind::NoLink)),
            (
                idle,
                Gateway::NoRoute,
                Blame::Wifi(WifiTrouble::NotAssociated(WHEN)),
                Some(Kind::NoLink),
            ),
            (absent, Gateway::NoRoute, Blame::AccessPointGone, Some(Kind::NoLink)),
            (
                deaf,
                Gateway::NoRoute,
                Blame::Wifi(WifiTrouble::NotAssociated(AccessPoint::Unknown)),
                Some(Kind::NoLink),
            ),
            (bare, Gateway::NoRoute, Blame::Wifi(WifiTrouble::NoAddress), Some(Kind::NoAddress)),
            (wifi(), Gateway::NoRoute, Blame::Wifi(WifiTrouble::NoRoute), Some(Kind::NoRoute)),
            (wifi(), Gateway::Silent, Blame::Wifi(WifiTrouble::GatewaySilent), None),
            (wifi(), Gateway::Unknown, Blame::OutThere, None),
            (wifi(), Gateway::Answers, Blame::OutThere, None),
        ];
        for (wifi, gateway, blame, expected) in cases {
            for wire in [Wire::Absent, Wire::NoCarrier, Wire::NoAddress, Wire::NoRoute] {
                let facts = facts(wire, Some(wifi.clone()), gateway);
                assert_eq!(judge(&facts, false), blame, "{facts:?}");
                assert_eq!(kind(&facts), expected, "{facts:?}");
            }
        }
    }

    #[test]
    fn without_wifi_the_wire_is_to_blame() {
        for (wire, trouble, expected) in [
            (Wire::Absent, WireTrouble::Absent, Kind::NoLink),
            (Wire::NoCarrier, WireTrouble::NoCarrier, Kind::NoLink),
            (Wire::NoAddress, WireTrouble::NoAddress, Kind::NoAddress),
            (Wire::NoRoute, WireTrouble::NoRoute, Kind::NoRoute),
        ] {
            let facts = facts(wire, None, Gateway::NoRoute);
            assert_eq!(judge(&facts, false), Blame::Wired(trouble));
            assert_eq!(kind(&facts), Some(expected));
        }
    }

    #[test]
    fn in_every_case_nothing_is_healed_that_need_not_be() {
        for facts in all() {
            let blame = judge(&facts, false);
            assert_eq!(judge(&facts, true), Blame::Nobody);
            let heals = matches!(blame, Blame::Wifi(_));
            match facts.sight {
                Sight::Part => assert_eq!(blame, Blame::Unseen),
                Sight::Stuck => assert_eq!(heals, facts.wifi.is_some()),
                Sight::Whole if facts.wire == Wire::Carries => assert!(!heals, "{facts:?}"),
                Sight::Whole => {
                    let missing = facts.wifi.as_ref().is_some_and(|wifi| {
                        let link = wifi.present && wifi.up;
                        let gone = wifi.access_point == AccessPoint::NotSeen;
                        let connected = wifi.associated && wifi.address;
                        let silent = [Gateway::Silent, Gateway::NoRoute].contains(&facts.gateway);
                        !link
                            || (!wifi.associated && !gone)
                            || (wifi.associated && !wifi.address)
                            || (connected && silent)
                    });
                    assert_eq!(heals, missing, "{facts:?}");
                }
            }
            let sentence = blame.sentence(&facts);
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn sentences_name_what_they_are_about() {
        let idle = |access_point, heard, ssid: Option<&str>| {
            let ssid = ssid.map(str::to_owned);
            let wifi = Wifi { associated: false, access_point, heard, ssid, ..wifi() };
            let facts = facts(Wire::Absent, Some(wifi), Gateway::NoRoute);
            judge(&facts, false).sentence(&facts)
        };
        let there = "wlan0 is not connected though the access point \"garden\" is heard";
        assert_eq!(idle(WHEN, 3, Some("garden")), there);
        let gone = "wlan0 is not connected: the access point \"garden\" is not heard any more, \
                    though others are";
        assert_eq!(idle(AccessPoint::NotSeen, 2, Some("garden")), gone);
        let deaf = "wlan0 is not connected, and hears no network at all";
        assert_eq!(idle(AccessPoint::Unknown, 0, None), deaf);
        // Anybody may name a network like this.
        let nasty = idle(WHEN, 1, Some("a\nb\u{1b}[31m"));
        assert!(!nasty.contains(['\n', '\u{1b}']), "{nasty}");
    }
}
