//! What of a bundle the running system has already: its list of blocks, and where they are. Reading the slot takes
//! seconds of a processor, and is done once for each offer, beside everything else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use frame::blocks::{BLOCK, Blocks, Finder, Next};

/// How much is read at once, in bytes.
const READ: usize = 256 * BLOCK;

/// How many blocks are copied before others have their turn: 1 MiB.
const AT_ONCE: usize = 256;

/// A slot has three files.
const MAX_FILES: usize = 16;

/// Where a block is: the file's number, and the block's in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    file: usize,
    block: u64,
}

/// The blocks of a bundle that are in the slot.
#[derive(Debug)]
pub(super) struct Here {
    files: Vec<PathBuf>,
    blocks: Blocks<Place>,
}

/// How a bundle goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// With these bytes.
    Copy(Vec<u8>),
    /// With what has to be fetched, up to this byte, which is not included.
    Fetch(u64),
}

impl Here {
    /// Looks through the slot's files.
    ///
    /// # Errors
    /// They can't be read, or the list is not that of a bundle of `bytes`.
    pub(super) fn find(slot: &Path, bytes: u64, list: &[u8]) -> io::Result<Here> {
        let no_list = || io::Error::other("the list of blocks is another bundle's");
        let mut finder = Finder::new(bytes, list).ok_or_else(no_list)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(slot)?.take(MAX_FILES) {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_file() {
                look_through(&path, files.len(), &mut finder)?;
                files.push(path);
            }
        }
        Ok(Here { files, blocks: finder.finish() })
    }

    /// How many bytes are still to be fetched behind byte `at`.
    pub(super) fn missing(&self, at: u64) -> u64 {
        self.blocks.missing(at)
    }

    /// What follows byte `at`. A block that can't be read any more is fetched.
    pub(super) fn step(&self, at: u64) -> Step {
        let places = match self.blocks.next(at, AT_ONCE) {
            Next::Fetch(until) => return Step::Fetch(until),
            Next::Copy(places) => places,
        };
        let mut bytes = Vec::with_capacity(places.len() * BLOCK);
        for place in places {
            match self.read(place) {
                Ok(block) => bytes.extend_from_slice(&block),
                Err(error) => {
                    tracing::debug!("a block of the slot can't be read: {error}");
                    break;
                }
            }
        }
        if bytes.is_empty() { Step::Fetch(at + BLOCK as u64) } else { Step::Copy(bytes) }
    }

    fn read(&self, Place { file, block }: Place) -> io::Result<[u8; BLOCK]> {
        let path = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = [0; BLOCK];
        File::open(path)?.read_exact_at(&mut bytes, block * BLOCK as u64)?;
        Ok(bytes)
    }
}

fn look_through(path: &Path, file: usize, finder: &mut Finder<Place>) -> io::Result<()> {
    let mut reading = File::open(path)?;
    let mut buffer = Vec::with_capacity(READ);
    let mut block = 0;
    while reading.by_ref().take(READ as u64).read_to_end(&mut buffer)? > 0 {
        // What a file's last block has behind its end can't be read again.
        for bytes in buffer.chunks_exact(BLOCK) {
            finder.has(bytes, &Place { file, block });
            block += 1;
        }
        buffer.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use frame::blocks::Lister;

    use super::*;

    fn random(bytes: usize, seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
    }

    #[test]
    fn a_bundle_is_put_together_from_the_slot_and_what_is_new() {
        let slot = tempfile::tempdir().unwrap();
        let old = random(300 * BLOCK + 100, 1);
        fs::write(slot.path().join("root.erofs"), &old).unwrap();
        fs::write(slot.path().join("Image"), random(10 * BLOCK, 2)).unwrap();
        fs::create_dir(slot.path().join("lost+found")).unwrap();
        // Moved by a block, with something new in the middle.
        let mut new = random(96, 3);
        new.extend(random(5 * BLOCK, 4));
        new.extend_from_slice(&old[BLOCK..280 * BLOCK]);
        new.extend(random(20 * BLOCK + 77, 5));
        let mut lister = Lister::default();
        lister.update(&new);
        let bytes = new.len() as u64;
        let here = Here::find(slot.path(), bytes, &lister.finish()).unwrap();
        assert_eq!(here.missing(0), 96 + 25 * BLOCK as u64 + 77);
        let mut made = Vec::new();
        let mut steps = 0;
        while made.len() < new.len() {
            match here.step(made.len() as u64) {
                Step::Copy(bytes) => made.extend(bytes),
                Step::Fetch(until) => {
                    made.extend_from_slice(&new[made.len()..usize::try_from(until).unwrap()]);
                }
            }
            steps += 1;
        }
        assert!(made == new && steps == 4, "{steps}");
        // The slot is written over meanwhile: what can't be read is fetched.
        fs::remove_file(slot.path().join("root.erofs")).unwrap();
        let at = 96 + 5 * BLOCK as u64;
        assert_eq!(here.step(at), Step::Fetch(at + BLOCK as u64));
    }

    #[test]
    fn a_slot_that_is_not_there_or_another_list_is_an_error() {
        let slot = tempfile::tempdir().unwrap();
        assert!(Here::find(slot.path(), 96 + 4096, &[0; 7]).is_err());
        assert!(Here::find(&slot.path().join("none"), 96 + 4096, &[0; 6]).is_err());
        assert_eq!(Here::find(slot.path(), 96 + 4096, &[0; 6]).unwrap().missing(0), 96 + 4096);
    }
}
