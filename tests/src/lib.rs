//! A relay and agents as a user would start them, for the stories in `tests/`.

#![expect(clippy::expect_used, reason = "it is test code, and a panic is how a test fails")]

pub mod acme;
pub mod browser;
pub mod caddy;
pub mod card;
pub mod faults;
pub mod guest;
pub mod journal;
pub mod load;
pub mod nginx;
pub mod packages;
pub mod photographer;
pub mod sdcard;
pub mod seaweedfs;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::{Message, get};
use testbed::network::Network;
pub use testbed::of_repository;
use testbed::program::{Program, SOON, command};

/// The password of every story.
pub const PASSWORD: &str = "story-password";

/// Debian's Python, which has Debian's packages; another one may come first in PATH.
pub const PYTHON: &str = "/usr/bin/python3";

/// A running relay with a data directory of its own.
#[derive(Debug)]
pub struct Relay {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    data: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Relay {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start() -> Relay {
        Relay::with(&[])
    }

    /// The same with variables of its own.
    ///
    /// # Panics
    /// It does not come up.
    pub fn with(variables: &[(&str, &str)]) -> Relay {
        Relay::launched(&[], variables)
    }

    /// The same at all of this machine's addresses, for agents in other networks.
    ///
    /// # Panics
    /// It does not come up.
    pub fn everywhere(variables: &[(&str, &str)]) -> Relay {
        Relay::listening("[::]:0", &[], variables)
    }

    /// The same at a port that others know before.
    ///
    /// # Panics
    /// It does not come up.
    pub fn at(port: u16, variables: &[(&str, &str)]) -> Relay {
        Relay::listening(&format!("127.0.0.1:{port}"), &[], variables)
    }

    fn launched(arguments: &[String], variables: &[(&str, &str)]) -> Relay {
        Relay::listening("127.0.0.1:0", arguments, variables)
    }

    fn listening(listen: &str, arguments: &[String], variables: &[(&str, &str)]) -> Relay {
        let data = tempfile::tempdir().expect("a temporary directory");
        let variables: Vec<(String, String)> =
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (program, address) = launch(data.path(), listen, arguments, &variables);
        Relay { program, address, data, arguments: arguments.to_vec(), variables }
    }

    /// The same with a configuration file.
    ///
    /// # Panics
    /// It does not come up.
    pub fn configured(file: &Path) -> Relay {
        Relay::launched(&["--config".to_owned(), file.display().to_string()], &[])
    }

    /// Starts it again at the same address, after its process has ended.
    ///
    /// # Panics
    /// It does not come up.
    pub fn restart(&mut self) {
        let (program, address) =
            launch(self.data.path(), &self.address.to_string(), &self.arguments, &self.variables);
        self.program = program;
        self.address = address;
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The agent's `--relay`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The newest frame of a path such as `/live.jpeg`, once there is one.
    ///
    /// # Panics
    /// None comes.
    pub fn frame(&self, path: &str) -> Message {
        eventually(&format!("a frame at {path}"), SOON, || self.try_frame(path))
    }

    /// A frame with a higher number than `seq`.
    ///
    /// # Panics
    /// None comes.
    pub fn frame_after(&self, seq: u64) -> Message {
        eventually(&format!("a frame after number {seq}"), SOON, || {
            let frame = self.try_frame("/live.jpeg")?;
            if seq_of(&frame) > seq { Ok(frame) } else { Err(format!("{:?}", frame.headers)) }
        })
    }

    /// Publishes an update for its cameras.
    ///
    /// # Panics
    /// It is refused.
    pub fn publish(&self, bundle: &Path) {
        let mut add = command("stillwatch-relay");
        add.arg("--data-dir").arg(self.data.path()).args(["updates", "add"]).arg(bundle);
        let added = add.output().expect("the relay's program");
        assert!(added.status.success(), "{added:?}");
    }

    /// Whether it never got a picture.
    pub fn is_empty(&self) -> bool {
        get(self.address, "/live.jpeg").is_ok_and(|answer| answer.status() == 503)
    }

    fn try_frame(&self, path: &str) -> Result<Message, String> {
        let answer = get(self.address, path).map_err(|error| error.to_string())?;
        match answer.status() {
            200 => Ok(answer),
            _ => Err(format!("{} {:?}", answer.first, answer.headers)),
        }
    }
}

fn launch(
    data: &Path,
    listen: &str,
    arguments: &[String],
    variables: &[(String, String)],
) -> (Program, SocketAddr) {
    let mut command = command("stillwatch-relay");
    command.args(["--listen", listen, "--data-dir"]).arg(data).env("PASSWORD", PASSWORD);
    command.args(arguments).envs(variables.iter().cloned());
    let program = Program::start("the relay", &mut command);
    let line = program.line("listening on ");
    let address = line.split("listening on ").nth(1).and_then(|rest| rest.trim().parse().ok());
    (program, address.unwrap_or_else(|| unreadable(&line)))
}

#[expect(clippy::panic, reason = "it is test code")]
fn unreadable(line: &str) -> SocketAddr {
    panic!("no address in the relay's line {line:?}")
}

/// The number of a frame.
pub fn seq_of(frame: &Message) -> u64 {
    frame.header("frame-seq").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Starts an agent that uploads to `url`, with further arguments and variables.
///
/// # Panics
/// It can't be started.
pub fn agent(url: &str, arguments: &[&str], variables: &[(String, String)]) -> Program {
    Program::start("the agent", &mut agent_command(url, arguments, variables))
}

/// The same inside a network of its own.
///
/// # Panics
/// It can't be started.
pub fn agent_in(
    network: &Network,
    url: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Program {
    let owned = |&(n, v): &(&str, &str)| (n.to_owned(), v.to_owned());
    let variables: Vec<(String, String)> = variables.iter().map(owned).collect();
    let command = agent_command(url, arguments, &variables);
    Program::start("the agent", &mut network.run(&command))
}

fn agent_command(url: &str, arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = command("stillwatch-agent");
    command
        .args(["run", "--relay", url])
        .args(arguments)
        .env("STILLWATCH_PASSWORD", PASSWORD)
        .env("STILLWATCH_AGENT_CLOCK", "trusted")
        .env("STILLWATCH_CAMERA_WARM_UP", "0s")
        .envs(variables.iter().cloned());
    let scratch = std::env::temp_dir();
    if !variables.iter().any(|(name, _)| name == "STILLWATCH_AGENT_STATUS_FILE") {
        let id = std::process::id();
        let path = scratch.join(format!("stillwatch-story-{id}.json"));
        command.env("STILLWATCH_AGENT_STATUS_FILE", path);
    }
    command
}

/// The agent's test card as a JPEG, of a size such as `640x480`.
///
/// # Panics
/// No picture comes.
pub fn test_card(size: &str) -> Vec<u8> {
    let relay = Relay::start();
    let _agent = agent(&relay.url(), &["--source", "pattern", "--size", size], &[]);
    relay.frame("/live.jpeg").body
}
