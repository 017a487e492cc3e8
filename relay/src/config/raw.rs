//! The settings as they are written, with their defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use runtime::settings;
use serde::Deserialize;
use web::freshness::Limits;
use web::serve::ConnectionLimits;

use crate::ingest::Bounds;
use crate::store::HistoryLimits;

use super::cluster::RawCluster;
use super::export::RawExport;
use super::notify::RawNotify;
use super::tls::RawTls;

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub relay: RawRelay,
    pub site: RawSite,
    pub embed: RawEmbed,
    pub owner: RawOwner,
    pub freshness: RawFreshness,
    pub cameras: BTreeMap<String, RawCamera>,
    pub store: RawStore,
    pub history: RawHistory,
    pub export: RawExport,
    pub updates: RawUpdates,
    pub tls: RawTls,
    pub notify: RawNotify,
    pub cluster: RawCluster,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpdates {
    pub max_downloads: usize,
    pub max_rate: u64,
    pub stop_after: usize,
    pub keyring_file: Option<PathBuf>,
}

impl Default for RawUpdates {
    fn default() -> Self {
        RawUpdates { max_downloads: 8, max_rate: 4 << 20, stop_after: 2, keyring_file: None }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRelay {
    pub listen: String,
    pub data_dir: Option<PathBuf>,
    pub password_file: Option<PathBuf>,
    pub max_cameras: usize,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub proxies: String,
    pub max_uploads: usize,
    pub max_upload_rate: u32,
    pub max_sizes: usize,
    pub max_frame_bytes: usize,
    #[serde(deserialize_with = "settings::duration")]
    pub body_timeout: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub header_timeout: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub peer_timeout: Duration,
}

impl Default for RawRelay {
    fn default() -> Self {
        RawRelay {
            listen: super::DEFAULT_LISTEN.to_owned(),
            data_dir: None,
            password_file: None,
            max_cameras: 64,
            max_connections: 4096,
            max_connections_per_address: 256,
            proxies: "127.0.0.0/8 ::1/128".to_owned(),
            max_uploads: 32,
            max_upload_rate: 60,
            max_sizes: 8,
            max_frame_bytes: 8 << 20,
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            peer_timeout: Duration::from_secs(45),
        }
    }
}

impl RawRelay {
    pub(super) fn uploads(&self, takes_uploads: bool) -> Bounds {
        Bounds {
            takes_uploads,
            max_uploads: self.max_uploads,
            max_frame_bytes: self.max_frame_bytes,
            body_timeout: self.body_timeout,
            peer_timeout: self.peer_timeout,
            max_upload_rate: self.max_upload_rate,
            // A camera that reconnects has two for a while.
            max_sockets: self.max_cameras.saturating_mul(2),
        }
    }

    pub(super) fn connections(&self, proxies: Vec<IpNet>) -> ConnectionLimits {
        ConnectionLimits {
            total: self.max_connections,
            per_address: self.max_connections_per_address,
            proxies,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSite {
    pub title: String,
    pub url: Option<String>,
    pub hosts: String,
    #[serde(deserialize_with = "settings::duration")]
    pub shared_cache: Duration,
    pub view_password_file: Option<PathBuf>,
    pub mirrors: String,
}

impl Default for RawSite {
    fn default() -> Self {
        RawSite {
            title: "Stillwatch".to_owned(),
            url: None,
            hosts: String::new(),
            shared_cache: Duration::from_secs(1),
            view_password_file: None,
            mirrors: String::new(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEmbed {
    pub origins: String,
}

impl Default for RawEmbed {
    fn default() -> Self {
        RawEmbed { origins: "none".to_owned() }
    }
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOwner {
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawFreshness {
    #[serde(deserialize_with = "settings::duration")]
    pub stale_after: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub frozen_after: Duration,
    pub frozen_uploads: u32,
    #[serde(deserialize_with = "settings::duration")]
    pub offline_after: Duration,
}

impl Default for RawFreshness {
    fn default() -> Self {
        let Limits { stale_after, frozen_after, frozen_uploads, offline_after } = Limits::USUAL;
        RawFreshness { stale_after, frozen_after, frozen_uploads, offline_after }
    }
}

impl RawFreshness {
    pub(super) fn limits(&self) -> Limits {
        let RawFreshness { stale_after, frozen_after, frozen_uploads, offline_after } = *self;
        Limits { stale_after, frozen_after, frozen_uploads, offline_after }
    }
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCamera {
    pub title: Option<String>,
    pub password_file: Option<PathBuf>,
    pub sign_key_file: Option<PathBuf>,
    pub view_password_file: Option<PathBuf>,
    pub channel: Option<String>,
    #[serde(deserialize_with = "settings::optional_duration")]
    pub stale_after: Option<Duration>,
    #[serde(deserialize_with = "settings::optional_duration")]
    pub frozen_after: Option<Duration>,
    pub frozen_uploads: Option<u32>,
    #[serde(deserialize_with = "settings::optional_duration")]
    pub offline_after: Option<Duration>,
}

impl RawCamera {
    pub(super) fn limits(&self, defaults: Limits) -> Limits {
        Limits {
            stale_after: self.stale_after.unwrap_or(defaults.stale_after),
            frozen_after: self.frozen_after.unwrap_or(defaults.frozen_after),
            frozen_uploads: self.frozen_uploads.unwrap_or(defaults.frozen_uploads),
            offline_after: self.offline_after.unwrap_or(defaults.offline_after),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStore {
    #[serde(deserialize_with = "settings::duration")]
    pub interval: Duration,
}

impl Default for RawStore {
    fn default() -> Self {
        RawStore { interval: Duration::from_secs(1) }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHistory {
    #[serde(deserialize_with = "settings::duration")]
    pub interval: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub max_age: Duration,
    pub max_bytes: u64,
}

impl Default for RawHistory {
    fn default() -> Self {
        RawHistory {
            interval: Duration::from_secs(10),
            max_age: Duration::from_secs(86_400),
            max_bytes: 256 << 20,
        }
    }
}

impl RawHistory {
    pub(super) fn limits(&self) -> HistoryLimits {
        let RawHistory { interval, max_age, max_bytes } = *self;
        HistoryLimits { interval, max_age, max_bytes }
    }
}
