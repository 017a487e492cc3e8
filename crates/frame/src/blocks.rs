//! What of a bundle a camera has already: most of a new system is the old one's, block by block.
//!
//! A bundle is a squashfs that is not compressed, so what is in it lies there as it lies in the slot, whose blocks have
//! 4 KiB; it begins behind the superblock. The list of a bundle's blocks holds the first bytes of each one's SHA-256:
//! enough to find them by. Whatever is put together with it is checked as a whole.

use std::collections::HashMap;
use std::ops::Range;

use ring::digest::{SHA256, digest};

/// A block, in bytes: that of the slots' file systems (`scripts/image`).
pub const BLOCK: usize = 4096;

/// Where the first one begins, in bytes: squashfs 4.0's superblock is so long (fs/squashfs/squashfs_fs.h).
const BEGIN: u64 = 96;

/// Of each one's SHA-256.
const HASH: usize = 8;

/// The longest list that makes sense, in bytes.
pub const MAX_LIST: u64 = crate::update::MAX_BUNDLE / BLOCK as u64 * HASH as u64;

/// Fewer bytes than this between two missing pieces are fetched with them: a request costs as much.
const GAP: u64 = 2 * BLOCK as u64;

type Hash = [u8; HASH];

fn hash(block: &[u8]) -> Hash {
    digest(&SHA256, block).as_ref().first_chunk().copied().unwrap_or_default()
}

/// Makes the list while a bundle is read.
#[derive(Debug, Default)]
pub struct Lister {
    skipped: u64,
    block: Vec<u8>,
    list: Vec<u8>,
}

impl Lister {
    /// The next bytes of the bundle.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let head = usize::try_from(BEGIN - self.skipped).unwrap_or(0).min(bytes.len());
        self.skipped += head as u64;
        bytes = bytes.get(head..).unwrap_or_default();
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at((BLOCK - self.block.len()).min(bytes.len()));
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.block.len() == BLOCK {
                self.list.extend_from_slice(&hash(&self.block));
                self.block.clear();
            }
        }
    }

    /// The list: 8 bytes for each whole block.
    pub fn finish(self) -> Vec<u8> {
        self.list
    }
}

/// Which blocks of a bundle are there, and which are missing.
#[derive(Debug)]
pub struct Wanted {
    bytes: u64,
    list: Vec<Hash>,
    here: Vec<bool>,
    places: HashMap<Hash, Vec<usize>>,
}

impl Wanted {
    /// For a bundle of `bytes`; `None` if the list is not of such a one.
    pub fn new(bytes: u64, list: &[u8]) -> Option<Wanted> {
        let (hashes, rest) = list.as_chunks::<HASH>();
        let blocks = bytes.checked_sub(BEGIN)? / BLOCK as u64;
        if !rest.is_empty() || hashes.len() as u64 != blocks {
            return None;
        }
        let mut places: HashMap<Hash, Vec<usize>> = HashMap::new();
        for (index, hash) in hashes.iter().enumerate() {
            places.entry(*hash).or_default().push(index);
        }
        let here = vec![false; hashes.len()];
        Some(Wanted { bytes, list: hashes.to_vec(), here, places })
    }

    /// Where in the bundle a block begins.
    pub fn offset(index: usize) -> u64 {
        BEGIN + (index * BLOCK) as u64
    }

    /// Of how many blocks it consists.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What stands at a block's place already is that block; says so.
    pub fn is_here(&mut self, index: usize, block: &[u8]) -> bool {
        let right = self.list.get(index) == Some(&hash(block));
        if let Some(here) = self.here.get_mut(index) {
            *here |= right;
        }
        right
    }

    /// Which places of the bundle want this block; from now on they have it.
    pub fn take(&mut self, block: &[u8]) -> Vec<usize> {
        let Some(places) = self.places.get(&hash(block)) else { return Vec::new() };
        let missing = |index: &usize| self.here.get(*index) == Some(&false);
        let places: Vec<usize> = places.iter().copied().filter(missing).collect();
        for index in &places {
            if let Some(here) = self.here.get_mut(*index) {
                *here = true;
            }
        }
        places
    }

    /// What has to be fetched, in order, as ranges of bytes: what is no block always.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let block = BLOCK as u64;
        let blocks = self.here.iter().enumerate().filter(|(_, here)| !**here);
        let blocks = blocks.map(|(index, _)| Wanted::offset(index)..Wanted::offset(index) + block);
        let tail = Wanted::offset(self.here.len())..self.bytes;
        let mut missing: Vec<Range<u64>> = Vec::new();
        for range in std::iter::once(0..BEGIN).chain(blocks).chain(std::iter::once(tail)) {
            match missing.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if range.start <= last.end + GAP => last.end = range.end,
                _ => missing.push(range),
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bundle of these blocks.
    fn bundle(blocks: &[u8], tail: usize) -> Vec<u8> {
        let mut bundle = vec![7; usize::try_from(BEGIN).unwrap()];
        for block in blocks {
            bundle.extend(vec![*block; BLOCK]);
        }
        bundle.extend(vec![9; tail]);
        bundle
    }

    fn list(bundle: &[u8], piece: usize) -> Vec<u8> {
        let mut lister = Lister::default();
        for piece in bundle.chunks(piece) {
            lister.update(piece);
        }
        lister.finish()
    }

    #[test]
    fn only_what_is_new_is_missing() {
        let new = bundle(&[1, 2, 3, 4, 1, 5, 6, 7, 8], 100);
        let mut wanted = Wanted::new(new.len() as u64, &list(&new, 1000)).unwrap();
        assert_eq!(wanted.missing(), [0..new.len() as u64]);
        assert_eq!(wanted.take(&[1; BLOCK]), [0, 4]);
        assert_eq!(wanted.take(&[1; BLOCK]), [0_usize; 0]);
        assert_eq!(wanted.take(&[20; BLOCK]), [0_usize; 0]);
        for block in [5, 6, 7] {
            assert_eq!(wanted.take(&[block; BLOCK]).len(), 1);
        }
        let end = new.len() as u64;
        // The first block is not worth a request more.
        assert_eq!(wanted.missing(), [0..Wanted::offset(4), Wanted::offset(8)..end]);
    }

    #[test]
    fn a_list_of_something_else_is_none() {
        let new = bundle(&[1, 2], 5);
        let list = list(&new, 7);
        let bytes = new.len() as u64;
        assert!(Wanted::new(bytes, &list).is_some());
        assert!(Wanted::new(bytes + BLOCK as u64, &list).is_none());
        assert!(Wanted::new(bytes, &list[1..]).is_none());
        assert!(Wanted::new(95, &[]).is_none());
        assert_eq!(Wanted::new(96, &[]).unwrap().missing(), [0..96]);
    }

    proptest! {
        #[test]
        fn what_is_here_and_what_is_missing_is_the_bundle(
            new in prop::collection::vec(0_u8..6, 0..40), old in prop::collection::vec(0_u8..6, 0..20),
            tail in 0_usize..5000, piece in 1_usize..9000,
        ) {
            let new = bundle(&new, tail);
            let mut wanted = Wanted::new(new.len() as u64, &list(&new, piece)).unwrap();
            let mut made = vec![0xff; new.len()];
            for block in old {
                for index in wanted.take(&[block; BLOCK]) {
                    let at = usize::try_from(Wanted::offset(index)).unwrap();
                    made[at..at + BLOCK].fill(block);
                }
            }
            // A power cut: what is there is found again.
            let mut again = Wanted::new(new.len() as u64, &list(&new, piece)).unwrap();
            for index in 0..again.len() {
                let at = usize::try_from(Wanted::offset(index)).unwrap();
                again.is_here(index, &made[at..at + BLOCK]);
            }
            prop_assert_eq!(again.missing(), wanted.missing());
            for range in wanted.missing() {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                made[range.clone()].copy_from_slice(&new[range]);
            }
            prop_assert_eq!(made, new);
        }
    }
}
