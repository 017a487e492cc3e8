//! What `check-config` says.

use std::fmt;

use serde::Serialize;

use runtime::settings::ConfigError;

use super::Config;

/// The verdict, for people (`Display`) and for programs (JSON).
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    ok: bool,
    error: Option<String>,
    warnings: Vec<String>,
    listen: Option<String>,
    data_dir: Option<String>,
    password: Option<String>,
    cameras: Vec<String>,
}

impl Report {
    pub(crate) fn new(config: &Result<Config, ConfigError>) -> Report {
        let good = config.as_ref().ok();
        let warnings = good.map_or(&[][..], |config| &config.unknown_variables).iter();
        let ignored =
            |name| format!("the environment variable {name} names no setting and is ignored");
        Report {
            ok: good.is_some(),
            error: config.as_ref().err().map(ToString::to_string),
            warnings: warnings.map(ignored).chain(good.and_then(Config::not_exported)).collect(),
            listen: good.map(|config| config.listen.to_string()),
            data_dir: good.map(|config| config.data_dir.display().to_string()),
            password: good.map(|config| config.password_note.clone()),
            cameras: good
                .map(|config| config.cameras.keys().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        match (&self.error, &self.listen, &self.data_dir, &self.password) {
            (None, Some(listen), Some(data_dir), Some(password)) => writeln!(
                f,
                "configuration is good: listens on {listen}, keeps frames in {data_dir}; {password}; \
                 cameras: {}",
                self.cameras.join(", ")
            ),
            (error, ..) => writeln!(f, "error: {}", error.as_deref().unwrap_or_default()),
        }
    }
}
