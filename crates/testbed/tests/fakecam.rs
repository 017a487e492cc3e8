//! The fake camera speaks real V4L2: Debian's ustreamer, which knows nothing of it, captures.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use frame::Picture;
use testbed::eventually::eventually;
use testbed::fakecam::{Fakecam, Fault};
use testbed::http::get;
use testbed::program::{Program, SOON};

#[expect(clippy::expect_used, reason = "it is test code")]
fn ustreamer(camera: &Fakecam, format: &str, encoder: &str) -> (Program, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let mut command = Command::new("ustreamer");
    command
        .args(["--format", format, "--encoder", encoder, "--resolution", "1280x720"])
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .arg("--device")
        .arg(camera.device())
        .envs(camera.envs());
    (Program::start("ustreamer", &mut command), address)
}

/// The picture it shows, once that is the camera's and not its own placeholder.
fn snapshot(address: SocketAddr, other_than: &[u8]) -> Picture {
    eventually("a picture of the camera at ustreamer", SOON, || {
        let answer = get(address, "/snapshot").map_err(|error| error.to_string())?;
        let picture = Picture::normalise(&answer.body).map_err(|error| error.to_string())?;
        let fresh = picture.width() == 1280 && picture.bytes() != other_than;
        if fresh { Ok(picture) } else { Err(format!("{picture:?}")) }
    })
}

#[test]
fn ustreamer_captures_mjpg_and_sees_faults() {
    let camera = Fakecam::new().formats("MJPG");
    let (ustreamer, address) = ustreamer(&camera, "MJPEG", "HW");
    let first = snapshot(address, &[]);
    // The comment in each of its pictures: FFFE, length 14, twelve digits.
    assert_eq!(first.bytes().get(2..6), Some([0xff, 0xfe, 0, 14].as_slice()));
    snapshot(address, first.bytes());
    camera.set(Fault::Unplug);
    // Not just ERROR: it complains of the JPEG quality at every start.
    ustreamer.line("Can't access device");
    let seen = ustreamer.lines().len();
    camera.set(Fault::None);
    ustreamer.line_after(seen, "Capturing started");
    let now = snapshot(address, &[]);
    snapshot(address, now.bytes());
}

#[test]
fn ustreamer_captures_yuyv() {
    let camera = Fakecam::new().formats("YUYV");
    let (_ustreamer, address) = ustreamer(&camera, "YUYV", "CPU");
    let first = snapshot(address, &[]);
    snapshot(address, first.bytes());
}

#[test]
fn v4l2_ctl_lists_and_captures() {
    let camera = Fakecam::new().formats("MJPG");
    let v4l2_ctl = |arguments: &[&str]| {
        let mut command = Command::new("v4l2-ctl");
        command.arg("-d").arg(camera.device()).args(arguments).envs(camera.envs());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let listed = String::from_utf8(v4l2_ctl(&["--list-formats-ext"])).unwrap();
    assert!(listed.contains("'MJPG'") && listed.contains("1280x720"), "{listed}");
    // The pictures go to stdout, its own remarks to stderr.
    let stream = v4l2_ctl(&["--stream-mmap", "--stream-count=10", "--stream-to=-"]);
    let stamps = stream.windows(6).filter(|bytes| *bytes == b"\xff\xd8\xff\xfe\x00\x0e").count();
    assert_eq!(stamps, 10);
}
