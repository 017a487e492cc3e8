//! `stillwatch-provision`: the one text file on the SD card becomes the appliance's configuration.
//!
//! Arguments and exit codes only. `forgive.rs` (bytes to text), `card.rs` (text to meaning), `render.rs`
//! (meaning to the programs' files) and `report.rs` (what is told on the card) are pure; `apply.rs`,
//! `agent.rs`, `access_point.rs` and `spare.rs` are the effects; `setup/` is the setup access point. What the agent's own settings mean does not belong here.

mod access_point;
mod agent;
mod apply;
mod card;
mod cli;
mod forgive;
mod render;
mod report;
mod setup;
mod spare;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use runtime::settings::EXIT_CONFIG;
use tokio::runtime::Builder;

use self::apply::ApplyError;
use self::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    runtime::secret::keep_from_core_dumps();
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    if let Some(Command::Setup { interface, socket }) = cli.command.clone() {
        return keep_setup(cli, interface, socket);
    }
    match apply::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ApplyError::Unprovisioned) => {
            tracing::warn!("{error}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(error @ ApplyError::Write(..)) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn keep_setup(cli: Cli, interface: String, socket: PathBuf) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("can't start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(setup::run(cli, interface, socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
