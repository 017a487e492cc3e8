//! Whom a relay shares its frames with: the section `[cluster]`.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::secret::Secret;
use runtime::settings::ConfigError;
use serde::Deserialize;

use super::{read_password, wrong};
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
        let role = self.role(place)?;
        if self.url.trim().is_empty() {
            if role == Role::Both {
                return Ok(None);
            }
            let line = format!("\"{}\" needs other relays: set cluster.url", role.word());
            return Err(wrong(place, "cluster.role", &line));
        }
        let on_disk = match self.storage.as_str() {
            "memory" => false,
            "file" => true,
            other => {
                let line = format!("\"{other}\" is neither memory nor file");
                return Err(wrong(place, "cluster.storage", &line));
            }
        };
        let named = |key: &str, name: &str| {
            if is_name(name) {
                return Ok(());
            }
            let line = format!("\"{name}\": use 1 to 64 of a-z, A-Z, 0-9, '-' and '_'");
            Err(wrong(place, key, &line))
        };
        named("cluster.stream", &self.stream)?;
        let name = self.name.clone().unwrap_or_else(host_name);
        named("cluster.name", &name)?;
        Ok(Some(ClusterConfig {
            servers: self.servers(place)?,
            role,
            name: Arc::from(name),
            stream: self.stream.clone(),
            on_disk,
            replicas: self.replicas,
            login: self.login(besides.password, place)?,
            ca_file: self.ca_file.clone(),
            certificate: self.certificate(place)?,
            url: besides.url.map(str::to_owned),
            max_frame_bytes: besides.max_frame_bytes,
        }))
    }

    fn servers(&self, place: &impl Fn(&str) -> String) -> Result<Vec<String>, ConfigError> {
        let server = |word: &str| {
            let rest = ["nats://", "tls://"].iter().find_map(|scheme| word.strip_prefix(scheme));
            if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('@')) {
                return Ok(word.to_owned());
            }
            // It is not shown: it may hold a password.
            let line = "this is no NATS server; write such as nats://10.0.0.5:4222 or \
                        tls://nats.example.org:4222, and the user in cluster.user";
            Err(wrong(place, "cluster.url", line))
        };
        self.url.split_whitespace().map(server).collect()
    }

    fn certificate(
        &self,
        place: &impl Fn(&str) -> String,
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let (certificate, key) = ("cluster.certificate_file", "cluster.key_file");
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(wrong(place, certificate, &format!("set {key}, too"))),
            (None, Some(_)) => Err(wrong(place, key, &format!("set {certificate}, too"))),
        }
    }

    pub(super) fn role(&self, place: &impl Fn(&str) -> String) -> Result<Role, ConfigError> {
        let known = [Role::Both, Role::Ingest, Role::Edge];
        known.into_iter().find(|role| role.word() == self.role).ok_or_else(|| {
            let line = format!("\"{}\" is none of both, ingest, edge", self.role);
            wrong(place, "cluster.role", &line)
        })
    }

    fn login(
        &self,
        given: Option<Secret>,
        place: &impl Fn(&str) -> String,
    ) -> Result<Login, ConfigError> {
        if let Some(file) = &self.credentials_file {
            if self.user.is_some() {
                let line = "has no meaning beside cluster.credentials_file";
                return Err(wrong(place, "cluster.user", line));
            }
            return Ok(Login::Credentials(Secret::read_text(file)?));
        }
        let password = self.password_file.as_deref().map(read_password).transpose()?.or(given);
        match (&self.user, password) {
            (Some(user), Some(password)) => Ok(Login::Password { user: user.clone(), password }),
            (Some(_), None) => Err(wrong(
                place,
                "cluster.user",
                "has no password: set cluster.password_file, or give the unit the systemd credential \
                 \"cluster-password\"",
            )),
            (None, Some(_)) if self.password_file.is_some() => {
                Err(wrong(place, "cluster.password_file", "whose is it? Set cluster.user, too"))
            }
            // systemd's is there whether it is used or not.
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
