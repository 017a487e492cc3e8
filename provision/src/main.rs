//! `stillwatch-provision`: the one text file on the SD card becomes the appliance's configuration.
//!
//! Arguments and exit codes only. `forgive.rs` (bytes to text), `card.rs` (text to meaning), `render.rs`
//! (meaning to the programs' files) and `report.rs` (what is told on the card) are pure; `apply.rs`,
//! `agent.rs` and `spare.rs` are the effects. What the agent's own settings mean does not belong here.

mod agent;
mod apply;
mod card;
mod cli;
mod forgive;
mod render;
mod report;
mod spare;

use std::process::ExitCode;

use clap::Parser;
use runtime::settings::EXIT_CONFIG;

use self::apply::ApplyError;
use self::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    runtime::secret::keep_from_core_dumps();
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
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
