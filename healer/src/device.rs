//! Which devices a verb may be done to: a name that is one, of a device of the right kind.
//!
//! A device in trouble may have vanished from sysfs, halfway through its cure for instance. So what
//! was seen once during this boot is remembered, in the folder that hooks remember in.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::heal::Verb;

use crate::site::Site;
use crate::verbs::{Needs, needs};

/// The class of video interfaces, in sysfs (USB's list of class codes).
const VIDEO_CLASS: &str = "0e";

/// Longest name of a network interface (IFNAMSIZ without the final 0).
const MAX_INTERFACE: usize = 15;

/// Longest other name: USB paths have seven levels at most.
const MAX_NAME: usize = 31;

/// Whether `verb` may be done to `device`; else what is allowed.
pub(crate) fn check(site: &Site, verb: Verb, device: Option<&str>) -> Result<(), String> {
    let allowed = match (needs(verb), device) {
        (Needs::Nothing, None) => return Ok(()),
        (Needs::Nothing, Some(_)) => "no device",
        (Needs::UsbCamera, Some(name)) if usb_camera(site, name) => return Ok(()),
        (Needs::UsbCamera, _) => "a USB camera, such as 1-1.2",
        (Needs::Camera, Some(name)) if usb_camera(site, name) || video(site, name) => return Ok(()),
        (Needs::Camera, _) => "a camera: a USB device such as 1-1.2, or one such as video0",
        (Needs::Wifi, Some(name)) if wireless(site, name) => return Ok(()),
        (Needs::Wifi, _) => "a wireless network interface, such as wlan0",
    };
    let given = device.map_or("nothing".to_owned(), |name| format!("{:?}", shortened(name)));
    Err(format!("{} is done to {allowed}, not to {given}", verb.name()))
}

fn usb_camera(site: &Site, name: &str) -> bool {
    if !is_usb(name) {
        return false;
    }
    let of_this = format!("{name}:");
    let devices = fs::read_dir(site.below("/sys/bus/usb/devices")).into_iter().flatten().flatten();
    let interfaces: Vec<String> = devices
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&of_this))
        .map(|entry| class_of(&entry.path()))
        .collect();
    let has_interfaces = !interfaces.is_empty();
    let has_video = interfaces.iter().any(|class| class == VIDEO_CLASS);
    // Something else may be plugged in there by now: memory is for what is not there.
    let is_another = !has_video && has_interfaces;
    !is_another && known(has_video, site.memory().join("usb").join(name))
}

fn class_of(interface: &Path) -> String {
    let class = fs::read_to_string(interface.join("bInterfaceClass"));
    class.map(|class| class.trim().to_owned()).unwrap_or_default()
}

fn video(site: &Site, name: &str) -> bool {
    let Some(number) = name.strip_prefix("video") else { return false };
    is_number(number)
        && known(
            site.below("/sys/class/video4linux").join(name).exists(),
            site.memory().join("video").join(name),
        )
}

fn wireless(site: &Site, name: &str) -> bool {
    if !is_interface(name) {
        return false;
    }
    let interface = site.below("/sys/class/net").join(name);
    let is = interface.join("phy80211").exists() || interface.join("wireless").exists();
    known(is, site.memory().join("wifi").join(name))
}

/// Whether it `is` one, or was during this boot. Each is a folder, in which hooks keep more.
fn known(is: bool, memory: PathBuf) -> bool {
    if is && let Err(error) = fs::create_dir_all(&memory) {
        tracing::debug!("{} can't be remembered: {error}", memory.display());
    }
    is || memory.is_dir()
}

/// `1-1.2`: a bus, and the ports on the way to the device.
fn is_usb(name: &str) -> bool {
    let ports = |ports: &str| ports.split('.').all(is_number);
    name.len() <= MAX_NAME
        && name.split_once('-').is_some_and(|(bus, way)| is_number(bus) && ports(way))
}

fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_interface(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MAX_INTERFACE).contains(&name.len())
        && name.bytes().all(letter)
        && !name.starts_with(['.', '-'])
}

fn shortened(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{file, site};

    #[test]
    fn names_are_names() {
        for good in ["1-1", "2-1.4", "1-1.2.3.4", "10-4"] {
            assert!(is_usb(good), "{good}");
        }
        for bad in
            ["", "usb1", "1", "1-", "-1", "1-1.", "1-1..2", "1-1:1.0", "1-1/..", "..", "1-１"]
        {
            assert!(!is_usb(bad), "{bad}");
        }
        for good in ["wlan0", "wlp2s0.7", "a-b_c", "123456789012345"] {
            assert!(is_interface(good), "{good}");
        }
        for bad in ["", ".", "..", "-i", "1234567890123456", "wlan0/..", "wl an", "wlan0\n", "wlän"]
        {
            assert!(!is_interface(bad), "{bad}");
        }
    }

    #[test]
    fn only_cameras_are_toggled_and_they_may_have_gone() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "/sys/bus/usb/devices/1-1.2:1.0/bInterfaceClass", "0e\n");
        file(folder.path(), "/sys/bus/usb/devices/1-1.20:1.0/bInterfaceClass", "08\n");
        let toggle = |device| check(&site, Verb::CameraUsb, device);
        assert_eq!(toggle(Some("1-1.2")), Ok(()));
        for other in ["1-1", "1-1.20", "../1-1.2", "video0"] {
            let refused = toggle(Some(other)).unwrap_err();
            assert_eq!(
                refused,
                format!("camera-usb is done to a USB camera, such as 1-1.2, not to {other:?}")
            );
        }
        assert!(toggle(None).unwrap_err().ends_with("not to nothing"));
        fs::remove_dir_all(folder.path().join("sys")).unwrap();
        assert_eq!(toggle(Some("1-1.2")), Ok(()));
        assert_eq!(check(&site, Verb::CameraRebind, Some("1-1.2")), Ok(()));
    }

    #[test]
    fn video_devices_are_rebound_only() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "/sys/class/video4linux/video0/name", "unicam");
        assert_eq!(check(&site, Verb::CameraRebind, Some("video0")), Ok(()));
        assert!(check(&site, Verb::CameraUsb, Some("video0")).is_err());
        for other in ["video1", "video", "video0/..", "media0"] {
            assert!(check(&site, Verb::CameraRebind, Some(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn only_wireless_interfaces_are_wifi() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "/sys/class/net/wlan0/phy80211/index", "0");
        file(folder.path(), "/sys/class/net/old0/wireless/link", "0");
        file(folder.path(), "/sys/class/net/eth0/address", "");
        let reload = |device| check(&site, Verb::WifiReload, Some(device)).is_ok();
        assert_eq!((reload("wlan0"), reload("old0"), reload("eth0")), (true, true, false));
        fs::remove_dir_all(folder.path().join("sys")).unwrap();
        assert_eq!((reload("wlan0"), reload("wlan1")), (true, false));
    }

    #[test]
    fn the_machine_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        assert_eq!(check(&site, Verb::Reboot, None), Ok(()));
        let refused = check(&site, Verb::Reboot, Some("now")).unwrap_err();
        assert_eq!(refused, "reboot is done to no device, not to \"now\"");
    }
}
