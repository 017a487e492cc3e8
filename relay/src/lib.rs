//! `stillwatch-relay`: keeps each camera's newest frame and shows it to any number of viewers.
//!
//! A library for the fuzz targets' sake; the program is its [`main`]. Arguments, configuration and exit codes
//! only are here: `app.rs` is the map.

#![forbid(unsafe_code)]

mod access;
mod app;
mod ask;
mod backup;
mod board;
mod card;
mod cli;
mod client;
mod cluster;
mod config;
mod data;
mod doctor;
mod export;
#[cfg(fuzzing)]
pub mod fuzzing;
mod ingest;
mod init;
mod metrics;
mod mirrors;
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
mod units;
mod updates;
mod upgrade;
mod view;
mod watch;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use config::{AccessFiles, Config, Places, UpdatesFiles};
use runtime::event::{About, Event};
use runtime::manual;
use runtime::secret::keep_from_core_dumps;
use runtime::settings::{ConfigError, EXIT_CONFIG};

/// The program: reads its arguments, and does what they say.
pub fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    keep_from_core_dumps();
    match &command {
        Some(Command::Status(what)) => return ask::run(what, &settings),
        Some(Command::NotifyTest) => return notify_test(&settings),
        Some(Command::Updates { command }) => {
            let files = UpdatesFiles::load(&settings);
            return done(files.map(|files| updates::command::run(command, &files)));
        }
        Some(Command::Passwords { command }) => {
            let files = AccessFiles::load(&settings);
            return done(files.map(|files| access::command::run(command, &files)));
        }
        Some(Command::Link(args)) => {
            let files = AccessFiles::load(&settings);
            return done(files.map(|files| access::command::link(args, &files)));
        }
        Some(Command::Init(arguments)) => return told(init::run(arguments, &settings)),
        Some(Command::Doctor { json }) => return examine(&settings, *json),
        Some(Command::Export { file }) => {
            return told(async { backup::export(file, &Places::load(&settings)?) });
        }
        Some(Command::Import { file }) => {
            let named = settings.data_dir.is_some();
            return told(async { backup::import(file, &Places::load(&settings)?, named) });
        }
        Some(Command::Generate { share }) => {
            return manual::generate(share, Cli::command(), Some(config::PAGE));
        }
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
    tracing::info!("stillwatch-relay {}", runtime::version::full());
    for name in &config.unknown_variables {
        tracing::warn!("the environment variable {name} names no setting and is ignored");
    }
    if let Some(note) = config.not_exported() {
        tracing::warn!("{note}");
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

/// Runs what ends by itself.
fn wait<T>(task: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("can't start the async runtime: {error}"))?;
    let outcome = runtime.block_on(task);
    // A disk or a name lookup may still block one of its threads.
    runtime.shutdown_background();
    Ok(outcome)
}

/// Prints what a command has to say.
fn told<E: std::fmt::Display>(task: impl Future<Output = Result<String, E>>) -> ExitCode {
    match wait(task).and_then(|outcome| outcome.map_err(|error| error.to_string())) {
        Ok(text) => {
            show(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads only the first lines (`head`) is no error.
fn show(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn examine(settings: &cli::Settings, json: bool) -> ExitCode {
    match wait(doctor::run(settings)) {
        Ok(findings) => {
            // Our own structure always serialises.
            let json = json.then(|| serde_json::to_string_pretty(&findings).unwrap_or_default());
            show(&json.map_or_else(|| findings.to_string(), |json| json + "\n"));
            if findings.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
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
    match wait(notification::test(&config)) {
        Ok((lines, all)) => {
            show(&lines);
            if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what a command line did, or why it did not.
fn done<E: std::fmt::Display>(outcome: Result<Result<String, E>, ConfigError>) -> ExitCode {
    match outcome {
        Ok(Ok(text)) => {
            show(&text);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
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
