//! A crowd of cameras in one process: what `scripts/bench scale` loads relays with. Prints `connected` when all of them
//! are, and a line of JSON in the end.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use crowd::cameras::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse(), || println!("connected")) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cameras: {error}");
            ExitCode::FAILURE
        }
    }
}
