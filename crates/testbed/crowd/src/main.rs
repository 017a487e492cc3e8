//! A crowd of viewers in one process: what `scripts/bench relay` and `scale` measure servers with. Prints one line of
//! JSON.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use crowd::viewers::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("crowd: {error}");
            ExitCode::FAILURE
        }
    }
}
