//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use runtime::setup::SOCKET;

/// Turns the one file on the SD card into the appliance's configuration. Run as root at each boot, before
/// the network; exit status 0: configured; 78: there is no configuration to go on with.
#[derive(Debug, Clone, Parser)]
#[command(version = runtime::version::full())]
pub(crate) struct Cli {
    /// Folder of the card's first partition.
    #[arg(long, value_name = "DIR", default_value = "/boot/firmware")]
    pub card: PathBuf,
    /// Folder on the data partition, for what was right last.
    #[arg(long, value_name = "DIR", default_value = "/data/provision")]
    pub state: PathBuf,
    /// A disk for a second copy of that, outside any file system.
    #[arg(long, value_name = "FILE")]
    pub spare: Option<PathBuf>,
    /// Where on that disk, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub spare_offset: u64,
    /// Where the programs' files go.
    #[arg(long, value_name = "DIR", default_value = "/run")]
    pub run: PathBuf,
    /// The system's root, for its time zones and its agent.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The agent, which checks what is its own.
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/stillwatch-agent")]
    pub agent: PathBuf,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Keep the setup access point, until a configuration was sent or nobody came
    Setup {
        /// Whose radio it is.
        #[arg(long, value_name = "NAME", default_value = "wlan0")]
        interface: String,
        /// Where the setup page asks.
        #[arg(long, value_name = "FILE", default_value = SOCKET)]
        socket: PathBuf,
    },
}
