//! What is fetched, as files below the agent's state directory: a part that survives power cuts, a whole
//! bundle, and the note that hands it to the updater. Everything here may wait for a slow card: none of it
//! runs beside pictures.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use frame::sign::to_hex;
use frame::update::Offer;
use nix::sys::statvfs::statvfs;
use ring::digest::{Context, SHA256};
use runtime::files::{Survives, replace};
use runtime::update::{HANDED, Handed};

use super::permit::Room;
use crate::machine::bytes_of;

/// The longest note that is believed to be one, in bytes.
const MAX_HANDED: u64 = 4 << 10;

/// What a power cut costs at most, in bytes; and what the card has to swallow at once.
const SYNC_EVERY: u64 = 4 << 20;

/// How much is read at once when a part is looked through, in bytes.
const READ: usize = 64 << 10;

/// More files than these are looked at the next time.
const MAX_FILES: usize = 256;

const PART: &str = ".part";
const BUNDLE: &str = ".raucb";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// A bundle that is not whole yet.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    unsynced: u64,
    hash: Context,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({}, {})", self.path.display(), self.length)
    }
}

impl Folder {
    pub(super) fn at(path: PathBuf) -> Folder {
        Folder(path)
    }

    /// What was handed over, if that bundle is there.
    pub(super) fn handed(&self) -> Option<Handed> {
        let mut text = String::new();
        let file = File::open(self.0.join(HANDED)).ok()?;
        file.take(MAX_HANDED).read_to_string(&mut text).ok()?;
        let handed: Handed = serde_json::from_str(&text).ok()?;
        let is_name = handed.file == bundle_of(&handed.version);
        (is_name && self.0.join(&handed.file).is_file()).then_some(handed)
    }

    /// Hands over a bundle that is there.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn hand(&self, version: &str, now: bool) -> io::Result<Handed> {
        let handed = Handed { version: version.to_owned(), file: bundle_of(version), now };
        replace(&self.0.join(HANDED), &serde_json::to_vec(&handed)?, Survives::PowerCut)?;
        Ok(handed)
    }

    /// Takes back what was handed over; its bundle stays.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn take_back(&self) -> io::Result<()> {
        remove(&self.0.join(HANDED))
    }

    /// Removes the bundles of versions that are of no use, and what a crash left.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn tidy(&self, is_useless: impl Fn(&str) -> bool) -> io::Result<()> {
        self.clear(|name| {
            let version = name.strip_prefix("stillwatch-").and_then(|v| v.strip_suffix(BUNDLE));
            name == HANDED || name.ends_with(PART) || version.is_some_and(|v| !is_useless(v))
        })
    }

    /// Removes all but what was handed over, and what belongs to an offer.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn keep_only(
        &self,
        handed: Option<&Handed>,
        offer: Option<&Offer>,
    ) -> io::Result<()> {
        let offered = offer.map(|offer| [part_of(offer), bundle_of(&offer.version.to_string())]);
        self.clear(|name| {
            let of_handed = handed.is_some_and(|handed| name == HANDED || name == handed.file);
            of_handed || offered.as_ref().is_some_and(|names| names.iter().any(|n| n == name))
        })
    }

    fn clear(&self, keeps: impl Fn(&str) -> bool) -> io::Result<()> {
        let files = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files.take(MAX_FILES) {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            // Only what has our names, and what a crash left of it.
            let ours = name.ends_with(PART) || name.ends_with(BUNDLE) || name.contains(HANDED);
            if ours && !keeps(&name) {
                remove(&file.path())?;
            }
        }
        Ok(())
    }

    /// Goes on with an offer's part, or begins one. What is there already is looked through.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn part(&self, offer: &Offer) -> io::Result<Part> {
        fs::create_dir_all(&self.0)?;
        let path = self.0.join(part_of(offer));
        let whole = self.0.join(bundle_of(&offer.version.to_string()));
        if !path.exists() && whole.exists() {
            // The power was cut before it was handed over.
            fs::rename(&whole, &path)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        let (mut length, mut hash) = (0, Context::new(&SHA256));
        let mut buffer = vec![0; READ];
        // Longer than the offer it can't be.
        let mut there = (&file).take(offer.bytes);
        loop {
            let read = match there.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(buffer.get(..read).unwrap_or_default());
            length += read as u64;
        }
        file.set_len(length)?;
        Ok(Part { file, path, length, unsynced: 0, hash })
    }

    /// Room for what is still to come of an offer.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn room(&self, offer: &Offer) -> io::Result<Room> {
        let length = |name: String| fs::metadata(self.0.join(name)).map(|found| found.len());
        let there =
            length(part_of(offer)).or_else(|_| length(bundle_of(&offer.version.to_string())));
        // The folder may not be there yet.
        let folder = self.0.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let found = statvfs(folder)?;
        Ok(Room {
            wanted: offer.bytes.saturating_sub(there.unwrap_or(0)),
            free: bytes_of(found.blocks_available(), found.fragment_size()),
        })
    }

    /// Makes a part that is whole the bundle it should be. `false`: it is another one, and was removed.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn finish(&self, part: Part, offer: &Offer) -> io::Result<bool> {
        let Part { file, path, hash, length, .. } = part;
        let hash = to_hex(hash.finish().as_ref());
        if length != offer.bytes || hash != offer.sha256 {
            remove(&path)?;
            return Ok(false);
        }
        file.sync_all()?;
        fs::rename(&path, self.0.join(bundle_of(&offer.version.to_string())))?;
        File::open(&self.0)?.sync_all()?;
        Ok(true)
    }
}

impl Part {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds what came.
    ///
    /// # Errors
    /// Whatever the file system says; then nothing was added.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Begins anew.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.length, self.unsynced, self.hash) = (0, 0, Context::new(&SHA256));
        Ok(())
    }
}

fn part_of(offer: &Offer) -> String {
    format!("{}{PART}", offer.sha256)
}

fn bundle_of(version: &str) -> String {
    format!("stillwatch-{version}{BUNDLE}")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "0.2.0-20261128.0312";

    fn offer(content: &[u8]) -> Offer {
        let hash = ring::digest::digest(&SHA256, content);
        Offer {
            version: VERSION.parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
            bytes: content.len() as u64,
            sha256: to_hex(hash.as_ref()),
            path: "/updates/x.raucb".to_owned(),
            now: false,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_part_goes_on_after_a_restart_and_becomes_a_bundle_that_is_handed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("update");
        let folder = Folder::at(path.clone());
        let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let offer = offer(&content);
        assert_eq!(folder.room(&offer).unwrap().wanted, 300_000);
        folder.part(&offer).unwrap().add(&content[..100_000]).unwrap();
        // What comes after a power cut is another process.
        let mut part = folder.part(&offer).unwrap();
        assert_eq!(part.length(), 100_000);
        let room = folder.room(&offer).unwrap();
        assert!(room.wanted == 200_000 && room.free > 0, "{room:?}");
        part.add(&content[100_000..]).unwrap();
        assert!(folder.finish(part, &offer).unwrap());
        assert_eq!(folder.handed(), None);
        let handed = folder.hand(VERSION, false).unwrap();
        assert_eq!(folder.handed(), Some(handed.clone()));
        let bundle = format!("stillwatch-{VERSION}.raucb");
        assert_eq!(names(&path), ["handed.json".to_owned(), bundle.clone()]);
        assert_eq!(fs::read(path.join(&bundle)).unwrap(), content);
        folder.take_back().unwrap();
        assert_eq!((names(&path), folder.handed()), (vec![bundle], None));
    }

    #[test]
    fn a_bundle_that_was_not_handed_over_is_looked_through_again() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().to_owned());
        let offer = offer(b"content");
        fs::write(scratch.path().join(format!("stillwatch-{VERSION}.raucb")), "content").unwrap();
        folder.keep_only(None, Some(&offer)).unwrap();
        let part = folder.part(&offer).unwrap();
        assert_eq!(part.length(), 7);
        assert!(folder.finish(part, &offer).unwrap());
    }

    #[test]
    fn what_is_another_or_too_long_is_found_out() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().to_owned());
        let offer = offer(b"content");
        for (wrong, kept) in [("contend", 7), ("content and more", 7), ("con", 3)] {
            fs::write(scratch.path().join(part_of(&offer)), wrong).unwrap();
            let part = folder.part(&offer).unwrap();
            assert_eq!(part.length(), kept);
            let right = wrong == "content and more";
            assert_eq!(folder.finish(part, &offer).unwrap(), right, "{wrong}");
            assert_eq!(names(scratch.path()).len(), usize::from(right));
            folder.keep_only(None, None).unwrap();
        }
        let mut part = folder.part(&offer).unwrap();
        part.add(b"nonsense").unwrap();
        part.clear().unwrap();
        part.add(b"content").unwrap();
        assert!(folder.finish(part, &offer).unwrap());
    }

    #[test]
    fn garbage_goes_and_what_is_not_ours_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().to_owned());
        let offer = offer(b"content");
        let handed = Handed { version: "1".into(), file: "stillwatch-1.raucb".into(), now: false };
        for name in
            ["0.part", "stillwatch-0.raucb", "stillwatch-1.raucb", "notes.txt", ".handed.json.tmp"]
        {
            fs::write(scratch.path().join(name), "x").unwrap();
        }
        fs::write(scratch.path().join(part_of(&offer)), "x").unwrap();
        folder.hand("1", false).unwrap();
        folder.tidy(|version| version == "0").unwrap();
        assert!(names(scratch.path()).contains(&"0.part".to_owned()));
        assert_eq!(names(scratch.path()).len(), 5);
        folder.keep_only(Some(&handed), Some(&offer)).unwrap();
        let part = part_of(&offer);
        let mut left = [part.as_str(), "handed.json", "notes.txt", "stillwatch-1.raucb"];
        left.sort_unstable();
        assert_eq!(names(scratch.path()), left);
        folder.keep_only(Some(&handed), None).unwrap();
        assert_eq!(names(scratch.path()).len(), 3);
        folder.keep_only(None, None).unwrap();
        assert_eq!(names(scratch.path()), ["notes.txt"]);
        Folder::at(scratch.path().join("nowhere")).tidy(|_| true).unwrap();
    }

    #[test]
    fn a_note_that_is_none_hands_nothing_over() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().to_owned());
        fs::write(scratch.path().join("x"), "").unwrap();
        for note in ["", "{}", r#"{"version":"1","file":"../x"}"#, r#"{"version":"1","file":"x"}"#]
        {
            fs::write(scratch.path().join(HANDED), note).unwrap();
            assert_eq!(folder.handed(), None, "{note}");
        }
        folder.hand("1", true).unwrap();
        assert_eq!(folder.handed(), None, "its bundle is not there");
        fs::write(scratch.path().join(bundle_of("1")), "").unwrap();
        assert!(folder.handed().is_some_and(|handed| handed.now));
    }
}
