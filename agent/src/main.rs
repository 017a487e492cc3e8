//! `stillwatch-agent`, the program. See `lib.rs`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stillwatch_agent::main()
}
