//! A folder that stands for a machine: its sysfs, its programs, its hooks, the healer's files. And the
//! healer on it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use runtime::heal::{Answer, Outcome, Request, State, Verb};
use testbed::program::{Program, SOON, command};

/// The hooks that are installed.
const REAL_HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/heal.d");

/// See the module's documentation.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "hooks", "state", "run"] {
            fs::create_dir(stage.path(folder)).unwrap();
        }
        stage.file("/proc/sys/kernel/random/boot_id", "this-boot\n");
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name.trim_start_matches('/'))
    }

    /// A file, with the folders it needs.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn link(&self, name: &str, target: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(self.path(target), path).unwrap();
    }

    /// What a file holds; empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn script(&self, name: &str, body: &str) {
        // Renamed, so that no other test's fork holds it open for writing (ETXTBSY).
        let text = format!("#!/bin/sh\nSTAGE={}\n{body}\n", self.folder.path().display());
        let hidden = self.path(&format!("{name}.new"));
        fs::write(&hidden, text).unwrap();
        fs::set_permissions(&hidden, PermissionsExt::from_mode(0o755)).unwrap();
        fs::rename(hidden, self.path(name)).unwrap();
    }

    /// A hook of the test's own.
    pub(crate) fn hook(&self, verb: Verb, body: &str) {
        self.script(&format!("hooks/{}", verb.name()), body);
    }

    /// A program that hooks find before the real one. It writes down how it was called.
    pub(crate) fn tool(&self, name: &str, body: &str) {
        let body = format!("echo \"{name} $*\" >>\"$STAGE/calls\"\n{body}");
        self.script(&format!("bin/{name}"), &body);
    }

    /// Programs that do nothing but write down how they were called.
    pub(crate) fn tools(&self, names: &[&str]) {
        for name in names {
            self.tool(name, "");
        }
    }

    /// How the tools were called, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    /// The healer's command line, with the places of this machine.
    pub(crate) fn healer(&self, subcommand: &str) -> Command {
        let mut command = command("stillwatch-healer");
        command
            .arg(subcommand)
            .args(["--state-dir", self.path("state").to_str().unwrap()])
            .args(["--run-dir", self.path("run").to_str().unwrap()])
            .args(["--root", self.folder.path().to_str().unwrap()])
            .args(["--hooks", self.path("hooks").to_str().unwrap(), "--hooks", REAL_HOOKS])
            .args(["--path", &format!("{}:/usr/bin:/bin", self.path("bin").display())])
            .env("STILLWATCH_LOG", "debug");
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        let output = self.healer(subcommand).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    pub(crate) fn serve(&self) -> Served<'_> {
        let me = nix::unistd::getuid().to_string();
        self.serve_with(&["--allow-user", &me])
    }

    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Served<'_> {
        let socket = self.path("socket");
        let mut command = self.healer("serve");
        command.args(["--listen", socket.to_str().unwrap()]).args(arguments);
        let program = Program::start("healer", &mut command);
        let served = Served { stage: self, program };
        testbed::eventually::becomes_true("the healer's socket", SOON, || {
            UnixStream::connect(&socket).is_ok()
        });
        served
    }

    /// What is published.
    pub(crate) fn published(&self) -> State {
        serde_json::from_str(&self.read("run/healer.json")).unwrap()
    }

    /// The path that hooks are told, where a file of sysfs stands in one.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// A running healer.
pub(crate) struct Served<'a> {
    pub stage: &'a Stage,
    pub program: Program,
}

impl Served<'_> {
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.stage.path("socket")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The healer may have heard enough.
        let _ = stream.write_all(bytes);
        receive(&stream)
    }

    pub(crate) fn ask(&self, verb: Verb, device: Option<&str>) -> Answer {
        let device = device.map(str::to_owned);
        let request = Request { verb, device, reason: "the test wants it".to_owned() };
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');
        self.send(&line)
    }

    /// Asks, and expects this of it.
    pub(crate) fn expect(&self, verb: Verb, device: Option<&str>, outcome: Outcome) -> String {
        let answer = self.ask(verb, device);
        assert_eq!(answer.outcome, outcome, "{}", answer.said);
        answer.said
    }

    /// Ends it, and expects so many lines with each text in all of its log.
    pub(crate) fn told(mut self, expected: &[(&str, usize)]) {
        self.program.signal("TERM");
        // Lines are read as they come: this one is the last.
        self.program.line("SIGTERM: stopping");
        assert!(self.program.ended().success());
        for (text, count) in expected {
            let lines = self.program.lines();
            assert_eq!(lines.iter().filter(|line| line.contains(text)).count(), *count, "{text}");
        }
    }
}

pub(crate) fn receive(stream: &UnixStream) -> Answer {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer comes");
    serde_json::from_str(&line).expect("an answer is JSON")
}

/// Longest time that something quick may take on a busy machine.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
