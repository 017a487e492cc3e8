//! Asking a privileged program beside the agent over its Unix socket: a line of JSON there, a line back.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Asks whoever listens at `socket`, and waits for an answer of at most `max_answer` bytes.
///
/// # Errors
/// It can't be reached, says nothing in time, or nothing that is an answer.
pub(crate) async fn ask<A: DeserializeOwned>(
    socket: &Path,
    request: &impl Serialize,
    max_answer: usize,
    within: Duration,
) -> io::Result<A> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.take(max_answer as u64).read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    tokio::time::timeout(within, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
