//! What relays say of themselves once a second, and what is known of the others from it. Pure.
//!
//! A camera's agent slows down while nobody watches, and only the relay that it uploads to can tell it; so each relay
//! says who watches what. And whether an agent is connected only that relay knows; so it says that of the cameras
//! from which no picture comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use frame::CameraId;
use ladder::Mono;
use serde::{Deserialize, Serialize};

use super::Role;
use super::message::is_name;
use crate::board::Presence;

/// Without a word for so long a relay is missing: five of its beacons.
pub(super) const MISSING_AFTER: Duration = Duration::from_secs(5);

/// One that is missing for so long was taken away on purpose.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Relays that are remembered; more are not counted.
const MOST_RELAYS: usize = 256;

/// Cameras in one beacon, of each kind; of further ones the others know less. It stays below half of NATS' least
/// message size then.
pub(super) const MOST_CAMERAS: usize = 4_000;

/// A clock that is off by more than this is told: what is said of pictures' ages is wrong by as much.
const CLOCK_TOLERANCE_US: i64 = 2_000_000;

/// In so many beacons in a row: one that waited on a thin link looks like a clock that is behind.
const CLOCK_BEACONS: u32 = 5;

/// See the module's documentation.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct Beacon {
    /// Of the process: two relays may have one name by mistake.
    pub instance: String,
    pub role: Role,
    pub version: String,
    /// Where viewers find it.
    pub url: Option<String>,
    /// Its clock, in µs since the Unix epoch.
    pub clock_us: i64,
    /// Cameras that upload to it.
    pub cameras: usize,
    /// Who watches there.
    #[serde(default)]
    pub viewers: BTreeMap<String, u64>,
    /// Cameras of its own that are not live.
    #[serde(default)]
    pub quiet: BTreeMap<String, Quiet>,
}

/// How an agent stands, on the wire.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Quiet {
    attached: bool,
    left: bool,
    heard_ms: u64,
}

impl From<Presence> for Quiet {
    fn from(Presence { attached, left, heard_ago }: Presence) -> Quiet {
        Quiet { attached, left, heard_ms: crate::status::millis(heard_ago) }
    }
}

impl From<Quiet> for Presence {
    fn from(Quiet { attached, left, heard_ms }: Quiet) -> Presence {
        Presence { attached, left, heard_ago: Duration::from_millis(heard_ms) }
    }
}

/// Another relay.
#[derive(Debug)]
struct Peer {
    beacon: Beacon,
    at: Mono,
    offset_us: i64,
    missing: bool,
    /// Beacons in a row by which its clock is off.
    clock_off: u32,
}

/// A relay as others are told of it.
#[derive(Debug, Serialize)]
pub(crate) struct RelayStatus {
    pub relay: String,
    pub role: Role,
    pub state: &'static str,
    pub version: String,
    pub url: Option<String>,
    /// How long ago it was heard.
    pub heard_ms: u64,
    pub clock_offset_ms: i64,
    pub cameras: usize,
    pub viewers: u64,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// A relay is heard for the first time, or again.
    Joined(String),
    /// A relay is not heard any more.
    Missing(String),
    /// Its clock and this one's differ, by so many µs.
    Clock(String, i64),
    /// Another process has this relay's name.
    NameTaken,
}

/// All others.
#[derive(Debug, Default)]
pub(super) struct Peers {
    relays: BTreeMap<String, Peer>,
    name_told: bool,
}

impl Peers {
    /// A beacon came; `own` is this relay's name and instance. Returns what is new, and the cameras whose number of
    /// viewers may have changed.
    pub(super) fn heard(
        &mut self,
        name: &str,
        beacon: Beacon,
        own: (&str, &str),
        now: Mono,
        clock_us: i64,
    ) -> (Vec<News>, BTreeSet<CameraId>) {
        let mut news = Vec::new();
        if name == own.0 {
            if beacon.instance != own.1 && !self.name_told {
                self.name_told = true;
                news.push(News::NameTaken);
            }
            return (news, BTreeSet::new());
        }
        if !is_name(name) || (self.relays.len() >= MOST_RELAYS && !self.relays.contains_key(name)) {
            return (news, BTreeSet::new());
        }
        let offset_us = beacon.clock_us.saturating_sub(clock_us);
        let before = self.relays.remove(name);
        if before.as_ref().is_none_or(|before| before.missing) {
            news.push(News::Joined(name.to_owned()));
        }
        let off = offset_us.saturating_abs() > CLOCK_TOLERANCE_US;
        let in_a_row = before.as_ref().map_or(0, |before| before.clock_off).saturating_add(1);
        let clock_off = if off { in_a_row } else { 0 };
        if clock_off == CLOCK_BEACONS {
            news.push(News::Clock(name.to_owned(), offset_us));
        }
        let mut changed = before.map(|before| cameras(&before.beacon.viewers)).unwrap_or_default();
        changed.extend(cameras(&beacon.viewers));
        let peer = Peer { beacon, at: now, offset_us, missing: false, clock_off };
        self.relays.insert(name.to_owned(), peer);
        (news, changed)
    }

    /// Time passes. Returns as [`Peers::heard`].
    pub(super) fn look(&mut self, now: Mono) -> (Vec<News>, BTreeSet<CameraId>) {
        let (mut news, mut changed) = (Vec::new(), BTreeSet::new());
        for (name, peer) in &mut self.relays {
            if !peer.missing && now.since(peer.at) > MISSING_AFTER {
                peer.missing = true;
                changed.extend(cameras(&peer.beacon.viewers));
                news.push(News::Missing(name.clone()));
            }
        }
        self.relays.retain(|_, peer| now.since(peer.at) <= FORGOTTEN_AFTER);
        (news, changed)
    }

    /// Nobody can be heard: that says nothing of them, and their viewers are still there.
    pub(super) fn deaf(&mut self, now: Mono) {
        for peer in self.relays.values_mut().filter(|peer| !peer.missing) {
            peer.at = now;
        }
    }

    /// Who watches a camera elsewhere.
    pub(super) fn viewers(&self, camera: &CameraId) -> u64 {
        let there = self.heard_now().filter_map(|(_, p)| p.beacon.viewers.get(camera.as_str()));
        there.fold(0, |all, viewers| all.saturating_add(*viewers))
    }

    fn heard_now(&self) -> impl Iterator<Item = (&String, &Peer)> {
        self.relays.iter().filter(|(_, peer)| !peer.missing)
    }

    /// How many are heard.
    pub(super) fn count(&self) -> usize {
        self.heard_now().count()
    }

    /// Which of them are not.
    pub(super) fn problem(&self) -> Option<String> {
        let missing = self.relays.iter().filter(|(_, peer)| peer.missing);
        let names: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("not heard any more: {}", names.join(", ")))
    }

    /// By how much each clock is off, in seconds.
    pub(super) fn clocks(&self) -> impl Iterator<Item = (&str, f64)> {
        self.heard_now().map(|(name, peer)| {
            let offset = Duration::from_micros(peer.offset_us.unsigned_abs()).as_secs_f64();
            (name.as_str(), if peer.offset_us < 0 { -offset } else { offset })
        })
    }

    pub(super) fn status(&self, now: Mono) -> Vec<RelayStatus> {
        let of = |(name, peer): (&String, &Peer)| RelayStatus {
            relay: name.clone(),
            role: peer.beacon.role,
            state: if peer.missing { "missing" } else { "heard" },
            version: peer.beacon.version.clone(),
            url: peer.beacon.url.clone(),
            heard_ms: crate::status::millis(now.since(peer.at)),
            clock_offset_ms: peer.offset_us / 1_000,
            cameras: peer.beacon.cameras,
            viewers: peer.beacon.viewers.values().fold(0, |all, n| all.saturating_add(*n)),
        };
        self.relays.iter().map(of).collect()
    }
}

/// What of the names are cameras'.
fn cameras<T>(named: &BTreeMap<String, T>) -> BTreeSet<CameraId> {
    named.keys().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: (&str, &str) = ("a", "1");

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    fn beacon(viewers: &[(&str, u64)]) -> Beacon {
        Beacon {
            instance: "2".to_owned(),
            role: Role::Edge,
            version: "0.1.0".to_owned(),
            url: None,
            clock_us: 0,
            cameras: 0,
            viewers: viewers.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            quiet: BTreeMap::new(),
        }
    }

    #[test]
    fn viewers_of_all_relays_are_added_until_one_is_missing() {
        let mut peers = Peers::default();
        let garden: CameraId = "garden".parse().unwrap();
        let (news, changed) = peers.heard("b", beacon(&[("garden", 2)]), OWN, at(0), 0);
        assert_eq!(news, [News::Joined("b".to_owned())]);
        assert_eq!(changed, BTreeSet::from([garden.clone()]));
        peers.heard("c", beacon(&[("garden", 40), ("no camera", 1)]), OWN, at(3), 0);
        assert_eq!(peers.viewers(&garden), 42);
        let (news, changed) = peers.look(at(6));
        assert_eq!(news, [News::Missing("b".to_owned())]);
        assert_eq!(changed, BTreeSet::from([garden.clone()]));
        assert_eq!((peers.viewers(&garden), peers.count()), (40, 1));
        assert_eq!(peers.problem().as_deref(), Some("not heard any more: b"));
        assert_eq!(peers.look(at(6)).0, [], "it is said once");
        let (_, changed) = peers.heard("c", beacon(&[]), OWN, at(7), 0);
        assert_eq!(changed, BTreeSet::from([garden.clone()]), "nobody watches there any more");
        assert_eq!(peers.viewers(&garden), 0);
        let (news, _) = peers.heard("b", beacon(&[]), OWN, at(8), 0);
        assert_eq!(news, [News::Joined("b".to_owned())], "it is back");
        peers.look(at(4_000));
        peers.look(at(8_000));
        assert!(peers.status(at(8_000)).is_empty(), "forgotten");
    }

    #[test]
    fn while_nobody_can_be_heard_nobody_is_missing() {
        let mut peers = Peers::default();
        peers.heard("b", beacon(&[]), OWN, at(0), 0);
        for s in 1..60 {
            peers.deaf(at(s));
        }
        assert_eq!(peers.look(at(60)).0, []);
    }

    #[test]
    fn a_clock_that_is_off_and_a_name_that_is_taken_are_told_once() {
        let mut peers = Peers::default();
        let (news, _) = peers.heard("b", beacon(&[]), OWN, at(0), 3_000_000);
        assert_eq!(news, [News::Joined("b".to_owned())], "it may have been late");
        let mut off = |times: u32| -> Vec<News> {
            (0..times)
                .flat_map(|_| peers.heard("b", beacon(&[]), OWN, at(1), 3_000_000).0)
                .collect()
        };
        assert_eq!(off(3), []);
        assert_eq!(off(20), [News::Clock("b".to_owned(), -3_000_000)]);
        assert_eq!(peers.heard("b", beacon(&[]), OWN, at(2), 1_000).0, [], "it was set right");
        let mut off = |times: u32| {
            (0..times).flat_map(|_| peers.heard("b", beacon(&[]), OWN, at(3), 3_000_000).0).count()
        };
        assert_eq!(off(20), 1);
        let own = Beacon { instance: "1".to_owned(), ..beacon(&[]) };
        assert_eq!(peers.heard("a", own, OWN, at(3), 0).0, []);
        assert_eq!(peers.heard("a", beacon(&[]), OWN, at(3), 0).0, [News::NameTaken]);
        assert_eq!(peers.heard("a", beacon(&[]), OWN, at(4), 0).0, []);
    }

    #[test]
    fn relays_are_bounded() {
        let mut peers = Peers::default();
        for n in 0..2 * MOST_RELAYS {
            peers.heard(&format!("r{n}"), beacon(&[]), OWN, at(0), 0);
        }
        peers.heard("with.dot", beacon(&[]), OWN, at(0), 0);
        assert_eq!(peers.count(), MOST_RELAYS);
    }
}
