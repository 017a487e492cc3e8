//! A Debian with systemd in a container of systemd-nspawn's (`scripts/container`): for what packages and units
//! do under the real systemd. It has no network but its own loopback; what is written in it is gone with it. It
//! needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::eventually::eventually;
use crate::machine::Output;
use crate::program::Program;
use crate::{made_by, of_repository};

/// How long a boot may take: 3 s on an idle machine.
const BOOT: Duration = Duration::from_secs(120);

/// How long a command may take, unless a test says how long.
const COMMAND: Duration = Duration::from_secs(120);

/// What a failed test shows of the journal.
const LAST_LINES: usize = 60;

/// See the module's documentation. It ends when it is dropped, and with the thread that booted it.
#[derive(Debug)]
pub struct Container {
    /// Its child is `boot`, whose child is nspawn; `None` while it is being dropped.
    unshare: Option<Program>,
}

impl Container {
    /// Boots a plain one, and waits until all that starts with it has started.
    ///
    /// # Panics
    /// It does not come up, or something in it fails.
    pub fn boot() -> Container {
        // With the thread, for a test that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(of_repository("scripts/container.d/boot"));
        command.arg(tree()).arg("--console=read-only");
        let unshare = Program::start("the container", &mut command);
        let container = Container { unshare: Some(unshare) };
        container.up();
        container
    }

    /// Reboots it; what is written in it stays.
    ///
    /// # Panics
    /// It does not come up again.
    pub fn reboot(&self) {
        let before = self.leader();
        // It may well be gone before it could answer.
        let _ = self.try_run(COMMAND, "systemctl reboot");
        eventually("another first process", BOOT, || match self.leader() {
            Some(leader) if Some(leader) != before => Ok(()),
            leader => Err(format!("{leader:?}")),
        });
        self.up();
    }

    fn up(&self) {
        eventually("a system that runs", BOOT, || {
            let output = self.try_run(COMMAND, "systemctl is-system-running --wait")?;
            let failed = || self.try_run(COMMAND, "systemctl --failed").map(|o| o.text);
            if output.text.trim() == "running" {
                Ok(())
            } else {
                Err(format!("{} {}", output.text, failed().unwrap_or_default()))
            }
        });
    }

    /// Runs a bash command as root, and returns what it wrote to both outputs.
    ///
    /// # Panics
    /// It fails, or takes longer than two minutes.
    pub fn run(&self, command: &str) -> String {
        match self.try_run(COMMAND, command) {
            Ok(output) if output.status == 0 => output.text,
            Ok(output) => panic!("`{command}` ended with {}: {}", output.status, output.text),
            Err(trouble) => panic!("`{command}`: {trouble}"),
        }
    }

    /// Runs a command that may fail; 124 is the status of one that took longer than `deadline`.
    ///
    /// # Errors
    /// The container does not run.
    pub fn try_run(&self, deadline: Duration, command: &str) -> Result<Output, String> {
        let leader = self.leader().ok_or("the container has not begun, or has ended")?.to_string();
        let limit = deadline.as_secs_f64().to_string();
        let output = Command::new("timeout")
            .args(["--kill-after=5", &limit, "nsenter", "--target", &leader])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"])
            .args(["env", "--ignore-environment", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "bash",
                "-c",
                &format!("exec 2>&1; {command}"),
            ])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        Ok(Output { status: output.status.code().unwrap_or(-1), text })
    }

    /// Runs a command again and again until it succeeds. Returns what it wrote.
    ///
    /// # Panics
    /// It does not within `deadline`; the message holds what it said last.
    pub fn eventually(&self, what: &str, deadline: Duration, command: &str) -> String {
        eventually(what, deadline, || match self.try_run(COMMAND, command)? {
            output if output.status == 0 => Ok(output.text),
            output => Err(format!("{} {}", output.status, output.text)),
        })
    }

    /// What `journalctl` says with these arguments.
    ///
    /// # Panics
    /// It fails.
    pub fn journal(&self, arguments: &str) -> String {
        self.run(&format!("journalctl --sync; journalctl --no-pager {arguments}"))
    }

    /// Copies a file of this machine into it; the folder has to exist.
    ///
    /// # Panics
    /// It can't be copied.
    pub fn copy_in(&self, from: &Path, to: &str) {
        let copied = fs::copy(from, self.outside(to));
        copied.unwrap_or_else(|error| panic!("{} to {to}: {error}", from.display()));
    }

    /// Writes a file; the folder has to exist.
    ///
    /// # Panics
    /// It can't be written.
    pub fn put(&self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) {
        fs::write(self.outside(path), bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.run(&format!("chmod {mode:o} '{path}'"));
    }

    /// What is in one of its files.
    ///
    /// # Panics
    /// It can't be read.
    pub fn get(&self, path: &str) -> Vec<u8> {
        fs::read(self.outside(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Does something with the container's network, where its loopback is 127.0.0.1, on a thread of its own.
    ///
    /// # Panics
    /// The container has ended, or `what` panics.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let leader = self.leader().expect("the container runs");
        let network = File::open(format!("/proc/{leader}/ns/net")).expect("its network");
        let entered = || {
            setns(network, CloneFlags::CLONE_NEWNET).expect("root may");
            what()
        };
        std::thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A path of it, seen from here.
    fn outside(&self, path: &str) -> PathBuf {
        let leader = self.leader().expect("the container runs");
        PathBuf::from(format!("/proc/{leader}/root{path}"))
    }

    /// Its first process, which is systemd.
    fn leader(&self) -> Option<u32> {
        let leader = child(child(child(self.unshare.as_ref()?.id())?)?)?;
        // Before that it is whatever nspawn is made of.
        let name = fs::read_to_string(format!("/proc/{leader}/comm")).ok()?;
        (name.trim() == "systemd").then_some(leader)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let command = format!("journalctl --no-pager -o short-monotonic -n {LAST_LINES}");
            match self.try_run(Duration::from_secs(20), &command) {
                Ok(output) => eprintln!("---- the container's journal:\n{}", output.text),
                Err(trouble) => eprintln!("---- the container's journal: {trouble}"),
            }
        }
        // Its first process dies with it, and all others with that.
        self.unshare = None;
        let _ = Command::new(of_repository("scripts/container.d/boot")).arg("--clean").status();
    }
}

fn child(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The root filesystem of all of them.
fn tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| made_by("scripts/container", &[]))
}
