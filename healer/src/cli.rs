//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use runtime::heal::{SOCKET, Verb};

/// Does for the camera's agent what needs privileges: a fixed list of cures, and reboots from a
/// budget.
#[derive(Debug, Parser)]
#[command(name = "stillwatch-healer", version = runtime::version::full(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer the agent, until nobody has asked for a while (stillwatch-healer.socket starts it)
    Serve(Serve),
    /// Find out why the machine was started, and say so (stillwatch-boot.service)
    Boot(Places),
    /// Write down that the machine is shut down in order (stillwatch-boot.service)
    Halt(Places),
    /// Do what is left when systemd has given up starting the agent (stillwatch-escalate.service)
    Escalate(Escalate),
    /// Ask the running healer for something, as the agent would
    Ask(Ask),
    /// Reboot into another system, which costs no reboot of the budget (stillwatch-updater does so)
    Restart(Restart),
    /// Write man pages and shell completions into a folder laid out as /usr/share, for packages
    #[command(hide = true)]
    Generate {
        /// The folder
        share: PathBuf,
    },
}

/// Where things are; the defaults are right outside tests.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// What has to survive reboots
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stillwatch-healer")]
    pub state_dir: PathBuf,
    /// What has not
    #[arg(long, value_name = "DIR", default_value = "/run/stillwatch")]
    pub run_dir: PathBuf,
    /// What stands before /sys, /proc, /dev and so on, for hooks too
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Where hooks are; the first folder that has one wins [default: /etc/stillwatch/heal.d,
    /// /usr/lib/stillwatch/heal.d]
    #[arg(long, value_name = "DIR")]
    pub hooks: Vec<PathBuf>,
    /// Where hooks find programs
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        hide = true
    )]
    pub path: String,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub places: Places,
    /// Listen here, instead of at the socket that systemd hands over
    #[arg(long, value_name = "PATH")]
    pub listen: Option<PathBuf>,
    /// Who may ask besides root
    #[arg(long, value_name = "NAME|UID", default_value = "stillwatch-agent")]
    pub allow_user: String,
    /// Every verb's deadline, for tests
    #[arg(long, value_name = "MS", requires = "listen", hide = true)]
    pub deadline_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Escalate {
    #[command(flatten)]
    pub places: Places,
    /// Seconds until the agent is tried again when there is no reboot left
    #[arg(long, value_name = "S", default_value_t = 300)]
    pub pause: u64,
    /// The same when its configuration is wrong, which no reboot mends
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub pause_config: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub places: Places,
    /// Why, for the journal and the next boot
    #[arg(long, value_name = "SENTENCE")]
    pub reason: String,
    /// What the boot loader is told, such as "0 tryboot" (systemctl(1), --reboot-argument)
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    pub argument: String,
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Where the healer listens
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
    /// Why, for the journal
    #[arg(long, value_name = "SENTENCE", default_value = "somebody asked for it")]
    pub reason: String,
    /// What to do, such as wifi-tune
    #[arg(value_parser = verb)]
    pub verb: Verb,
    /// To which device, such as wlan0
    pub device: Option<String>,
}

fn verb(name: &str) -> Result<Verb, String> {
    let names = || Verb::ALL.iter().map(|verb| verb.name()).collect::<Vec<_>>().join(", ");
    let found = Verb::ALL.iter().copied().find(|verb| verb.name() == name);
    found.ok_or_else(|| format!("one of {}", names()))
}
