//! The root shell in the guest, over a virtio serial port of its own: no login, no echo, no escape
//! sequences. `scripts/guest.d/shell` is its other end. One line each:
//!
//! | direction | line |
//! |---|---|
//! | from the guest | `boot BOOT`: the system with this boot id listens |
//! | to the guest | `BOOT NUMBER COMMAND` |
//! | from the guest | `answer BOOT NUMBER STATUS OUTPUT` |
//!
//! Command and output are in base64. What was sent to a system that went down waits in QEMU for the
//! next one, which knows by the boot id that it is not meant.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; above 128: killed by a signal.
    pub status: i32,
    /// What it wrote to both outputs.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    NoShell(Duration),
    NoAnswer(Duration),
    Rebooted,
    Gone,
}

impl fmt::Display for Trouble {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoShell(time) => write!(to, "the guest's shell does not listen for {time:?}"),
            Trouble::NoAnswer(time) => write!(to, "no answer within {time:?}"),
            Trouble::Rebooted => write!(to, "the guest rebooted meanwhile"),
            Trouble::Gone => write!(to, "QEMU has ended"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    boot: String,
    asked: u64,
    answers: HashMap<u64, Output>,
    gone: bool,
}

type Shared = (Mutex<State>, Condvar);

#[derive(Debug)]
pub(super) struct Shell {
    stream: UnixStream,
    shared: Arc<Shared>,
}

impl Shell {
    pub(super) fn connect(path: &Path) -> io::Result<Shell> {
        let stream = UnixStream::connect(path)?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        let shared = Arc::new(Shared::default());
        let shell = Shell { stream, shared: Arc::clone(&shared) };
        // Ends with QEMU, which closes its end.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut state = lock(&shared);
                state.note(&line);
                shared.1.notify_all();
            }
            lock(&shared).gone = true;
            shared.1.notify_all();
        });
        Ok(shell)
    }

    pub(super) fn run(&self, command: &str, deadline: Duration) -> Result<Output, Trouble> {
        let (boot, number) = self.ask(command, deadline)?;
        let unanswered = |state: &mut State| {
            !state.gone && state.boot == boot && !state.answers.contains_key(&number)
        };
        let mut state = self.wait(deadline, unanswered);
        match state.answers.remove(&number) {
            Some(output) => Ok(output),
            None if state.gone => Err(Trouble::Gone),
            None if state.boot != boot => Err(Trouble::Rebooted),
            None => Err(Trouble::NoAnswer(deadline)),
        }
    }

    /// The id of a boot that is not `known`, once its shell listens.
    pub(super) fn other_boot(&self, known: &str, deadline: Duration) -> Option<String> {
        let same =
            |state: &mut State| !state.gone && (state.boot.is_empty() || state.boot == known);
        let state = self.wait(deadline, same);
        (!state.boot.is_empty() && state.boot != known).then(|| state.boot.clone())
    }

    fn ask(&self, command: &str, deadline: Duration) -> Result<(String, u64), Trouble> {
        let mut state = self.wait(deadline, |state| !state.gone && state.boot.is_empty());
        if state.gone {
            return Err(Trouble::Gone);
        }
        if state.boot.is_empty() {
            return Err(Trouble::NoShell(deadline));
        }
        state.asked += 1;
        let (boot, number) = (state.boot.clone(), state.asked);
        let line = format!("{boot} {number} {}\n", STANDARD.encode(command));
        // Under the lock: two threads' lines must not mix.
        (&self.stream).write_all(line.as_bytes()).map_err(|_| Trouble::Gone)?;
        Ok((boot, number))
    }

    fn wait(
        &self,
        deadline: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'_, State> {
        let state = lock(&self.shared);
        let waited = self.shared.1.wait_timeout_while(state, deadline, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["boot", boot] => boot.clone_into(&mut self.boot),
            ["answer", boot, number, status, ref output @ ..] if boot == self.boot => {
                let bytes = STANDARD.decode(output.concat()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let (Ok(number), Ok(status)) = (number.parse(), status.parse()) {
                    self.answers.insert(number, Output { status, text });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_boot_is_none() {
        let mut state = State::default();
        state.note("boot a");
        state.note("answer b 1 0 aGk=");
        assert!(state.answers.is_empty());
        state.note("answer a 1 3 aGk=");
        state.note("answer a 2 0 ");
        assert_eq!(state.answers[&1], Output { status: 3, text: "hi".to_owned() });
        assert_eq!(state.answers[&2], Output { status: 0, text: String::new() });
    }
}
