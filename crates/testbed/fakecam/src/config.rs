//! What the camera is, from the environment.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::abi::{MJPG, YUYV};

/// See the crate's documentation for the variables.
pub(crate) struct Config {
    pub device: CString,
    pub frames: Option<PathBuf>,
    pub formats: Vec<u32>,
    pub without_tables: bool,
    pub padding: bool,
    pub control: Option<PathBuf>,
}

static CONFIG: OnceLock<Config> = OnceLock::new();

/// The configuration, read once.
pub(crate) fn config() -> &'static Config {
    CONFIG.get_or_init(Config::read)
}

impl Config {
    fn read() -> Config {
        let text = |name: &str| std::env::var(name).unwrap_or_default();
        let device = match text("FAKECAM_DEVICE") {
            empty if empty.is_empty() => "/dev/video0".to_owned(),
            device => device,
        };
        let mut formats = Vec::new();
        for word in text("FAKECAM_FORMATS").split(',').filter(|word| !word.is_empty()) {
            match word {
                "MJPG" => formats.push(MJPG),
                "YUYV" => formats.push(YUYV),
                _ => complain("FAKECAM_FORMATS", &format!("\"{word}\" is not MJPG or YUYV")),
            }
        }
        if formats.is_empty() {
            formats = vec![MJPG, YUYV];
        }
        let (mut without_tables, mut padding) = (false, false);
        for word in text("FAKECAM_QUIRKS").split(',').filter(|word| !word.is_empty()) {
            match word {
                "nodht" => without_tables = true,
                "padding" => padding = true,
                _ => complain("FAKECAM_QUIRKS", &format!("\"{word}\" is not nodht or padding")),
            }
        }
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let frames = path("FAKECAM_FRAMES");
        if let Some(folder) = frames.as_ref().filter(|folder| !folder.is_dir()) {
            complain("FAKECAM_FRAMES", &format!("{} is no folder of JPEGs", folder.display()));
        }
        Config {
            device: CString::new(device).unwrap_or_default(),
            frames,
            formats,
            without_tables,
            padding,
            control: path("FAKECAM_CONTROL"),
        }
    }

    /// Whether `path` is the camera's.
    pub(crate) fn is_device(&self, path: &CStr) -> bool {
        path == self.device.as_c_str()
    }
}

/// Says what is wrong with a variable, on the stderr of the program that was given the camera.
pub(crate) fn complain(variable: &str, problem: &str) {
    eprintln!("fakecam: {variable}: {problem}");
}
