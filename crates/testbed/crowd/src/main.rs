//! A crowd of viewers in one process: what `scripts/bench relay` measures servers with.
//!
//! It reads into one buffer, keeps no picture, and looks at nothing but lengths and the stamp inside
//! each, so that it costs much less than the server at the other end. Prints one line of JSON.

#![forbid(unsafe_code)]

mod parse;
mod viewers;

use std::process::ExitCode;

use clap::Parser as _;
use parse::Kind;

/// Thousands of viewers, and how old what they see is.
#[derive(Debug, clap::Parser)]
struct Options {
    /// What they look at
    #[arg(long)]
    kind: Kind,
    /// HOST:PORT
    #[arg(long)]
    address: std::net::SocketAddr,
    /// Paths, given to the viewers in turn
    #[arg(long, required = true, value_delimiter = ',')]
    paths: Vec<String>,
    #[arg(long)]
    viewers: usize,
    /// How long to measure, after --settle seconds
    #[arg(long)]
    seconds: u64,
    #[arg(long, default_value_t = 2)]
    settle: u64,
    /// The first viewer reads only this many bytes a second
    #[arg(long)]
    slow: Option<u64>,
    /// Stills: ask with If-None-Match
    #[arg(long)]
    conditional: bool,
    /// Stills: each viewer waits for so many milliseconds before it asks again, and they begin spread over that time
    #[arg(long, default_value_t = 0)]
    every: u64,
}

fn main() -> ExitCode {
    match viewers::run(&Options::parse()) {
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
