//! A program that is run: with a deadline, with a bounded output, and with an end in any case.
//!
//! It gets a process group of its own, and whatever is left of the group when the program has ended,
//! or when its time is over, is killed. What hangs in the kernel can't be killed: it is left behind,
//! and counted.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// More of what it writes is read and dropped.
const MAX_OUTPUT: usize = 4 << 10;

/// How long something else, which inherited its output, may hold up the answer.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a killed program may take to be gone; then it hangs in the kernel.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// There is no such program, or no process can be made.
    NotStarted(io::Error),
    /// By itself.
    Exited(ExitStatus),
    /// Its time was over, and it was killed.
    Late,
    /// That did not help: it hangs in the kernel, and is left behind.
    Stuck,
}

/// What is known of a program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// What it wrote to both outputs, as one line of plain text, at most 4 KiB.
    pub output: String,
}

impl Ran {
    /// It ended by itself, with exit status 0.
    pub fn succeeded(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }
}

/// How many were left behind, and hang still.
#[derive(Debug, Clone, Default)]
pub struct Left(Arc<AtomicUsize>);

impl Left {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// As if there were that many, for tests.
    pub fn of(count: usize) -> Left {
        Left(Arc::new(AtomicUsize::new(count)))
    }

    fn watch(&self, mut child: Child) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let left = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Whatever the kernel says: it is no child of ours any more.
            let _ = child.wait().await;
            left.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Runs `command` to its end, but no longer than `deadline`.
pub async fn run(command: Command, deadline: Duration, left: &Left) -> Ran {
    run_with(command, &[], deadline, left).await
}

/// The same, for a program that reads `input`; whether it does is its own affair.
pub async fn run_with(command: Command, input: &[u8], deadline: Duration, left: &Left) -> Ran {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    match start(command, stdin) {
        Ok((child, output)) => watch(child, input, output, deadline, left).await,
        Err(error) => Ran { end: End::NotStarted(error), output: String::new() },
    }
}

fn start(mut command: Command, stdin: Stdio) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    command.stdin(stdin).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    Ok((command.spawn()?, reader))
    // Our ends for writing close with `command`.
}

async fn watch(
    mut child: Child,
    input: &[u8],
    reader: pipe::Receiver,
    deadline: Duration,
    left: &Left,
) -> Ran {
    let group = child.id();
    let mut output = Output { reader, kept: Vec::new(), open: true };
    let ended = timeout(deadline, wait(&mut child, input, &mut output)).await;
    // In both cases: a program that is done leaves nothing running, either.
    kill(group);
    let end = match ended {
        Ok(Ok(status)) => End::Exited(status),
        Ok(Err(error)) => End::NotStarted(error),
        Err(_) if timeout(GONE_WITHIN, child.wait()).await.is_ok() => End::Late,
        Err(_) => {
            left.watch(child);
            End::Stuck
        }
    };
    let _ = timeout(LAST_WORDS, output.rest()).await;
    Ran { end, output: plain(&output.kept) }
}

async fn wait(child: &mut Child, input: &[u8], output: &mut Output) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read it may end all the same. Dropping it says that this is all.
            let _ = stdin.write_all(input).await;
        }
    };
    let wait = child.wait();
    tokio::pin!(wait, write);
    let mut writing = true;
    loop {
        tokio::select! {
            status = &mut wait => return status,
            () = &mut write, if writing => writing = false,
            () = output.more(), if output.open => {}
        }
    }
}

fn kill(group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    if let Some(group) = group {
        // None of it is left: that is how it should be.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

struct Output {
    reader: pipe::Receiver,
    kept: Vec<u8>,
    open: bool,
}

impl Output {
    /// Reads once.
    async fn more(&mut self) {
        let mut piece = [0; 1 << 12];
        let length = self.reader.read(&mut piece).await.unwrap_or(0);
        self.open = length > 0;
        let room = MAX_OUTPUT.saturating_sub(self.kept.len()).min(length);
        self.kept.extend(piece.iter().take(room));
    }

    async fn rest(&mut self) {
        while self.open {
            self.more().await;
        }
    }
}

/// One line of text, whatever the bytes are.
pub fn plain(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, deadline: Duration) -> Ran {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        run(command, deadline, &Left::default()).await
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_told_how_it_ended_and_what_it_said() {
        let ran = sh("echo one; echo two >&2; exit 3", SOON).await;
        assert_eq!(ran.output, "one two");
        assert!(matches!(ran.end, End::Exited(status) if status.code() == Some(3)), "{ran:?}");
        let ran = run(Command::new("/nowhere/at/all"), SOON, &Left::default()).await;
        assert!(matches!(ran.end, End::NotStarted(_)), "{ran:?}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_its_children() {
        let ran =
            sh("trap '' TERM; echo $$; sleep 600 & sleep 600", Duration::from_millis(300)).await;
        assert!(matches!(ran.end, End::Late), "{ran:?}");
        let group = Pid::from_raw(ran.output.parse().unwrap());
        for _ in 0..100 {
            if killpg(group, None).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the group {group} is still there");
    }

    #[tokio::test]
    async fn a_grandchild_that_holds_the_output_holds_up_nothing() {
        let before = crate::clock::mono();
        let ran = sh("setsid sleep 20 & echo done", SOON).await;
        assert_eq!(ran.output, "done");
        assert!(ran.succeeded());
        assert!(crate::clock::mono().since(before) < Duration::from_secs(15));
    }

    #[tokio::test]
    async fn much_output_is_cut_and_never_blocks() {
        let ran = sh("head -c 1000000 /dev/zero | tr '\\0' x; echo ok >/dev/null", SOON).await;
        assert!(ran.succeeded());
        assert_eq!(ran.output.len(), MAX_OUTPUT);
    }

    #[tokio::test]
    async fn what_it_reads_is_written_and_what_it_does_not_read_holds_up_nothing() {
        let input = vec![b'x'; 1_000_000];
        for (script, says) in
            [("wc -c", "1000000"), ("head -c 3", "xxx"), ("exec <&-; echo a", "a")]
        {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script);
            let ran = run_with(command, &input, SOON, &Left::default()).await;
            assert!(ran.succeeded(), "{ran:?}");
            assert_eq!(ran.output, says);
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg("sleep 600");
        let ran = run_with(command, &input, Duration::from_millis(300), &Left::default()).await;
        assert!(matches!(ran.end, End::Late), "{ran:?}");
    }

    #[test]
    fn binary_becomes_plain_text() {
        assert_eq!(plain(b"\x1b[31mred\x00\n\n a\tb\xff\r\n"), "[31mred a b\u{fffd}");
    }
}
