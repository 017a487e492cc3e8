//! What relay and agent say to each other of updates of the camera's whole system (docs/protocol.md).

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Longest offer, in bytes of JSON.
pub const MAX_OFFER: usize = 1 << 10;

/// Longest name of what a system runs on, in characters.
pub const MAX_COMPATIBLE: usize = 64;

/// Greatest bundle, in bytes: a slot has 384 MiB (`image/layout.bash`).
pub const MAX_BUNDLE: u64 = 400 << 20;

/// A system that a relay has for a camera: the answer to `GET /cameras/ID/update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Which one.
    pub version: Version,
    /// What it runs on.
    pub compatible: String,
    /// How long the bundle is, in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Where it is, at this relay: `/updates/….raucb`.
    pub path: String,
    /// Whether the owner wants it now, and no time of day is waited for.
    #[serde(default)]
    pub now: bool,
}

impl Offer {
    /// Reads an offer; `None` if it is none, or can't be meant for a camera.
    pub fn parse(json: &str) -> Option<Offer> {
        if json.len() > MAX_OFFER {
            return None;
        }
        let offer: Offer = serde_json::from_str(json).ok()?;
        let right = (1..=MAX_BUNDLE).contains(&offer.bytes)
            && is_compatible(&offer.compatible)
            && is_sha256(&offer.sha256)
            && offer.path.starts_with('/')
            && !offer.path.starts_with("//");
        right.then_some(offer)
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // A structure of plain fields always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether a text may name what a system runs on: letters, digits, `-`, `_` and `.`.
pub fn is_compatible(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_COMPATIBLE).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a text is a SHA-256 as an offer has it: 64 hexadecimal digits, in small letters.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            version: "0.2.0-20261128.0312".parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
            bytes: 1234,
            sha256: "0f".repeat(32),
            path: "/updates/x.raucb".to_owned(),
            now: false,
        }
    }

    #[test]
    fn an_offer_comes_back_as_it_was() {
        assert_eq!(Offer::parse(&offer().to_json()), Some(offer()));
    }

    #[test]
    fn what_is_no_offer() {
        let wrong = [
            Offer { bytes: 0, ..offer() },
            Offer { bytes: MAX_BUNDLE + 1, ..offer() },
            Offer { compatible: "a b".to_owned(), ..offer() },
            Offer { compatible: String::new(), ..offer() },
            Offer { sha256: "0F".repeat(32), ..offer() },
            Offer { sha256: "0f".repeat(31), ..offer() },
            Offer { path: "//elsewhere/x".to_owned(), ..offer() },
            Offer { path: "https://elsewhere/x".to_owned(), ..offer() },
            Offer { path: format!("/{}", "x".repeat(MAX_OFFER)), ..offer() },
        ];
        for offer in wrong {
            assert_eq!(Offer::parse(&offer.to_json()), None, "{offer:?}");
        }
        for text in ["", "{}", "null", "<html>"] {
            assert_eq!(Offer::parse(text), None, "{text}");
        }
    }
}
