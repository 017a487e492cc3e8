//! A relay process with a data folder of its own, and the pictures to send to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::{self, Message};
use testbed::program::{Program, SOON};

pub(crate) const PASSWORD: &str = "story-password";

/// Where uploads go, with the password.
pub(crate) const ROOT: &str = "/?password=story-password";

/// A photograph, as far as a JPEG's structure goes.
pub(crate) const PHOTO: &[u8] = include_bytes!("data/photo.jpeg");

/// The binary without this machine's own configuration.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stillwatch-relay"));
    let ours = std::env::vars().map(|(name, _)| name).filter(|n| n.starts_with("STILLWATCH_"));
    let others = ["PASSWORD", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "STATE_DIRECTORY"];
    for name in ours.chain(others.map(str::to_owned)) {
        command.env_remove(name);
    }
    command
}

pub(crate) struct Relay {
    pub program: Program,
    pub address: SocketAddr,
    pub data: PathBuf,
    config: String,
    variables: Vec<(String, String)>,
    _folder: Option<TempDir>,
}

impl Relay {
    pub(crate) fn start() -> Relay {
        Relay::with("")
    }

    /// With a configuration file.
    pub(crate) fn with(config: &str) -> Relay {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Relay { _folder: Some(folder), ..Relay::at(&data, config, &[]) }
    }

    /// With a data folder that belongs to the test.
    pub(crate) fn at(data: &Path, config: &str, variables: &[(&str, &str)]) -> Relay {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (program, address) = launch(data, config, &variables, "127.0.0.1:0");
        Relay {
            program,
            address,
            data: data.into(),
            config: config.into(),
            variables,
            _folder: None,
        }
    }

    /// Ends it with SIGKILL and starts it again at the same address.
    pub(crate) fn kill_and_restart(&mut self) {
        self.program.signal("KILL");
        self.program.ended();
        self.restart();
    }

    /// Starts it again after its end.
    pub(crate) fn restart(&mut self) {
        let address = self.address.to_string();
        (self.program, self.address) = launch(&self.data, &self.config, &self.variables, &address);
    }

    pub(crate) fn get(&self, path: &str) -> Message {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Message {
        http::request(self.address, "GET", path, headers, b"").unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Message {
        http::request(self.address, method, path, &[], b"").unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
        http::request(self.address, "POST", path, headers, body).unwrap()
    }

    /// The same from another address of this machine.
    pub(crate) fn from(
        &self,
        address: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Message {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let from: SocketAddr = format!("{address}:0").parse().unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Message::read(&mut stream, method != "HEAD").unwrap().expect("an answer")
    }

    /// What the command line says for this relay's data, with its configuration; it has to succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.try_run(arguments);
        assert!(succeeded, "{arguments:?}: {text}");
        text
    }

    /// Whether it succeeds, and what it says.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        fs::write(&file, &self.config).unwrap();
        let listen = self.address.to_string();
        let mut command = command();
        command.env("PASSWORD", PASSWORD);
        command.args(arguments).arg("--config").arg(file).args(["--listen", &listen]);
        let output = command.arg("--data-dir").arg(&self.data).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Uploads to the default camera, which has to be acknowledged as the tutorial's server does.
    pub(crate) fn upload(&self, body: &[u8]) {
        self.upload_with(&[], body);
    }

    pub(crate) fn upload_with(&self, headers: &[(&str, &str)], body: &[u8]) {
        let answer = self.post(ROOT, headers, body);
        assert_eq!((answer.status(), answer.body.len()), (200, 0), "{answer:?}");
    }

    /// What is shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        let answer = self.get("/live.jpeg");
        assert_eq!(answer.status(), 200, "{}", answer.first);
        answer.body
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.get("/status.json").body).unwrap()
    }

    /// A value of a camera in status.json, by its JSON pointer.
    pub(crate) fn of_camera(&self, id: &str, pointer: &str) -> Value {
        let status = self.status();
        let cameras = status["cameras"].as_array().unwrap();
        let camera = cameras.iter().find(|camera| camera["camera"] == id);
        camera.and_then(|camera| camera.pointer(pointer)).cloned().unwrap_or_default()
    }

    /// Waits until a value in status.json is as expected.
    pub(crate) fn becomes(&self, id: &str, pointer: &str, expected: &Value) {
        eventually(&format!("{pointer} of {id} = {expected}"), SOON, || {
            let found = self.of_camera(id, pointer);
            if found == *expected { Ok(()) } else { Err(found.to_string()) }
        });
    }

    /// Waits until persistence is in this state.
    pub(crate) fn persistence_becomes(&self, state: &str) {
        eventually(&format!("persistence {state}"), SOON, || {
            let status = self.status();
            if status["persistence"] == state { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Waits until this frame is in the database.
    pub(crate) fn stored(&self, jpeg: &[u8]) {
        eventually("the frame in the database", SOON, || {
            let database = rusqlite::Connection::open(self.data.join("stillwatch.db"))
                .map_err(|e| e.to_string())?;
            let query = "SELECT jpeg FROM frame WHERE camera = 'default'";
            let found: Vec<u8> =
                database.query_row(query, [], |row| row.get(0)).map_err(|e| e.to_string())?;
            if found == jpeg { Ok(()) } else { Err(format!("{} bytes", found.len())) }
        });
    }

    /// Waits until some frame is in the database.
    pub(crate) fn stored_any(&self) {
        eventually("a frame in the database", SOON, || {
            let database = rusqlite::Connection::open(self.data.join("stillwatch.db"))
                .map_err(|e| e.to_string())?;
            let query = "SELECT seq FROM frame";
            database.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(|e| e.to_string())
        });
    }

    /// A line of `/metrics`: what is behind `name` and its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert!(line.is_some(), "no {name} in\n{text}");
        line.unwrap().parse().unwrap()
    }

    /// Waits until `count` of its log lines contain `text`: they are read a moment after they are written.
    /// There may not be more.
    pub(crate) fn said(&self, text: &str, count: usize) {
        let found = eventually(&format!("{count} lines with {text:?}"), SOON, || {
            let found = self.count_lines(text);
            if found >= count { Ok(found) } else { Err(format!("{found} of them")) }
        });
        assert_eq!(found, count, "{text}");
    }

    /// How many of its log lines contain `text`.
    pub(crate) fn count_lines(&self, text: &str) -> usize {
        self.program.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Connections that have had an answer and stay open.
    pub(crate) fn hold(&self, count: usize) -> Vec<TcpStream> {
        let open = |_| {
            let mut stream = self.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
            assert_eq!(answer(&mut stream).status(), 200);
            stream
        };
        (0..count).map(open).collect()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Begins an upload of `length` bytes and sends `part` of the body. When this returns, the
    /// relay is reading it: it says so, being asked with `Expect`.
    pub(crate) fn begin_upload(&self, length: usize, part: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let head = format!(
            "POST {ROOT} HTTP/1.1\r\nHost: relay\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).status(), 100);
        stream.write_all(part).unwrap();
        stream
    }
}

fn launch(
    data: &Path,
    config: &str,
    variables: &[(String, String)],
    listen: &str,
) -> (Program, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, config).unwrap();
    let mut command = command();
    command.env("PASSWORD", PASSWORD).envs(variables.iter().cloned());
    command.args(["run", "--listen", listen]).arg("--data-dir").arg(data).arg("--config").arg(file);
    let program = Program::start("the relay", &mut command);
    let line = program.line("listening on ");
    let address = line.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
    (program, address)
}

/// Reads an answer from a connection.
pub(crate) fn answer(stream: &mut TcpStream) -> Message {
    Message::read(stream, true).unwrap().expect("an answer")
}

/// Reads until the other end closes; a reset counts as an end, too.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// A small complete JPEG, structurally; equal numbers are equal pictures.
pub(crate) fn jpeg(n: u32) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    let comment = n.to_be_bytes();
    out.extend([0xff, 0xfe, 0, 6]);
    out.extend(comment);
    out.extend([0xff, 0xc0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0]);
    // Tables, so that nothing is missing.
    out.extend([0xff, 0xc4, 0, 20, 0]);
    out.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    out.extend([0x12, 0xff, 0x00, 0x34]);
    out.extend([0xff, 0xd9]);
    out
}

/// A picture that can be decoded, and does not compress well.
pub(crate) fn photo(width: u16, height: u16, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height))
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(n % 200).unwrap() + u8::try_from(state >> 27).unwrap()
        })
        .collect();
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 80);
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Luma).unwrap();
    jpeg
}

/// The same with padding up to `length` bytes.
pub(crate) fn padded(n: u32, length: usize) -> Vec<u8> {
    let mut out = jpeg(n);
    assert!(out.len() <= length);
    out.resize(length, 0);
    out
}

/// A time for Frame-Captured-At, `offset` from now.
pub(crate) fn captured_at(offset_ms: i64) -> String {
    frame::wire::format_time(runtime::clock::wall_us() + offset_ms * 1_000, 6)
}

/// A duration that no test machine exceeds unless something hangs.
pub(crate) const CEILING: Duration = Duration::from_secs(20);
