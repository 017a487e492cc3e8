//! dm-verity's tree of hashes, as the kernel and RAUC have it: SHA-256 over the salt and each block of 4096 bytes,
//! the hashes again in blocks, until one block is left.

use std::io::{self, Read};

use ring::digest::{Context, Digest, SHA256};

/// Of data and of hashes.
pub(super) const BLOCK: usize = 4096;

/// Of the salt and of a hash, in bytes.
pub(super) const HASH: usize = 32;

/// What was computed of some data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// What the manifest names.
    pub root: [u8; HASH],
    /// As it stands behind the data: the level of one block first.
    pub blocks: Vec<u8>,
}

/// Reads so many blocks of data.
///
/// # Errors
/// They can't be read, or there are fewer.
pub(super) fn tree(mut data: impl Read, blocks: u64, salt: &[u8; HASH]) -> io::Result<Tree> {
    let mut block = [0; BLOCK];
    let (mut hashes, mut last) = (Vec::new(), [0; HASH]);
    for _ in 0..blocks {
        data.read_exact(&mut block)?;
        last = bytes(hash(salt, &block));
        hashes.extend_from_slice(&last);
    }
    let mut levels = Vec::new();
    // One block needs no tree: its hash is the root.
    while hashes.len() > HASH {
        hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
        let above: Vec<u8> =
            hashes.chunks(BLOCK).flat_map(|block| bytes(hash(salt, block))).collect();
        levels.push(std::mem::replace(&mut hashes, above));
        last = hashes.first_chunk().copied().unwrap_or_default();
    }
    Ok(Tree { root: last, blocks: levels.into_iter().rev().flatten().collect() })
}

fn hash(salt: &[u8; HASH], block: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(block);
    context.finish()
}

/// Of SHA-256 it is so long.
fn bytes(digest: Digest) -> [u8; HASH] {
    digest.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(data: &[u8]) -> Tree {
        tree(data, (data.len() / BLOCK) as u64, &[7; HASH]).unwrap()
    }

    #[test]
    fn levels_and_their_sizes() {
        for (blocks, hashes) in
            [(1, 0), (2, 1), (128, 1), (129, 3), (128 * 128, 129), (128 * 128 + 1, 132)]
        {
            let found = tree_of(&vec![1; blocks * BLOCK]).blocks.len();
            assert_eq!(found, hashes * BLOCK, "{blocks}");
        }
    }

    #[test]
    fn each_byte_counts() {
        let data = vec![0; 200 * BLOCK];
        let tree = tree_of(&data);
        for place in [0, 5_000, data.len() - 1] {
            let mut other = data.clone();
            other[place] ^= 1;
            assert_ne!(tree_of(&other).root, tree.root, "{place}");
        }
        assert!(super::tree(&data[1..], 200, &[7; HASH]).is_err());
    }
}
