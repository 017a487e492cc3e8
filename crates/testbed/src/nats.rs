//! Debian's nats-server: the bus that relays share frames by. One, or three that are one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use crate::program::Program;

/// One server, with a folder of its own. It can be killed, and started again at the same address.
#[derive(Debug)]
pub struct Nats {
    /// Where clients find it.
    pub address: SocketAddr,
    program: Option<Program>,
    folder: TempDir,
}

impl Nats {
    /// A server with JetStream; `more` is added to its configuration.
    ///
    /// # Panics
    /// There is none: `scripts/setup test` installs it.
    pub fn start(more: &str) -> Nats {
        Nats::at(free(), more)
    }

    /// Three servers that are one.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn cluster() -> [Nats; 3] {
        let routes = [free(), free(), free()];
        let all: Vec<String> = routes.iter().map(|route| format!("nats://{route}")).collect();
        let all = all.join(", ");
        routes.map(|own| {
            let more = format!(
                "server_name: n{}\ncluster {{ name: stillwatch, listen: \"{own}\", routes: [{all}] }}",
                own.port()
            );
            Nats::at(free(), &more)
        })
    }

    fn at(address: SocketAddr, more: &str) -> Nats {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let config = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: {data:?}, max_mem: 256MB, max_file: 256MB }}\n{more}\n"
        );
        fs::write(folder.path().join("nats.conf"), config).expect("its configuration");
        let mut nats = Nats { address, program: None, folder };
        nats.restart();
        nats
    }

    /// Its address, as relays are told it.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut program = self.program.take().expect("it runs");
        program.signal("KILL");
        program.ended();
    }

    /// Starts it, with what it left on its disk.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        let program = Program::start("nats-server", &mut command);
        program.line("Server is ready");
        self.program = Some(program);
    }
}

/// A port that nobody has now: a server has to come back to the same one.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
