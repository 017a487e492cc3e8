//! The command line. What the flags mean is in `config.rs`: each is one of its keys.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{access, init, updates};

/// Keeps each camera's newest picture and shows it to any number of viewers.
#[derive(Debug, Parser)]
#[command(name = "stillwatch-relay", version = runtime::version::full(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take uploads and show pictures until told to stop; the default
    Run,
    /// Read the configuration as `run` would, and say what is wrong with it
    CheckConfig {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a relay up: make its passwords, write its settings, start it, and show what to put on the cameras' cards
    Init(init::Arguments),
    /// Look at everything that this relay needs, and say what to do about what is missing
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pack everything that makes this relay what it is, its passwords as well, beside a relay that runs
    Export {
        /// The archive, which must not exist
        #[arg(value_name = "FILE.tar")]
        file: PathBuf,
    },
    /// Unpack what `export` made, on a machine on which no relay ran yet
    Import {
        /// The archive
        #[arg(value_name = "FILE.tar")]
        file: PathBuf,
    },
    /// Say how the running relay and its cameras are
    Status(Status),
    /// Tell whoever is told of trouble that this is a test, and say what came of it
    NotifyTest,
    /// Make, rotate, show and remove passwords for uploads
    Passwords {
        #[command(subcommand)]
        command: access::command::Command,
    },
    /// Print a link that opens a private camera for a while
    Link(access::command::LinkArgs),
    /// Publish updates of the cameras' system, and decide which cameras get them
    Updates {
        #[command(subcommand)]
        command: updates::command::Command,
    },
    /// Write man pages and shell completions into a folder laid out as /usr/share, for packages
    #[command(hide = true)]
    Generate {
        /// The folder
        share: PathBuf,
    },
}

/// What `status` prints.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print what the relay says, as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the relays of the cluster, too, and which of them takes each camera's pictures
    #[arg(long)]
    pub cluster: bool,
    /// Another relay's address, such as https://cam.example.org/ [default: the one of this configuration]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Where settings come from; flags win over the environment, and that over the file.
#[derive(Debug, Args, Default)]
pub(crate) struct Settings {
    /// Configuration file [default: /etc/stillwatch/relay.toml, if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where to listen, such as 127.0.0.1:5000 or 0.0.0.0:5000
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub listen: Option<String>,
    /// Folder for the database, which lets pictures survive a restart
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
    /// File with the password for uploads, one line
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<String>,
}

impl Settings {
    /// The flags that were given, as (key, flag, value).
    pub(crate) fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        [
            ("relay.listen", "--listen", &self.listen),
            ("relay.data_dir", "--data-dir", &self.data_dir),
            ("relay.password_file", "--password-file", &self.password_file),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| value.clone().map(|value| (key, flag, value)))
        .collect()
    }
}
