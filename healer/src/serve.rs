//! Connections: who may ask, how many at a time, how long each may take.
//!
//! What is asked is `healer.rs`' affair. Everything here runs on one thread; connections are tasks.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::User;
use runtime::heal::{Answer, MAX_ANSWER, MAX_REQUEST, Outcome};
use runtime::{inherited, notify, signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::cli;
use crate::healer::Healer;
use crate::hook::answer;
use crate::site::Site;
use crate::{ledger, memory, published};

/// Connections at a time; the agent needs one for each organ.
const MAX_CONNECTIONS: u32 = 16;

/// How long a request or an answer may take to pass the socket.
const PASSED_WITHIN: Duration = Duration::from_secs(2);

/// After so long without a request it ends, and systemd starts it with the next one.
const IDLE: Duration = Duration::from_secs(60);

/// Longest verb, and the writing around it.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// Pause after an error that does not go away by itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why it could not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("no socket to listen at: systemd hands one over, or name one with --listen")]
    NoSocket,
    #[error("can't listen: {0}")]
    Listen(#[source] io::Error),
    #[error("can't listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error("can't make the folders of the healer: {0}")]
    Folders(#[source] io::Error),
}

/// Serves until told to stop; with a socket of systemd's, until nobody has asked for a while.
pub(crate) async fn run(serve: cli::Serve) -> Result<(), ServeError> {
    let site = Site::new(serve.places);
    site.make().map_err(ServeError::Folders)?;
    let listener = listener(serve.listen.as_deref())?;
    let door = Arc::new(Door {
        allowed: uid_of(&serve.allow_user),
        seats: Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)),
        healer: Healer::new(site.clone(), serve.deadline_ms.map(Duration::from_millis)),
    });
    memory::restore(&site);
    if let Ok(budget) = ledger::read(&site) {
        published::budget(&site, &budget);
    }
    notify::ready();
    let idle = if serve.listen.is_some() { Duration::MAX } else { IDLE };
    tokio::select! {
        signal = signal::stop_requested() => {
            tracing::debug!("{}: stopping", signal.map_err(ServeError::Signals)?);
        }
        () = door.accept(listener, idle) => tracing::debug!("nobody asks: ending"),
    }
    notify::stopping();
    // What runs is left to end: half a cure is worse than none.
    let _ = timeout(STOPPED_WITHIN, door.seats.acquire_many(MAX_CONNECTIONS)).await;
    Ok(())
}

fn listener(path: Option<&Path>) -> Result<UnixListener, ServeError> {
    let listener = match path {
        Some(path) => {
            // From an earlier run.
            let _ = std::fs::remove_file(path);
            StdListener::bind(path).map_err(ServeError::Listen)?
        }
        None => {
            let mut passed = inherited::sockets().map_err(ServeError::Listen)?;
            let (fd, _) = passed.pop().ok_or(ServeError::NoSocket)?;
            StdListener::from(fd)
        }
    };
    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
    UnixListener::from_std(listener).map_err(ServeError::Listen)
}

/// A user by name or number; `None` if there is no such user.
fn uid_of(user: &str) -> Option<u32> {
    let named = || User::from_name(user).ok().flatten().map(|user| user.uid.as_raw());
    let uid = user.parse().ok().or_else(named);
    if uid.is_none() {
        tracing::warn!("there is no user {user}: only root may ask");
    }
    uid
}

struct Door {
    allowed: Option<u32>,
    seats: Arc<Semaphore>,
    healer: Healer,
}

impl Door {
    async fn accept(self: &Arc<Door>, listener: UnixListener, idle: Duration) {
        loop {
            match timeout(idle, listener.accept()).await {
                Ok(Ok((stream, _))) => self.admit(stream),
                Ok(Err(error)) => {
                    tracing::debug!("accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // What is stuck in a driver would keep systemd from starting another healer.
                Err(_) if self.is_idle() => return,
                Err(_) => {}
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.seats.available_permits() == MAX_CONNECTIONS as usize && !self.healer.has_left()
    }

    /// Whoever gets no seat is answered at once.
    fn admit(self: &Arc<Door>, stream: UnixStream) {
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let may = uid.as_ref().is_ok_and(|uid| *uid == 0 || Some(*uid) == self.allowed);
        if !may {
            let who = uid.map_or("somebody unknown".to_owned(), |uid| format!("the user {uid}"));
            let why = format!("{who} may not ask the healer, only root and the agent");
            return turn_away(&stream, &self.healer.refuse(why));
        }
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let said = format!("{MAX_CONNECTIONS} others are asking already");
            return turn_away(&stream, &answer(Outcome::Busy, said));
        };
        tokio::spawn(Arc::clone(self).talk(stream, seat));
    }

    async fn talk(self: Arc<Door>, mut stream: UnixStream, _seat: OwnedSemaphorePermit) {
        let answer = match timeout(PASSED_WITHIN, request(&mut stream)).await {
            Ok(Ok(line)) if line.is_empty() => return,
            Ok(Ok(line)) => self.healer.answer(&line).await,
            Ok(Err(error)) => return tracing::debug!("a request could not be read: {error}"),
            Err(_) => {
                self.healer.refuse(format!("a request has to arrive within {PASSED_WITHIN:?}"))
            }
        };
        // Whoever went away meanwhile finds it in the journal.
        let _ = timeout(PASSED_WITHIN, stream.write_all(&encode(answer))).await;
    }
}

/// One line, or as much of a longer one as shows that it is too long.
async fn request(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut piece = [0; MAX_REQUEST];
    while line.len() <= MAX_REQUEST {
        let length = stream.read(&mut piece).await?;
        let read = piece.get(..length).unwrap_or_default();
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            line.extend(read.iter().take(end + 1));
            break;
        }
        line.extend(read);
        if length == 0 {
            break;
        }
    }
    Ok(line)
}

/// Never waits: a new socket's buffer takes a line.
fn turn_away(stream: &UnixStream, answer: &Answer) {
    let _ = stream.try_write(&encode(answer.clone()));
}

/// One line, of the length that was agreed on.
fn encode(mut answer: Answer) -> Vec<u8> {
    loop {
        // Our own structure always serialises.
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        if line.len() <= MAX_ANSWER {
            return line;
        }
        let shorter = answer.said.chars().count() * 3 / 4;
        answer.said = answer.said.chars().take(shorter).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_the_agreed_length() {
        for said in
            ["x".repeat(10_000), "\"\\\n".repeat(2_000), "\u{1F389}".repeat(4_096), String::new()]
        {
            let line = encode(answer(Outcome::Failed, said.clone()));
            assert!(line.len() <= MAX_ANSWER && line.ends_with(b"\n"));
            let back: Answer = serde_json::from_slice(&line).unwrap();
            assert!(said.starts_with(&back.said) && back.said.len() * 2 >= said.len().min(1_500));
        }
    }

    #[test]
    fn users_have_names_or_numbers() {
        assert_eq!(
            (uid_of("root"), uid_of("4711"), uid_of("no such user")),
            (Some(0), Some(4711), None)
        );
    }
}
