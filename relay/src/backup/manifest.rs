//! What is in an archive, as its first file says. Pure.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Its name in the archive.
pub(super) const NAME: &str = "manifest.json";

/// The archive's last file: the manifest's own SHA-256.
pub(super) const SEAL: &str = "manifest.json.sha256";

/// Of this manifest. A later one may mean things that we don't know.
const FORMAT: u32 = 1;

/// The folder of the configuration, and the relay's data folder, in the archive.
pub(super) const CONFIG: &str = "config";
pub(super) const DATA: &str = "data";

/// Most files of an archive.
pub(super) const MAX_FILES: usize = 10_000;

/// How deep folders are looked into.
pub(super) const MAX_DEPTH: usize = 5;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// What this is a backup of: of this program.
    stillwatch: String,
    format: u32,
    /// What made it.
    pub version: String,
    pub made_at: String,
    /// Of the database.
    pub schema: i64,
    pub files: Vec<Packed>,
    /// What was not taken along, and why.
    pub left_out: Vec<LeftOut>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packed {
    /// `config/…` or `data/…`.
    pub path: String,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
    pub mode: u32,
    /// It belonged to the relay's user.
    #[serde(default)]
    pub of_user: bool,
    /// It belonged to the relay's group, which may read it.
    #[serde(default)]
    pub of_group: bool,
}

/// A file that stayed behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct LeftOut {
    /// On the machine that it comes from.
    pub path: String,
    pub why: String,
}

/// Why an archive is not unpacked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadManifest {
    #[error("this is no backup of a relay: it does not begin with a {NAME} of one")]
    NotOurs,
    #[error(
        "a newer relay made it ({0}), and this one, {ours}, does not know what is in it; update this relay first",
        ours = runtime::version::full()
    )]
    Newer(String),
    #[error(
        "its database has version {0}, and this relay, {ours}, knows version {1}; update this relay first",
        ours = runtime::version::full()
    )]
    NewerSchema(i64, i64),
    #[error("it names a file that it may not hold: {0:?}")]
    Path(String),
    #[error("it names more than {MAX_FILES} files")]
    TooMany,
}

impl Manifest {
    pub(super) fn new(
        schema: i64,
        made_at: String,
        files: Vec<Packed>,
        left_out: Vec<LeftOut>,
    ) -> Manifest {
        let version = runtime::version::full().to_owned();
        let stillwatch = "relay".to_owned();
        Manifest { stillwatch, format: FORMAT, version, made_at, schema, files, left_out }
    }

    /// Reads and judges one; `known` is the newest version of the database that this relay knows.
    pub(super) fn parse(text: &[u8], known: i64) -> Result<Manifest, BadManifest> {
        #[derive(Deserialize)]
        struct Head {
            stillwatch: String,
            format: u32,
            version: String,
        }
        let head: Head = serde_json::from_slice(text).map_err(|_| BadManifest::NotOurs)?;
        if head.stillwatch != "relay" {
            return Err(BadManifest::NotOurs);
        }
        if head.format > FORMAT {
            return Err(BadManifest::Newer(head.version));
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(|_| BadManifest::NotOurs)?;
        if manifest.schema > known {
            return Err(BadManifest::NewerSchema(manifest.schema, known));
        }
        if manifest.files.len() > MAX_FILES {
            return Err(BadManifest::TooMany);
        }
        let mut seen = BTreeSet::new();
        match manifest.files.iter().find(|file| !is_inside(&file.path) || !seen.insert(&file.path))
        {
            Some(file) => Err(BadManifest::Path(file.path.clone())),
            None => Ok(manifest),
        }
    }
}

/// Whether a path leads into one of the two folders, whatever it says.
fn is_inside(path: &str) -> bool {
    let parts: Option<Vec<&str>> = Path::new(path)
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect();
    let Some(parts) = parts else { return false };
    // As it is written, so that one file has one name.
    let plain = parts.join("/") == path && !path.contains('\0');
    let [top, rest @ ..] = parts.as_slice() else { return false };
    // The configuration's folder has no folders of ours.
    let depth = if *top == CONFIG {
        rest.len() == 1
    } else {
        *top == DATA && (1..=MAX_DEPTH).contains(&rest.len())
    };
    plain && depth
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn packed(path: &str) -> Packed {
        let sha256 = "0".repeat(64);
        let (mode, of_user, of_group) = (0o600, false, false);
        Packed { path: path.to_owned(), bytes: 1, sha256, mode, of_user, of_group }
    }

    fn with(paths: &[&str]) -> Vec<u8> {
        let files = paths.iter().map(|path| packed(path)).collect();
        serde_json::to_vec(&Manifest::new(2, "2026-11-28".to_owned(), files, Vec::new())).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let text =
            with(&["config/relay.toml", "data/stillwatch.db", "data/acme/cam.example.org/key"]);
        let manifest = Manifest::parse(&text, 2).unwrap();
        assert_eq!(manifest.files.len(), 3);
        assert_eq!(serde_json::to_vec(&manifest).unwrap(), text);
    }

    #[test]
    fn one_that_says_nothing_of_users_is_read() {
        let mut value: serde_json::Value = serde_json::from_slice(&with(&["data/a"])).unwrap();
        let file = value["files"][0].as_object_mut().unwrap();
        assert!(file.remove("of_user").is_some() && file.remove("of_group").is_some());
        let manifest = Manifest::parse(value.to_string().as_bytes(), 2).unwrap();
        assert_eq!(manifest.files, [packed("data/a")]);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "/etc/passwd",
            "../relay.toml",
            "config/../../etc/passwd",
            "config/sub/relay.toml",
            "data/a/../../b",
            "data//a",
            "data/./a",
            "data/",
            "data",
            "other/a",
            "",
            "data/1/2/3/4/5/6",
            "data/a\0b",
        ] {
            assert_eq!(
                Manifest::parse(&with(&[path]), 2),
                Err(BadManifest::Path(path.to_owned())),
                "{path}"
            );
        }
        let twice = with(&["data/a", "data/a"]);
        assert!(matches!(Manifest::parse(&twice, 2), Err(BadManifest::Path(_))));
    }

    #[test]
    fn what_a_newer_relay_made_is_refused_in_words() {
        let mut value: serde_json::Value = serde_json::from_slice(&with(&[])).unwrap();
        value["schema"] = json!(3);
        let error = Manifest::parse(value.to_string().as_bytes(), 2).unwrap_err();
        assert!(
            error.to_string().contains("version 3") && error.to_string().contains("update"),
            "{error}"
        );
        let later = json!({ "stillwatch": "relay", "format": 2, "version": "9.0.0", "other": [] });
        let error = Manifest::parse(later.to_string().as_bytes(), 2).unwrap_err();
        assert_eq!(error, BadManifest::Newer("9.0.0".to_owned()));
        for other in ["", "{}", "[1]", r#"{"stillwatch":"agent","format":1,"version":"1"}"#] {
            assert_eq!(Manifest::parse(other.as_bytes(), 2), Err(BadManifest::NotOurs), "{other}");
        }
    }
}
