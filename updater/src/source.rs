//! Where bundles are: what the agent fetched, and what somebody brought on the card's first partition or on a stick.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use runtime::update::{FOLDER, HANDED, Handed};

use crate::may::Origin;
use crate::place::Place;

/// The agent's own folder.
const AGENT: &str = "/var/lib/stillwatch-agent";

/// The card's first partition.
pub(crate) const CARD: &str = "/boot/firmware";

/// Where a stick is mounted, for as long as it is looked into or installed from.
const STICK: &str = "/run/stillwatch-stick";

/// What sticks are formatted with, in the order in which it is tried.
const FILE_SYSTEMS: [&str; 3] = ["vfat", "exfat", "ext4"];

/// Longest note that is read, in bytes.
const MAX_NOTE: u64 = 4 << 10;

/// More in one folder are not looked at.
const MAX_BUNDLES: usize = 8;

/// A file that may be a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub path: PathBuf,
    pub origin: Origin,
    /// The version that the agent was offered; a bundle's own is known once it was looked into.
    pub offered: Option<String>,
    /// What has to be mounted for it.
    pub stick: Option<Plugged>,
    /// Changes when the file does.
    pub stamp: Stamp,
}

/// What tells one file from another that takes its place.
/// Not by its inode: FAT has none, and the kernel gives it another one each time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    path: PathBuf,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        // Whose folder it is decides what a name leads to; what is read must be a file itself.
        let file = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let changed = (file.mtime(), file.mtime_nsec());
        Some(Stamp { path: path.to_owned(), bytes: file.len(), changed })
    }
}

/// What lies there now; sticks are [`Sticks`]' affair.
pub(crate) fn found(place: &Place) -> Vec<Found> {
    let mut found: Vec<Found> = handed(place).into_iter().collect();
    found.extend(brought(&place.below(CARD), None));
    found
}

fn handed(place: &Place) -> Option<Found> {
    let folder = place.below(AGENT).join(FOLDER);
    let Handed { version, file, now } =
        serde_json::from_slice(&read_note(&folder.join(HANDED))?).ok()?;
    let is_name = Path::new(&file).file_name().is_some_and(|name| name == file.as_str());
    let path = folder.join(file);
    let stamp = Stamp::of(&path).filter(|_| is_name)?;
    Some(Found { path, origin: Origin::Relay { now }, offered: Some(version), stick: None, stamp })
}

/// The agent may have put anything there: a link, something that is never read to its end.
fn read_note(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let note = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    let mut text = Vec::new();
    let is_file = note.metadata().is_ok_and(|note| note.is_file());
    note.take(MAX_NOTE).read_to_end(&mut text).ok().filter(|_| is_file)?;
    Some(text)
}

/// Takes away the agent's note, and leaves its bundle.
pub(crate) fn forget_handed(place: &Place) {
    let path = place.below(AGENT).join(FOLDER).join(HANDED);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!("{}: {error}", path.display());
    }
}

fn brought(folder: &Path, stick: Option<&Plugged>) -> Vec<Found> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| is_bundle(path));
    paths.sort();
    paths.truncate(MAX_BUNDLES);
    let found = paths.into_iter().filter_map(|path| {
        let stamp = Stamp::of(&path)?;
        Some(Found { path, origin: Origin::Hand, offered: None, stick: stick.cloned(), stamp })
    });
    found.collect()
}

/// `stillwatch-….raucb`; what computers leave beside it begins with a dot.
fn is_bundle(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.starts_with("stillwatch-") && name.ends_with(".raucb")
}

/// A stick's partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plugged {
    name: String,
    /// The kernel's `diskseq`: another one for each disk that is plugged in, whatever its name.
    number: Option<String>,
}

/// USB sticks: what is on them, and the one that is mounted.
#[derive(Debug, Default)]
pub(crate) struct Sticks {
    /// Those that are plugged in. While they are, nobody else writes to them.
    known: BTreeMap<Plugged, Vec<Found>>,
    mounted: Option<Plugged>,
}

impl Sticks {
    /// The bundles of all that are plugged in. Those that are new are mounted for it.
    pub(crate) fn look(&mut self, place: &Place) -> Vec<Found> {
        let plugged = plugged(&place.below("/sys/class/block"));
        self.known.retain(|stick, _| plugged.contains(stick));
        for stick in plugged {
            if self.known.contains_key(&stick) {
                continue;
            }
            let is_readable = self.mount(place, &stick);
            let folder = Some(place.below(STICK)).filter(|_| is_readable);
            let found = folder.map_or_else(Vec::new, |folder| brought(&folder, Some(&stick)));
            tracing::info!("the stick {} has {} bundles of Stillwatch", stick.name, found.len());
            self.known.insert(stick, found);
        }
        self.known.values().flatten().cloned().collect()
    }

    /// Mounts the stick that the file is on, if it is on one, until [`Sticks::leave`].
    pub(crate) fn reach(&mut self, place: &Place, file: &Found) {
        if let Some(stick) = &file.stick
            && self.mounted.as_ref() != Some(stick)
        {
            self.mount(place, stick);
        }
    }

    /// Read-only, instead of another one.
    fn mount(&mut self, place: &Place, stick: &Plugged) -> bool {
        self.leave(place);
        let (device, folder) = (place.below("/dev").join(&stick.name), place.below(STICK));
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(error) = fs::create_dir_all(&folder) {
            tracing::warn!("{}: {error}", folder.display());
            return false;
        }
        let is_mounted = FILE_SYSTEMS
            .iter()
            .any(|kind| mount(Some(&device), &folder, Some(*kind), flags, None::<&str>).is_ok());
        self.mounted = is_mounted.then(|| stick.clone());
        is_mounted
    }

    /// The stick may be pulled out.
    pub(crate) fn leave(&mut self, place: &Place) {
        if self.mounted.take().is_some()
            && let Err(error) = umount2(&place.below(STICK), MntFlags::MNT_DETACH)
        {
            tracing::warn!("{STICK}: {error}");
        }
    }
}

fn plugged(class: &Path) -> Vec<Plugged> {
    let number = |name: &String| {
        let device = fs::canonicalize(class.join(name)).ok()?;
        // A partition has its disk's.
        [Some(device.as_path()), device.parent()]
            .into_iter()
            .flatten()
            .find_map(|disk| fs::read_to_string(disk.join("diskseq")).ok())
    };
    partitions(class).into_iter().map(|name| Plugged { number: number(&name), name }).collect()
}

/// What a stick may have its files on: partitions of USB disks, and such disks without any.
fn partitions(class: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| {
            let device = fs::canonicalize(entry.path()).unwrap_or_default();
            let by_usb = device
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
            by_usb && (device.join("partition").exists() || !has_partitions(&device))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.truncate(MAX_BUNDLES);
    names
}

fn has_partitions(disk: &Path) -> bool {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join("partition").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::tests::place;

    #[test]
    fn what_the_agent_handed_over_is_a_file_of_its_own_folder() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        let folder = place.below(AGENT).join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("stillwatch-2.raucb"), "bundle").unwrap();
        fs::write(root.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), folder.join("link")).unwrap();
        let hand = |file: &str| {
            let text = format!("{{\"version\":\"2\",\"file\":\"{file}\"}}");
            fs::write(folder.join(HANDED), text).unwrap();
            found(&place)
        };
        let good = hand("stillwatch-2.raucb");
        assert_eq!(good.first().map(|it| it.origin), Some(Origin::Relay { now: false }));
        forget_handed(&place);
        assert_eq!(found(&place), []);
        for wrong in ["../../../../secret", "/etc/passwd", "link", "", ".", "none"] {
            assert_eq!(hand(wrong), [], "{wrong}");
        }
    }

    #[test]
    fn what_was_brought_is_known_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        let card = place.below(CARD);
        fs::create_dir_all(&card).unwrap();
        for name in ["config.txt", "stillwatch.toml", "._stillwatch-2.raucb", "STILLW~1.RAU"] {
            fs::write(card.join(name), "x").unwrap();
        }
        assert_eq!(found(&place), []);
        fs::write(card.join("stillwatch-0.2.0-debian.raucb"), "x").unwrap();
        fs::write(card.join("Stillwatch-0.1.0-debian.RAUCB"), "x").unwrap();
        let names: Vec<_> = found(&place).into_iter().map(|it| it.path).collect();
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn sticks_are_what_hangs_on_usb() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("class");
        let device = |path: &str| {
            let path = root.path().join("devices").join(path);
            fs::create_dir_all(&path).unwrap();
            let link = class.join(path.file_name().unwrap());
            std::os::unix::fs::symlink(&path, link).unwrap();
            path
        };
        fs::create_dir_all(&class).unwrap();
        for (path, partition) in [
            ("mmc0/mmcblk0", false),
            ("mmc0/mmcblk0/mmcblk0p1", true),
            ("usb1/1-1/sda", false),
            ("usb1/1-1/sda/sda1", true),
            ("usb1/1-2/sdb", false),
        ] {
            let path = device(path);
            if partition {
                fs::write(path.join("partition"), "1").unwrap();
            }
        }
        assert_eq!(partitions(&class), ["sda1", "sdb"]);
    }

    #[test]
    fn what_a_stick_has_is_known_until_another_one_has_its_name() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        let (class, disk) = (place.below("/sys/class/block"), root.path().join("usb1/1-1/sda"));
        let partition = disk.join("sda1");
        fs::create_dir_all(&partition).unwrap();
        fs::create_dir_all(&class).unwrap();
        fs::create_dir_all(place.below(STICK)).unwrap();
        std::os::unix::fs::symlink(&partition, class.join("sda1")).unwrap();
        fs::write(partition.join("partition"), "1").unwrap();
        fs::write(disk.join("diskseq"), "7\n").unwrap();
        fs::write(place.below(STICK).join("stillwatch-2.raucb"), "bundle").unwrap();
        let stick = plugged(&class).pop().unwrap();
        assert_eq!(stick, Plugged { name: "sda1".to_owned(), number: Some("7\n".to_owned()) });
        // There is no disk here that could be mounted for it.
        let mut sticks = Sticks::default();
        let found = brought(&place.below(STICK), Some(&stick));
        sticks.known.insert(stick, found.clone());
        for _ in 0..20 {
            assert_eq!(sticks.look(&place), found);
        }
        fs::write(disk.join("diskseq"), "8\n").unwrap();
        assert_eq!(sticks.look(&place), []);
        fs::remove_file(class.join("sda1")).unwrap();
        assert_eq!((sticks.look(&place), sticks.known.len()), (Vec::new(), 0));
    }
}
