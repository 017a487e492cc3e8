//! What a link does in the course of time: files in `crates/testbed/scenarios/`, each with its name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::eventually::pause;
use crate::link::Link;

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
    /// What it carries, in each direction of each connection; 0: as much as it gets.
    pub bytes_per_second: u64,
    /// How long everything is on its way, in each direction.
    pub late_ms: u64,
    /// It carries nothing, and nobody is told.
    pub silent: bool,
    /// Connections that are open are cut when it begins.
    pub cut: bool,
    /// Further ones are closed at once.
    pub refuse: bool,
    /// Further ones get a page to log in.
    pub portal: bool,
}

impl Default for Phase {
    fn default() -> Self {
        Phase {
            seconds: 1,
            bytes_per_second: 0,
            late_ms: 0,
            silent: false,
            cut: false,
            refuse: false,
            portal: false,
        }
    }
}

impl Phase {
    /// Nothing gets through.
    pub fn is_fault(&self) -> bool {
        self.silent || self.refuse || self.portal
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

    /// Does to a link what it says, and tells each phase as it begins.
    pub fn play(&self, link: &Link, mut tell: impl FnMut(&Phase)) {
        for phase in &self.phase {
            link.slow(phase.bytes_per_second);
            link.late(Duration::from_millis(phase.late_ms));
            link.silent(phase.silent);
            link.refuse(phase.refuse);
            link.portal(phase.portal);
            if phase.cut {
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
