//! What a link does in the course of time: files in `crates/testbed/scenarios/`, each with its name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::eventually::pause;
use crate::link::Link;
use crate::network::{Network, Rules};

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is, in a few words.
    pub about: String,
    /// One after the other; the last one stays.
    pub phase: Vec<Phase>,
}

/// What a link does for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phase {
    /// For how long.
    pub seconds: u64,
    /// What it carries, in each direction; 0: as much as it gets.
    pub bytes_per_second: u32,
    /// How long everything is on its way, in each direction.
    pub late_ms: u64,
    /// And up to so much longer.
    pub jitter_ms: u64,
    /// Of a thousand packets, so many are lost.
    pub lost_per_mille: u32,
    /// Longer packets are lost, and nobody is told; 0: none.
    pub longest: usize,
    /// It carries nothing, and nobody is told.
    pub silent: bool,
    /// The device is down, as WiFi is that has lost its access point.
    pub down: bool,
    /// The connections that are open when it begins are forgotten by a router.
    pub forget: bool,
    /// The camera gets another address when it begins.
    pub moves: bool,
    /// Further connections get a page to log in; those that are open are cut when it begins.
    pub portal: bool,
}

impl Default for Phase {
    fn default() -> Self {
        Phase {
            seconds: 1,
            bytes_per_second: 0,
            late_ms: 0,
            jitter_ms: 0,
            lost_per_mille: 0,
            longest: 0,
            silent: false,
            down: false,
            forget: false,
            moves: false,
            portal: false,
        }
    }
}

impl Phase {
    /// Nothing gets through.
    pub fn is_fault(&self) -> bool {
        self.silent || self.down || self.portal
    }

    fn rules(&self) -> Rules {
        Rules {
            bytes_per_second: self.bytes_per_second,
            late: Duration::from_millis(self.late_ms),
            jitter: Duration::from_millis(self.jitter_ms),
            lost_per_mille: self.lost_per_mille,
            silent: self.silent,
            longest: self.longest,
            without_ipv6: false,
        }
    }
}

impl Scenario {
    /// Reads one.
    ///
    /// # Panics
    /// The file is missing or no scenario.
    pub fn read(path: &Path) -> Scenario {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether it needs a proxy that answers instead of the relay; all others need a network.
    pub fn has_portal(&self) -> bool {
        self.phase.iter().any(|phase| phase.portal)
    }

    /// For how long it lasts.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(self.phase.iter().map(|phase| phase.seconds).sum())
    }

    /// Does to a network what it says, and tells each phase as it begins.
    ///
    /// # Panics
    /// The network can't be changed.
    pub fn play(&self, network: &Network, mut tell: impl FnMut(&Phase)) {
        for phase in &self.phase {
            network.rules(phase.rules());
            network.up(!phase.down);
            if phase.forget {
                network.forget();
            }
            if phase.moves {
                network.move_inside();
            }
            tell(phase);
            pause(Duration::from_secs(phase.seconds));
        }
    }

    /// The same with a proxy, for its portal.
    pub fn play_portal(&self, link: &Link, mut tell: impl FnMut(&Phase)) {
        for phase in &self.phase {
            link.slow(phase.bytes_per_second.into());
            link.late(Duration::from_millis(phase.late_ms));
            link.portal(phase.portal);
            if phase.portal {
                link.cut();
            }
            tell(phase);
            pause(Duration::from_secs(phase.seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
        assert!(files.len() >= 8);
        for file in files {
            let scenario = Scenario::read(&file.path());
            assert!(!scenario.about.is_empty() && !scenario.phase.is_empty());
            let last = scenario.phase.last().unwrap();
            assert!(!last.is_fault() && last.seconds >= 10, "time to come back");
        }
    }
}
