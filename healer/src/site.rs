//! Where everything is: the one place that knows paths.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runtime::heal::Verb;
use tokio::process::Command;

use crate::cli::Places;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    state: PathBuf,
    run: PathBuf,
    root: PathBuf,
    hooks: Vec<PathBuf>,
    path: String,
}

impl Site {
    /// The site's own hooks win over those that were installed.
    const HOOKS: [&str; 2] = ["/etc/stillwatch/heal.d", "/usr/lib/stillwatch/heal.d"];

    pub(crate) fn new(places: Places) -> Site {
        let Places { state_dir, run_dir, root, mut hooks, path } = places;
        if hooks.is_empty() {
            hooks = Site::HOOKS.iter().map(PathBuf::from).collect();
        }
        Site { state: state_dir, run: run_dir, root, hooks, path }
    }

    /// A file that survives reboots.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// A file that does not.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// What hooks remember of devices: for root only.
    pub(crate) fn memory(&self) -> PathBuf {
        self.run("heal")
    }

    /// `path`, which is absolute, below the root.
    pub(crate) fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What hooks put before `/sys`: nothing outside tests.
    pub(crate) fn prefix(&self) -> &str {
        self.root.to_str().unwrap_or_default().trim_end_matches('/')
    }

    /// The boot this is; empty if the kernel does not say.
    pub(crate) fn boot_id(&self) -> String {
        let id = fs::read_to_string(self.below("/proc/sys/kernel/random/boot_id"));
        id.map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    /// The hook of `verb`, or where it was looked for.
    pub(crate) fn hook(&self, verb: Verb) -> Result<PathBuf, Vec<PathBuf>> {
        let all: Vec<PathBuf> = self.hooks.iter().map(|folder| folder.join(verb.name())).collect();
        let runs = |path: &&PathBuf| {
            let metadata = fs::metadata(path);
            metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        };
        all.iter().find(runs).cloned().ok_or(all)
    }

    /// A command with a clean environment, found by the site's own `PATH`.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let named = program.as_ref();
        let found = || {
            let mut all = self.path.split(':').map(|folder| Path::new(folder).join(named));
            all.find(|path| path.is_file())
        };
        // execvp would look along our own PATH.
        let mut command = Command::new(found().unwrap_or_else(|| named.into()));
        command.env_clear().env("PATH", &self.path).env("LC_ALL", "C.UTF-8").current_dir("/");
        command
    }

    /// Makes the folders.
    pub(crate) fn make(&self) -> io::Result<()> {
        let folder =
            |mode, path: &Path| fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        folder(0o755, &self.run)?;
        folder(0o700, &self.memory())?;
        folder(0o755, &self.state)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Everything in one temporary folder, which is the root as well.
    pub(crate) fn site(folder: &Path) -> Site {
        let site = Site {
            state: folder.join("state"),
            run: folder.join("run"),
            root: folder.to_owned(),
            hooks: vec![folder.join("etc"), folder.join("lib")],
            path: "/usr/bin:/bin".to_owned(),
        };
        site.make().unwrap();
        site
    }

    /// A file below the root, with the folders it needs.
    pub(crate) fn file(folder: &Path, path: &str, content: &str) {
        let path = folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn the_first_executable_hook_wins() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let missing = site.hook(Verb::ClockRetry).unwrap_err();
        assert_eq!(
            missing,
            [folder.path().join("etc/clock-retry"), folder.path().join("lib/clock-retry")]
        );
        let allow = |path: &str, mode| {
            file(folder.path(), path, "");
            fs::set_permissions(folder.path().join(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        allow("lib/clock-retry", 0o755);
        allow("etc/clock-retry", 0o644);
        assert_eq!(site.hook(Verb::ClockRetry), Ok(folder.path().join("lib/clock-retry")));
        allow("etc/clock-retry", 0o755);
        assert_eq!(site.hook(Verb::ClockRetry), Ok(folder.path().join("etc/clock-retry")));
    }
}
