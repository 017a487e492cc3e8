//! Every setting of the relay, with its default and its limits: from raw text to a `Config` that
//! leaves nothing to interpret. Reading the layers is `runtime::settings`' work.

mod access;
mod cluster;
mod export;
mod keys;
mod notify;
mod raw;
mod report;
mod tls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use frame::CameraId;
use runtime::manual::ConfigurationPage;
use runtime::secret::{Secret, SecretError};
use runtime::settings::{self, ConfigError, Layers};
use web::freshness::Limits;
use web::serve::ConnectionLimits;

use crate::access::AccessConfig;
use crate::cli;
use crate::cluster::ClusterConfig;
use crate::ingest::Bounds;
use crate::mirrors::Mirrors;
use crate::notification::NotifyConfig;
use crate::origins::Origins;
use crate::password::MAX_PASSWORD;
use crate::store::HistoryLimits;
use crate::tls::TlsConfig;
use crate::updates::{Channel, UpdatesConfig};
use crate::view::caching::SharedCache;
use crate::view::page::PagesConfig;
pub(crate) use access::AccessFiles;
use access::access_config;
use cluster::Besides;
pub(crate) use export::Exports;
pub(crate) use keys::KEYS;
use raw::{RawCamera, RawConfig, RawEmbed, RawOwner, RawRelay, RawSite, RawUpdates};
pub(crate) use report::Report;

/// Read if it exists and no other is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/stillwatch/relay.toml";

/// Where it listens if nobody says where.
pub(crate) const DEFAULT_LISTEN: &str = "[::]:5000";

/// For its man page.
pub(crate) const PAGE: ConfigurationPage = ConfigurationPage { file: DEFAULT_FILE, keys: KEYS };

/// The password's variable, as in the tutorial.
const PASSWORD_VARIABLE: &str = "PASSWORD";

/// The systemd credential with the password.
const CREDENTIAL: &str = "password";

/// The one with the password of the owner's page.
const OWNER_CREDENTIAL: &str = "owner-password";

/// The one with the password for the cluster's bus.
const CLUSTER_CREDENTIAL: &str = "cluster-password";

/// The one with the secret of `export.s3_access_key`.
const S3_CREDENTIAL: &str = "s3-secret";

/// The file that the owner's credential is made from.
const OWNER_FILE: &str = "/etc/stillwatch/owner.password";

/// Where root keeps frames without systemd.
const SYSTEM_DATA_DIR: &str = "/var/lib/stillwatch-relay";

/// What is special about one camera.
#[derive(Debug, Clone)]
pub(crate) struct CameraConfig {
    /// What people call it.
    pub title: Option<String>,
    pub freshness: Limits,
    /// Instead of the relay's.
    pub password: Option<Secret>,
    /// What its frames have to be signed with.
    pub sign_key: Option<Secret>,
    /// Who may see it; not everybody then.
    pub view_password: Option<Secret>,
    /// Where its updates come from.
    pub channel: Channel,
}

/// What systemd gives to the unit.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub password: Option<Secret>,
    pub owner: Option<Secret>,
    pub cluster: Option<Secret>,
    pub s3: Option<Secret>,
}

impl Credentials {
    /// Of this process.
    fn of_process() -> Result<Credentials, SecretError> {
        let [password, owner, cluster, s3] =
            [CREDENTIAL, OWNER_CREDENTIAL, CLUSTER_CREDENTIAL, S3_CREDENTIAL]
                .map(Secret::credential);
        Ok(Credentials { password: password?, owner: owner?, cluster: cluster?, s3: s3? })
    }

    /// What the unit gets from the files beside the configuration (systemd/README.md), for who is no unit.
    pub(crate) fn of_files(folder: &Path) -> Result<Credentials, SecretError> {
        let read = |name: &str| {
            let path = folder.join(name);
            if path.exists() { Secret::read(&path).map(Some) } else { Ok(None) }
        };
        let [password, owner, cluster, s3] =
            ["relay.password", "owner.password", "cluster.password", "s3.secret"].map(read);
        Ok(Credentials { password: password?, owner: owner?, cluster: cluster?, s3: s3? })
    }
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub listen: SocketAddr,
    /// Whether nobody asked for anything else than usual.
    pub listen_is_usual: bool,
    /// `None`: no HTTPS.
    pub tls: Option<TlsConfig>,
    pub data_dir: PathBuf,
    pub access: AccessConfig,
    /// Where the password is from, for the log.
    pub password_note: String,
    /// Always with `default`.
    pub cameras: BTreeMap<CameraId, CameraConfig>,
    /// For cameras that are not configured.
    pub freshness: Limits,
    pub max_cameras: usize,
    pub connections: ConnectionLimits,
    pub max_sizes: usize,
    pub export: Exports,
    pub pages: PagesConfig,
    /// What caches may do with stills.
    pub shared_cache: SharedCache,
    pub uploads: Bounds,
    pub header_timeout: Duration,
    pub store_interval: Duration,
    pub history: HistoryLimits,
    pub updates: UpdatesConfig,
    pub notify: NotifyConfig,
    /// `None`: it shares nothing with others.
    pub cluster: Option<ClusterConfig>,
    /// Variables that look like ours and name no key.
    pub unknown_variables: Vec<String>,
}

impl Config {
    /// Reads file, environment and flags.
    pub(crate) fn load(flags: &cli::Settings) -> Result<Config, ConfigError> {
        Config::load_with(flags, Credentials::of_process()?)
    }

    /// With what the unit would be given.
    pub(crate) fn load_with(
        flags: &cli::Settings,
        mut credentials: Credentials,
    ) -> Result<Config, ConfigError> {
        let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
        let loaded = load(flags, file)?;
        let place = |key: &str| loaded.origin(key).map(|o| format!("{o}: ")).unwrap_or_default();
        let RawConfig {
            relay,
            site,
            embed,
            owner: _,
            freshness,
            cameras,
            store,
            history,
            export,
            updates,
            tls,
            notify,
            cluster,
        } = &loaded.value;
        let listen = listen_address(&relay.listen, &place)?;
        let limits = freshness.limits();
        let cameras = read_cameras(cameras, limits, file)?;
        have_places(cameras.len(), relay.max_cameras, &place)?;
        let proxies = list("relay.proxies", &relay.proxies, "127.0.0.0/8 ::1/128", &place)?;
        let export = export.checked(credentials.s3.take(), &place)?;
        let data_dir = data_dir(relay);
        let tls = tls.checked(&data_dir, &place)?;
        let pages = pages(site, embed, tls.as_ref(), &place)?;
        let (raw, url) = (&loaded.value, pages.url.as_deref());
        let max_frame_bytes = relay.max_frame_bytes;
        let besides = Besides { url, max_frame_bytes, password: credentials.cluster.clone() };
        let cluster = cluster.checked(besides, &place)?;
        let takes_uploads = cluster.as_ref().is_none_or(|c| c.role.takes_uploads());
        let (access, password_note) =
            access_config(raw, url, &cameras, &data_dir, credentials, takes_uploads, &place)?;
        Ok(Config {
            listen,
            listen_is_usual: relay.listen == RawRelay::default().listen,
            notify: notify.checked(&pages, &data_dir, &place)?,
            updates: updates_config(updates, &data_dir, &cameras),
            data_dir,
            access,
            password_note,
            cameras,
            freshness: limits,
            max_cameras: relay.max_cameras,
            connections: relay.connections(proxies),
            max_sizes: relay.max_sizes,
            export,
            pages,
            shared_cache: shared_cache(site, &place)?,
            tls,
            cluster,
            uploads: relay.uploads(takes_uploads),
            header_timeout: relay.header_timeout,
            store_interval: store.interval,
            history: history.limits(),
            unknown_variables: loaded.unknown_variables.clone(),
        })
    }
}

/// What the command line of updates needs: no password, which systemd gives to the running relay alone.
#[derive(Debug)]
pub(crate) struct UpdatesFiles {
    pub data_dir: PathBuf,
    pub keyring: Option<PathBuf>,
}

impl UpdatesFiles {
    /// Reads file, environment and flags.
    pub(crate) fn load(flags: &cli::Settings) -> Result<UpdatesFiles, ConfigError> {
        let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
        let RawConfig { relay, updates, .. } = load(flags, file)?.value;
        Ok(UpdatesFiles { data_dir: data_dir(&relay), keyring: updates.keyring_file })
    }
}

/// Where a relay's files are, whether its configuration is right or not.
#[derive(Debug)]
pub(crate) struct Places {
    /// It may not exist.
    pub config: PathBuf,
    pub data_dir: PathBuf,
}

impl Places {
    /// Reads file, environment and flags.
    pub(crate) fn load(flags: &cli::Settings) -> Result<Places, ConfigError> {
        let config = absolute(flags.config.clone().unwrap_or_else(|| DEFAULT_FILE.into()));
        let file = config.exists().then_some(config.as_path());
        let data_dir = data_dir(&load(flags, file)?.value.relay);
        Ok(Places { config, data_dir })
    }
}

fn load(
    flags: &cli::Settings,
    file: Option<&Path>,
) -> Result<settings::Settings<RawConfig>, ConfigError> {
    let variables =
        std::env::vars().filter(|(name, _)| name != runtime::log::FILTER_VARIABLE).collect();
    let layers = Layers { keys: KEYS, file, variables, flags: flags.flags() };
    Ok(settings::load::<RawConfig>(layers)?)
}

fn data_dir(relay: &RawRelay) -> PathBuf {
    absolute(relay.data_dir.clone().unwrap_or_else(default_data_dir))
}

fn updates_config(
    raw: &RawUpdates,
    data_dir: &Path,
    cameras: &BTreeMap<CameraId, CameraConfig>,
) -> UpdatesConfig {
    let channels = cameras.iter().map(|(id, camera)| (id.clone(), camera.channel.clone()));
    UpdatesConfig {
        data_dir: data_dir.into(),
        max_downloads: raw.max_downloads,
        max_rate: raw.max_rate,
        stop_after: raw.stop_after,
        channels: channels.collect(),
    }
}

/// Whom `status` asks.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Without a slash at its end.
    pub url: String,
    /// The owner's, where it can be read.
    pub password: Option<Secret>,
}

/// The relay of this configuration, as this machine reaches it.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn load_asked(flags: &cli::Settings) -> Result<Asked, ConfigError> {
    let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
    let loaded = load(flags, file)?;
    let place = |key: &str| loaded.origin(key).map(|o| format!("{o}: ")).unwrap_or_default();
    let RawConfig { relay, owner, .. } = &loaded.value;
    let listen = listen_address(&relay.listen, &place)?;
    let file = owner.password_file.as_deref().unwrap_or(Path::new(OWNER_FILE));
    // Whoever may not read it asks without.
    Ok(Asked { url: local_url(listen), password: Secret::read(file).ok() })
}

/// Where a relay that listens there is reached from its own machine.
fn local_url(listen: SocketAddr) -> String {
    let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// What `notify-test` needs: no password, which systemd gives to the running relay alone.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn load_notify(flags: &cli::Settings) -> Result<NotifyConfig, ConfigError> {
    let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
    let loaded = load(flags, file)?;
    let place = |key: &str| loaded.origin(key).map(|o| format!("{o}: ")).unwrap_or_default();
    let RawConfig { relay, site, embed, tls, notify, .. } = &loaded.value;
    let data_dir = data_dir(relay);
    let tls = tls.checked(&data_dir, &place)?;
    let pages = pages(site, embed, tls.as_ref(), &place)?;
    notify.checked(&pages, &data_dir, &place)
}

fn have_places(
    cameras: usize,
    max: usize,
    place: &impl Fn(&str) -> String,
) -> Result<(), ConfigError> {
    if cameras <= max {
        return Ok(());
    }
    Err(ConfigError::Value(format!(
        "{}relay.max_cameras is {max}, but {cameras} cameras are configured (\"default\" is always one)",
        place("relay.max_cameras"),
    )))
}

fn listen_address(text: &str, place: &impl Fn(&str) -> String) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError::Value(format!(
            "{}relay.listen: \"{text}\" is no address and port; write 0.0.0.0:5000, [::]:5000 or \
             127.0.0.1:5000",
            place("relay.listen"),
        ))
    })
}

fn read_cameras(
    raw: &BTreeMap<String, RawCamera>,
    defaults: Limits,
    file: Option<&Path>,
) -> Result<BTreeMap<CameraId, CameraConfig>, ConfigError> {
    let default = CameraConfig {
        title: None,
        freshness: defaults,
        password: None,
        sign_key: None,
        view_password: None,
        channel: Channel::default(),
    };
    let mut cameras = BTreeMap::from([(CameraId::default(), default)]);
    for (name, raw) in raw {
        let wrong = |error: &dyn std::fmt::Display| {
            let file = file.map(|path| format!("{}: ", path.display())).unwrap_or_default();
            ConfigError::Value(format!("{file}[cameras.\"{name}\"]: {error}"))
        };
        let id: CameraId = name.parse().map_err(|error| wrong(&error))?;
        let channel = raw.channel.as_deref().map(str::parse).transpose();
        let channel = channel.map_err(|error| wrong(&error))?.unwrap_or_default();
        let password = raw.password_file.as_deref().map(read_password).transpose()?;
        let title = raw.title.clone().filter(|title| !title.trim().is_empty());
        let sign_key = raw.sign_key_file.as_deref().map(read_password).transpose()?;
        let view_password = raw.view_password_file.as_deref().map(read_password).transpose()?;
        let freshness = raw.limits(defaults);
        let camera = CameraConfig { title, freshness, password, sign_key, view_password, channel };
        cameras.insert(id, camera);
    }
    Ok(cameras)
}

fn pages(
    site: &RawSite,
    embed: &RawEmbed,
    tls: Option<&TlsConfig>,
    place: &impl Fn(&str) -> String,
) -> Result<PagesConfig, ConfigError> {
    let origins = Origins::read(&embed.origins).map_err(|wrong| {
        ConfigError::Value(format!("{}embed.origins: {wrong}", place("embed.origins")))
    })?;
    let url = site.url.as_deref().map(|url| site_url(url, place)).transpose()?;
    let domain = tls.and_then(|tls| tls.host.as_ref());
    let url = url.or_else(|| domain.map(|domain| format!("https://{domain}/")));
    let mirrors = Mirrors::read(&site.mirrors, url.as_deref()).map_err(|wrong| {
        ConfigError::Value(format!("{}site.mirrors: {wrong}", place("site.mirrors")))
    })?;
    Ok(PagesConfig { title: site.title.clone(), url, origins, mirrors })
}

/// What is wrong with a key.
fn wrong(place: &impl Fn(&str) -> String, key: &str, line: &str) -> ConfigError {
    ConfigError::Value(format!("{}{key}: {line}", place(key)))
}

fn shared_cache(
    site: &RawSite,
    place: &impl Fn(&str) -> String,
) -> Result<SharedCache, ConfigError> {
    let key = "site.shared_cache";
    SharedCache::new(site.shared_cache).map_err(|why| wrong(place, key, why))
}

/// With a slash at its end, so that paths can be added.
pub(crate) fn site_url(url: &str, place: &impl Fn(&str) -> String) -> Result<String, ConfigError> {
    let parsed = url.parse::<http::Uri>().ok();
    let whole = parsed
        .filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    match whole.filter(|url| url.query().is_none()) {
        Some(_) => Ok(format!("{}/", url.trim_end_matches('/'))),
        None => Err(ConfigError::Value(format!(
            "{}site.url: \"{url}\" is no address; write such as https://cam.example.org/",
            place("site.url")
        ))),
    }
}

/// Words separated by spaces; `none` is an empty list.
fn list<T: std::str::FromStr>(
    key: &str,
    text: &str,
    example: &str,
    place: &impl Fn(&str) -> String,
) -> Result<Vec<T>, ConfigError> {
    let words = text.split_whitespace().filter(|word| *word != "none");
    let read = |word: &str| {
        word.parse().map_err(|_| {
            let place = place(key);
            ConfigError::Value(format!(
                "{place}{key}: \"{word}\" is wrong; write such as {example}"
            ))
        })
    };
    words.map(read).collect()
}

fn read_password(path: &Path) -> Result<Secret, ConfigError> {
    Ok(Secret::read(path)?)
}

/// A file that was named wins, then systemd's credential, then the variable. The note says which,
/// and never the password.
fn find_password(
    relay: &RawRelay,
    credential: Option<Secret>,
    there_are_others: bool,
    takes_uploads: bool,
) -> Result<(Option<Secret>, String), ConfigError> {
    if !takes_uploads {
        let note = "it takes no uploads, and needs no password for them (cluster.role)";
        return Ok((None, note.to_owned()));
    }
    let from = |place: &str| format!("the password for uploads is that of {place}");
    if let Some(path) = &relay.password_file {
        return Ok((Some(read_password(path)?), from(&format!("the file {}", path.display()))));
    }
    if let Some(secret) = credential {
        return Ok((Some(secret), from(&format!("systemd's credential \"{CREDENTIAL}\""))));
    }
    let in_variable = std::env::var(PASSWORD_VARIABLE).ok().as_deref().and_then(Secret::new);
    if let Some(secret) = in_variable {
        if secret.expose().len() > MAX_PASSWORD {
            return Err(ConfigError::Value(format!(
                "environment variable {PASSWORD_VARIABLE}: longer than {MAX_PASSWORD} bytes"
            )));
        }
        let place = format!("the environment variable {PASSWORD_VARIABLE}");
        return Ok((Some(secret), from(&place)));
    }
    if there_are_others {
        let note = "passwords for uploads are those of single cameras (cameras.*.password_file) and of \
                    `stillwatch-relay passwords`";
        return Ok((None, note.to_owned()));
    }
    Err(ConfigError::Value(format!(
        "no password for uploads: make one with `stillwatch-relay passwords add --all`, or set the environment \
         variable {PASSWORD_VARIABLE}, or name a file with --password-file (key relay.password_file), or give the \
         unit the systemd credential \"{CREDENTIAL}\""
    )))
}

fn find_owner_password(
    owner: &RawOwner,
    credential: Option<Secret>,
) -> Result<Option<Secret>, ConfigError> {
    Ok(owner.password_file.as_deref().map(read_password).transpose()?.or(credential))
}

fn default_data_dir() -> PathBuf {
    // systemd.exec(5): several directories are separated by colons.
    let given = std::env::var("STATE_DIRECTORY").unwrap_or_default();
    match given.split(':').next() {
        Some(first) if !first.is_empty() => first.into(),
        _ if nix::unistd::geteuid().is_root() => SYSTEM_DATA_DIR.into(),
        // As the tutorial does, so that its database is found.
        _ => ".".into(),
    }
}

/// As it is looked for in a log line.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests;
