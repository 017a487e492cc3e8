//! `autoboot.txt` on the card's first partition, which is FAT, mounted read-only, and written to once for each update.
//!
//! FAT has no journal. A file that is replaced by renaming is seven writes, of the text, the folder and both tables, in
//! an order that nobody promises (Linux 6.12's vfat, as QEMU's log of its writes has them). A power cut among them leaves no
//! file, or one that begins where nothing was written. So the one block that holds the text is written over where it
//! lies, by a text of the same length: that is two writes, this block and the folder's, where the entry's time changes. A
//! card writes one block whole or not at all, and neither order of the two does any harm. If one were torn all the same,
//! the firmware takes the first partition that it can start, which is slot A, and at this moment both slots hold a whole
//! system.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use runtime::card::Writable;
use runtime::files::{Survives, replace};

use crate::place::Place;
use crate::slot::Slot;
use crate::source::CARD;
use crate::tryboot;

/// The file.
pub(crate) const NAME: &str = "autoboot.txt";

/// The firmware reads no more of it, and takes a longer one for none.
const MAX: u64 = 512;

/// Which slot is started always; `None`: the file is not there, or damaged.
pub(crate) fn read(place: &Place) -> Option<Slot> {
    let mut text = String::new();
    let file = File::open(place.below(CARD).join(NAME)).ok()?;
    let length = file.take(MAX + 1).read_to_string(&mut text).ok()?;
    tryboot::kept(&text).filter(|_| length as u64 <= MAX)
}

/// Has `slot` started always, from now on.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn write(place: &Place, slot: Slot) -> io::Result<()> {
    let card = place.below(CARD);
    let _writable = Writable::new(&card);
    overwrite(&card.join(NAME), tryboot::text(slot).as_bytes())
}

fn overwrite(path: &Path, text: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path);
    match file.and_then(|file| Ok((file.metadata()?.len(), file))) {
        Ok((length, file)) if length == text.len() as u64 => {
            file.write_all_at(text, 0)?;
            file.sync_all()
        }
        // There is nothing that could be lost.
        _ => replace(path, text, Survives::PowerCut),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::place::tests::place;

    #[test]
    fn it_is_written_over_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let card = place.below(CARD);
        fs::create_dir_all(&card).unwrap();
        assert_eq!(read(&place), None);
        write(&place, Slot::A).unwrap();
        assert_eq!(read(&place), Some(Slot::A));
        let inode = || fs::metadata(card.join(NAME)).unwrap().ino();
        let before = inode();
        write(&place, Slot::B).unwrap();
        assert_eq!((read(&place), inode()), (Some(Slot::B), before));
        // Of another length: somebody's own, or what is left of it.
        for other in ["boot_partition=3\n", &"#\n".repeat(300)] {
            fs::write(card.join(NAME), other).unwrap();
            write(&place, Slot::B).unwrap();
            assert_eq!(fs::read_to_string(card.join(NAME)).unwrap(), tryboot::text(Slot::B));
        }
        assert_eq!(fs::read_dir(card).unwrap().count(), 1);
    }
}
