//! Attacks on a running relay, over real sockets: docs/security.md has them in a table. During each, a camera gets
//! its pictures through and a viewer sees them.

mod bombs;
mod connections;
mod https;
mod names;
mod smuggling;
mod sockets;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use testbed::program::SOON;

use crate::mjpeg::Viewer;
use crate::relay::{ROOT, Relay, answer, jpeg};

/// A camera and a viewer that have nothing to do with the attack. Each has one connection, and keeps it.
struct Bystanders {
    camera: TcpStream,
    viewer: Viewer,
    shown: u32,
}

impl Bystanders {
    fn of(relay: &Relay) -> Bystanders {
        relay.upload(&jpeg(0));
        let mut viewer = Viewer::new(relay, "/live.mjpeg");
        viewer.part();
        Bystanders { camera: relay.connect(), viewer, shown: 0 }
    }

    /// The camera's next picture is taken, and the viewer has it.
    fn go_on(&mut self) {
        self.shown += 1;
        let picture = jpeg(self.shown);
        self.upload(&picture);
        assert_eq!(self.viewer.part().1, picture, "who watched goes on watching");
    }

    fn upload(&mut self, picture: &[u8]) {
        let length = picture.len();
        write!(self.camera, "POST {ROOT} HTTP/1.1\r\nHost: r\r\nContent-Length: {length}\r\n\r\n")
            .unwrap();
        self.camera.write_all(picture).unwrap();
        assert_eq!(answer(&mut self.camera).status(), 200);
    }
}

/// A connection from an address of this machine's own.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let from: IpAddr = from.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
