//! The source `rpicam`: Raspberry Pi's own camera program as a helper process.
//!
//! `rpicam-vid` writes JPEGs into a pipe without anything between them. It has no time stamps there,
//! so a picture's time is when its first byte was read. It retries by itself for ever when the
//! camera fails: it is judged by its pictures, never by whether it runs.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, park_timeout};
use std::time::Duration;

use frame::split::Splitter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use runtime::clock;

use super::pace::Pace;
use super::{Capture, MAX_FRAME_BYTES, Manner, Source, SourceError, captured_at};
use crate::config::{CameraConfig, ClockTrust};

/// A pipe's default capacity (pipe(7)).
const READ_BYTES: usize = 64 << 10;

/// How long a helper that closed its output, or was killed, may take to be gone. One stuck in a driver's call can take for ever.
const END_PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Rpicam {
    /// Until it is dropped.
    child: Option<Child>,
    stdout: ChildStdout,
    last_words: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
    splitter: Splitter<i64>,
    buffer: Vec<u8>,
    pace: Pace,
    patience: Duration,
    trust: ClockTrust,
    description: String,
}

/// Whether the program can be found.
pub(super) fn is_installed(command: &Path) -> bool {
    if command.components().count() > 1 {
        return command.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(command).is_file())
}

impl Rpicam {
    pub(super) fn open(config: &CameraConfig, trust: ClockTrust) -> Result<Self, SourceError> {
        if stuck() >= MAX_STUCK {
            let why =
                format!("{MAX_STUCK} camera programs are stuck in the driver: no further one");
            return Err(SourceError::Helper(why));
        }
        let mut command = Command::new(&config.rpicam_command);
        let halved = match config.manner {
            Manner::Usual => 1,
            Manner::Other => 2,
        };
        let size = config.size;
        let (width, height) =
            ((size.width / halved).to_string(), (size.height / halved).to_string());
        // Its own default quality is 50. `--flush` sends each picture at once.
        command
            .args(["-t", "0", "-n", "--codec", "mjpeg", "--flush", "-o", "-"])
            .args(["--width", &width, "--height", &height])
            .args(["--framerate", &config.fps.to_string()])
            .args(["--quality", &config.quality.to_string()])
            .args(config.rpicam_arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        die_with_us(&mut command);
        let program = config.rpicam_command.display();
        let mut child = command.spawn().map_err(|error| {
            let why = format!("can't be started: {error}");
            SourceError::Unsuitable(config.rpicam_command.clone(), why)
        })?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(SourceError::Helper(format!("{program} has no pipes")));
        };
        let last_words = Arc::new(Mutex::new(String::new()));
        let listener = listen(stderr, Arc::clone(&last_words))?;
        Ok(Rpicam {
            description: format!("{program} ({width}x{height}, {} fps)", config.fps),
            child: Some(child),
            stdout,
            last_words,
            listener,
            splitter: Splitter::new(MAX_FRAME_BYTES),
            buffer: vec![0; READ_BYTES],
            pace: Pace::new(config.interval(), config.warm_up),
            patience: config.patience(),
            trust,
        })
    }

    fn read(&mut self, now_us: i64, deadline_us: i64) -> Result<(), SourceError> {
        let left = u64::try_from(deadline_us.saturating_sub(now_us)).unwrap_or(0);
        let left = PollTimeout::try_from(Duration::from_micros(left)).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut waiting, left).map_err(|error| self.failed("poll", error.into()))?;
        if ready == 0 {
            return Err(self.silent());
        }
        let read = match self.stdout.read(&mut self.buffer) {
            Ok(0) => return Err(self.ended()),
            Ok(read) => read,
            Err(error) => return Err(self.failed("read", error)),
        };
        let bytes = self.buffer.get(..read).unwrap_or_default();
        self.splitter.push(bytes, clock::monotonic_us());
        Ok(())
    }

    fn silent(&self) -> SourceError {
        match self.said() {
            words if words.is_empty() => SourceError::Silent(self.patience),
            words => {
                let patience = runtime::settings::duration_text(self.patience);
                SourceError::Helper(format!("no picture for {patience}; it said: {words}"))
            }
        }
    }

    fn ended(&mut self) -> SourceError {
        // It closed its output; give it a moment to be gone, for its status, and its last words one
        // to be read.
        let status = self.child.as_mut().and_then(|child| reap(child, END_PATIENCE));
        let _ = within(END_PATIENCE, || self.listener.is_finished().then_some(()));
        let how = status.map_or("closed its output".to_owned(), |s| format!("ended ({s})"));
        let said = match self.said() {
            words if words.is_empty() => String::new(),
            words => format!("; it said: {words}"),
        };
        SourceError::Helper(format!("the camera program {how}{said}"))
    }

    fn failed(&self, what: &str, error: std::io::Error) -> SourceError {
        SourceError::Helper(format!("{what} of {} failed: {error}", self.description))
    }

    fn said(&self) -> String {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for Rpicam {
    fn next(&mut self) -> Result<Option<Capture>, SourceError> {
        let mut now_us = clock::monotonic_us();
        let patience_us = i64::try_from(self.patience.as_micros()).unwrap_or(i64::MAX);
        let mut deadline_us = now_us.saturating_add(patience_us);
        loop {
            while let Some(cut) = self.splitter.next(now_us) {
                deadline_us = now_us.saturating_add(patience_us);
                if self.pace.keep(cut.began) {
                    let captured = captured_at(Some(cut.began), self.trust);
                    let picture = cut.picture;
                    return Ok(Some(Capture { picture, captured, may_repeat: false }));
                }
            }
            self.read(now_us, deadline_us)?;
            now_us = clock::monotonic_us();
        }
    }

    fn helper(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn slow(&mut self, divisor: u32) {
        self.pace.slow(divisor);
    }

    fn describe(&self) -> &str {
        &self.description
    }
}

impl Drop for Rpicam {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Ok(id) = i32::try_from(child.id()) {
            // The whole group: a wrapper script may have started the real program.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        if reap(&mut child, END_PATIENCE).is_none() {
            let program = &self.description;
            tracing::warn!("{program} does not die though killed: stuck in the camera's driver");
            STUCK.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
    }
}

/// Helpers that were killed and live on, inside a call of the driver that does not return.
static STUCK: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// More than so many are no use: the driver holds all of them.
const MAX_STUCK: usize = 4;

/// Forgets the stuck helpers that have ended since, and says how many are left.
fn stuck() -> usize {
    let mut stuck = STUCK.lock().unwrap_or_else(PoisonError::into_inner);
    stuck.retain_mut(|child| child.try_wait().is_ok_and(|ended| ended.is_none()));
    stuck.len()
}

/// Waits for a child's end, at most for `patience`.
fn reap(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    within(patience, || child.try_wait().ok().flatten())
}

/// Looks again and again for what should soon be there.
fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = clock::mono();
    loop {
        match look() {
            None if clock::mono().since(began) < patience => {
                park_timeout(Duration::from_millis(20));
            }
            found => return found,
        }
    }
}

/// The helper must not outlive us, however we end: it would keep the camera to itself.
fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only this one system call is made.
    #[expect(unsafe_code, reason = "prctl(PR_SET_PDEATHSIG) has to be called in the child")]
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from)
        });
    }
}

/// Keeps the last line the helper wrote to stderr: the cause, when it fails. The thread ends with
/// the helper.
fn listen(
    stderr: impl Read + Send + 'static,
    words: Arc<Mutex<String>>,
) -> Result<JoinHandle<()>, SourceError> {
    /// Longest line kept, in bytes.
    const MAX_LINE: u64 = 300;
    let thread = std::thread::Builder::new().name("rpicam-stderr".to_owned());
    let run = move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() {
                tracing::debug!("rpicam: {text}");
                *words.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        }
    };
    thread.spawn(run).map_err(|error| SourceError::Helper(format!("no thread: {error}")))
}

#[cfg(test)]
mod tests;
