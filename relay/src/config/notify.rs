//! Who is told of trouble: the section `[notify]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::child::Left;
use runtime::settings::{self, ConfigError};
use serde::Deserialize;

use super::read_password;
use crate::notification::{Address, Channel, NotifyConfig, Rules, Site};
use crate::view::page::PagesConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNotify {
    pub webhook: Option<String>,
    pub webhook_secret_file: Option<PathBuf>,
    pub ntfy: Option<String>,
    pub ntfy_token_file: Option<PathBuf>,
    pub command: Option<PathBuf>,
    #[serde(deserialize_with = "settings::duration")]
    pub after: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub recovered_after: Duration,
    pub max_per_hour: usize,
}

impl Default for RawNotify {
    fn default() -> Self {
        RawNotify {
            webhook: None,
            webhook_secret_file: None,
            ntfy: None,
            ntfy_token_file: None,
            command: None,
            after: Duration::from_secs(60),
            recovered_after: Duration::from_secs(30),
            max_per_hour: 6,
        }
    }
}

impl RawNotify {
    /// With its secrets.
    pub(super) fn checked(
        &self,
        pages: &PagesConfig,
        data_dir: &Path,
        place: &impl Fn(&str) -> String,
    ) -> Result<NotifyConfig, ConfigError> {
        // It is not shown: it may hold a token.
        let address = |key: &str, text: &str| {
            Address::parse(text).ok_or_else(|| {
                let place = place(key);
                ConfigError::Value(format!(
                    "{place}{key}: this is no address; write such as https://ntfy.sh/a-name-that-nobody-guesses"
                ))
            })
        };
        let secret = |file: &Option<PathBuf>| file.as_deref().map(read_password).transpose();
        let mut channels = Vec::new();
        if let Some(url) = &self.ntfy {
            let to = address("notify.ntfy", url)?;
            channels.push(Channel::Ntfy { to, token: secret(&self.ntfy_token_file)? });
        }
        if let Some(url) = &self.webhook {
            let to = address("notify.webhook", url)?;
            channels.push(Channel::Webhook { to, secret: secret(&self.webhook_secret_file)? });
        }
        if let Some(program) = &self.command {
            if !program.is_absolute() {
                return Err(ConfigError::Value(format!(
                    "{}notify.command: \"{}\" is no absolute path; write such as /usr/local/bin/tell-me",
                    place("notify.command"),
                    program.display()
                )));
            }
            channels.push(Channel::Command { program: program.clone(), left: Left::default() });
        }
        let RawNotify { after, recovered_after, max_per_hour, .. } = *self;
        Ok(NotifyConfig {
            channels,
            rules: Rules { after, recovered_after, max_per_hour },
            site: Site { title: pages.title.clone(), url: pages.url.clone() },
            data_dir: data_dir.into(),
        })
    }
}
