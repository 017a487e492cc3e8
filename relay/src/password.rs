//! A password to compare with, in a time that tells nothing about it.

use subtle::{Choice, ConstantTimeEq};

/// Longest password, in bytes; `runtime::secret` reads none that is longer.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// A password padded to one length: comparing takes equally long whatever was given, and how long
/// the right one is does not show either.
pub(crate) struct Padded {
    bytes: [u8; MAX_PASSWORD],
    length: u64,
}

impl Padded {
    /// `None` if it is too long.
    pub(crate) fn new(text: &str) -> Option<Padded> {
        let mut bytes = [0; MAX_PASSWORD];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Padded { bytes, length: text.len() as u64 })
    }

    /// Whether `given` is this password.
    pub(crate) fn is(&self, given: &str) -> bool {
        let Some(given) = Padded::new(given) else { return false };
        let same: Choice = self.bytes.ct_eq(&given.bytes) & self.length.ct_eq(&given.length);
        same.into()
    }
}

impl std::fmt::Debug for Padded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Padded(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_limit() {
        let longest = "a".repeat(MAX_PASSWORD);
        let padded = Padded::new(&longest).unwrap();
        assert!(padded.is(&longest) && !padded.is(&format!("{longest}a")) && !padded.is(""));
        // Padding is no part of a password.
        assert!(!Padded::new("a").unwrap().is("a\0"));
    }
}
