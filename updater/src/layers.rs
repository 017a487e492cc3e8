//! What each version of the state on the data partition is called, and which ones nobody can go back to.
//!
//! A system that keeps its state differently has a higher number in `/usr/lib/stillwatch/state`. The initrd makes a
//! copy for it, has the system itself migrate that, and leaves the old system's as it was (docs/updates.md).

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::place::Place;

/// What there is more than one version of; the first version's have no folder of their own. Not `provision`: there a later
/// system's own is mounted.
const FOLDERS: [&str; 2] = ["agent", "healer"];

/// No system is expected to have a higher number.
const HIGHEST: u32 = 99;

/// Removes what is not the running system's own: the system that it belonged to is about to be written over.
pub(crate) fn prune(place: &Place) {
    let data = place.state.parent().map(PathBuf::from).unwrap_or_default();
    let number = fs::read_to_string(place.below("/usr/lib/stillwatch/state")).unwrap_or_default();
    let own: u32 = number.trim().parse().unwrap_or(1);
    let others = (2..=HIGHEST).filter(|version| *version != own);
    let others = others.map(|version| format!("state-{version}"));
    let first = FOLDERS.iter().map(|name| (*name).to_owned()).filter(|_| own > 1);
    for name in others.chain(first) {
        match fs::remove_dir_all(data.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{}/{name}: {error}", data.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::tests::place;

    #[test]
    fn what_is_not_the_running_systems_own_goes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut place = place(folder.path());
        place.state = data.join("updates");
        let left = |own: &str| {
            let file = place.below("/usr/lib/stillwatch/state");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, own).unwrap();
            for name in ["agent", "healer", "provision", "journal", "state-2", "state-3", "state-4"]
            {
                fs::create_dir_all(data.join(name)).unwrap();
            }
            prune(&place);
            let mut left: Vec<_> = fs::read_dir(&data)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort();
            left
        };
        assert_eq!(left("3\n"), ["journal", "provision", "state-3"]);
        let first = ["agent", "healer", "journal", "provision"];
        assert_eq!(left("1\n"), first);
        assert_eq!(left("garbage"), first);
    }
}
