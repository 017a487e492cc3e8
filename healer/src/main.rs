//! `stillwatch-healer`: the only part of Stillwatch with privileges, and so a small one.
//!
//! Arguments and exit codes only. `serve` answers the agent: `serve.rs` (connections), `healer.rs`
//! (requests), `hook.rs` (what is run), `down.rs` and `ledger.rs` (reboots). `boot`, `halt` and
//! `escalate` are units of their own. Deciding when to heal does not belong here, it is the agent's.

mod ask;
mod boot;
mod cli;
mod device;
mod down;
mod escalate;
mod evidence;
mod healer;
mod hook;
mod journal;
mod ledger;
mod memory;
mod published;
mod record;
mod said;
mod serve;
mod site;
mod verbs;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use runtime::manual;
use runtime::program::{ended, run};
use site::Site;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    match command {
        Command::Serve(serve) => run(serve::run(serve)),
        Command::Boot(places) => ended(boot::run(&Site::new(places))),
        Command::Halt(places) => run(boot::halt(Site::new(places))),
        Command::Escalate(escalate) => run(escalate::run(escalate)),
        Command::Restart(restart) => run(down::restart(restart)),
        Command::Generate { share } => manual::generate(&share, Cli::command(), None),
        Command::Ask(ask) => ask::run(ask).unwrap_or_else(|error| {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }),
    }
}
