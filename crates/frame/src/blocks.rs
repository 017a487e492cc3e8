//! What of a bundle a camera has already: most of a new system is the old one's, block by block.
//!
//! A bundle is a squashfs that is not compressed, so what is in it lies there as it lies in the slot, whose blocks have
//! 4 KiB; it begins behind the superblock. The list of a bundle's blocks holds the first bytes of each one's SHA-256:
//! enough to find them by. Whatever is put together with it is checked as a whole.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};

/// A block, in bytes: that of the slots' file systems (`scripts/image`).
pub const BLOCK: usize = 4096;

/// Where the first one begins, in bytes: squashfs 4.0's superblock is so long (fs/squashfs/squashfs_fs.h).
const BEGIN: u64 = 96;

/// So many bytes of each one's SHA-256 are in the list.
const HASH: usize = 6;

/// So many blocks in a row have to be there already: for fewer it is not worth to begin another request.
const RUN: usize = 4;

/// How long the list of a bundle of `bytes` is, in bytes.
pub fn list_bytes(bytes: u64) -> u64 {
    bytes.saturating_sub(BEGIN) / BLOCK as u64 * HASH as u64
}

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

    /// The list: 6 bytes for each whole block.
    pub fn finish(self) -> Vec<u8> {
        self.list
    }
}

/// Looks for the blocks of a bundle in what a camera has.
#[derive(Debug)]
pub struct Finder<S> {
    bytes: u64,
    sources: Vec<Option<S>>,
    wanted: HashMap<Hash, Vec<usize>>,
}

/// Where a camera has the blocks of a bundle; `S` says where, in its own terms.
#[derive(Debug)]
pub struct Blocks<S> {
    bytes: u64,
    /// Of each block; `None`: it has to be fetched.
    sources: Vec<Option<S>>,
}

/// How a bundle goes on that is there as far as a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<S> {
    /// With these blocks, which are there already.
    Copy(Vec<S>),
    /// With what has to be fetched, up to this byte, which is not included.
    Fetch(u64),
}

impl<S: Clone> Finder<S> {
    /// Of a bundle of `bytes`; `None` if the list is not of such a one.
    pub fn new(bytes: u64, list: &[u8]) -> Option<Finder<S>> {
        let (hashes, rest) = list.as_chunks::<HASH>();
        if bytes < BEGIN || !rest.is_empty() || list.len() as u64 != list_bytes(bytes) {
            return None;
        }
        let mut wanted: HashMap<Hash, Vec<usize>> = HashMap::new();
        for (index, hash) in hashes.iter().enumerate() {
            wanted.entry(*hash).or_default().push(index);
        }
        Some(Finder { bytes, sources: vec![None; hashes.len()], wanted })
    }

    /// A block that the camera has, and where.
    pub fn has(&mut self, block: &[u8], source: &S) {
        for index in self.wanted.remove(&hash(block)).unwrap_or_default() {
            if let Some(place) = self.sources.get_mut(index) {
                *place = Some(source.clone());
            }
        }
    }

    /// What was found. Fewer than four blocks in a row are fetched all the same.
    pub fn finish(self) -> Blocks<S> {
        let Finder { bytes, mut sources, .. } = self;
        for run in sources.chunk_by_mut(|one, next| one.is_some() == next.is_some()) {
            if run.len() < RUN {
                run.fill(None);
            }
        }
        Blocks { bytes, sources }
    }
}

impl<S: Clone> Blocks<S> {
    /// How it goes on behind byte `at`, with `most` blocks at once.
    pub fn next(&self, at: u64, most: usize) -> Next<S> {
        let there = self.index_at(at).and_then(|first| self.sources.get(first..));
        let there = there.unwrap_or_default().iter().map_while(Clone::clone);
        let there: Vec<S> = there.take(most.max(1)).collect();
        if !there.is_empty() {
            return Next::Copy(there);
        }
        let from = self.index_after(at);
        let next = self.sources.iter().skip(from).position(Option::is_some);
        Next::Fetch(next.map_or(self.bytes, |count| BEGIN + ((from + count) * BLOCK) as u64))
    }

    /// How many bytes have to be fetched behind byte `at`.
    pub fn missing(&self, mut at: u64) -> u64 {
        let mut missing = 0;
        while at < self.bytes {
            match self.next(at, usize::MAX) {
                Next::Copy(blocks) => at += (blocks.len() * BLOCK) as u64,
                Next::Fetch(until) => {
                    missing += until - at;
                    at = until;
                }
            }
        }
        missing
    }

    /// The block that begins at a byte.
    fn index_at(&self, at: u64) -> Option<usize> {
        let offset = at.checked_sub(BEGIN)?;
        let index = usize::try_from(offset / BLOCK as u64).ok()?;
        (offset % BLOCK as u64 == 0 && index < self.sources.len()).then_some(index)
    }

    /// The first one that begins at a byte or behind it.
    fn index_after(&self, at: u64) -> usize {
        let offset = at.saturating_sub(BEGIN).div_ceil(BLOCK as u64);
        usize::try_from(offset).unwrap_or(self.sources.len())
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

    /// With what a camera has; the source is the block's own number.
    fn blocks(new: &[u8], old: &[u8]) -> Blocks<u8> {
        let mut finder = Finder::new(new.len() as u64, &list(new, 1000)).unwrap();
        for block in old {
            finder.has(&[*block; BLOCK], block);
        }
        finder.finish()
    }

    fn begin(index: usize) -> u64 {
        BEGIN + (index * BLOCK) as u64
    }

    #[test]
    fn only_what_is_new_is_fetched() {
        let new = bundle(&[1, 2, 3, 4, 5, 1, 1, 20, 1, 2, 21, 1, 2, 3, 4], 100);
        let blocks = blocks(&new, &[5, 4, 3, 2, 1, 17]);
        assert_eq!(blocks.next(0, 100), Next::Fetch(BEGIN));
        assert_eq!(blocks.next(BEGIN, 3), Next::Copy(vec![1, 2, 3]));
        assert_eq!(blocks.next(BEGIN, 100), Next::Copy(vec![1, 2, 3, 4, 5, 1, 1]));
        // Two in a row are not worth a request.
        assert_eq!(blocks.next(begin(7), 100), Next::Fetch(begin(11)));
        assert_eq!(blocks.next(begin(7) + 1, 100), Next::Fetch(begin(11)));
        assert_eq!(blocks.next(begin(11), 100), Next::Copy(vec![1, 2, 3, 4]));
        assert_eq!(blocks.next(begin(12), 2), Next::Copy(vec![2, 3]));
        assert_eq!(blocks.next(begin(15), 100), Next::Fetch(new.len() as u64));
        assert_eq!(blocks.missing(0), BEGIN + 4 * BLOCK as u64 + 100);
        assert_eq!(blocks.missing(begin(11)), 100);
    }

    #[test]
    fn a_list_of_something_else_is_none() {
        let new = bundle(&[1, 2], 5);
        let list = list(&new, 7);
        let bytes = new.len() as u64;
        assert!(Finder::<()>::new(bytes, &list).is_some());
        assert!(Finder::<()>::new(bytes + BLOCK as u64, &list).is_none());
        assert!(Finder::<()>::new(bytes, &list[1..]).is_none());
        assert!(Finder::<()>::new(95, &[]).is_none());
        assert_eq!(Finder::<()>::new(96, &[]).unwrap().finish().next(0, 1), Next::Fetch(96));
    }

    proptest! {
        #[test]
        fn what_is_copied_and_what_is_fetched_is_the_bundle(
            new in prop::collection::vec(0_u8..9, 0..60), old in prop::collection::vec(0_u8..9, 0..9),
            tail in 0_usize..5000, most in 1_usize..9, piece in 1_usize..20_000,
        ) {
            let new = bundle(&new, tail);
            let blocks = blocks(&new, &old);
            let mut made: Vec<u8> = Vec::new();
            let mut fetched = 0;
            while made.len() < new.len() {
                match blocks.next(made.len() as u64, most) {
                    Next::Copy(numbers) => {
                        prop_assert!(!numbers.is_empty() && numbers.len() <= most);
                        made.extend(numbers.into_iter().flat_map(|number| [number; BLOCK]));
                    }
                    Next::Fetch(until) => {
                        // In pieces, and cut off anywhere.
                        let from = made.len();
                        let until = usize::try_from(until).unwrap();
                        prop_assert!(until > from);
                        let end = until.min(from + piece);
                        made.extend_from_slice(&new[from..end]);
                        fetched += end - from;
                    }
                }
            }
            prop_assert!(made == new);
            prop_assert_eq!(blocks.missing(0), fetched as u64);
        }
    }
}
