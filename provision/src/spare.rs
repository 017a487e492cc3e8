//! A second copy of what is kept, outside any file system: on a card whose data partition is beyond repair,
//! the passwords would be gone otherwise, and somebody would have to climb.
//!
//! Its place is a gap before the first partition (docs/image.md), with room for two: a new one replaces the
//! older of them, so that a power cut in the middle of writing leaves the one before. It is as secret as the
//! data partition: who has the card can read both.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::forgive::MAX_BYTES;

/// `magic`, number, length and checksum, each in eight bytes, big-endian; then the text.
const MAGIC: &[u8; 8] = b"SWspare2";
const HEADER: usize = 32;
/// From one place to the other. Far enough for no card to erase both at once.
const APART: u64 = 2 << 20;

/// Where the copies are.
#[derive(Debug)]
pub(crate) struct Spare {
    path: PathBuf,
    /// Bytes from the start of the disk.
    offset: u64,
}

/// A whole copy.
struct Copy {
    /// Counts what was written. The higher one is the newer one.
    number: u64,
    text: String,
}

impl Spare {
    pub(crate) fn new(path: &Path, offset: u64) -> Spare {
        Spare { path: path.to_owned(), offset }
    }

    fn places(&self) -> [u64; 2] {
        [self.offset, self.offset + APART]
    }

    /// The newest whole copy, if there is one.
    pub(crate) fn read(&self) -> Option<String> {
        let disk = File::open(&self.path).ok()?;
        let copies = self.places().map(|place| copy(&disk, place));
        copies.into_iter().flatten().max_by_key(|copy| copy.number).map(|copy| copy.text)
    }

    /// Writes a new copy over the older one, or over one that is not whole.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let disk = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let number = |place| copy(&disk, place).map(|copy| copy.number);
        let [first, second] = self.places();
        let (place, number) = match (number(first), number(second)) {
            (Some(a), Some(b)) if a <= b => (first, b.saturating_add(1)),
            (Some(a), _) => (second, a.saturating_add(1)),
            (None, b) => (first, b.map_or(1, |b| b.saturating_add(1))),
        };
        let text = text.as_bytes();
        let mut bytes = Vec::with_capacity(HEADER + text.len());
        bytes.write_all(MAGIC)?;
        bytes.write_all(&number.to_be_bytes())?;
        bytes.write_all(&(text.len() as u64).to_be_bytes())?;
        bytes.write_all(&checksum(number, text).to_be_bytes())?;
        bytes.write_all(text)?;
        disk.write_all_at(&bytes, place)?;
        disk.sync_all()
    }
}

fn copy(disk: &File, place: u64) -> Option<Copy> {
    let mut header = [0; HEADER];
    disk.read_exact_at(&mut header, place).ok()?;
    let (magic, numbers) = header.split_first_chunk::<8>()?;
    let (number, numbers) = numbers.split_first_chunk::<8>()?;
    let (length, sum) = numbers.split_first_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    if magic != MAGIC || length > MAX_BYTES {
        return None;
    }
    let mut text = vec![0; length];
    disk.read_exact_at(&mut text, place + HEADER as u64).ok()?;
    (sum == checksum(number, &text).to_be_bytes()).then_some(())?;
    Some(Copy { number, text: String::from_utf8(text).ok()? })
}

/// Of the number, too: a damaged one would be the newest for ever.
fn checksum(number: u64, text: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(text, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> tempfile::NamedTempFile {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(8 << 20).unwrap();
        disk
    }

    #[test]
    fn what_was_written_last_is_read() {
        let disk = disk();
        let spare = Spare::new(disk.path(), 4096);
        assert_eq!(spare.read(), None);
        for text in ["name = \"a longer one\"", "name = \"ü\"", "", "name = \"d\"", "name = \"e\""]
        {
            spare.write(text).unwrap();
            assert_eq!(spare.read().as_deref(), Some(text));
        }
        assert!(Spare::new(Path::new("/nowhere"), 0).write("x").is_err());
    }

    /// Wherever a power cut tears the new copy, and whatever the card makes of the rest, the old one is read; and
    /// the next write does not touch that.
    #[test]
    fn a_torn_copy_leaves_the_one_before() {
        for writes in 1..5 {
            let disk = disk();
            let spare = Spare::new(disk.path(), 4096);
            for number in 0..writes {
                spare.write(&format!("text {number}")).unwrap();
            }
            let before = std::fs::read(disk.path()).unwrap();
            spare.write("the new text").unwrap();
            let after = std::fs::read(disk.path()).unwrap();
            let apart = usize::try_from(APART).unwrap();
            let changed = |at: &usize| before[*at] != after[*at];
            let first = (0..after.len()).find(changed).unwrap() / apart * apart + 4096;
            let length = HEADER + "the new text".len();
            for torn in 0..length {
                let mut half = before.clone();
                half[first..first + torn].copy_from_slice(&after[first..first + torn]);
                half[first + torn..first + length].fill(0xff);
                std::fs::write(disk.path(), half).unwrap();
                let old = format!("text {}", writes - 1);
                assert_eq!(spare.read(), Some(old.clone()), "{writes} writes, torn at {torn}");
                spare.write("another").unwrap();
                assert_eq!(spare.read().as_deref(), Some("another"));
                disk.as_file().write_all_at(&[0xff], first as u64).unwrap();
                assert_eq!(spare.read(), Some(old), "{writes} writes, torn at {torn}, and again");
            }
        }
    }

    #[test]
    fn no_damage_is_taken_for_a_copy() {
        let disk = disk();
        let spare = Spare::new(disk.path(), 4096);
        for at in [0, 8, 16, 24, HEADER as u64] {
            spare.write("text").unwrap();
            spare.write("text").unwrap();
            for place in spare.places() {
                disk.as_file().write_all_at(b"\xff", place + at).unwrap();
            }
            assert_eq!(spare.read(), None, "byte {at}");
        }
    }
}
