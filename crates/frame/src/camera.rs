//! The name of a camera: part of URLs, file names and log lines, so it is kept to characters that
//! need no escaping in any of them.

use std::fmt;
use std::str::FromStr;

/// `[a-z0-9][a-z0-9-]{0,31}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CameraId(Box<str>);

/// Longest camera id, in bytes.
const MAX_LEN: usize = 32;

/// The camera of the tutorial's URLs, which name none.
const DEFAULT: &str = "default";

/// A string that is no camera id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no camera id: use 1 to 32 of a-z, 0-9 and '-', not beginning with '-'")]
pub struct BadCameraId(String);

impl CameraId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CameraId {
    fn default() -> Self {
        CameraId(DEFAULT.into())
    }
}

impl FromStr for CameraId {
    type Err = BadCameraId;

    fn from_str(text: &str) -> Result<Self, BadCameraId> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty()
            || text.len() > MAX_LEN
            || text.starts_with('-')
            || !text.chars().all(allowed)
        {
            // The text may come from the network: the error must not carry a megabyte of it.
            return Err(BadCameraId(text.chars().take(MAX_LEN + 1).collect()));
        }
        Ok(CameraId(text.into()))
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_exactly_what_the_protocol_says() {
        for good in ["default", "0", "garden-2", "a".repeat(32).as_str()] {
            assert_eq!(good.parse::<CameraId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "ä", "a b", "..", "a".repeat(33).as_str()] {
            assert!(bad.parse::<CameraId>().is_err(), "{bad}");
        }
    }
}
