//! How a program ends.

use std::fmt::Display;
use std::process::ExitCode;

use tokio::runtime::Builder;

/// Runs an async program to its end on this thread, and says what went wrong.
pub fn run<E: Display>(program: impl Future<Output = Result<(), E>>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = ended(runtime.block_on(program));
            // A disk or a name lookup may still block one of its threads.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            tracing::error!("can't start the async runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The exit code of an outcome, whose error is said.
pub fn ended<E: Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
