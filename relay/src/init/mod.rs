//! `stillwatch-relay init`: passwords and settings for a machine that has none, and what to put on the cameras' cards.
//! Nothing that exists is written over, so that it can be run again: what is there is kept, and shown.
//!
//! `known.rs` reads what is there, `plan.rs` decides what is written, `report.rs` and `crate::card` are what is printed.

mod known;
mod plan;
mod report;

use std::io::{self, IsTerminal};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::Args;
use frame::CameraId;
use runtime::files::{Survives, keep_secret, publish};
use runtime::secret::{Secret, SecretError};

use crate::access::Folder;
use crate::cli;
use crate::config::{self, DEFAULT_FILE, DEFAULT_LISTEN, KEYS, site_url};
use crate::units::{self, Manager, Needs};
use crate::words::{NoRandom, password};
use known::{Known, password_files};
use plan::{Refusal, Wishes, plan};
use report::{Facts, Started};

/// What a first run can be told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The relay's name in DNS: it gets certificates for it by itself, and serves https
    #[arg(long, value_name = "NAME", value_parser = plan::domain)]
    domain: Option<String>,
    /// A mail address for the authority that makes the certificates
    #[arg(long, value_name = "ADDRESS", requires = "domain")]
    contact: Option<String>,
    /// The address that cameras and viewers use, such as https://cam.example.org/garden/ behind a proxy
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The name of a camera; several, if the option is repeated [default: one without a name]
    #[arg(long, value_name = "ID")]
    camera: Vec<CameraId>,
    /// Write and start nothing: only show what to put on the card
    #[arg(long)]
    show: bool,
    /// Don't start the relay
    #[arg(long)]
    no_start: bool,
}

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Config(PathBuf, Refusal),
    #[error(transparent)]
    Password(#[from] SecretError),
    #[error("{path}: {error}{hint}", path = .0.display(), error = .1, hint = hint(.1))]
    Io(PathBuf, io::Error),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error("{0}")]
    Value(String),
    #[error("{path}: there is no password to show; without --show one is made", path = .0.display())]
    NothingToShow(PathBuf),
    #[error(
        "{path}: {key} in {config} names this file, and it is not there: write a password into it that the relay's user \
         can read and others can't, or take the key out for init to make one",
        path = .path.display(), config = .config.display()
    )]
    Missing { path: PathBuf, key: &'static str, config: PathBuf },
}

fn hint(error: &io::Error) -> &'static str {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if denied { "; do this as root, or name a file of your own with --config" } else { "" }
}

/// Where things are.
struct Places {
    config: PathBuf,
    uploads: PathBuf,
    owner: PathBuf,
    /// Who starts the relay with these files.
    manager: Option<Manager>,
    /// Where it keeps frames, if its configuration has to say so.
    data_dir: Option<PathBuf>,
}

impl Places {
    fn of(flags: &cli::Settings) -> Result<Places, InitError> {
        let is_root = nix::unistd::geteuid().is_root();
        let default = if is_root {
            Some(PathBuf::from(DEFAULT_FILE))
        } else {
            of_user("XDG_CONFIG_HOME", ".config", "relay.toml")
        };
        let config = flags.config.clone().or_else(|| default.clone());
        let config = config.ok_or_else(|| {
            InitError::Value("no home folder: name a configuration file with --config".to_owned())
        })?;
        let config = std::path::absolute(&config).unwrap_or(config);
        let manager = (default.as_deref() == Some(&config)).then_some(if is_root {
            Manager::System
        } else {
            Manager::User
        });
        let data_dir =
            (!is_root).then(|| of_user("XDG_STATE_HOME", ".local/state", "data")).flatten();
        Ok(Places {
            uploads: config.with_file_name("relay.password"),
            owner: config.with_file_name("owner.password"),
            config,
            manager,
            data_dir,
        })
    }

    /// The password files become those that the configuration names, which are the ones that the relay reads. They are
    /// made only where they would be anyway: elsewhere it is not known who has to read them.
    fn name(&mut self, text: &str) -> Result<(), InitError> {
        let (uploads, owner) = password_files(text);
        for (place, named, key) in [
            (&mut self.uploads, uploads, "relay.password_file"),
            (&mut self.owner, owner, "owner.password_file"),
        ] {
            let Some(path) = named.filter(|path| path != place) else { continue };
            if fs::symlink_metadata(&path).is_err() {
                return Err(InitError::Missing { path, key, config: self.config.clone() });
            }
            *place = path;
        }
        Ok(())
    }

    /// Where the relay of this configuration keeps its data, as far as it can be read.
    fn data(&self, flags: &cli::Settings) -> Option<PathBuf> {
        let config = Some(self.config.clone());
        let data_dir = flags.data_dir.clone();
        let flags = cli::Settings { config, data_dir, ..cli::Settings::default() };
        config::Places::load(&flags).ok().map(|places| places.data_dir)
    }
}

/// In the user's own folders (the XDG base directory specification).
fn of_user(variable: &str, below_home: &str, name: &str) -> Option<PathBuf> {
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(below_home));
    Some(match name {
        "data" => named.or_else(home)?.join("stillwatch-relay"),
        file => named.or_else(home)?.join("stillwatch").join(file),
    })
}

/// Does it; returns what to print.
pub(crate) async fn run(arguments: &Arguments, flags: &cli::Settings) -> Result<String, InitError> {
    if flags.password_file.is_some() {
        let why =
            "--password-file: init writes the password beside the configuration file (--config)";
        return Err(InitError::Value(why.to_owned()));
    }
    let mut places = Places::of(flags)?;
    if places.manager == Some(Manager::User) && arguments.domain.is_some() {
        let why = "--domain: ports 80 and 443 are root's to open: run init as root, or put a proxy before the relay (--url)";
        return Err(InitError::Value(why.to_owned()));
    }
    let there = read(&places.config)?;
    places.name(there.as_deref().unwrap_or_default())?;
    let wishes = wishes(arguments, flags, &places)?;
    let mut written = Vec::new();
    let new = plan(there.as_deref(), &wishes, KEYS);
    let (uploads, owner) = if arguments.show {
        let uploads = existing(&places.uploads)?;
        (
            uploads.ok_or_else(|| InitError::NothingToShow(places.uploads.clone()))?,
            existing(&places.owner)?,
        )
    } else {
        let new = new.map_err(|why| InitError::Config(places.config.clone(), why))?;
        make_folder(&places)?;
        let uploads = kept_or_made(&places.uploads, &mut written)?;
        let owner = kept_or_made(&places.owner, &mut written)?;
        // Last: a run that was cut off before finds no settings that it has to respect.
        if let Some(text) = new {
            publish(&places.config, text.as_bytes(), Survives::PowerCut)
                .map_err(|error| InitError::Io(places.config.clone(), error))?;
            written.push(places.config.clone());
        }
        (uploads, Some(owner))
    };
    let settings = read(&places.config)?.unwrap_or_default();
    let mut known = Known::read(&settings, arguments);
    let data = places.data(flags);
    known.own.extend(data.map(|data| Folder::in_data(&data).cameras()).unwrap_or_default());
    let started = started(arguments, &places, &known, !written.is_empty()).await;
    let address = own_address();
    let url = known.url(address);
    let facts = Facts {
        written: &written,
        uploads: (&places.uploads, &uploads),
        owner: (&places.owner, owner.as_ref()),
        url: &url,
        domain: known.domain.as_deref(),
        address,
        cameras: &known.cameras,
        own: &known.own,
        started: &started,
        config: (places.manager != Some(Manager::System)).then_some(places.config.as_path()),
        colour: io::stdout().is_terminal(),
    };
    Ok(report::text(&facts))
}

fn wishes(
    arguments: &Arguments,
    flags: &cli::Settings,
    places: &Places,
) -> Result<Wishes, InitError> {
    let plainly = |key: &str| if key.is_empty() { String::new() } else { "--".to_owned() };
    let url = arguments.url.as_deref().map(|url| site_url(url, &plainly)).transpose();
    let path = |path: &Path| path.display().to_string();
    let files = || (path(&places.uploads), path(&places.owner));
    let absolute = |path: &String| {
        std::path::absolute(path).map_or_else(|_| path.clone(), |p| p.display().to_string())
    };
    Ok(Wishes {
        domain: arguments.domain.clone(),
        contact: arguments.contact.clone(),
        url: url.map_err(|error| InitError::Value(error.to_string()))?,
        cameras: arguments.camera.clone(),
        listen: flags.listen.clone(),
        data_dir: flags
            .data_dir
            .as_ref()
            .map(absolute)
            .or_else(|| places.data_dir.as_deref().map(path)),
        password_files: (places.manager != Some(Manager::System)).then(files),
    })
}

/// The address from which this machine would speak to the world. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    // Of documentation (RFC 5737, RFC 3849): only the route to it is asked for.
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")].into_iter().find_map(
        |(from, to)| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        },
    )
}

fn read(path: &Path) -> Result<Option<String>, InitError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InitError::Io(path.into(), error)),
    }
}

fn make_folder(places: &Places) -> Result<(), InitError> {
    let Some(folder) = places.config.parent() else { return Ok(()) };
    let mode = if places.manager == Some(Manager::System) { 0o755 } else { 0o700 };
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.map_err(|error| InitError::Io(folder.into(), error))
}

fn existing(path: &Path) -> Result<Option<Secret>, InitError> {
    // A link that leads nowhere is somebody's, too.
    if fs::symlink_metadata(path).is_err() { Ok(None) } else { Ok(Some(Secret::read(path)?)) }
}

fn kept_or_made(path: &Path, written: &mut Vec<PathBuf>) -> Result<Secret, InitError> {
    if let Some(secret) = existing(path)? {
        return Ok(secret);
    }
    let secret = password()?;
    let line = format!("{}\n", secret.expose());
    let kept = keep_secret(path, line.as_bytes(), Survives::PowerCut);
    kept.map_err(|error| InitError::Io(path.into(), error))?;
    written.push(path.into());
    Ok(secret)
}

/// Starts the relay, or says what does; `changed` if it has to read something new.
async fn started(arguments: &Arguments, places: &Places, known: &Known, changed: bool) -> Started {
    if arguments.show {
        return Started::NotAsked;
    }
    let Some(manager) = places.manager else {
        return Started::Command(format!("stillwatch-relay --config {}", places.config.display()));
    };
    let usual_port = known.listen == DEFAULT_LISTEN;
    let names = units::of_relay(Needs { https: known.https, usual_port });
    if arguments.no_start {
        Started::by_hand(manager, &names)
    } else {
        start(manager, &names, changed).await
    }
}

/// Has the units started, now and at each boot; `changed` if they have to read something new.
async fn start(manager: Manager, names: &[&'static str], changed: bool) -> Started {
    if !manager.has_units().await {
        return Started::NoUnits(manager.command(names));
    }
    if changed {
        // One that runs already would not read it.
        for name in STOPPED {
            manager.stop(name).await;
        }
    }
    match manager.enable(names).await {
        Ok(()) => Started::Units(names.to_vec()),
        Err(why) => Started::Failed(manager.command(names), why),
    }
}

/// What is stopped before a start, in this order: through a socket that is open, the next camera that uploads would
/// start the service again, and systemd opens no socket for a service that runs.
const STOPPED: [&str; 3] = [units::SOCKET, units::WEB_SOCKET, units::SERVICE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_socket_is_open_any_more_when_the_service_is_stopped() {
        let every = units::of_relay(Needs { https: true, usual_port: true });
        assert_eq!(every, STOPPED, "none is left out, and the service comes last");
    }
}
