//! Keys of this relay alone, and what is made with them: hashes of passwords, signatures of links; and passwords.
//!
//! A password is compared with each picture, so its hash has to be fast: HMAC-SHA-256 with a key of this relay. That is
//! as good as a slow one here, because the passwords are not chosen by people: nobody tries 2^140 of them.
//! `docs/security.md` says more.

use frame::sign::{from_hex, to_hex};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a key.
const KEY: usize = 32;

/// Digits of a password: small letters and digits, without those that are taken for others (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 7 groups of 4 digits of 5 bits each: 140 bits.
const GROUPS: usize = 7;
const GROUP: usize = 4;

/// The system has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(crate) struct NoRandomness;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Key {
    bytes: [u8; KEY],
    mac: hmac::Key,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes == other.bytes
    }
}

impl Key {
    /// A new one.
    pub(super) fn random() -> Result<Key, NoRandomness> {
        let mut bytes = [0; KEY];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Key::of(bytes))
    }

    fn of(bytes: [u8; KEY]) -> Key {
        Key { bytes, mac: hmac::Key::new(HMAC_SHA256, &bytes) }
    }

    /// Reads what [`Key::to_text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Key> {
        from_hex(text).map(Key::of)
    }

    pub(super) fn to_text(&self) -> String {
        to_hex(&self.bytes) + "\n"
    }

    /// HMAC-SHA-256 of `message`, which is made for `purpose` only.
    pub(super) fn sign(&self, purpose: &str, message: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.mac);
        for part in ["stillwatch.v1 ", purpose, "\n", message] {
            context.update(part.as_bytes());
        }
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    /// A password's hash.
    pub(super) fn hash(&self, password: &str) -> [u8; 32] {
        self.sign("upload password", password)
    }
}

/// A password that nobody guesses, and that can be typed: `k7qm-2xwd-9f3a-…`.
pub(super) fn new_password() -> Result<String, NoRandomness> {
    let mut bytes = [0; GROUPS * GROUP];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    // 256 is a multiple of 32: each digit is as likely as any other.
    let digit = |byte: &u8| char::from(*DIGITS.get(usize::from(byte % 32)).unwrap_or(&b'0'));
    let groups = bytes.chunks(GROUP).map(|group| group.iter().map(digit).collect::<String>());
    Ok(groups.collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn passwords_can_be_typed_and_are_never_the_same() {
        let made: HashSet<String> = (0..1_000).map(|_| new_password().unwrap()).collect();
        assert_eq!(made.len(), 1_000);
        let mut digits = HashSet::new();
        for password in &made {
            assert_eq!((password.len(), password.split('-').count()), (34, 7));
            digits.extend(password.chars().filter(|c| *c != '-'));
        }
        // All 32 are used: 28 of them hold 140 bits.
        assert_eq!(digits.len(), 32, "{digits:?}");
        assert!(!digits.iter().any(|c| "ilou".contains(*c)));
    }

    #[test]
    fn keys_are_kept_as_text_and_shown_nowhere() {
        let key = Key::random().unwrap();
        assert_eq!(Key::parse(&key.to_text()).as_ref(), Some(&key));
        assert_ne!(Key::random().unwrap(), key);
        assert_eq!(format!("{key:?}"), "Key(…)");
        for bad in ["", "00", &"0".repeat(62), &"x".repeat(64)] {
            assert!(Key::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hash_is_of_its_key_its_purpose_and_its_password() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let hash = key.hash("password");
        assert_eq!(hash, key.hash("password"));
        for another in [key.hash("passwore"), other.hash("password"), key.sign("link", "password")]
        {
            assert_ne!(hash, another);
        }
    }
}
