//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::tryboot::backend::Ask;

/// Installs updates of the SD card's whole system into the other slot, has each prove itself, and takes it back if it
/// does not. Runs as root, and there only.
#[derive(Debug, Parser)]
#[command(name = "stillwatch-updater", version = runtime::version::full(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub places: Places,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge the system that runs, then look out for updates and install them (stillwatch-updater.service)
    Run,
    /// Install a bundle now, whatever the hour, and whatever else goes on
    Install(Install),
    /// Say which system runs, and what became of updates
    Status,
    #[command(flatten)]
    Rauc(Ask),
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The bundle, stillwatch-….raucb
    pub bundle: PathBuf,
    /// Also a system that is not newer than the running one, or was not kept before
    #[arg(long)]
    pub older: bool,
    /// Start it at once; else it is started with the next boot
    #[arg(long)]
    pub reboot: bool,
}

/// Where things are; the defaults are right outside tests.
#[derive(Debug, Clone, Args)]
pub(crate) struct Places {
    /// What is remembered of updates
    #[arg(long, value_name = "DIR", default_value = "/data/updates", global = true)]
    pub state_dir: PathBuf,
    /// What others may know
    #[arg(long, value_name = "DIR", default_value = "/run/stillwatch", global = true)]
    pub run_dir: PathBuf,
    /// What stands before /proc, /sys, /usr and so on
    #[arg(long, value_name = "DIR", default_value = "/", global = true, hide = true)]
    pub root: PathBuf,
    /// Where programs are found: rauc, fw_setenv, systemctl, stillwatch-healer
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/usr/sbin:/usr/bin:/sbin:/bin",
        global = true,
        hide = true
    )]
    pub path: String,
}
