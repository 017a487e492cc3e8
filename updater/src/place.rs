//! Where things are, and what runs here.

use std::fs;
use std::path::PathBuf;

use frame::update::is_compatible;
use frame::version::Version;

use crate::bootloader::Bootloader;
use crate::cli::Places;
use crate::slot::Slot;
use crate::tryboot;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub state: PathBuf,
    pub run: PathBuf,
    pub root: PathBuf,
    pub path: String,
}

/// Which system runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// What started it.
    pub bootloader: Bootloader,
    pub slot: Slot,
    pub version: Version,
    /// What it runs on.
    pub compatible: String,
}

/// Why that is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(
        "no slot on the kernel's command line: neither U-Boot nor the firmware started this system as one, so nothing here can be updated"
    )]
    NoSlot,
    #[error(
        "the kernel was started from slot {0}, and its command line says {1}: nothing here can be updated"
    )]
    TwoSlots(Slot, Slot),
    #[error("{path}: no {key}=: this is no image of scripts/image's", path = .0.display(), key = .1)]
    NoKey(PathBuf, &'static str),
}

impl Place {
    pub(crate) fn new(places: Places) -> Place {
        let Places { state_dir: state, run_dir: run, root, path } = places;
        Place { state, run, root, path }
    }

    /// An absolute path, in the tests' own tree.
    pub(crate) fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The boot this is; empty if the kernel does not say.
    pub(crate) fn boot_id(&self) -> String {
        let id = fs::read_to_string(self.below("/proc/sys/kernel/random/boot_id"));
        id.map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    pub(crate) fn agent_status(&self) -> PathBuf {
        self.below("/run/stillwatch-agent/status.json")
    }

    pub(crate) fn agent_config(&self) -> PathBuf {
        self.below("/etc/stillwatch/agent.toml")
    }

    /// Which system runs: the kernel's command line and os-release(5) say so.
    ///
    /// # Errors
    /// It is none of ours.
    pub(crate) fn running(&self) -> Result<Running, Unknown> {
        let conf = fs::read_to_string(self.below("/etc/rauc/system.conf")).unwrap_or_default();
        let bootloader = Bootloader::of(&conf);
        let slot = self.slot(bootloader)?;
        let path = self.below("/usr/lib/os-release");
        let release = fs::read_to_string(&path).unwrap_or_default();
        let value = |key: &'static str| {
            let lines = release.lines().filter_map(|line| line.split_once('='));
            let value = lines.filter(|(name, _)| *name == key).map(|(_, value)| value).next_back();
            value.map(|value| value.trim_matches('"')).ok_or(Unknown::NoKey(path.clone(), key))
        };
        let version = value("IMAGE_VERSION")?.parse();
        let version = version.map_err(|_| Unknown::NoKey(path.clone(), "IMAGE_VERSION"))?;
        let compatible = value("IMAGE_ID")?.to_owned();
        if !is_compatible(&compatible) {
            return Err(Unknown::NoKey(path.clone(), "IMAGE_ID"));
        }
        Ok(Running { bootloader, slot, version, compatible })
    }

    fn slot(&self, bootloader: Bootloader) -> Result<Slot, Unknown> {
        let cmdline = fs::read_to_string(self.below("/proc/cmdline")).unwrap_or_default();
        let named = Slot::booted(&cmdline);
        let started = match bootloader {
            Bootloader::UBoot => None,
            Bootloader::Tryboot => {
                let partition =
                    fs::read(self.below("/proc/device-tree/chosen/bootloader/partition"));
                tryboot::booted(&partition.unwrap_or_default())
            }
        };
        match (named, started) {
            (Some(named), Some(started)) if named != started => {
                Err(Unknown::TwoSlots(started, named))
            }
            _ => named.or(started).ok_or(Unknown::NoSlot),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    pub(crate) fn place(folder: &Path) -> Place {
        let place = Place {
            state: folder.join("data"),
            run: folder.join("run/stillwatch"),
            root: folder.to_owned(),
            path: "/nowhere".to_owned(),
        };
        for folder in [&place.state, &place.run] {
            fs::create_dir_all(folder).unwrap();
        }
        place
    }

    fn file(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn which_system_runs_is_what_kernel_and_os_release_say() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let place = place(folder);
        assert!(matches!(place.running(), Err(Unknown::NoSlot)));
        file(folder, "proc/cmdline", "rauc.slot=B panic=10\n");
        assert!(matches!(place.running(), Err(Unknown::NoKey(_, "IMAGE_VERSION"))));
        file(folder, "usr/lib/os-release", "ID=debian\nIMAGE_VERSION=\"0.1.0-20261128.0312\"\n");
        assert!(matches!(place.running(), Err(Unknown::NoKey(_, "IMAGE_ID"))));
        let release = "ID=debian\nIMAGE_ID=stillwatch-debian\nIMAGE_VERSION=0.1.0-20261128.0312\n";
        file(folder, "usr/lib/os-release", release);
        let running = place.running().unwrap();
        assert_eq!((running.slot, running.compatible.as_str()), (Slot::B, "stillwatch-debian"));
        assert_eq!(running.bootloader, Bootloader::UBoot);
        assert_eq!(running.version.to_string(), "0.1.0-20261128.0312");
    }

    #[test]
    fn where_the_firmware_starts_slots_it_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let place = place(folder);
        let slot = |cmdline: &str, partition: &str| {
            file(folder, "proc/cmdline", cmdline);
            file(folder, "proc/device-tree/chosen/bootloader/partition", partition);
            place.slot(Bootloader::Tryboot)
        };
        assert_eq!(slot("quiet", "\0\0\0\u{3}").ok(), Some(Slot::B));
        assert_eq!(slot("rauc.slot=B", "\0\0\0\u{3}").ok(), Some(Slot::B));
        // The first firmware of a Pi 5 says 0 (raspberrypi/rpi-eeprom#575).
        assert_eq!(slot("rauc.slot=A", "\0\0\0\0").ok(), Some(Slot::A));
        let two = slot("rauc.slot=A", "\0\0\0\u{3}");
        assert!(matches!(two, Err(Unknown::TwoSlots(Slot::B, Slot::A))));
        assert!(matches!(slot("quiet", ""), Err(Unknown::NoSlot)));
    }
}
