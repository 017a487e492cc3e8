//! What the journal can tell: every event has a name, an identity and an explanation.
//!
//! `STILLWATCH_EVENT=` holds the name, so that `journalctl STILLWATCH_EVENT=cure` finds all cures;
//! `MESSAGE_ID=` the identity that `journalctl -x` looks up in `systemd/*.catalog`, where its
//! explanation stands and what the camera's owner can do. Events are changes of state: nothing that
//! happens again and again, such as a retry, is one.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tracing::Level;

/// The field that holds the errno of a failed system call is systemd's own `ERRNO=`
/// (systemd.journal-fields(7)); the others are ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// Whose event it is: `camera`, `upload`, `wifi`, `disk` and so on.
    pub organ: &'a str,
    /// The rung of the organ's ladder.
    pub rung: Option<&'a str>,
    /// How long it has lasted.
    pub age: Option<Duration>,
    /// The system's number of an error.
    pub errno: Option<i32>,
    /// Which camera, where there are several.
    pub camera: Option<&'a str>,
    /// The state that it is in now: `live`, `stale` and so on.
    pub state: Option<&'a str>,
    /// The number of the frame that it is about.
    pub seq: Option<u64>,
    /// Who is at the other end.
    pub peer: Option<IpAddr>,
    /// A word for why: programs may look at it.
    pub reason: Option<&'a str>,
    /// On which way somebody is told.
    pub channel: Option<&'a str>,
    /// How often it happened.
    pub failures: Option<u64>,
    /// Of the program.
    pub version: Option<&'a str>,
}

impl<'a> About<'a> {
    /// Nothing but the organ is known.
    pub const fn organ(organ: &'a str) -> About<'a> {
        About {
            organ,
            rung: None,
            age: None,
            errno: None,
            camera: None,
            state: None,
            seq: None,
            peer: None,
            reason: None,
            channel: None,
            failures: None,
            version: None,
        }
    }

    /// The camera, of a relay that has several.
    pub fn camera(camera: &'a str) -> About<'a> {
        About { camera: Some(camera), ..About::organ("camera") }
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $level:ident, $id:literal;)*) => {
        /// See the module's documentation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event {
            $($(#[$doc])* $variant,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &'static [Event] = &[$(Event::$variant,)*];

            /// The value of `STILLWATCH_EVENT=`.
            pub fn name(self) -> &'static str {
                match self { $(Event::$variant => $name,)* }
            }

            /// The value of `MESSAGE_ID=`: 128 bits at random (sd_journal_get_catalog(3)).
            pub fn id(self) -> &'static str {
                match self { $(Event::$variant => $id,)* }
            }

            fn level(self) -> Level {
                match self { $(Event::$variant => Level::$level,)* }
            }
        }
    };
}

events! {
    /// An organ of the agent does not do its work.
    Trouble, "trouble", WARN, "241502b1e45c4b2facc17a06136821ce";
    /// An organ does its work again.
    WorksAgain, "works-again", INFO, "be4209ad3fc5488ba8f6f9a290e5af94";
    /// A rung of a ladder is tried.
    Cure, "cure", WARN, "0d4cb06f4f78435f8896e70c3ae8ae32";
    /// What a rung asked for could not be done.
    CureFailed, "cure-failed", WARN, "2f37791459a74e5c8de72649c72638c2";
    /// An organ is well again, and stayed so.
    Recovered, "recovered", INFO, "e812407349364a2b8e292a756786577a";
    /// All rungs were tried in vain; the ladder rests and begins anew later.
    GaveUp, "gave-up", ERROR, "f3e336e7a7d84b2b86b73c998ae0cbaf";
    /// No reboot is left: the machine stays up as it is.
    SafeMode, "safe-mode", ERROR, "a79730266fd84aae868a081b2f46635d";
    /// A loop of the agent makes no progress: systemd's watchdog is not fed.
    LoopStuck, "loop-stuck", ERROR, "7e0f440172ec46858dee6ccbb4d6db89";
    /// What the network looks like from here has changed.
    Network, "network", INFO, "1a6ce829cf824e10a90827e603f16704";
    /// The processor is too hot: fewer pictures are taken.
    Hot, "hot", WARN, "7c7f71b3898d4154a9806988e7daeea4";
    /// It is not too hot any more.
    Cooled, "cooled", INFO, "cd64c8ab274f442490669bcb03421df8";
    /// The supply's voltage was too low.
    Undervoltage, "undervoltage", WARN, "94cbb5caae33442b9ad2ae2a3c3a0110";
    /// The state directory can't be written to.
    DiskReadOnly, "disk-read-only", ERROR, "2f879eae00fa4ea7ab00d7ccc0a26ec8";
    /// The state directory has no room left.
    DiskFull, "disk-full", WARN, "33a8f765e6684f2884c53ecae50e130f";
    /// It can be written to again.
    DiskFine, "disk-fine", INFO, "3d11bf3dfdbe4cb8a6f2d80d56df1653";
    /// Memory runs out.
    MemoryLow, "memory-low", WARN, "e424321cfe55469b9cad4f4d051e68a0";
    /// Nobody sets the clock.
    ClockUnset, "clock-unset", WARN, "fe381be2337e45a986d83636ba099a5a";
    /// Somebody sets the clock again.
    ClockSet, "clock-set", INFO, "da840dd9c93c4c019ad789847beff745";
    /// The healer can't be reached: what needs root is left out.
    NoHealer, "no-healer", WARN, "bcd31a08646d4386a342ac528aa8ccc4";
    /// The button was held: the machine is shut down.
    Button, "button", WARN, "c0bf2373404347f485af803c442e8055";
    /// The healer is about to act.
    Healing, "healing", WARN, "f41c4b7536044fdd97a221bb0049ed6b";
    /// The healer has acted.
    Healed, "healed", INFO, "f8315d36525940c8a2400a2ff630a165";
    /// What the healer did has failed.
    HealFailed, "heal-failed", WARN, "c154296467a949d9a0094417f07998b1";
    /// The healer was asked for something that it does not do.
    Refused, "refused", WARN, "58b4d6d4a8614244aa023e79531974fb";
    /// The machine is about to be rebooted on purpose.
    Reboot, "reboot", WARN, "87bfa92cbab34ea0857bffd3eef94ea0";
    /// A reboot was asked for and none is left.
    BudgetEmpty, "budget-empty", ERROR, "ac0b1706b1db4eadad1f77e9fef54ac4";
    /// The file with the reboot budget is damaged.
    BudgetDamaged, "budget-damaged", WARN, "a1e3052f689e413e9e1ea8d2e300150a";
    /// The machine has started, and why.
    Booted, "booted", INFO, "00f78745be584a00bd7378b82d37d332";
    /// systemd has given up starting the agent.
    AgentFailed, "agent-failed", ERROR, "6ccb4ec9d10646bf82079df0214435c1";
    /// Frames are shared with other relays.
    ClusterWorks, "cluster-works", INFO, "c8848589d6d5448ea44439aa8443f5a6";
    /// There is no bus to share them by.
    ClusterAway, "cluster-away", WARN, "06381157e11b475fa448fd292c5fcca5";
    /// The bus is there, and somebody has to change something before it can be used.
    ClusterRefused, "cluster-refused", ERROR, "d7ea088b18cf426d9b86f8f55905ca2b";
    /// Another relay is not heard any more.
    ClusterRelayMissing, "cluster-relay-missing", WARN, "e4a1a19c6402464e88c58de23005f14d";
    /// There is no configuration: the setup access point can be joined.
    SetupOpen, "setup-open", WARN, "8d2391b6f380495fba930378145b41e1";
    /// The WiFi that was chosen does not work: the setup access point comes back.
    SetupFailed, "setup-failed", WARN, "4b9bf21972834c6ba5f256b1a4b58f52";
    /// The setup access point is closed.
    SetupClosed, "setup-closed", INFO, "30f56bc8a30e47f4902f027cd3b59f0c";
    /// A new system is written into the other slot.
    UpdateInstall, "update-install", INFO, "8726e7724bc24b83b021c2fde327807c";
    /// It could not be, or was interrupted.
    UpdateNotInstalled, "update-not-installed", WARN, "b5dd002b9ff64097bd1e4805f0825727";
    /// A bundle is none for this camera.
    UpdateRefused, "update-refused", WARN, "2f316ba070a043238ade9f3b6f32526d";
    /// A new system runs, and has to prove itself.
    UpdateTrial, "update-trial", INFO, "becfdce8931d48d880f01386e1597b90";
    /// It did, and is kept.
    UpdateKept, "update-kept", INFO, "e3004e82eaa94a1eab1e5db3d7da66c8";
    /// It did not: the old system runs, or is about to.
    UpdateTakenBack, "update-taken-back", WARN, "be6dc58ef3054d858e17de3325d37fcc";
    /// The relay has a newer system, which is fetched from now on.
    UpdateOffered, "update-offered", INFO, "3ba07941743146b3b62ceace86d70532";
    /// It is here, whole, and the updater's turn.
    UpdateFetched, "update-fetched", INFO, "6ba92e9e7a604f63ac711216d7d2261c";
    /// The relay has started.
    RelayStarted, "relay-started", INFO, "e5b95617488c4d9ebf9b8b016b627fc0";
    /// The relay was told to stop.
    RelayStopping, "relay-stopping", INFO, "85a0508dff304cf7bc724703b62d2a29";
    /// The relay ends because it can't go on.
    RelayFailed, "relay-failed", ERROR, "44734919eb08432b9802b8f5188e8587";
    /// A loop of the relay makes no progress: systemd's watchdog is not fed.
    RelayStuck, "relay-stuck", ERROR, "4db29d8de56b4e789df77479e0e218b4";
    /// A camera's first picture has come.
    CameraFirst, "camera-first", INFO, "4b10d8e2315a4a1a83d5065e34c7d379";
    /// A camera is live again.
    CameraAgain, "camera-again", INFO, "c326ea446f304a25a97056246e97d738";
    /// A camera sends no new picture.
    CameraStale, "camera-stale", WARN, "a8cee71a79604b68bd8e55450d3bfd2c";
    /// A camera sends the same picture again and again.
    CameraFrozen, "camera-frozen", WARN, "7259b7b5b6184fbe8c04dcea69f6ead6";
    /// Nothing comes from a camera.
    CameraOffline, "camera-offline", WARN, "c3aeef958bc74971a455c27e3b672912";
    /// Uploads are refused.
    UploadsRefused, "uploads-refused", WARN, "2e80f9e90b7d466d829a33e946c06331";
    /// Uploads are accepted again.
    UploadsAgain, "uploads-accepted-again", INFO, "3df9ac260fb5461baa5ef11cd0cf9a82";
    /// Frames are shown, and not kept.
    StoreDegraded, "store-degraded", ERROR, "b1e5be8026164c71a22673754bf8f5ae";
    /// They are kept again.
    StoreWorks, "store-works-again", INFO, "bfd9ca693f8548789329f5c2f2e736cf";
    /// Files for a web server, or objects in a bucket, can't be written.
    ExportDegraded, "export-degraded", ERROR, "431cd4d78efe43eba99705e7dd41269e";
    /// They are written again.
    ExportWorks, "export-works-again", INFO, "273380319b9048228d7039b7994ec699";
    /// A connection was refused: there are as many as there may be.
    ConnectionsLimit, "connections-limit", WARN, "54cf7ffc934940f2b46e0c60ef26bb78";
    /// Connections can't be accepted.
    AcceptFails, "accept-failing", ERROR, "3890a22afb7a4df7b59bf410e23c39a6";
    /// They are accepted again.
    AcceptWorks, "accept-works-again", INFO, "284999aca6bb498d8a2437c1b0d805bf";
    /// Nobody can be told of trouble, on one channel.
    NotifyFails, "notify-failing", WARN, "332860436d684ef3bdf58134d82f10a1";
    /// They are told again.
    NotifyWorks, "notify-works-again", INFO, "bb74b77839814ef8aae01e802aca6bca";
    /// A camera's uploads come from an address from which none came for a day.
    UploadFrom, "upload-from", INFO, "821054e0308744b1a4bafb40edf725d5";
    /// Somebody guesses passwords faster than is allowed.
    Guessing, "guessing", WARN, "f983a29147484f11a1b9640482e2da8f";
    /// Nobody guesses from there any more.
    GuessingEnded, "guessing-ended", INFO, "0a319dd3658f4f81910e81a0f26fe397";
    /// A password for uploads was made.
    PasswordAdded, "password-added", INFO, "25b760cfd93741bf84f2b515ca829344";
    /// A password for uploads opens nothing any more.
    PasswordRetired, "password-retired", INFO, "7235036b0f6e4e7fa45135ecf1ea6996";
    /// All links to private cameras have ended.
    LinksRevoked, "links-revoked", WARN, "1ed4ab06930b45d48e4dec249d9a5ddf";
    /// The owner comes from an address from which nobody came as the owner for a day.
    OwnerFrom, "owner-from", INFO, "9984f8b4f80042959c0f310649cf8f2e";
    /// A wrong password for the owner's page.
    OwnerPasswordWrong, "owner-password-wrong", WARN, "1f2fb5dc4d674baa904d3fbf20da81d7";
    /// A private camera is seen from an address from which it was not seen for a day.
    ViewedFrom, "viewed-from", INFO, "65e366963c1c408598a800e395940016";
}

impl Event {
    /// Writes it to the log, as one plain `sentence`.
    pub fn say(self, about: About<'_>, sentence: fmt::Arguments<'_>) {
        /// tracing wants the level as a constant.
        macro_rules! at {
            ($level:expr, $about:expr, $age_ms:expr) => {
                tracing::event!(
                    $level,
                    stillwatch_event = self.name(),
                    message_id = self.id(),
                    organ = $about.organ,
                    rung = $about.rung,
                    age_ms = $age_ms,
                    errno = $about.errno,
                    camera = $about.camera.map(display),
                    state = $about.state,
                    seq = $about.seq,
                    peer = $about.peer.map(display),
                    reason = $about.reason,
                    channel = $about.channel,
                    failures = $about.failures,
                    version = $about.version,
                    "{sentence}"
                )
            };
        }
        let age_ms = about.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        match self.level() {
            Level::ERROR => at!(Level::ERROR, about, age_ms),
            Level::WARN => at!(Level::WARN, about, age_ms),
            _ => at!(Level::INFO, about, age_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_identities_are_unique() {
        let names: HashSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        let ids: HashSet<_> = Event::ALL.iter().map(|event| event.id()).collect();
        assert_eq!((names.len(), ids.len()), (Event::ALL.len(), Event::ALL.len()));
        let hexadecimal = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(ids.iter().all(|id| hexadecimal(id)), "{ids:?}");
    }

    #[test]
    fn each_is_explained_in_one_catalog() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd");
        // The relay's is apart: two packages may not have one file.
        let read = |name| std::fs::read_to_string(format!("{folder}/{name}.catalog")).unwrap();
        let catalog = read("stillwatch") + &read("stillwatch-relay");
        let entries: Vec<&str> =
            catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        for event in Event::ALL {
            assert!(entries.contains(&event.id()), "no entry -- {} for {event:?}", event.id());
        }
        assert_eq!(entries.len(), Event::ALL.len(), "entries of no event");
    }
}
