//! Asks the keeper of the access point, who has the privileges.

use std::io;
use std::path::Path;

use runtime::setup::{ANSWERED_WITHIN, Answer, Ask, MAX_ANSWER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Asks, and waits for the answer.
///
/// # Errors
/// It can't be reached, says nothing in time, or nothing that is an answer.
pub(super) async fn ask(socket: &Path, ask: &Ask) -> io::Result<Answer> {
    timeout(ANSWERED_WITHIN, exchange(socket, ask))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(socket: &Path, ask: &Ask) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER as u64).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
