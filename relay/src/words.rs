//! Passwords that nobody could guess, and that somebody can read out or type on a phone.

use ring::rand::{SecureRandom, SystemRandom};
use runtime::secret::Secret;

/// Small letters and digits without those that look alike (0 o, 1 l i).
const LETTERS: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// 28 letters are 138 bits.
const GROUPS: usize = 7;
const GROUP: usize = 4;

/// The machine gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine gives no random numbers")]
pub(crate) struct NoRandom;

/// A new password, such as `k7mq-x3tz-…`.
pub(crate) fn password() -> Result<Secret, NoRandom> {
    let source = SystemRandom::new();
    let mut text = String::with_capacity(GROUPS * (GROUP + 1));
    for n in 0..GROUPS * GROUP {
        if n > 0 && n % GROUP == 0 {
            text.push('-');
        }
        text.push(letter(&source)?);
    }
    Secret::new(&text).ok_or(NoRandom)
}

/// Each equally likely: bytes of the last, incomplete round through the alphabet are thrown away.
fn letter(source: &dyn SecureRandom) -> Result<char, NoRandom> {
    const ROUNDS: usize = 256 / LETTERS.len() * LETTERS.len();
    loop {
        let mut byte = [0];
        source.fill(&mut byte).map_err(|_| NoRandom)?;
        let [byte] = byte.map(usize::from);
        if byte < ROUNDS
            && let Some(letter) = LETTERS.get(byte % LETTERS.len())
        {
            return Ok(char::from(*letter));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn it_is_strong_and_easy_to_type() {
        let made: BTreeSet<String> =
            (0..1000).map(|_| password().unwrap().expose().to_owned()).collect();
        assert_eq!(made.len(), 1000);
        let mut counts = BTreeMap::new();
        for text in &made {
            let groups: Vec<&str> = text.split('-').collect();
            assert!(groups.len() == 7 && groups.iter().all(|group| group.len() == 4), "{text}");
            for letter in groups.concat().bytes() {
                *counts.entry(letter).or_insert(0_u32) += 1;
            }
        }
        assert_eq!(counts.keys().copied().collect::<Vec<u8>>(), LETTERS.to_vec());
        assert!(LETTERS.iter().all(|letter| !b"0o1li".contains(letter)));
        // 903 of each are expected, with a deviation of 30.
        assert!(counts.values().all(|count| (700..1100).contains(count)), "{counts:?}");
        assert!((LETTERS.len() as f64).log2() * 28.0 > 128.0);
    }
}
