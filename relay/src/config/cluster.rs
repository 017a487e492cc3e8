//! Whom a relay shares its frames with: the section `[cluster]`.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::secret::Secret;
use runtime::settings::ConfigError;
use serde::Deserialize;

use super::read_password;
use crate::cluster::{ClusterConfig, Login, Role, is_name};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCluster {
    pub url: String,
    pub role: String,
    pub name: Option<String>,
    pub stream: String,
    pub storage: String,
    pub replicas: usize,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub credentials_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

impl Default for RawCluster {
    fn default() -> Self {
        RawCluster {
            url: String::new(),
            role: Role::Both.word().to_owned(),
            name: None,
            stream: "stillwatch".to_owned(),
            storage: "memory".to_owned(),
            replicas: 1,
            user: None,
            password_file: None,
            credentials_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        }
    }
}

/// What of the rest of the configuration the others are told, or need.
pub(super) struct Besides<'a> {
    /// Where viewers find this relay.
    pub url: Option<&'a str>,
    pub max_frame_bytes: usize,
    /// systemd's.
    pub password: Option<Secret>,
}

impl RawCluster {
    /// With its secrets; `None` if there is none.
    pub(super) fn checked(
        &self,
        besides: Besides<'_>,
        place: &impl Fn(&str) -> String,
    ) -> Result<Option<ClusterConfig>, ConfigError> {
        let wrong =
            |key: &str, line: String| ConfigError::Value(format!("{}{key}: {line}", place(key)));
        let role = self.role(place)?;
        if self.url.trim().is_empty() {
            if role != Role::Both {
                return Err(wrong(
                    "cluster.role",
                    format!("\"{}\" needs other relays: set cluster.url", role.word()),
                ));
            }
            return Ok(None);
        }
        let server = |word: &str| {
            let good = ["nats://", "tls://"].iter().any(|scheme| {
                word.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty() && !rest.contains('@'))
            });
            good.then(|| word.to_owned()).ok_or_else(|| {
                wrong(
                    "cluster.url",
                    format!(
                        "\"{word}\" is no NATS server; write such as nats://10.0.0.5:4222 or \
                         tls://nats.example.org:4222, and the user in cluster.user"
                    ),
                )
            })
        };
        let servers = self.url.split_whitespace().map(server).collect::<Result<_, _>>()?;
        let on_disk = match self.storage.as_str() {
            "memory" => false,
            "file" => true,
            other => {
                return Err(wrong(
                    "cluster.storage",
                    format!("\"{other}\" is neither memory nor file"),
                ));
            }
        };
        let named = |key: &str, name: &str| {
            if is_name(name) {
                return Ok(());
            }
            Err(wrong(key, format!("\"{name}\": use 1 to 64 of a-z, A-Z, 0-9, '-' and '_'")))
        };
        named("cluster.stream", &self.stream)?;
        let name = self.name.clone().unwrap_or_else(host_name);
        named("cluster.name", &name)?;
        let certificate = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return Err(wrong("cluster.certificate_file", "set cluster.key_file, too".into()));
            }
            (None, Some(_)) => {
                return Err(wrong("cluster.key_file", "set cluster.certificate_file, too".into()));
            }
        };
        Ok(Some(ClusterConfig {
            servers,
            role,
            name: Arc::from(name),
            stream: self.stream.clone(),
            on_disk,
            replicas: self.replicas,
            login: self.login(besides.password, &wrong)?,
            ca_file: self.ca_file.clone(),
            certificate,
            url: besides.url.map(str::to_owned),
            max_frame_bytes: besides.max_frame_bytes,
        }))
    }

    pub(super) fn role(&self, place: &impl Fn(&str) -> String) -> Result<Role, ConfigError> {
        let known = [Role::Both, Role::Ingest, Role::Edge];
        known.into_iter().find(|role| role.word() == self.role).ok_or_else(|| {
            let key = "cluster.role";
            ConfigError::Value(format!(
                "{}{key}: \"{}\" is none of both, ingest, edge",
                place(key),
                self.role
            ))
        })
    }

    fn login(
        &self,
        given: Option<Secret>,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<Login, ConfigError> {
        if let Some(file) = &self.credentials_file {
            if self.user.is_some() {
                let line = "has no meaning beside cluster.credentials_file".to_owned();
                return Err(wrong("cluster.user", line));
            }
            return Ok(Login::Credentials(Secret::read_text(file)?));
        }
        let password = self.password_file.as_deref().map(read_password).transpose()?.or(given);
        match (&self.user, password) {
            (Some(user), Some(password)) => Ok(Login::Password { user: user.clone(), password }),
            (Some(_), None) => Err(wrong(
                "cluster.user",
                "has no password: set cluster.password_file, or give the unit the systemd credential \
                 \"cluster-password\""
                    .to_owned(),
            )),
            (None, _) => Ok(Login::None),
        }
    }
}

/// This machine's, as far as it can be a word of a subject.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = name.to_string_lossy().chars().take(64).map(plain).collect();
    if name.is_empty() { "relay".to_owned() } else { name }
}
