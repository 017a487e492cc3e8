//! The programs that are asked, each with a deadline: RAUC, U-Boot's tools, systemd, the healer.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use frame::version::Version;
use runtime::child::{End, Left, Ran, run};
use runtime::notify;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::place::Place;
use crate::uboot::Variables;

/// For what answers at once, on a busy Pi Zero.
const SOON: Duration = Duration::from_secs(30);

/// 250 MB read from a card at 5 MB/s, and the like again in reserve.
const READ: Duration = Duration::from_secs(300);

/// The same, and 384 MiB written at 2 MB/s, which is what the worst of cards do.
const INSTALLED: Duration = Duration::from_secs(900);

/// From the healer's order to the end: services stop within 90 s, else systemd kills them.
const DOWN: Duration = Duration::from_secs(180);

/// Where RAUC mounts a bundle (its `mountprefix`).
const MOUNTED: &str = "/run/rauc/bundle";

/// What a bundle says of itself, and its signature proves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Bundle {
    /// What it runs on.
    pub compatible: String,
    pub version: Version,
}

/// Why a program did not do what it was asked, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Failed {
    pub why: String,
    /// It is the bundle's fault, now and ever.
    pub bundles: bool,
}

impl Failed {
    /// Something here does not work.
    pub(crate) fn here(why: impl Into<String>) -> Failed {
        Failed { why: why.into(), bundles: false }
    }

    fn of_bundle(why: impl Into<String>) -> Failed {
        Failed { why: why.into(), bundles: true }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    path: String,
    left: Left,
}

impl Programs {
    pub(crate) fn new(place: &Place) -> Programs {
        Programs { path: place.path.clone(), left: Left::default() }
    }

    fn program<const N: usize>(&self, name: &str, arguments: [&str; N]) -> Command {
        let mut command = Command::new(name);
        command.args(arguments).env("PATH", &self.path).env("LC_ALL", "C.UTF-8").kill_on_drop(true);
        command
    }

    async fn ask(&self, command: Command, deadline: Duration) -> Result<String, Failed> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let Ran { end, output } = run(command, deadline, &self.left).await;
        match end {
            End::Exited(status) if status.success() => Ok(output),
            End::Exited(_) if name == "rauc" => Err(complaint(&output)),
            End::Exited(status) => {
                Err(Failed::here(format!("{name}: {status}: {}", last_words(&output))))
            }
            End::NotStarted(error) => Err(Failed::here(format!("{name} can't be run: {error}"))),
            End::Late | End::Stuck => {
                Err(Failed::here(format!("{name} took longer than {} s", deadline.as_secs())))
            }
        }
    }

    /// What is in a bundle, once its signature is one of those that are trusted here.
    ///
    /// # Errors
    /// It is not, or it is no bundle.
    pub(crate) async fn look_into(&self, bundle: &Path) -> Result<Bundle, Failed> {
        let mut command = self.program("rauc", ["info", "--output-format=json"]);
        command.arg(bundle);
        let said = self.ask(command, READ).await?;
        parse(&said).ok_or_else(|| {
            Failed::of_bundle(format!("it names no version of ours: {}", last_words(&said)))
        })
    }

    /// Reads all of a bundle through the kernel's dm-verity, which notices each byte that is not as it was signed.
    ///
    /// # Errors
    /// One is not, or it can't be read.
    pub(crate) async fn read_whole(&self, bundle: &Path) -> Result<(), Failed> {
        // What an interrupted look left, under RAUC's one name.
        let _ = self.ask(self.program("umount", ["--lazy", MOUNTED]), SOON).await;
        let mut command = self.program("rauc", ["mount"]);
        command.arg(bundle);
        let said = self.ask(command, READ).await?;
        let folder = mounted_at(&said).ok_or_else(|| Failed::here(last_words(&said).to_owned()))?;
        let read = timeout(
            READ,
            tokio::task::spawn_blocking({
                let folder = folder.clone();
                move || read_files(&folder)
            }),
        );
        let read = read.await;
        let mut unmount = self.program("umount", []);
        unmount.arg(&folder);
        let unmounted = self.ask(unmount, SOON).await;
        match read {
            Ok(Ok(Ok(()))) => unmounted.map(|_| ()),
            Ok(Ok(Err(error))) => Err(Failed::of_bundle(format!("it is damaged: {error}"))),
            Ok(Err(panicked)) => Err(Failed::here(panicked.to_string())),
            Err(_) => Err(Failed::here(format!("it can't be read within {} s", READ.as_secs()))),
        }
    }

    /// Writes a bundle into the other slot, and chooses that for the next boot.
    ///
    /// # Errors
    /// It could not be written. The slot that runs stays chosen.
    pub(crate) async fn install(&self, bundle: &Path) -> Result<(), Failed> {
        let mut command = self.program("rauc", ["install"]);
        command.arg(bundle);
        let installed = self.ask(command, INSTALLED).await.map(|_| ());
        self.stop_rauc().await;
        installed
    }

    /// Ends what RAUC does. D-Bus starts it again when it is wanted.
    pub(crate) async fn stop_rauc(&self) {
        let stopped = self.ask(self.program("systemctl", ["stop", "rauc.service"]), SOON).await;
        if let Err(error) = stopped {
            tracing::debug!("{error}");
        }
    }

    /// How far that is, in percent.
    pub(crate) async fn progress(&self) -> Option<u8> {
        let of_rauc = ["--json=short", "get-property", "de.pengutronix.rauc", "/"];
        let mut command = self.program("busctl", of_rauc);
        command.args(["de.pengutronix.rauc.Installer", "Progress"]);
        let said = self.ask(command, SOON).await.ok()?;
        #[derive(Deserialize)]
        struct Progress {
            data: (i64, String, i64),
        }
        let progress: Progress = serde_json::from_str(&said).ok()?;
        u8::try_from(progress.data.0).ok()
    }

    /// U-Boot's variables.
    ///
    /// # Errors
    /// The card can't be read.
    pub(crate) async fn variables(&self) -> Result<Variables, Failed> {
        // One line each; `ask` makes one line of all.
        let said = self.ask(self.program("fw_printenv", []), SOON).await?;
        Ok(Variables::parse(&said.replace(" BOOT_", "\nBOOT_")))
    }

    /// Changes them, all at once, unless they are like that.
    ///
    /// # Errors
    /// The card can't be read, or written.
    pub(crate) async fn change_variables(
        &self,
        place: &Place,
        change: impl FnOnce(&Variables) -> Variables,
    ) -> Result<(), Failed> {
        let before = self.variables().await?;
        let variables = change(&before);
        if variables == before {
            return Ok(());
        }
        let script = place.run.join("fw_setenv");
        std::fs::write(&script, variables.script())
            .map_err(|error| Failed::here(format!("{}: {error}", script.display())))?;
        let mut command = self.program("fw_setenv", ["--script"]);
        command.arg(&script);
        self.ask(command, SOON).await.map(|_| ())
    }

    /// Whether all that starts with the system has started.
    pub(crate) async fn has_started(&self) -> bool {
        let command = self.program("systemctl", ["is-system-running"]);
        // Its status is not 0 if a unit failed.
        let state = run(command, SOON, &self.left).await.output;
        ["running", "degraded"].contains(&state.as_str())
    }

    /// Units that failed. One that can't be asked for is the first of them.
    pub(crate) async fn failed_units(&self) -> Vec<String> {
        const ASK: [&str; 6] =
            ["list-units", "--state=failed", "--no-legend", "--plain", "--no-pager", "--quiet"];
        match self.ask(self.program("systemctl", ASK), SOON).await {
            Ok(said) => units(&said),
            Err(error) => vec![error.to_string()],
        }
    }

    /// Reboots, and writes down why; `argument` is for the boot loader. It costs no reboot of the budget: what starts is
    /// another system.
    pub(crate) async fn restart(&self, reason: &str, argument: Option<&str>) {
        let mut command = self.program("stillwatch-healer", ["restart", "--reason"]);
        command.arg(reason);
        command.args(argument.map(|argument| format!("--argument={argument}")));
        // What it says is the journal's, with its fields.
        let ended = timeout(DOWN, command.stdin(Stdio::null()).status()).await;
        match ended {
            // systemd ends this process soon.
            Ok(Ok(status)) if status.success() => tokio::time::sleep(DOWN).await,
            Ok(Ok(status)) => tracing::error!("stillwatch-healer: {status}"),
            Ok(Err(error)) => tracing::error!("stillwatch-healer can't be run: {error}"),
            Err(_) => tracing::error!("stillwatch-healer took longer than {} s", DOWN.as_secs()),
        }
        tracing::error!("the machine does not go down in order: rebooting at once");
        let mut forced = self.program("systemctl", ["reboot", "--force", "--force"]);
        forced.args(argument.map(|argument| format!("--reboot-argument={argument}")));
        if let Err(error) = self.ask(forced, SOON).await {
            tracing::error!("{error}");
        }
    }
}

/// What RAUC could not do: the last thing that it says, after what it did before.
fn complaint(said: &str) -> Failed {
    if let Some((_, why)) = said.rsplit_once("signature verification failed: ") {
        let why = format!("it is not signed with a key that is trusted here ({why})");
        return Failed::of_bundle(why);
    }
    if let Some((_, why)) = said.rsplit_once("Invalid bundle format: ") {
        return Failed::of_bundle(format!("it is no whole bundle ({why})"));
    }
    // `rauc-Message: HH:MM:SS.mmm: text`
    let last = said.rsplit("rauc-Message: ").next().unwrap_or(said);
    let text = last.split_once(": ").map_or(last, |(_, text)| text);
    Failed::here(format!("RAUC could not: {}", last_words(text)))
}

/// What a program said last is what went wrong.
fn last_words(output: &str) -> &str {
    const LENGTH: usize = 300;
    let from = output.len().saturating_sub(LENGTH);
    let from = (from..output.len()).find(|at| output.is_char_boundary(*at));
    output.get(from.unwrap_or(0)..).unwrap_or(output)
}

/// RAUC's own messages are around it.
fn parse(said: &str) -> Option<Bundle> {
    let text = said.get(said.find('{')?..=said.rfind('}')?)?;
    serde_json::from_str(text).ok()
}

/// `Mounted bundle at FOLDER. Use 'umount FOLDER' to unmount.`
fn mounted_at(said: &str) -> Option<PathBuf> {
    let (_, from) = said.split_once("Mounted bundle at ")?;
    let (folder, _) = from.split_once(". Use ")?;
    Some(PathBuf::from(folder))
}

/// A unit's name is a line's first word; all lines came as one.
fn units(said: &str) -> Vec<String> {
    const SUFFIXES: [&str; 7] =
        [".service", ".socket", ".mount", ".timer", ".path", ".swap", ".target"];
    let is_unit = |word: &&str| SUFFIXES.iter().any(|suffix| word.ends_with(suffix));
    said.split(' ').filter(is_unit).map(str::to_owned).collect()
}

fn read_files(folder: &Path) -> io::Result<()> {
    let mut piece = vec![0; 1 << 20];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let mut file = File::open(&path)?;
        while file.read(&mut piece)? > 0 {
            notify::feed_watchdog();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_say() {
        let info = "rauc-Message: Verified inline signature by 'CN = x' {\"compatible\":\"stillwatch-debian\",\
                    \"version\":\"0.1.0-20261128.0700\",\"hooks\":[],\"images\":[{\"system\":{\"size\":1}}]}";
        let bundle = parse(info).unwrap();
        assert_eq!(bundle.compatible, "stillwatch-debian");
        assert_eq!(bundle.version.to_string(), "0.1.0-20261128.0700");
        assert_eq!(parse("signature verification failed"), None);
        assert_eq!(parse("} {"), None);
        let refused = "rauc-Message: 07:05:59.911: Reading bundle: /x.raucb rauc-Message: 07:06:00.042: Verifying \
                       bundle signature... signature verification failed: Verify error: unable to get local issuer \
                       certificate";
        let why = "it is not signed with a key that is trusted here (Verify error: unable to get local issuer certificate)";
        assert_eq!(complaint(refused), Failed::of_bundle(why));
        let cut = "rauc-Message: 07:06:00.669: Reading bundle: /x.raucb Invalid bundle format: Signature size (7) exceeds \
                   bundle size";
        let why = "it is no whole bundle (Signature size (7) exceeds bundle size)";
        assert_eq!(complaint(cut), Failed::of_bundle(why));
        let other = "rauc-Message: 07:06:00.669: Reading bundle: /x.raucb No space left";
        let why = "RAUC could not: Reading bundle: /x.raucb No space left";
        assert_eq!(complaint(other), Failed::here(why));
        let said = "Mounted bundle at /run/rauc/bundle. Use 'umount /run/rauc/bundle' to unmount.";
        assert_eq!(mounted_at(said), Some(PathBuf::from("/run/rauc/bundle")));
        let failed =
            "a.service loaded failed failed What it does b.mount not-found failed failed b.mount";
        assert_eq!(units(failed), ["a.service", "b.mount", "b.mount"]);
        assert_eq!(units(""), Vec::<String>::new());
    }
}
