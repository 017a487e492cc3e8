//! Asks the healer, the program that may do what needs root. It may not be there: then the agent does
//! what it can do by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::heal::{Answer, MAX_ANSWER, Outcome, Request, State, Verb};

use crate::ask::ask;

/// On top of a verb's own deadline: systemd may have to start the healer first.
const STARTING: Duration = Duration::from_secs(10);

/// Longest state that is believed to be one, in bytes.
const MAX_STATE: u64 = 64 << 10;

/// Where it is.
#[derive(Debug, Clone)]
pub(super) struct Healer {
    socket: PathBuf,
}

impl Healer {
    pub(super) fn at(socket: &Path) -> Healer {
        Healer { socket: socket.to_owned() }
    }

    /// Whether somebody listens there, or systemd would.
    pub(super) fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// What it says of itself, beside its socket; `None` if it says nothing, or is not there.
    pub(super) fn state(&self) -> Option<State> {
        use std::io::Read;
        let file = std::fs::File::open(self.socket.with_file_name("healer.json")).ok()?;
        let mut text = String::new();
        file.take(MAX_STATE).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks, and waits for the answer until the verb's deadline.
    ///
    /// # Errors
    /// It can't be reached, or says nothing that is an answer.
    pub(super) async fn ask(
        &self,
        verb: Verb,
        device: Option<String>,
        reason: &str,
    ) -> io::Result<Answer> {
        let request = Request { verb, device, reason: reason.chars().take(300).collect() };
        ask(&self.socket, &request, MAX_ANSWER, verb.deadline() + STARTING).await
    }
}

/// Whether the verb found something here to be done to.
pub(super) fn was_available(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Done | Outcome::Failed | Outcome::Busy => true,
        Outcome::Unavailable | Outcome::Refused => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    use super::*;

    async fn answering(answer: &'static [u8]) -> (tempfile::TempDir, Healer) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("healer.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = String::new();
            BufReader::new(&mut stream).read_line(&mut line).await.unwrap();
            assert!(line.ends_with('\n') && line.contains("wifi-cycle"), "{line}");
            stream.write_all(answer).await.unwrap();
        });
        let healer = Healer::at(&socket);
        assert!(healer.is_there());
        (folder, healer)
    }

    #[tokio::test]
    async fn asks_and_is_answered() {
        let (_folder, healer) = answering(b"{\"outcome\":\"failed\",\"said\":\"no\"}\n").await;
        let answer = healer.ask(Verb::WifiCycle, Some("wlan0".to_owned()), "why").await.unwrap();
        assert_eq!((answer.outcome, answer.said.as_str()), (Outcome::Failed, "no"));
    }

    #[tokio::test]
    async fn nonsense_and_nobody_are_errors() {
        for nonsense in [&b"what?\n"[..], b""] {
            let (_folder, healer) = answering(nonsense).await;
            assert!(healer.ask(Verb::WifiCycle, None, "why").await.is_err());
        }
        let nobody = Healer::at(Path::new("/nowhere/healer.sock"));
        assert!(!nobody.is_there() && nobody.state().is_none());
        assert!(nobody.ask(Verb::WifiCycle, None, "why").await.is_err());
    }
}
