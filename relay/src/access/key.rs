//! Keys of this relay alone, and what is made with them: hashes of passwords, signatures of links.
//!
//! A password is compared with each picture, so its hash has to be fast: HMAC-SHA-256 with a key of this relay. That is
//! as good as a slow one here, because the passwords are not chosen by people: nobody tries 2^138 of them.
//! `docs/security.md` says more.

use frame::sign::{from_hex, to_hex};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::words::NoRandom;

/// Bytes of a key.
const KEY: usize = 32;

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
    pub(super) fn random() -> Result<Key, NoRandom> {
        let mut bytes = [0; KEY];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
