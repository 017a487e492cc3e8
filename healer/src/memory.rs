//! What hooks remember of WiFi interfaces (`systemd/heal.d/wifi-remember`), through reboots: a chip that is
//! not there after a boot is brought back by the driver it had before.
//!
//! Hooks read and write the run directory, which is always there and wears nothing; the state directory
//! holds a copy, for as long as it can be written.

use std::fs;
use std::path::Path;

use runtime::files::{Survives, replace};

use crate::site::Site;

/// What is worth a copy.
const NAMES: [&str; 4] = ["device", "module", "unit", "frequency"];

/// The folder, in both places.
const WIFI: &str = "wifi";

/// More interfaces no machine has.
const MAX_INTERFACES: usize = 8;

/// Puts back what an earlier boot knew, where this one knows nothing.
pub(crate) fn restore(site: &Site) {
    copy(&site.state(WIFI), &site.memory().join(WIFI), |there| !there.exists());
}

/// Keeps what this boot has learnt.
pub(crate) fn keep(site: &Site) {
    copy(&site.memory().join(WIFI), &site.state(WIFI), |_| true);
}

fn copy(from: &Path, to: &Path, wanted: impl Fn(&Path) -> bool) {
    let interfaces = fs::read_dir(from).into_iter().flatten().flatten();
    for interface in interfaces.take(MAX_INTERFACES) {
        let folder = to.join(interface.file_name());
        for name in NAMES {
            let Ok(content) = fs::read(interface.path().join(name)) else { continue };
            let there = folder.join(name);
            if !wanted(&there) || fs::read(&there).is_ok_and(|known| known == content) {
                continue;
            }
            let kept = fs::create_dir_all(&folder)
                .and_then(|()| replace(&there, &content, Survives::Exit));
            if let Err(error) = kept {
                tracing::debug!("{} can't be remembered: {error}", there.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{file, site};

    #[test]
    fn what_one_boot_learns_the_next_one_knows() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let known = |name: &str| fs::read_to_string(site.memory().join("wifi/wlan0").join(name));
        fs::create_dir_all(site.memory().join("wifi/wlan0")).unwrap();
        fs::write(site.memory().join("wifi/wlan0/module"), "brcmfmac\n").unwrap();
        fs::write(site.memory().join("wifi/wlan0/turn"), "2\n").unwrap();
        keep(&site);
        fs::remove_dir_all(site.memory()).unwrap();
        restore(&site);
        assert_eq!(known("module").unwrap(), "brcmfmac\n");
        assert!(known("turn").is_err());
        // What is known is not overwritten by what was.
        file(folder.path(), "state/wifi/wlan0/module", "old\n");
        restore(&site);
        assert_eq!(known("module").unwrap(), "brcmfmac\n");
    }
}
