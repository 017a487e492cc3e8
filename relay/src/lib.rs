//! `stillwatch-relay`: keeps each camera's newest frame and shows it to any number of viewers.
//!
//! A library for the fuzz targets' sake; the program is its [`main`]. Arguments, configuration and exit codes
//! only are here: `app.rs` is the map.

#![forbid(unsafe_code)]

mod app;
mod ask;
mod board;
mod cli;
mod client;
mod config;
mod export;
mod ingest;
mod metrics;
mod notification;
mod origins;
mod password;
mod rate;
mod respond;
mod routes;
mod scale;
mod sockets;
mod status;
mod store;
mod supervise;
mod tls;
mod updates;
mod upgrade;
mod view;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use config::{Config, UpdatesFiles};
use runtime::event::{About, Event};
use runtime::secret::keep_from_core_dumps;
use runtime::settings::{ConfigError, EXIT_CONFIG};

/// The program: reads its arguments, and does what they say.
pub fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    keep_from_core_dumps();
    match command {
        Some(Command::Updates { command }) => return update(&command, &settings),
        Some(Command::Status(what)) => return ask::run(&what, &settings),
        Some(Command::NotifyTest) => return notify_test(&settings),
        Some(Command::Run | Command::CheckConfig { .. }) | None => {}
    }
    let config = Config::load(&settings);
    if let Some(Command::CheckConfig { json }) = command {
        return check(&config, json);
    }
    match config {
        Ok(config) => run(config),
        Err(error) => {
            failed("configuration", &error);
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn failed(reason: &str, error: &dyn std::fmt::Display) {
    let about = About { reason: Some(reason), ..About::organ("relay") };
    Event::RelayFailed.say(about, format_args!("{error}"));
}

fn run(config: Config) -> ExitCode {
    for name in &config.unknown_variables {
        tracing::warn!("the environment variable {name} names no setting and is ignored");
    }
    tracing::info!("keeping frames in {}; {}", config.data_dir.display(), config.password_note);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(app::run(config));
            // Connections that were cut off may still be in the middle of something.
            runtime.shutdown_background();
            match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    failed("run", &error);
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            tracing::error!("can't start the async runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn notify_test(settings: &cli::Settings) -> ExitCode {
    let config = match config::load_notify(settings) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let (lines, all) = runtime.block_on(notification::test(&config));
            print!("{lines}");
            if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: can't start the async runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn update(command: &updates::command::Command, settings: &cli::Settings) -> ExitCode {
    match UpdatesFiles::load(settings) {
        Ok(files) => match updates::command::run(command, &files) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn check(config: &Result<Config, ConfigError>, json: bool) -> ExitCode {
    let report = config::Report::new(config);
    if json {
        // Our own structure always serialises.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print!("{report}");
    }
    if config.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) }
}
