//! Settings from a TOML file, the environment and flags, later ones winning.
//!
//! Each binary has one table of [`Key`]s. It is the only list of what can be set: unknown keys are
//! refused by it, the names of variables follow from it, values are checked against it, and the
//! reference in docs/configuration.md is printed from it. What the settings mean belongs to the
//! binaries' own `config.rs`.

mod key;
mod value;
pub mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::secret::SecretError;

pub use key::{Key, Kind, with_reference};
pub use value::{Size, duration, duration_text, optional_duration, parse_duration};

/// Before each variable's name: `camera.fps` is `STILLWATCH_CAMERA_FPS`.
pub const VARIABLE_PREFIX: &str = "STILLWATCH_";

/// sysexits.h `EX_CONFIG`: what a program exits with when its configuration is wrong.
pub const EXIT_CONFIG: u8 = 78;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A key of a file.
    File(PathBuf),
    /// A variable, by its name.
    Variable(String),
    /// A flag, by its name with the dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => path.display().fmt(f),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => name.fmt(f),
        }
    }
}

/// Why the settings can't be used. Each message names the place and the fix.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there or can't be read.
    #[error("{path}: can't read this configuration file: {source}", path = .0.display(), source = .1)]
    Unreadable(PathBuf, io::Error),
    /// The file is no TOML.
    #[error("{path}: not valid TOML: {message}", path = .0.display(), message = .1)]
    Syntax(PathBuf, String),
    /// A key nobody knows.
    #[error("{origin}: unknown key \"{key}\"{}", hint(.nearest))]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that is of the wrong type or out of range.
    #[error("{origin}: {key}: {problem}")]
    Invalid {
        /// Where it was set.
        origin: Origin,
        /// The key.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Values that don't go together, or a value that is missing.
    #[error("{0}")]
    Conflict(String),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|known| format!("; did you mean \"{known}\"?")).unwrap_or_default()
}

/// What to read the settings from.
#[derive(Debug)]
pub struct Layers<'a> {
    /// All keys there are.
    pub keys: &'a [Key],
    /// The file, if there is one.
    pub file: Option<&'a Path>,
    /// The environment: (name, value).
    pub variables: Vec<(String, String)>,
    /// Flags that were given: (key, flag, value).
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Settings and where each was set.
#[derive(Debug)]
pub struct Settings<T> {
    /// The settings, with defaults for what nobody set.
    pub value: T,
    /// Variables with our prefix that name no key: probably misspelt.
    pub unknown_variables: Vec<String>,
    origins: BTreeMap<String, Origin>,
}

impl<T> Settings<T> {
    /// Where `key` was set; `None` if it has its default.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }
}

/// The file to read: the one that was named, else the default one if it exists.
pub fn file_to_read<'a>(named: Option<&'a Path>, default: &'a Path) -> Option<&'a Path> {
    named.or_else(|| default.exists().then_some(default))
}

/// Why a program has no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// What [`load`] found.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A password file that can't be used.
    #[error(transparent)]
    Password(#[from] SecretError),
    /// What the program's own checks found: place, key and fix.
    #[error("{0}")]
    Value(String),
}

/// Reads all layers.
///
/// # Errors
/// The first thing that is wrong with any of them.
pub fn load<T: DeserializeOwned>(layers: Layers<'_>) -> Result<Settings<T>, SettingsError> {
    let mut merged = Merged { keys: layers.keys, ..Merged::default() };
    if let Some(path) = layers.file {
        merged.file(path)?;
    }
    let unknown_variables = merged.variables(&layers.variables)?;
    for (key, flag, text) in layers.flags {
        merged.text(key, &text, Origin::Flag(flag.to_owned()))?;
    }
    let Merged { table, origins, .. } = merged;
    // The key table has checked everything; what is left is a disagreement between it and `T`.
    let value = T::deserialize(Value::Table(table))
        .map_err(|error| SettingsError::Conflict(error.message().to_owned()))?;
    Ok(Settings { value, unknown_variables, origins })
}

#[derive(Default)]
struct Merged<'a> {
    keys: &'a [Key],
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Merged<'_> {
    fn file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = fs::read_to_string(path)
            .map_err(|error| SettingsError::Unreadable(path.into(), error))?;
        let table = text
            .parse::<Table>()
            .map_err(|error| SettingsError::Syntax(path.into(), error.to_string()))?;
        self.tables(&Origin::File(path.into()), "", table)
    }

    fn tables(&mut self, origin: &Origin, above: &str, table: Table) -> Result<(), SettingsError> {
        for (name, value) in table {
            let key = if above.is_empty() { name } else { format!("{above}.{name}") };
            match (value, Key::find(self.keys, &key)) {
                (value, Some(known)) => {
                    let value = known.kind.check(value).map_err(|problem| {
                        SettingsError::Invalid { origin: origin.clone(), key: key.clone(), problem }
                    })?;
                    self.set(key, value, origin.clone());
                }
                (Value::Table(below), None) if Key::is_section(self.keys, &key) => {
                    // `[cameras.garden]` alone says something, too: that there is a garden.
                    self.section(&key);
                    self.tables(origin, &key, below)?;
                }
                (_, None) => {
                    let nearest = Key::nearest(self.keys, &key);
                    return Err(SettingsError::Unknown { origin: origin.clone(), key, nearest });
                }
            }
        }
        Ok(())
    }

    fn variables(&mut self, variables: &[(String, String)]) -> Result<Vec<String>, SettingsError> {
        let mut unknown = Vec::new();
        for (name, text) in variables {
            if !name.starts_with(VARIABLE_PREFIX) {
                continue;
            }
            match self.keys.iter().find(|key| key.variable().as_ref() == Some(name)) {
                Some(key) => self.text(key.name, text, Origin::Variable(name.clone()))?,
                None => unknown.push(name.clone()),
            }
        }
        Ok(unknown)
    }

    fn text(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), SettingsError> {
        let invalid = |origin: &Origin, problem| SettingsError::Invalid {
            origin: origin.clone(),
            key: name.to_owned(),
            problem,
        };
        let Some(key) = Key::find(self.keys, name) else {
            return Err(invalid(&origin, "there is no such key".to_owned()));
        };
        let value = key.kind.parse(text).map_err(|problem| invalid(&origin, problem))?;
        self.set(name.to_owned(), value, origin);
        Ok(())
    }

    fn set(&mut self, key: String, value: Value, origin: Origin) {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if let Some(table) = self.section(section) {
            table.insert(name.to_owned(), value);
        }
        self.origins.insert(key, origin);
    }

    /// The table of a section, made if need be; `None` if a value stands in its place, which can't
    /// be: `Key::find` and `Key::is_section` exclude each other.
    fn section(&mut self, name: &str) -> Option<&mut Table> {
        let mut table = &mut self.table;
        for part in name.split('.').filter(|part| !part.is_empty()) {
            let below = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = below.as_table_mut()?;
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests;
