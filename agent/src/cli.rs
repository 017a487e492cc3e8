//! The command line. What the flags mean is in `config.rs`: each is one of its keys.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Captures still pictures from a camera and uploads the newest to a relay.
#[derive(Debug, Parser)]
#[command(name = "stillwatch-agent", version = runtime::version::full(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Capture and upload until told to stop
    Run(Settings),
    /// List the cameras found, with their formats, sizes and rates
    Probe(Report),
    /// Capture without uploading, and print rate, sizes, processor time and memory
    Bench(Bench),
    /// Read the configuration as `run` would, and say what is wrong with it
    CheckConfig(Settings),
    /// Say how the running agent is
    Status(Report),
    /// Say what the network looks like from here, and what is wrong with it
    Network(NetworkReport),
    /// Serve the page of the setup access point (the image's, in its own unit)
    Setup(Setup),
    /// Write man pages and shell completions into a folder laid out as /usr/share, for packages
    #[command(hide = true)]
    Generate {
        /// The folder
        share: PathBuf,
    },
}

/// Where settings come from; flags win over the environment, and that over the file.
#[derive(Debug, Args, Default)]
pub(crate) struct Settings {
    /// Configuration file [default: /etc/stillwatch/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to upload to, such as http://host:5000/
    #[arg(long, value_name = "URL")]
    pub relay: Option<String>,
    /// Name of this camera at the relay
    #[arg(long, value_name = "ID")]
    pub camera: Option<String>,
    /// auto, v4l2, rpicam, directory or pattern
    #[arg(long, value_name = "KIND")]
    pub source: Option<String>,
    /// Camera device, such as /dev/video0
    #[arg(long, value_name = "PATH")]
    pub device: Option<String>,
    /// Folder of the source `directory`
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
    /// Size of the pictures in pixels, such as 1280x720
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// Pictures per second
    #[arg(long, value_name = "N")]
    pub fps: Option<String>,
    /// JPEG quality, 1 to 100, where the agent encodes
    #[arg(long, value_name = "N")]
    pub quality: Option<String>,
    /// auto, websocket or http
    #[arg(long, value_name = "KIND")]
    pub transport: Option<String>,
    /// Upload to an http:// relay outside the local network, too
    #[arg(long)]
    pub plain_http: bool,
    /// File with the password, one line
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub settings: Settings,
    /// How long to measure, in seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NetworkReport {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Setup {
    /// The appliance's address in the access point's network
    #[arg(long, value_name = "ADDRESS", default_value_t = runtime::setup::ADDRESS)]
    pub address: Ipv4Addr,
    /// Listen only for what comes in by this interface
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Port of the page
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    pub http_port: u16,
    /// Port for names
    #[arg(long, value_name = "PORT", default_value_t = 53)]
    pub dns_port: u16,
    /// Where the access point's keeper listens
    #[arg(long, value_name = "FILE", default_value = runtime::setup::SOCKET)]
    pub socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub settings: Settings,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Settings {
    /// The flags that were given, as (key, flag, value).
    pub(crate) fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        let plain_http = self.plain_http.then(|| "true".to_owned());
        [
            ("upload.plain_http", "--plain-http", &plain_http),
            ("upload.relay", "--relay", &self.relay),
            ("upload.transport", "--transport", &self.transport),
            ("upload.password_file", "--password-file", &self.password_file),
            ("camera.id", "--camera", &self.camera),
            ("camera.source", "--source", &self.source),
            ("camera.device", "--device", &self.device),
            ("camera.path", "--path", &self.path),
            ("camera.size", "--size", &self.size),
            ("camera.fps", "--fps", &self.fps),
            ("camera.quality", "--quality", &self.quality),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| value.clone().map(|value| (key, flag, value)))
        .collect()
    }
}
