//! A second copy of what is kept, outside any file system: on a card whose data partition is beyond repair,
//! the passwords would be gone otherwise, and somebody would have to climb.
//!
//! Its place is a gap before the first partition (docs/image.md). It is as secret as the data partition:
//! who has the card can read both.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::forgive::MAX_BYTES;

/// `magic`, length and checksum, each in eight bytes, big-endian; then the text.
const MAGIC: &[u8; 8] = b"SWspare1";
const HEADER: usize = 24;

/// Where the copy is.
#[derive(Debug)]
pub(crate) struct Spare {
    path: PathBuf,
    /// Bytes from the start of the disk.
    offset: u64,
}

impl Spare {
    pub(crate) fn new(path: &Path, offset: u64) -> Spare {
        Spare { path: path.to_owned(), offset }
    }

    /// The copy, if there is a whole one.
    pub(crate) fn read(&self) -> Option<String> {
        let disk = File::open(&self.path).ok()?;
        let mut header = [0; HEADER];
        disk.read_exact_at(&mut header, self.offset).ok()?;
        let (magic, numbers) = header.split_first_chunk::<8>()?;
        let (length, sum) = numbers.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        if magic != MAGIC || length > MAX_BYTES {
            return None;
        }
        let mut text = vec![0; length];
        disk.read_exact_at(&mut text, self.offset + HEADER as u64).ok()?;
        (sum == checksum(&text).to_be_bytes()).then_some(())?;
        String::from_utf8(text).ok()
    }

    /// Replaces the copy. One that is torn by a power cut counts as none: then the data partition has it.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let text = text.as_bytes();
        let mut bytes = Vec::with_capacity(HEADER + text.len());
        bytes.write_all(MAGIC)?;
        bytes.write_all(&(text.len() as u64).to_be_bytes())?;
        bytes.write_all(&checksum(text).to_be_bytes())?;
        bytes.write_all(text)?;
        let disk = OpenOptions::new().write(true).open(&self.path)?;
        disk.write_all_at(&bytes, self.offset)?;
        disk.sync_all()
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_not() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(1 << 20).unwrap();
        let spare = Spare::new(disk.path(), 4096);
        assert_eq!(spare.read(), None);
        for text in ["name = \"a longer one\"", "name = \"ü\""] {
            spare.write(text).unwrap();
            assert_eq!(spare.read().as_deref(), Some(text));
        }
        for at in [0, 8, 16, HEADER as u64] {
            spare.write("text").unwrap();
            disk.as_file().write_all_at(b"\xff", 4096 + at).unwrap();
            assert_eq!(spare.read(), None, "byte {at}");
        }
        assert!(Spare::new(Path::new("/nowhere"), 0).write("x").is_err());
    }
}
