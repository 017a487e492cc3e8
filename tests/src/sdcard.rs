//! The SD card as its owner prepares it: the image, and one file in it; with the test bed's cameras and
//! access point around it (`tests/guest/`).

use std::fs;

use testbed::machine::{HOST, Payload, SdCard};
use testbed::usbcam::UsbCamera;

use crate::{PASSWORD, Relay, of_repository};

/// vivid, whose pictures are encoded by the agent: small ones, for a machine that is emulated.
pub const VIVID: &str = "[camera]\nsource = \"v4l2\"\nsize = \"320x240\"\nfps = 2\n";

/// What the owner writes into `stillwatch.toml` for `relay`; `settings` are further sections.
pub fn configuration(relay: &Relay, settings: &str) -> String {
    let port = relay.address.port();
    format!("[relay]\nurl = \"http://{HOST}:{port}/\"\npassword = \"{PASSWORD}\"\n{settings}")
}

/// A flashed card with that on it.
///
/// # Panics
/// There is no image.
pub fn card_for(relay: &Relay, settings: &str) -> SdCard {
    configured(SdCard::flashed(), relay, settings)
}

/// With that on it.
///
/// # Panics
/// It can't be written.
#[must_use]
pub fn configured(card: SdCard, relay: &Relay, settings: &str) -> SdCard {
    card.write("stillwatch.toml", configuration(relay, settings));
    card
}

/// With the kernel's own test camera.
#[must_use]
pub fn with_vivid(card: SdCard) -> SdCard {
    let unit = "[Unit]\nBefore=stillwatch-agent.service\n[Service]\nType=oneshot\n\
                ExecStart=modprobe vivid n_devs=1 node_types=0x1\n";
    card.with('v', unit)
}

/// With a USB socket that `camera` is plugged into, whenever it is.
///
/// # Panics
/// The test bed's files are not there.
#[must_use]
pub fn with_usb_camera(card: SdCard, camera: &UsbCamera) -> SdCard {
    let unit = format!("{}Environment=PORT={}\n", unit("usb-socket"), camera.port());
    card.with('u', &unit).beside(|files| script(files, "usb-socket"))
}

/// With an access point as the only way out, which sends with this key.
///
/// # Panics
/// The test bed's files are not there.
#[must_use]
pub fn with_access_point(card: SdCard, key: &str) -> SdCard {
    let before = "ExecStartPre=install -D -m 0600 /usr/lib/guest/key /var/lib/access-point/key\n";
    let options = "ExecStartPre=modprobe mac80211_hwsim radios=2\n";
    card.with('a', &format!("[Service]\n{before}{options}{}", unit("access-point")))
        .beside(|files| script(files, "access-point").file("/key", 0o600, format!("{key}\n")))
}

fn script(files: Payload, name: &str) -> Payload {
    let script = format!("{name}.sh");
    files.install(&of_repository("tests/guest").join(&script), &format!("/{script}"), 0o755)
}

fn unit(name: &str) -> String {
    let path = of_repository("tests/guest").join(format!("{name}.service"));
    fs::read_to_string(path).expect("the test bed's unit")
}
