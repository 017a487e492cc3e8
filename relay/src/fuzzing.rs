//! What the targets in `fuzz/` reach of the relay; compiled for them alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::app;
use crate::cli::Settings;
use crate::config::{Config, KEYS};
use crate::view::path::parse;

/// With what uploads are allowed.
pub const PASSWORD: &str = "fuzz";

/// An answer takes microseconds here; where none comes for so long, none will without more bytes.
const SILENCE: Duration = Duration::from_millis(3);

/// What is read of an answer that does not end.
const MAX_ANSWER: usize = 256 << 10;

/// The whole relay in this process, on one thread with whoever talks to it: the same bytes take the same way again.
pub struct Relay {
    runtime: Runtime,
    tasks: LocalSet,
    address: SocketAddr,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Relay({})", self.address)
    }
}

impl Relay {
    /// Starts one that keeps its files in `folder`, with `settings` beside what it needs.
    ///
    /// # Panics
    /// It can't be started.
    #[expect(clippy::expect_used, reason = "without a relay there is nothing to fuzz")]
    pub fn start(folder: &Path, settings: &str) -> Relay {
        fs::create_dir_all(folder).expect("a folder");
        let password = folder.join("password");
        fs::write(&password, PASSWORD).expect("a password");
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("its mode");
        let file = folder.join("relay.toml");
        fs::write(&file, settings).expect("a configuration");
        let free =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        let flags = Settings {
            config: Some(file),
            listen: Some(address.to_string()),
            data_dir: Some(folder.display().to_string()),
            password_file: Some(password.display().to_string()),
            ..Settings::default()
        };
        let config = Config::load(&flags).expect("a good configuration");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = LocalSet::new();
        tasks.spawn_local(async {
            let ended = app::run(config).await;
            unreachable!("the relay ended: {ended:?}");
        });
        let relay = Relay { runtime, tasks, address };
        let began = runtime::clock::mono();
        while relay
            .talk(b"GET /healthz HTTP/1.1\r\nHost: fuzz\r\n\r\n", |a| !a.is_empty())
            .is_empty()
        {
            assert!(runtime::clock::mono().since(began) < Duration::from_secs(30), "it answers");
        }
        relay
    }

    /// Sends all of `bytes` on a connection of its own, and returns what comes back until `done` says that it is
    /// all, or nothing more comes.
    pub fn talk(&self, bytes: &[u8], done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let exchange = async {
            let mut answer = Vec::new();
            let Ok(mut stream) = TcpStream::connect(self.address).await else { return answer };
            let (mut reader, mut writer) = stream.split();
            let mut ended = timeout(SILENCE * 10, writer.write_all(bytes)).await.is_err();
            while !done(&answer) && answer.len() < MAX_ANSWER {
                match timeout(SILENCE, reader.read_buf(&mut answer)).await {
                    Ok(Ok(1..)) => {}
                    // Nothing more will be sent, which may be what it waits for.
                    Err(_) if !ended => {
                        ended = true;
                        let _ = writer.shutdown().await;
                    }
                    Ok(_) | Err(_) => break,
                }
            }
            answer
        };
        self.runtime.block_on(self.tasks.run_until(exchange))
    }
}

/// What `check-config` would say to a file.
///
/// # Errors
/// The same.
pub fn config(file: &Path) -> Result<(), String> {
    let flags = Settings { config: Some(file.into()), ..Settings::default() };
    Config::load(&flags).map(drop).map_err(|error| error.to_string())
}

/// The names of all settings.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// What a path names, in words; `None` if that is nothing.
pub fn target(path: &str) -> Option<String> {
    parse(path).map(|target| format!("{target:?}"))
}
