//! Where a camera is in this machine: what has to be named to take it away from its driver and give it
//! back. Read from sysfs, which tells it for as long as the camera is there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A camera's device and, if it is one, its USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `video0`.
    pub node: String,
    /// `1-1.2`: the name of the device (not of its interface) on the USB bus.
    pub usb: Option<String>,
}

impl Place {
    /// Of a device file, below `sys`.
    pub(super) fn of(device: &Path, sys: &Path) -> Option<Place> {
        let number = fs::metadata(device).ok()?.rdev();
        let (major, minor) = (libc::major(number), libc::minor(number));
        let node = fs::canonicalize(sys.join(format!("dev/char/{major}:{minor}"))).ok()?;
        Place::at(&node)
    }

    /// Of a node's directory in sysfs, such as `…/usb1/1-1/1-1:1.0/video4linux/video0`.
    fn at(node: &Path) -> Option<Place> {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        // Documentation/ABI/stable/sysfs-bus-usb: only devices have `authorized` and `idVendor`.
        let is_usb = |path: &&Path| {
            let has = |file: &str| path.join(file).exists();
            has("authorized") && has("idVendor")
        };
        let usb = node.ancestors().find(is_usb).and_then(name);
        Some(Place { node: name(node)?, usb })
    }
}

/// Where sysfs is mounted.
pub(super) fn sys() -> PathBuf {
    PathBuf::from("/sys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usb_device_above_a_node_is_found() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("devices/pci0/usb1/1-1");
        let node = device.join("1-1.2/1-1.2:1.0/video4linux/video3");
        fs::create_dir_all(&node).unwrap();
        for usb in [&device, &device.join("1-1.2")] {
            fs::write(usb.join("authorized"), "1").unwrap();
            fs::write(usb.join("idVendor"), "1d6b").unwrap();
        }
        let place = Place { node: "video3".to_owned(), usb: Some("1-1.2".to_owned()) };
        assert_eq!(Place::at(&node), Some(place));
        let platform = root.path().join("devices/platform/vivid.0/video4linux/video0");
        fs::create_dir_all(&platform).unwrap();
        let place = Place { node: "video0".to_owned(), usb: None };
        assert_eq!(Place::at(&platform), Some(place));
    }

    #[test]
    fn what_is_no_device_has_no_place() {
        assert_eq!(Place::of(Path::new("/nowhere"), &sys()), None);
    }
}
