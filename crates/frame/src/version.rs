//! Which of two systems is the newer one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `0.1.0-20261128.0312`: the programs' version, and when the system around them was made. As the image has it
/// in os-release(5)'s `IMAGE_VERSION=`, and a bundle in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    programs: [u32; 3],
    made: [u32; 2],
}

/// It is no such text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of a Stillwatch system, such as 0.1.0-20261128.0312")]
pub struct NoVersion(String);

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Version, NoVersion> {
        let parsed = || {
            let (programs, made) = text.split_once('-')?;
            Some(Version { programs: numbers(programs)?, made: numbers(made)? })
        };
        parsed().ok_or_else(|| NoVersion(text.to_owned()))
    }
}

/// As many, with dots between them.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let number = |word: &str| {
        let digits = (1..=9).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        if digits { word.parse().ok() } else { None }
    };
    text.split('.').map(number).collect::<Option<Vec<u32>>>()?.try_into().ok()
}

impl TryFrom<String> for Version {
    type Error = NoVersion;

    fn try_from(text: String) -> Result<Version, NoVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([major, minor, patch], [day, time]) = (self.programs, self.made);
        write!(f, "{major}.{minor}.{patch}-{day:08}.{time:04}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn newer_programs_and_a_newer_system_are_newer() {
        let order = [
            "0.1.0-20261128.0312",
            "0.1.0-20261128.1000",
            "0.1.0-20270101.0000",
            "0.2.0-20261128.0312",
            "0.10.0-20261128.0312",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for text in order {
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "0.1.0", "0.1-20261128.0312", "0.1.0-+1.2", "0.1.0-1.2.3", "a.b.c-1.2"] {
            assert_eq!(text.parse::<Version>(), Err(NoVersion(text.to_owned())));
        }
    }
}
