//! Viewers who never keep a connection: what they see while the relay in a container restarts.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::container::Container;
use testbed::eventually::pause;
use testbed::http::get;

use crate::packages::RELAY;

/// Each of them waits for so long between two requests.
const BETWEEN: Duration = Duration::from_millis(2);

/// What came of their requests.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Answered with a picture.
    pub answered: u64,
    /// The connection was refused.
    pub refused: u64,
    /// It was made, and ended without an answer.
    pub cut: u64,
    /// Answered with anything else.
    pub turned_away: u64,
    /// The longest that an answer took.
    pub longest: Duration,
    /// What went wrong first.
    pub trouble: Option<String>,
}

impl Load {
    /// All of them.
    pub fn requests(&self) -> u64 {
        self.answered + self.refused + self.cut + self.turned_away
    }

    fn trouble(&mut self, what: String) {
        self.trouble.get_or_insert(what);
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { answered, refused, cut, turned_away, longest, trouble } = self;
        let requests = self.requests();
        write!(
            f,
            "{requests} requests: {answered} answered, {refused} refused, {cut} cut off, {turned_away} turned away; \
             longest {longest:?}"
        )?;
        trouble.iter().try_for_each(|trouble| write!(f, "; first: {trouble}"))
    }
}

/// Does something to the container while `clients` ask its relay for pictures without end.
///
/// # Panics
/// `during` does.
pub fn under_load(container: &Container, clients: usize, during: impl FnOnce() + Send) -> Load {
    let (over, load) = (AtomicBool::new(false), Mutex::new(Load::default()));
    container.inside(|| {
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        ask(&load);
                        pause(BETWEEN);
                    }
                });
            }
            // So that they end, whatever happens.
            let _end = End(&over);
            during();
        });
    });
    load.into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "it is other processes' time")]
fn ask(load: &Mutex<Load>) {
    let began = Instant::now();
    let answer = get(RELAY, "/live.jpeg");
    let took = began.elapsed();
    let mut load = load.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Ok(answer) if answer.status() == 200 => load.answered += 1,
        Ok(answer) => {
            load.turned_away += 1;
            load.trouble(answer.first);
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            load.refused += 1;
            load.trouble(error.to_string());
        }
        Err(error) => {
            load.cut += 1;
            load.trouble(error.to_string());
        }
    }
    load.longest = load.longest.max(took);
}
