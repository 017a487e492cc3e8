//! What is installed in the guest beside Debian: files in a folder of this machine, then an image.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::make_filesystem;

/// Files, in the places where the guest has them. All belong to root.
#[derive(Debug)]
pub struct Payload {
    folder: TempDir,
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::new()
    }
}

impl Payload {
    /// An empty one.
    ///
    /// # Panics
    /// There is no room.
    pub fn new() -> Payload {
        Payload { folder: tempfile::tempdir().expect("a temporary directory") }
    }

    /// With a copy of a file of this machine at `to`.
    ///
    /// # Panics
    /// It can't be copied.
    #[must_use]
    pub fn install(self, from: &Path, to: &str, mode: u32) -> Payload {
        let place = self.place(to);
        fs::copy(from, &place).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.with_mode(&place, mode)
    }

    /// With a file at `to` that has these contents.
    ///
    /// # Panics
    /// It can't be written.
    #[must_use]
    pub fn file(self, to: &str, mode: u32, contents: impl AsRef<[u8]>) -> Payload {
        let place = self.place(to);
        fs::write(&place, contents).expect("a new file");
        self.with_mode(&place, mode)
    }

    /// With a symbolic link at `at`.
    ///
    /// # Panics
    /// It can't be made.
    #[must_use]
    pub fn link(self, at: &str, target: &str) -> Payload {
        symlink(target, self.place(at)).expect("a new link");
        self
    }

    /// With a unit that starts with the system, as `systemctl enable` would have it if it is wanted by
    /// multi-user.target. It may be an instance, such as `wpa_supplicant@wlan0.service`.
    ///
    /// # Panics
    /// It can't be made.
    #[must_use]
    pub fn enable(self, unit: &str) -> Payload {
        self.enable_for("multi-user.target", unit)
    }

    /// The same for one that is wanted by another target, such as `sockets.target`.
    ///
    /// # Panics
    /// It can't be made.
    #[must_use]
    pub fn enable_for(self, target: &str, unit: &str) -> Payload {
        let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
        let file = template.as_deref().unwrap_or(unit);
        let at = format!("/etc/systemd/system/{target}.wants/{unit}");
        self.link(&at, &format!("/usr/lib/systemd/system/{file}"))
    }

    fn place(&self, path: &str) -> PathBuf {
        // /lib and /bin are links in Debian, and a folder would hide them.
        let merged = ["/bin/", "/sbin/", "/lib/"].iter().any(|start| path.starts_with(start));
        assert!(path.starts_with('/') && !merged, "{path}: an absolute path, /usr/… for Debian's");
        let place = self.folder.path().join(path.trim_start_matches('/'));
        let parent = place.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("a new folder");
        place
    }

    fn with_mode(self, place: &Path, mode: u32) -> Payload {
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).expect("its owner may");
        self
    }

    pub(super) fn make_image(&self, image: &Path) {
        let folder = self.folder.path().display().to_string();
        // Whatever this machine's umask is, the guest's users go through these folders.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&folder, mode).expect("its owner may");
        let arguments = ["-O", "^has_journal", "-d", &folder, "-E", "root_owner=0:0"];
        make_filesystem(image, mebibytes(self.folder.path()) * 5 / 4 + 8, &arguments);
    }
}

fn mebibytes(folder: &Path) -> u32 {
    let output = Command::new("du").args(["-s", "--block-size=1M"]).arg(folder).output();
    let text = String::from_utf8_lossy(&output.expect("du").stdout).into_owned();
    let size = text.split_whitespace().next().and_then(|size| size.parse().ok());
    size.expect("a size")
}
