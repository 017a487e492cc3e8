//! `stillwatch-agent`: captures still JPEG frames and uploads the newest to a relay.
//!
//! A library for the fuzz targets' sake; the program is its [`main`]. Arguments, configuration and exit codes
//! only are here: `app.rs` is the map.

mod app;
mod ask;
mod bench;
mod cli;
mod config;
mod encode;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod machine;
mod network;
mod offline;
mod phones;
mod sensor;
mod setup;
mod status;
mod supervise;
mod update;
mod upload;
mod viewer;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use config::Config;
use runtime::manual;
use runtime::program::{self, ended};
use runtime::secret::keep_from_core_dumps;
use runtime::settings::{ConfigError, EXIT_CONFIG};
use sensor::probe;

/// The program: reads its arguments, and does what they say.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    keep_from_core_dumps();
    answer(&command).unwrap_or_else(|error: ConfigError| {
        tracing::error!("{error}");
        ExitCode::from(EXIT_CONFIG)
    })
}

fn answer(command: &Command) -> Result<ExitCode, ConfigError> {
    match command {
        Command::Run(settings) => {
            if settings.relay.as_ref().is_some_and(|url| url.contains("password=")) {
                tracing::warn!(
                    "the password stands in the command line, where every user of this machine \
                     can read it; better set STILLWATCH_PASSWORD, or --password-file"
                );
            }
            Config::load(settings, true).map(run)
        }
        Command::Probe(report) => Config::load(&report.settings, false).map(|config| {
            let found = probe::cameras(&config.camera);
            if report.json {
                print_json(&found)
            } else {
                probe::print(&found)
            }
            ExitCode::from(u8::from(found.cameras.is_empty()))
        }),
        Command::Bench(bench) => Config::load(&bench.settings, false).map(|config| {
            let duration = Duration::from_secs(bench.seconds);
            ended(bench::run(&config, duration, bench.json))
        }),
        Command::CheckConfig(settings) => Config::load(settings, true).map(|config| check(&config)),
        Command::Status(report) => Config::load(&report.settings, false)
            .map(|config| ExitCode::from(status::report(&config.status_file, report.json))),
        Command::Network(report) => Ok(ExitCode::from(network::report(report.json))),
        Command::Setup(setup) => Ok(program::run(setup::run(setup.clone()))),
        Command::Generate { share } => {
            Ok(manual::generate(share, Cli::command(), Some(config::PAGE)))
        }
    }
}

fn run(config: Config) -> ExitCode {
    let Some(upload) = config.upload.clone() else {
        tracing::error!(
            "no relay to upload to: set upload.relay in the configuration file, or --relay \
             http://host:5000/"
        );
        return ExitCode::from(EXIT_CONFIG);
    };
    tracing::info!("stillwatch-agent {}", runtime::version::full());
    for name in &config.unknown_variables {
        tracing::warn!("the environment variable {name} names no setting and is ignored");
    }
    if let Some(folder) = config.status_file.parent() {
        // If this fails, writing the status will, and says so.
        let _ = fs::create_dir_all(folder);
    }
    // Two providers in one process would make rustls panic; here is the only place that chooses.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::warn!("TLS was set up twice");
    }
    // One thread: everything heavy runs on the camera's own.
    program::run(app::run(config, upload))
}

fn check(config: &Config) -> ExitCode {
    for name in &config.unknown_variables {
        println!("warning: the environment variable {name} names no setting and is ignored");
    }
    match &config.upload {
        Some(upload) => println!("configuration is good: uploads to {}", upload.addresses()),
        None => println!("configuration is good, but names no relay: `run` needs upload.relay"),
    }
    ExitCode::SUCCESS
}

fn print_json(value: &impl serde::Serialize) {
    // Our own structures always serialise.
    println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}
