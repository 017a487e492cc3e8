//! A program under test: started as a process, its log lines read, its end seen. It is killed when
//! dropped, so that a failed test leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::eventually::eventually;

/// How long anything may take that should happen soon: generous, because CI machines stall.
pub const SOON: Duration = Duration::from_secs(60);

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Where the built binary `name` is: in `STILLWATCH_BIN_DIR`, or beside the test's own binary.
///
/// # Panics
/// It was not built.
pub fn binary(name: &str) -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("a test has a path");
        let deps = test.parent().and_then(Path::parent).expect("…/target/PROFILE/deps/test");
        deps.to_owned()
    };
    let folder = std::env::var_os("STILLWATCH_BIN_DIR").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run cargo build --workspace", path.display());
    path
}

/// A command for the built binary `name`, run by `STILLWATCH_RUNNER` (such as
/// `qemu-aarch64-static -L …`) if that is set, and without this machine's own configuration.
pub fn command(name: &str) -> Command {
    let runner = std::env::var("STILLWATCH_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).arg(binary(name));
            command
        }
        None => Command::new(binary(name)),
    };
    for variable in ["PASSWORD", "STILLWATCH_PASSWORD", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command
}

impl Program {
    /// Starts `command`, reading its stdout and stderr.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(name: &str, command: &mut Command) -> Program {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        collect(stdout.expect("it is piped"), Arc::clone(&lines));
        collect(stderr.expect("it is piped"), Arc::clone(&lines));
        Program { name: name.to_owned(), child, lines }
    }

    /// Waits for a line that contains `text` among all it has written, and returns the line.
    ///
    /// # Panics
    /// None comes.
    pub fn line(&self, text: &str) -> String {
        self.line_after(0, text)
    }

    /// As [`Program::line`], among the lines after the first `skip`.
    ///
    /// # Panics
    /// None comes.
    pub fn line_after(&self, skip: usize, text: &str) -> String {
        eventually(&format!("a line of {} with {text:?}", self.name), SOON, || {
            let lines = self.lines();
            let found = lines.iter().skip(skip).find(|line| line.contains(text)).cloned();
            found.ok_or_else(|| lines.join("\n"))
        })
    }

    /// All lines written so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// The kernel does not tell.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without SIG.
    ///
    /// # Panics
    /// It can't be sent.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {id}: {status}");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It goes on.
    pub fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("the end of {name}"), SOON, || {
            self.child.try_wait().map_err(|e| e.to_string())?.ok_or("it runs".to_owned())
        })
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Panics
    /// It goes on.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if it has ended, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} wrote:\n{}", self.name, self.lines().join("\n"));
        }
    }
}

fn collect(output: impl std::io::Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    // Ends with the program, which closes its end.
    std::thread::spawn(move || {
        let (mut output, mut line) = (BufReader::new(output), Vec::new());
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            // A serial console says what it likes.
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    });
}
