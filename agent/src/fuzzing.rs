//! What the targets in `fuzz/` reach of the agent; compiled for them alone.

use std::path::Path;

use crate::cli::Settings;
use crate::config::{Config, KEYS};

/// What `check-config` would say to a file.
///
/// # Errors
/// The same.
pub fn config(file: &Path) -> Result<(), String> {
    let flags = Settings { config: Some(file.into()), ..Settings::default() };
    Config::load(&flags, true).map(drop).map_err(|error| error.to_string())
}

/// The names of all settings.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}
