//! The other end of the socket, for people and scripts: `stillwatch-healer ask wifi-tune wlan0`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use runtime::heal::{Answer, MAX_ANSWER, Outcome, Request};

use crate::cli::Ask;

/// What surrounds a verb: syncing the journal, writing the budget.
const BESIDES: Duration = Duration::from_secs(20);

/// Exit status of an answer that is neither done nor failed (sysexits.h).
const EX_UNAVAILABLE: u8 = 69;
const EX_TEMPFAIL: u8 = 75;
const EX_NOPERM: u8 = 77;

/// Asks, prints what was said, and ends as it ended.
///
/// # Errors
/// The healer can't be reached, or does not answer.
pub(crate) fn run(ask: Ask) -> io::Result<ExitCode> {
    let Ask { socket, reason, verb, device } = ask;
    let mut stream = UnixStream::connect(&socket)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", socket.display())))?;
    stream.set_read_timeout(Some(verb.deadline() + BESIDES))?;
    let mut line = serde_json::to_vec(&Request { verb, device, reason })?;
    line.push(b'\n');
    // Whoever is turned away may be answered before this has passed.
    let written = stream.write_all(&line);
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER as u64)).read_line(&mut line)?;
    if line.is_empty() {
        written?;
    }
    let answer: Answer = serde_json::from_str(&line)?;
    let outcome = serde_json::to_string(&answer.outcome)?;
    println!(
        "{}{}{}",
        outcome.trim_matches('"'),
        if answer.said.is_empty() { "" } else { ": " },
        answer.said
    );
    Ok(match answer.outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Unavailable => ExitCode::from(EX_UNAVAILABLE),
        Outcome::Busy => ExitCode::from(EX_TEMPFAIL),
        Outcome::Refused => ExitCode::from(EX_NOPERM),
    })
}
