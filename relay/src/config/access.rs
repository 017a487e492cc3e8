//! What the configuration says of access, for the running relay and for the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use frame::CameraId;
use runtime::secret::Secret;
use runtime::settings::{self, ConfigError};

use super::raw::{RawConfig, RawSite};
use super::{
    CameraConfig, Credentials, DEFAULT_FILE, data_dir, find_owner_password, find_password, load,
    read_password, site_url,
};
use crate::access::hosts::Hosts;
use crate::access::{AccessConfig, Folder};
use crate::cli;

/// Puts together what is spread over the file; and says where the password for uploads is from.
pub(super) fn access_config(
    raw: &RawConfig,
    url: Option<&str>,
    cameras: &BTreeMap<CameraId, CameraConfig>,
    data_dir: &Path,
    credentials: Credentials,
    takes_uploads: bool,
    place: &impl Fn(&str) -> String,
) -> Result<(AccessConfig, String), ConfigError> {
    let RawConfig { relay, site, owner, tls, .. } = raw;
    let own = |secret: fn(&CameraConfig) -> Option<&Secret>| -> BTreeMap<CameraId, Secret> {
        let with = cameras.iter().filter_map(|(id, camera)| Some((id, secret(camera)?)));
        with.map(|(id, secret)| (id.clone(), secret.clone())).collect()
    };
    let uploads = own(|camera| camera.password.as_ref());
    let others = !uploads.is_empty() || Folder::in_data(data_dir).has_passwords();
    let (password, note) = find_password(relay, credentials.password, others, takes_uploads)?;
    let access = AccessConfig {
        data_dir: data_dir.into(),
        password,
        own: uploads,
        owner: find_owner_password(owner, credentials.owner)?,
        view: site.view_password_file.as_deref().map(read_password).transpose()?,
        view_own: own(|camera| camera.view_password.as_ref()),
        hosts: Hosts::new(url, hosts(site, &tls.domain, place)?),
    };
    Ok((access, note))
}

/// The names beside that of `site.url`.
fn hosts(
    site: &RawSite,
    domains: &str,
    place: &impl Fn(&str) -> String,
) -> Result<Vec<String>, ConfigError> {
    let name = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if word.chars().all(plain) {
            return Ok(word.to_owned());
        }
        let place = place("site.hosts");
        let line = format!("{place}site.hosts: \"{word}\" is no name; write such as relay.lan");
        Err(ConfigError::Value(line))
    };
    let named = site.hosts.split_whitespace().map(name);
    named.chain(domains.split_whitespace().map(|name| Ok(name.to_owned()))).collect()
}

impl super::Config {
    /// Which cameras are not exported, although others are, and why.
    pub(crate) fn not_exported(&self) -> Option<String> {
        let keys = match (&self.export.files, &self.export.bucket) {
            (None, None) => return None,
            (Some(_), None) => "export.dir",
            (None, Some(_)) => "export.s3_bucket",
            (Some(_), Some(_)) => "export.dir, export.s3_bucket",
        };
        let ids: Vec<&str> = self.access.view_own.keys().map(CameraId::as_str).collect();
        let which = match (self.access.view.is_some(), ids.as_slice()) {
            (true, _) => {
                format!("no camera is exported ({keys}): all are private (site.view_password_file)")
            }
            (false, []) => return None,
            (false, ids) => format!(
                "not exported ({keys}) because they are private (view_password_file): {}",
                ids.join(", ")
            ),
        };
        Some(format!("{which}; a file is for everybody"))
    }
}

/// What the command lines of passwords and links need: no password, which systemd gives to the running relay alone.
#[derive(Debug)]
pub(crate) struct AccessFiles {
    pub data_dir: PathBuf,
    /// Where viewers and cameras find the relay, with a slash at its end.
    pub url: String,
    /// That this is a guess, and what to do.
    pub url_note: Option<String>,
    /// Everything is.
    all_private: bool,
    private: BTreeSet<String>,
}

impl AccessFiles {
    /// Reads file, environment and flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn load(flags: &cli::Settings) -> Result<AccessFiles, ConfigError> {
        let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
        let loaded = load(flags, file)?;
        let place = |key: &str| loaded.origin(key).map(|o| format!("{o}: ")).unwrap_or_default();
        let RawConfig { relay, site, cameras, tls, .. } = &loaded.value;
        let data_dir = data_dir(relay);
        let known = site.url.as_deref().map(|url| site_url(url, &place)).transpose()?;
        let known = match known {
            Some(url) => Some(url),
            None => tls
                .checked(&data_dir, &place)?
                .and_then(|tls| tls.host)
                .map(|h| format!("https://{h}/")),
        };
        let private = cameras.iter().filter(|(_, camera)| camera.view_password_file.is_some());
        let note = "This is the address that the relay listens on: set site.url to the one that viewers use.";
        Ok(AccessFiles {
            data_dir,
            url_note: known.is_none().then(|| note.to_owned()),
            url: known.unwrap_or_else(|| listening(&relay.listen)),
            all_private: site.view_password_file.is_some(),
            private: private.map(|(id, _)| id.clone()).collect(),
        })
    }

    /// Whether a camera's pictures are not for everybody.
    pub(crate) fn is_private(&self, camera: &CameraId) -> bool {
        self.all_private || self.private.contains(camera.as_str())
    }
}

fn listening(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            format!("http://localhost:{}/", address.port())
        }
        _ => format!("http://{listen}/"),
    }
}
