//! What the journal of a whole machine says, and when: times are the guest's own, since its boot. Stories
//! wait for what was said.

use std::time::Duration;

use testbed::eventually::eventually;
use testbed::machine::Machine;

use crate::guest::SOON;

/// How long a line of the journal may take: a ladder that is four times as patient, on a machine that is
/// twenty times slower than a Pi.
const LINE: Duration = Duration::from_secs(300);

/// Waits until no organ is ill, nor has just been, and returns when that was. The clock is nobody's here: there
/// is no time server.
pub fn all_well(guest: &Machine) -> f64 {
    let command = "stillwatch-agent status >/run/status; \
        grep -q '^camera: works' /run/status && grep -q '^upload: works' /run/status && \
        ! grep '^healing' /run/status | grep -v '^healing clock'";
    guest.eventually("health of all organs", SOON, command);
    guest.uptime().as_secs_f64()
}

/// A line of the journal, and when it was written.
#[derive(Debug, Clone)]
pub struct Line {
    /// Seconds since boot.
    pub at: f64,
    /// What stands behind the time.
    pub text: String,
}

/// The first line after `since` that holds `text`, once there is one.
pub fn line_after(guest: &Machine, since: f64, text: &str) -> Line {
    eventually(&format!("a line with {text:?} after {since} s"), LINE, || {
        let journal = guest.journal("-b -o short-monotonic --no-hostname");
        let found =
            journal.lines().filter_map(parse).find(|l| l.at > since && l.text.contains(text));
        let last: Vec<&str> = journal.lines().rev().take(15).collect();
        found.ok_or_else(|| last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}

/// `[   12.345678] stillwatch-agent[7]: text`
fn parse(line: &str) -> Option<Line> {
    let (at, text) = line.strip_prefix('[')?.split_once(']')?;
    Some(Line { at: at.trim().parse().ok()?, text: text.trim().to_owned() })
}

/// The rungs that an organ's ladder climbed after `since`.
pub fn rungs(guest: &Machine, organ: &str, since: f64) -> String {
    let journal = guest.journal("-b -o short-monotonic --no-hostname");
    let start = format!("{organ}: trying \"");
    let lines = journal.lines().filter_map(parse).filter(|line| line.at > since);
    let of = |line: Line| Some(line.text.split_once(&start)?.1.split('"').next()?.to_owned());
    lines.filter_map(of).collect::<Vec<_>>().join(", ")
}

/// Seconds since its boot.
///
/// # Panics
/// It does not answer.
pub fn uptime(guest: &Machine) -> f64 {
    guest.uptime().as_secs_f64()
}

/// A difference of two times, which two clocks may have taken.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

/// A watchdog that bites while something heals would be worse than none.
pub fn no_watchdog_bit(guest: &Machine) {
    let journal = guest.journal("-b");
    assert!(!journal.contains("Watchdog timeout"), "{journal}");
}

/// Without the name of the process.
pub fn said(line: &Line) -> &str {
    line.text.split_once("]: ").map_or(line.text.as_str(), |(_, text)| text)
}
