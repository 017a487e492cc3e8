//! Every setting of the agent, with its default and its limits: from raw text to a `Config` that
//! leaves nothing to interpret. Reading the layers is `runtime::settings`' work.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frame::CameraId;
use frame::sign::SignKey;
use runtime::clock;
use runtime::heal;
use runtime::manual::ConfigurationPage;
use runtime::secret::{Secret, SecretError};
use runtime::settings::{self, ConfigError, Key, Kind, Layers, Size};
use runtime::update::{self, Window};
use serde::Deserialize;
use url::Url;

use crate::cli;
use crate::offline::OfflineConfig;
use crate::sensor::Manner;
use crate::supervise::plans::{self, Action};
use crate::upload::{AdaptConfig, Choice, Key as RelayKey, Trust, authorities, is_local};

/// Read if it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/stillwatch/agent.toml";

/// For its man page.
pub(crate) const PAGE: ConfigurationPage = ConfigurationPage { file: DEFAULT_FILE, keys: KEYS };

/// The password's variable; `STILLWATCH_` is every key's prefix, and this is no key, so that the
/// password is never written into a configuration file that others may read.
const PASSWORD_VARIABLE: &str = "STILLWATCH_PASSWORD";

/// Where the image's initrd has mounted the slot (image/initrd/init).
const SLOT: &str = "/run/initramfs/slot";

/// All keys: docs/configuration.md shows this table.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "camera.id",
        kind: Kind::Text,
        default: "\"default\"",
        help: "Name of this camera at the relay: 1 to 32 of a-z, 0-9 and `-`. Flag `--camera`.",
    },
    Key {
        name: "camera.source",
        kind: Kind::Choice(&["auto", "v4l2", "rpicam", "directory", "pattern"]),
        default: "\"auto\"",
        help: "Where pictures come from. `auto` is the first camera found: v4l2, then rpicam. Flag `--source`.",
    },
    Key {
        name: "camera.device",
        kind: Kind::Text,
        default: "",
        help: "Device of the source v4l2, such as `/dev/v4l/by-id/…` or `/dev/video0`; the first that captures, if not given. Flag `--device`.",
    },
    Key {
        name: "camera.path",
        kind: Kind::Text,
        default: "",
        help: "Folder of the source directory. Flag `--path`.",
    },
    Key {
        name: "camera.directory_mode",
        kind: Kind::Choice(&["newest", "cycle"]),
        default: "\"newest\"",
        help: "`newest` uploads the folder's newest JPEG whenever there is a newer one, with its file's time; `cycle` plays all of them in turn, by name.",
    },
    Key {
        name: "camera.size",
        kind: Kind::Size,
        default: "\"1280x720\"",
        help: "Size asked of the camera; it may choose the nearest it has. Flag `--size`.",
    },
    Key {
        name: "camera.fps",
        kind: Kind::Number(0.01, 120.0),
        default: "5",
        help: "Pictures per second; a faster camera's are left out. Flag `--fps`.",
    },
    Key {
        name: "camera.quality",
        kind: Kind::Integer(1, 100),
        default: "85",
        help: "JPEG quality where the agent or rpicam-vid encodes; a camera's own JPEGs pass untouched. Flag `--quality`.",
    },
    Key {
        name: "camera.warm_up",
        kind: Kind::Duration(0, 60_000),
        default: "\"1s\"",
        help: "Pictures of a real camera are left out for this long after it was opened, until exposure and colours have settled.",
    },
    Key {
        name: "camera.frame_timeout",
        kind: Kind::Duration(200, 600_000),
        default: "\"5s\"",
        help: "No picture for this long (or for three of the camera's intervals, if that is longer) counts as a failure: the camera is closed and opened again. (A folder without new pictures is no failure.)",
    },
    Key {
        name: "camera.rpicam_command",
        kind: Kind::Text,
        default: "\"rpicam-vid\"",
        help: "Program of the source rpicam (`libcamera-vid` on older systems).",
    },
    Key {
        name: "camera.rpicam_arguments",
        kind: Kind::Text,
        default: "",
        help: "More arguments for it, separated by blanks, such as `--rotation 180 --awb daylight`.",
    },
    Key {
        name: "camera.power_gpio",
        kind: Kind::Integer(0, 27),
        default: "",
        help: "BCM number of a GPIO pin that switches the camera's power (a relay, a MOSFET): a camera that nothing else brings back is switched off and on.",
    },
    Key {
        name: "camera.power_active",
        kind: Kind::Choice(&["high", "low"]),
        default: "\"high\"",
        help: "At which level of that pin the camera has power.",
    },
    Key {
        name: "upload.relay",
        kind: Kind::Text,
        default: "",
        help: "Where to upload to, such as `http://host:5000/`; the tutorial's `http://host:5000/?password=…` works too. Several, separated by spaces, are tried in this order. Flag `--relay`.",
    },
    Key {
        name: "upload.plain_http",
        kind: Kind::Flag,
        default: "false",
        help: "Whether an `http://` relay may be outside the local network: everybody on the way can then read the password. Flag `--plain-http`.",
    },
    Key {
        name: "upload.ca_file",
        kind: Kind::Text,
        default: "",
        help: "File with certificates (PEM) of authorities to trust for `https://` beside the system's, such as your own.",
    },
    Key {
        name: "upload.pin",
        kind: Kind::Text,
        default: "",
        help: "Keys that the relay may have, separated by spaces, such as `sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=` (of the public key, as curl's `--pinnedpubkey`). Then no authority, name or time of its certificate matters.",
    },
    Key {
        name: "upload.password_file",
        kind: Kind::Text,
        default: "",
        help: "File with the relay's password, one line, readable by its owner only. Flag `--password-file`.",
    },
    Key {
        name: "upload.sign_key_file",
        kind: Kind::Text,
        default: "",
        help: "File with a key to sign pictures with, one line, readable by its owner only; the relay has the same in `cameras.*.sign_key_file`.",
    },
    Key {
        name: "upload.transport",
        kind: Kind::Choice(&["auto", "websocket", "http"]),
        default: "\"auto\"",
        help: "How pictures are sent: over a WebSocket, by POST (`http`), or (`auto`) over a WebSocket and by POST where the relay or a proxy takes none. Flag `--transport`.",
    },
    Key {
        name: "upload.timeout",
        kind: Kind::Duration(100, 300_000),
        default: "\"10s\"",
        help: "An upload that takes longer is given up, and the newest picture is tried instead.",
    },
    Key {
        name: "upload.retry_min",
        kind: Kind::Duration(10, 60_000),
        default: "\"200ms\"",
        help: "Wait after the first failure; doubled with each further one.",
    },
    Key {
        name: "upload.retry_max",
        kind: Kind::Duration(10, 600_000),
        default: "\"2s\"",
        help: "The longest wait between two attempts: so soon a camera is live again when the network is.",
    },
    Key {
        name: "upload.adapt",
        kind: Kind::Flag,
        default: "true",
        help: "Whether pictures are made smaller while the network is too slow for them: first worse, then narrower.",
    },
    Key {
        name: "upload.transfer",
        kind: Kind::Duration(50, 60_000),
        default: "\"500ms\"",
        help: "How long a picture may take to get through before it is made smaller.",
    },
    Key {
        name: "upload.min_width",
        kind: Kind::Integer(1, 65_535),
        default: "320",
        help: "Pictures are not made narrower than this, in pixels.",
    },
    Key {
        name: "upload.min_quality",
        kind: Kind::Integer(1, 100),
        default: "40",
        help: "Nor of a lower JPEG quality than this; 100: never encoded anew.",
    },
    Key {
        name: "upload.idle_interval",
        kind: Kind::Duration(1_000, 3_600_000),
        default: "",
        help: "While nobody watches for 30 s, only one picture in this time is sent; all of them again as soon as somebody does. Keep it below the relay's `freshness.stale_after`. If not given: always all of them.",
    },
    Key {
        name: "offline.interval",
        kind: Kind::Duration(1_000, 86_400_000),
        default: "\"10s\"",
        help: "While the relay can't be reached, one picture in this time is kept, and sent for its history later (over a WebSocket only).",
    },
    Key {
        name: "offline.max_bytes",
        kind: Kind::Integer(0, 1_125_899_906_842_624),
        default: "33554432",
        help: "Most bytes of these pictures; beyond it the oldest goes. 0: none are kept.",
    },
    Key {
        name: "offline.dir",
        kind: Kind::Text,
        default: "",
        help: "Folder where these pictures survive a power cut. If not given: they are kept in memory only.",
    },
    Key {
        name: "heal.camera",
        kind: Kind::Text,
        default: "\"reopen other-format helper usb rebind power reboot\"",
        help: "What is tried when no pictures come from the camera, in this order; leave out what must not be. See [healing.md](healing.md).",
    },
    Key {
        name: "heal.wifi",
        kind: Kind::Text,
        default: "\"reassociate rescan cycle restart reload rebind reboot\"",
        help: "The same when the WiFi does not work and this machine is to blame.",
    },
    Key {
        name: "heal.reboot",
        kind: Kind::Flag,
        default: "true",
        help: "Whether the machine may be rebooted, within its budget; `false` takes `reboot` out of both ladders.",
    },
    Key {
        name: "heal.max_temperature",
        kind: Kind::Integer(30, 120),
        default: "80",
        help: "From this temperature of the processor on, in °C, fewer pictures are taken.",
    },
    Key {
        name: "heal.socket",
        kind: Kind::Text,
        default: "\"/run/stillwatch/healer.sock\"",
        help: "Where the healer listens, the program that may do what needs root. Without it the agent does what it can do by itself.",
    },
    Key {
        name: "watchdog.device",
        kind: Kind::Text,
        default: "",
        help: "A watchdog that the agent feeds itself, such as `/dev/watchdog1` (systemd has the first): after 60 s without progress it resets the machine.",
    },
    Key {
        name: "button.gpio",
        kind: Kind::Integer(0, 27),
        default: "",
        help: "BCM number of the GPIO pin of a button to ground: held for 5 s it shuts the machine down.",
    },
    Key {
        name: "led.gpio",
        kind: Kind::Integer(0, 27),
        default: "",
        help: "BCM number of the GPIO pin of a status LED: steady while pictures arrive, else it flashes: once for the relay, twice for the WiFi, three times for the camera, four times for the system, five times in safe mode.",
    },
    Key {
        name: "viewer.listen",
        kind: Kind::Text,
        default: "",
        help: "Address and port of the local viewer, a page with the newest picture and the status, for who aims the camera: `[::]:8080`, or `[::]:80` with the unit's drop-in in [systemd/README.md](../systemd/README.md). Everybody in the local network can see it. If not given: nothing listens. See [viewer.md](viewer.md).",
    },
    Key {
        name: "update.enabled",
        kind: Kind::Flag,
        default: "true",
        help: "Whether updates of the whole system that the relay offers are fetched, where the system can be updated (the SD card's image).",
    },
    Key {
        name: "update.window",
        kind: Kind::Text,
        default: "\"02:00-05:00\"",
        help: "The hours of the day in which they are installed, by the camera's own time zone; `22:00-04:00` goes over midnight, `00:00-24:00` is any time; so is every hour of a clock that nobody ever set.",
    },
    Key {
        name: "update.poll",
        kind: Kind::Duration(1_000, 86_400_000),
        default: "\"5m\"",
        help: "How often the relay is asked for one, give or take a quarter.",
    },
    Key {
        name: "update.max_rate",
        kind: Kind::Integer(0, 1_125_899_906_842_624),
        default: "0",
        help: "Most bytes a second that fetching one takes; 0: as many as the live picture leaves, and half of what the link carries at most.",
    },
    Key {
        name: "update.state",
        kind: Kind::Text,
        default: "\"/run/stillwatch/update.json\"",
        help: "Where the updater says what it does, the program that installs them. Without this file nothing is fetched.",
    },
    Key {
        name: "update.slot",
        kind: Kind::Text,
        default: "\"/run/initramfs/slot\"",
        help: "Where the files of the system that runs are: blocks that an update has in common with them are not fetched.",
    },
    Key {
        name: "agent.clock",
        kind: Kind::Choice(&["auto", "trusted", "untrusted"]),
        default: "\"auto\"",
        help: "Whether capture times can be believed: `auto` asks the kernel whether the clock is synchronised, `trusted` says so where nobody tells the kernel (a container, a virtual machine), `untrusted` that it is never right.",
    },
    Key {
        name: "agent.status_file",
        kind: Kind::Text,
        default: "",
        help: "Where the running agent writes its status each second; `status.json` in systemd's runtime directory or `/run/stillwatch-agent` or `$XDG_RUNTIME_DIR`, if not given.",
    },
];

/// Where pictures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    Auto,
    V4l2,
    Rpicam,
    Directory,
    Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DirectoryMode {
    Newest,
    Cycle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockTrust {
    Auto,
    Trusted,
    Untrusted,
}

impl ClockTrust {
    /// Whether the wall clock shows the time.
    pub(crate) fn believes_clock(self) -> bool {
        match self {
            ClockTrust::Auto => clock::synchronised(),
            ClockTrust::Trusted => true,
            ClockTrust::Untrusted => false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CameraConfig {
    pub id: String,
    pub source: SourceKind,
    pub device: Option<PathBuf>,
    pub path: Option<PathBuf>,
    pub directory_mode: DirectoryMode,
    pub size: Size,
    pub fps: f64,
    pub quality: u8,
    #[serde(deserialize_with = "settings::duration")]
    pub warm_up: Duration,
    #[serde(deserialize_with = "settings::duration")]
    pub frame_timeout: Duration,
    pub rpicam_command: PathBuf,
    pub rpicam_arguments: String,
    pub power_gpio: Option<u8>,
    pub power_active: Level,
    /// No setting: what the camera's ladder asks for.
    #[serde(skip)]
    pub manner: Manner,
}

/// Of a GPIO pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    High,
    Low,
}

impl Default for CameraConfig {
    fn default() -> Self {
        CameraConfig {
            id: CameraId::default().to_string(),
            source: SourceKind::Auto,
            device: None,
            path: None,
            directory_mode: DirectoryMode::Newest,
            size: Size { width: 1280, height: 720 },
            fps: 5.0,
            quality: 85,
            warm_up: Duration::from_secs(1),
            frame_timeout: Duration::from_secs(5),
            rpicam_command: "rpicam-vid".into(),
            rpicam_arguments: String::new(),
            power_gpio: None,
            power_active: Level::High,
            manner: Manner::Usual,
        }
    }
}

impl CameraConfig {
    /// The time between two pictures.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps)
    }

    /// How long without a picture is a failure.
    pub(crate) fn patience(&self) -> Duration {
        self.frame_timeout.max(self.interval() * 3)
    }

    /// The longest that a healthy source may keep us waiting: just opened, and warming up.
    pub(crate) fn longest_turn(&self) -> Duration {
        self.patience() + self.warm_up
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawUpload {
    relay: Option<String>,
    plain_http: bool,
    ca_file: Option<PathBuf>,
    pin: Option<String>,
    password_file: Option<PathBuf>,
    sign_key_file: Option<PathBuf>,
    transport: Choice,
    #[serde(deserialize_with = "settings::duration")]
    timeout: Duration,
    #[serde(deserialize_with = "settings::duration")]
    retry_min: Duration,
    #[serde(deserialize_with = "settings::duration")]
    retry_max: Duration,
    adapt: bool,
    #[serde(deserialize_with = "settings::duration")]
    transfer: Duration,
    min_width: u16,
    min_quality: u8,
    #[serde(deserialize_with = "settings::optional_duration")]
    idle_interval: Option<Duration>,
}

impl Default for RawUpload {
    fn default() -> Self {
        RawUpload {
            relay: None,
            plain_http: false,
            ca_file: None,
            pin: None,
            password_file: None,
            sign_key_file: None,
            transport: Choice::Auto,
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(2),
            adapt: true,
            transfer: Duration::from_millis(500),
            min_width: 320,
            min_quality: 40,
            idle_interval: None,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawOffline {
    #[serde(deserialize_with = "settings::duration")]
    interval: Duration,
    max_bytes: u64,
    dir: Option<PathBuf>,
}

impl Default for RawOffline {
    fn default() -> Self {
        RawOffline { interval: Duration::from_secs(10), max_bytes: 32 << 20, dir: None }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHeal {
    camera: String,
    wifi: String,
    reboot: bool,
    max_temperature: u8,
    socket: PathBuf,
}

impl Default for RawHeal {
    fn default() -> Self {
        let names = |rungs: &[Action]| -> String {
            rungs.iter().map(|rung| rung.name()).collect::<Vec<_>>().join(" ")
        };
        RawHeal {
            camera: names(&plans::CAMERA),
            wifi: names(&plans::WIFI),
            reboot: true,
            max_temperature: 80,
            socket: heal::SOCKET.into(),
        }
    }
}

/// How the machine is healed.
#[derive(Debug, Clone)]
pub(crate) struct HealConfig {
    /// The ladders' rungs.
    pub camera: Vec<Action>,
    pub wifi: Vec<Action>,
    /// In °C.
    pub max_temperature: f32,
    pub socket: PathBuf,
}

impl HealConfig {
    fn new(raw: &RawHeal, place: impl Fn(&str) -> String) -> Result<HealConfig, ConfigError> {
        let rungs = |key: &str, text: &str, all: &[Action]| {
            let mut rungs = plans::parse(text, all)
                .map_err(|why| ConfigError::Value(format!("{}{key}: {why}", place(key))))?;
            rungs.retain(|rung| raw.reboot || *rung != Action::Reboot);
            Ok::<_, ConfigError>(rungs)
        };
        Ok(HealConfig {
            camera: rungs("heal.camera", &raw.camera, &plans::CAMERA)?,
            wifi: rungs("heal.wifi", &raw.wifi, &plans::WIFI)?,
            max_temperature: raw.max_temperature.into(),
            socket: raw.socket.clone(),
        })
    }
}

/// A GPIO pin, or none.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawPin {
    gpio: Option<u8>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawWatchdog {
    device: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawViewer {
    listen: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawUpdate {
    enabled: bool,
    window: String,
    #[serde(deserialize_with = "settings::duration")]
    poll: Duration,
    max_rate: u64,
    state: PathBuf,
    slot: PathBuf,
}

impl Default for RawUpdate {
    fn default() -> Self {
        RawUpdate {
            enabled: true,
            window: update::WINDOW.to_owned(),
            poll: Duration::from_secs(300),
            max_rate: 0,
            state: update::STATE.into(),
            slot: SLOT.into(),
        }
    }
}

/// How updates of the whole system are fetched. When they are installed is the updater's affair.
#[derive(Debug, Clone)]
pub(crate) struct UpdateConfig {
    /// Otherwise nothing is fetched, and only what runs is told.
    pub enabled: bool,
    /// How often the relay is asked.
    pub poll: Duration,
    /// In bytes a second; `None`: whatever the live picture leaves.
    pub max_rate: Option<u64>,
    /// The updater's file.
    pub state: PathBuf,
    /// The files of the system that runs.
    pub slot: PathBuf,
}

impl UpdateConfig {
    fn new(raw: &RawUpdate, place: &str) -> Result<UpdateConfig, ConfigError> {
        // The updater reads the same line, and has nobody whom it could tell.
        let _: Window = raw
            .window
            .parse()
            .map_err(|why| ConfigError::Value(format!("{place}update.window: {why}")))?;
        let max_rate = (raw.max_rate > 0).then_some(raw.max_rate);
        let RawUpdate { enabled, poll, .. } = *raw;
        let (state, slot) = (raw.state.clone(), raw.slot.clone());
        Ok(UpdateConfig { enabled, poll, max_rate, state, slot })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAgent {
    clock: ClockTrust,
    status_file: Option<PathBuf>,
}

impl Default for RawAgent {
    fn default() -> Self {
        RawAgent { clock: ClockTrust::Auto, status_file: None }
    }
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    camera: CameraConfig,
    upload: RawUpload,
    offline: RawOffline,
    heal: RawHeal,
    watchdog: RawWatchdog,
    button: RawPin,
    led: RawPin,
    viewer: RawViewer,
    update: RawUpdate,
    agent: RawAgent,
}

/// A relay.
#[derive(Debug, Clone)]
pub(crate) struct RelayAddress {
    /// Upload URL with everything but the password.
    pub url: Url,
    /// What is above its cameras.
    pub root: Url,
    pub password: Secret,
}

/// Where and how to upload.
#[derive(Debug, Clone)]
pub(crate) struct UploadConfig {
    /// In the order of preference; one at least.
    pub relays: Vec<RelayAddress>,
    pub trust: Trust,
    /// What frames are signed with.
    pub sign_key: Option<SignKey>,
    /// Whether this machine's clock is.
    pub clock: ClockTrust,
    pub transport: Choice,
    pub timeout: Duration,
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// `None`: pictures are sent as they are, whatever the network.
    pub adapt: Option<AdaptConfig>,
    /// `None`: as many are sent whether anybody watches or not.
    pub idle_interval: Option<Duration>,
}

impl UploadConfig {
    /// Where to, for people.
    pub(crate) fn addresses(&self) -> String {
        let urls: Vec<&str> = self.relays.iter().map(|relay| relay.url.as_str()).collect();
        urls.join(" ")
    }
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub id: CameraId,
    pub camera: CameraConfig,
    /// `None` if no relay is named, or nobody asked: see [`Config::load`].
    pub upload: Option<UploadConfig>,
    pub offline: OfflineConfig,
    pub heal: HealConfig,
    pub watchdog: Option<PathBuf>,
    pub button_gpio: Option<u8>,
    pub led_gpio: Option<u8>,
    /// Where the local viewer listens; `None`: nowhere.
    pub viewer: Option<SocketAddr>,
    pub update: UpdateConfig,
    pub clock: ClockTrust,
    pub status_file: PathBuf,
    /// Variables that look like ours and name no key.
    pub unknown_variables: Vec<String>,
}

impl Config {
    /// Reads file, environment and flags. Only `with_upload` reads where and with which password to
    /// upload: whoever may ask for the status need not be allowed to read that.
    pub(crate) fn load(flags: &cli::Settings, with_upload: bool) -> Result<Config, ConfigError> {
        let file = settings::file_to_read(flags.config.as_deref(), Path::new(DEFAULT_FILE));
        let variables = std::env::vars()
            .filter(|(name, _)| name != PASSWORD_VARIABLE && name != runtime::log::FILTER_VARIABLE)
            .collect();
        let layers = Layers { keys: KEYS, file, variables, flags: flags.flags() };
        let loaded = settings::load::<RawConfig>(layers)?;
        let place = |key: &str| loaded.origin(key).map(|o| format!("{o}: ")).unwrap_or_default();
        let RawConfig { camera, upload, offline, heal, watchdog, .. } = &loaded.value;
        let RawConfig { button, led, viewer, update, agent, .. } = &loaded.value;
        let id = camera.id.parse().map_err(|error| {
            ConfigError::Value(format!("{}camera.id: {error}", place("camera.id")))
        })?;
        if camera.source == SourceKind::Directory && camera.path.is_none() {
            let why = "camera.source is \"directory\" but camera.path is not set: name the folder";
            return Err(ConfigError::Value(format!("{}{why}", place("camera.source"))));
        }
        let upload = match &upload.relay {
            _ if !with_upload => None,
            Some(relay) => {
                Some(UploadConfig::new(relay, agent.clock, &place("upload.relay"), &id, upload)?)
            }
            None => None,
        };
        Ok(Config {
            id,
            camera: camera.clone(),
            upload,
            offline: OfflineConfig {
                interval: offline.interval,
                max_bytes: offline.max_bytes,
                folder: offline.dir.clone(),
            },
            heal: HealConfig::new(heal, place)?,
            watchdog: watchdog.device.clone(),
            button_gpio: button.gpio,
            led_gpio: led.gpio,
            viewer: viewer_address(viewer, &place("viewer.listen"))?,
            update: UpdateConfig::new(update, &place("update.window"))?,
            clock: agent.clock,
            status_file: agent.status_file.clone().unwrap_or_else(default_status_file),
            unknown_variables: loaded.unknown_variables.clone(),
        })
    }
}

impl UploadConfig {
    fn new(
        relay: &str,
        clock: ClockTrust,
        place: &str,
        id: &CameraId,
        raw: &RawUpload,
    ) -> Result<Self, ConfigError> {
        let relays = relay.split_whitespace().map(|url| RelayAddress::new(url, place, id, raw));
        let relays: Vec<RelayAddress> = relays.collect::<Result<_, _>>()?;
        if relays.is_empty() {
            let why = "upload.relay: names no relay; write http://host:5000/";
            return Err(ConfigError::Value(format!("{place}{why}")));
        }
        let RawUpload { transport, timeout, retry_min, retry_max, idle_interval, .. } = *raw;
        let RawUpload { transfer, min_width, min_quality, .. } = *raw;
        let adapt = raw.adapt.then_some(AdaptConfig { transfer, min_width, min_quality });
        let trust = trust(raw)?;
        let sign_key = raw.sign_key_file.as_deref().map(Secret::read).transpose()?;
        let sign_key = sign_key.map(|key| SignKey::new(key.expose()));
        Ok(UploadConfig {
            relays,
            trust,
            sign_key,
            clock,
            transport,
            timeout,
            retry_min,
            retry_max,
            adapt,
            idle_interval,
        })
    }
}

fn trust(raw: &RawUpload) -> Result<Trust, ConfigError> {
    let wrong = |key: &str, why: &str| ConfigError::Value(format!("{key}: {why}"));
    match (&raw.pin, &raw.ca_file) {
        (Some(_), Some(_)) => {
            Err(wrong("upload.pin", "upload.ca_file is set, too, and would not matter: unset one"))
        }
        (Some(keys), None) => {
            let keys: Vec<RelayKey> = keys
                .split_whitespace()
                .map(|key| key.parse().map_err(|why| wrong("upload.pin", why)))
                .collect::<Result<_, _>>()?;
            if keys.is_empty() {
                return Err(wrong("upload.pin", "names no key"));
            }
            Ok(Trust::Keys(keys))
        }
        (None, file) => {
            let found = file.as_deref().map(authorities).transpose();
            let found = found.map_err(|why| wrong("upload.ca_file", &why))?;
            Ok(Trust::Authorities(found.unwrap_or_default()))
        }
    }
}

impl RelayAddress {
    fn new(relay: &str, place: &str, id: &CameraId, raw: &RawUpload) -> Result<Self, ConfigError> {
        let wrong = |what: &str| ConfigError::Value(format!("{place}upload.relay: {what}"));
        // The URL may hold the password: the message must not repeat it.
        let mut url = Url::parse(relay)
            .map_err(|error| wrong(&format!("not a URL ({error}); write http://host:5000/")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("not a relay's URL; write http://host:5000/"));
        }
        let local = url.host().is_some_and(|host| is_local(&host));
        if url.scheme() == "http" && !local && !raw.plain_http {
            let host = url.host_str().unwrap_or_default();
            return Err(wrong(&format!(
                "everybody on the way to {host} could read the password; write https://, or, if that \
                 is what you want, upload.plain_http = true (--plain-http)",
            )));
        }
        let (passwords, others): (Vec<_>, Vec<_>) =
            url.query_pairs().into_owned().partition(|(name, _)| name == "password");
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
        let root = url.clone();
        // The tutorial's server knows one camera and one path; any other camera has its own.
        if *id != CameraId::default() {
            url.path_segments_mut()
                .map_err(|()| wrong("not a relay's URL"))?
                .pop_if_empty()
                .extend(["cameras", id.as_str()]);
        }
        let in_url = passwords.first().and_then(|(_, password)| Secret::new(password));
        let password = find_password(raw, in_url)?.ok_or_else(|| {
            ConfigError::Value(format!(
                "no password for the relay: set {PASSWORD_VARIABLE}, upload.password_file \
                 (--password-file), or write it into the URL as ?password=…"
            ))
        })?;
        Ok(RelayAddress { url, root, password })
    }
}

fn viewer_address(raw: &RawViewer, place: &str) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = &raw.listen else { return Ok(None) };
    let address = text.parse().map_err(|_| {
        let why = "is no address with a port; write \"[::]:8080\" or \"192.168.1.7:8080\"";
        ConfigError::Value(format!("{place}viewer.listen: \"{text}\" {why}"))
    })?;
    Ok(Some(address))
}

/// A file that was named wins, then systemd's credential, the variable, and the URL.
fn find_password(raw: &RawUpload, in_url: Option<Secret>) -> Result<Option<Secret>, SecretError> {
    if let Some(path) = &raw.password_file {
        return Secret::read(path).map(Some);
    }
    if let Some(secret) = Secret::credential("password")? {
        return Ok(Some(secret));
    }
    let in_variable = std::env::var(PASSWORD_VARIABLE).ok();
    Ok(in_variable.as_deref().and_then(Secret::new).or(in_url))
}

fn default_status_file() -> PathBuf {
    let system = PathBuf::from("/run/stillwatch-agent");
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("RUNTIME_DIRECTORY")
        .or_else(|| system.is_dir().then_some(system))
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|base| base.join("stillwatch-agent")))
        .unwrap_or_else(|| std::env::temp_dir().join("stillwatch-agent"))
        .join("status.json")
}

#[cfg(test)]
mod tests;
