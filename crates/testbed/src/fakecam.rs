//! A fake V4L2 camera for a program under test: see the crate `fakecam`.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A camera that programs see through the variables in [`Fakecam::envs`].
#[derive(Debug)]
pub struct Fakecam {
    folder: TempDir,
    envs: Vec<(String, String)>,
}

/// What can be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// No pictures any more.
    Silent,
    /// The same picture again and again, with new times.
    Repeat,
    /// Pictures whose beginning is garbage.
    Corrupt,
    /// The driver marks its buffers as broken.
    ErrorFlag,
    /// Half pictures.
    Truncate,
    /// Pictures of no bytes.
    Empty,
    /// Pulled out. What was open then stays dead.
    Unplug,
    /// Each call takes this many milliseconds.
    Slow(u32),
    /// No call returns until this is over.
    Hang,
    /// Another program has it.
    Busy,
    /// No pictures, and the stream can't be stopped: STREAMOFF fails with EIO.
    SilentAndStuck,
}

impl Fakecam {
    /// A healthy camera with its own pictures, in MJPG and YUYV.
    ///
    /// # Panics
    /// The library was not built, or there is no temporary directory.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Fakecam {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let library = library().display().to_string();
        let envs = [
            ("LD_PRELOAD", library),
            ("FAKECAM_DEVICE", inside("video0")),
            ("FAKECAM_CONTROL", inside("control")),
        ];
        let envs = envs.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let camera = Fakecam { folder, envs };
        camera.set(Fault::None);
        camera
    }

    /// With these formats only, such as `YUYV`.
    #[must_use]
    pub fn formats(self, formats: &str) -> Fakecam {
        self.with("FAKECAM_FORMATS", formats)
    }

    /// With these quirks, of `nodht,padding`.
    #[must_use]
    pub fn quirks(self, quirks: &str) -> Fakecam {
        self.with("FAKECAM_QUIRKS", quirks)
    }

    /// With the JPEGs of a folder.
    #[must_use]
    pub fn frames(self, folder: &Path) -> Fakecam {
        self.with("FAKECAM_FRAMES", &folder.display().to_string())
    }

    fn with(mut self, name: &str, value: &str) -> Fakecam {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The device's path. No file is there, only what the library answers.
    pub fn device(&self) -> PathBuf {
        self.folder.path().join("video0")
    }

    /// What makes a program see it.
    pub fn envs(&self) -> Vec<(String, String)> {
        self.envs.clone()
    }

    /// From now on (within some 20 ms) this is wrong with it.
    ///
    /// # Panics
    /// The control file can't be written.
    pub fn set(&self, fault: Fault) {
        let words = match fault {
            Fault::None => "none".to_owned(),
            Fault::Silent => "silent".to_owned(),
            Fault::Repeat => "repeat".to_owned(),
            Fault::Corrupt => "corrupt".to_owned(),
            Fault::ErrorFlag => "error-flag".to_owned(),
            Fault::Truncate => "truncate".to_owned(),
            Fault::Empty => "empty".to_owned(),
            Fault::Unplug => "unplug".to_owned(),
            Fault::Slow(ms) => format!("slow {ms}"),
            Fault::Hang => "hang".to_owned(),
            Fault::Busy => "busy".to_owned(),
            Fault::SilentAndStuck => "silent eio-streamoff".to_owned(),
        };
        // By renaming: the library must never read half of it.
        let (new, control) = (self.folder.path().join("new"), self.folder.path().join("control"));
        fs::write(&new, words).and_then(|()| fs::rename(new, control)).expect("a control file");
    }
}

/// The built library, beside the tests' own binaries.
///
/// # Panics
/// It was not built.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let deps = test.parent().expect("…/target/PROFILE/deps/test");
    let beside = deps.parent().unwrap_or(deps).join("libfakecam.so");
    assert!(beside.exists(), "{} is not built: run cargo build -p fakecam", beside.display());
    beside
}
