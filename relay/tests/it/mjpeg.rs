//! `live.mjpeg`, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use testbed::eventually::becomes_true;
use testbed::program::SOON;

use crate::relay::{PHOTO, Relay, jpeg, padded, photo, rest};

const CHROMIUM: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/131.0.0.0 Safari/537.36";

/// A viewer of parts with a length, as most clients outside browsers are.
pub(crate) struct Viewer {
    stream: BufReader<TcpStream>,
}

impl Viewer {
    pub(crate) fn new(relay: &Relay, path: &str) -> Viewer {
        let mut stream = relay.connect();
        // HTTP/1.0 gets the bare stream, without chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: relay\r\n\r\n").unwrap();
        let mut viewer = Viewer { stream: BufReader::new(stream) };
        let head = viewer.head();
        assert!(head[0].contains(" 200 "), "{head:?}");
        let kind = "content-type: multipart/x-mixed-replace; boundary=frame";
        assert!(head.iter().any(|line| line == kind), "{head:?}");
        assert_eq!(viewer.line(), "--frame");
        viewer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    fn head(&mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty()));
        lines.collect()
    }

    /// A part with the boundary behind it: it has to be there without another frame.
    pub(crate) fn part(&mut self) -> (Vec<String>, Vec<u8>) {
        let head = self.head();
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        assert_eq!((self.line(), self.line()), (String::new(), "--frame".to_owned()));
        (head, body)
    }
}

#[test]
fn each_part_is_complete_before_the_next_frame_comes() {
    let relay = Relay::start();
    relay.upload_with(&[("Frame-Seq", "7")], PHOTO);
    let mut viewer = Viewer::new(&relay, "/live.mjpeg?1552907804662");
    let (head, body) = viewer.part();
    assert_eq!(body, PHOTO);
    assert_eq!(head[0], "Content-Type: image/jpeg");
    assert!(head.iter().any(|line| line == "frame-seq: 7"), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("frame-captured-at: ")), "{head:?}");
    for n in 0..5 {
        relay.upload(&jpeg(n));
        assert_eq!(viewer.part().1, jpeg(n));
    }
    assert!(relay.metric("stillwatch_frames_sent_total{camera=\"default\",kind=\"mjpeg\"}") >= 6.0);
    assert_eq!(relay.of_camera("default", "/viewers/mjpeg"), 1);
    drop(viewer);
    relay.becomes("default", "/viewers/mjpeg", &0.into());
}

#[test]
fn blink_gets_the_next_head_with_the_frame() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let mut stream = relay.connect();
    let head = format!("GET /live.mjpeg HTTP/1.0\r\nUser-Agent: {CHROMIUM}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let mut expected = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    for picture in [PHOTO.to_vec(), jpeg(1)] {
        expected.extend(&picture);
        expected.extend(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n");
    }
    let first = expected.len() - jpeg(1).len() - 39;
    let mut found = vec![0; first];
    stream.read_exact(&mut found).unwrap();
    relay.upload(&jpeg(1));
    found.resize(expected.len(), 0);
    stream.read_exact(&mut found[first..]).unwrap();
    assert!(found == expected);
}

#[test]
fn a_stream_may_begin_before_the_first_frame() {
    let relay = Relay::start();
    let mut viewer = Viewer::new(&relay, "/cameras/default/live.mjpeg");
    relay.upload(PHOTO);
    assert_eq!(viewer.part().1, PHOTO);
}

#[test]
fn whoever_does_not_read_skips_frames() {
    let relay = Relay::with("relay.max_upload_rate = 10000");
    let frame = |n| padded(n, 200_000);
    relay.upload(&frame(0));
    let mut slow = Viewer::new(&relay, "/live.mjpeg");
    let mut quick = Viewer::new(&relay, "/live.mjpeg");
    quick.part();
    for n in 1..=100 {
        relay.upload(&frame(n));
        assert_eq!(quick.part().1, frame(n), "others are not disturbed");
    }
    // What the kernels' buffers took, and then the newest.
    let mut seen = 0;
    while slow.part().1 != frame(100) {
        seen += 1;
        assert!(seen < 30, "it gets old frames");
    }
    let skipped =
        relay.metric("stillwatch_frames_skipped_total{camera=\"default\",kind=\"mjpeg\"}");
    assert!(skipped >= 70.0, "{skipped}");
}

#[test]
fn a_size_may_be_asked_for() {
    let relay = Relay::start();
    relay.upload(&photo(640, 480, 0));
    let (_, body) = Viewer::new(&relay, "/live.mjpeg?size=320x320").part();
    let picture = frame::Picture::accept(body.into()).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 240));
}

#[test]
fn a_relay_that_stops_ends_its_streams() {
    let mut relay = Relay::start();
    relay.upload(PHOTO);
    let mut stream = relay.connect();
    stream.write_all(b"GET /live.mjpeg HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
    let watching = || relay.of_camera("default", "/viewers/mjpeg") == 1;
    becomes_true("a viewer", SOON, watching);
    relay.program.signal("TERM");
    let all = rest(&mut stream);
    // The last chunk of RFC 9112, 7.1: the body is complete.
    assert!(
        all.ends_with(b"\r\n0\r\n\r\n"),
        "{:?}",
        String::from_utf8_lossy(&all[all.len() - 40..])
    );
    assert_eq!(relay.program.ended().code(), Some(0));
    assert_eq!(relay.count_lines("cut off"), 0);
}

#[test]
fn wrong_requests_say_why() {
    let relay = Relay::start();
    for (method, path, status) in [
        ("GET", "/cameras/nobody/live.mjpeg", 404),
        ("GET", "/live.mjpeg?size=0x0", 400),
        ("GET", "/live.mjpeg?size=800X600", 400),
        ("GET", "/live.mjpeg?size=", 400),
        ("POST", "/live.mjpeg", 405),
        ("HEAD", "/live.mjpeg", 200),
    ] {
        assert_eq!(relay.request(method, path).status(), status, "{method} {path}");
    }
}

#[test]
fn a_viewer_that_takes_nothing_is_disconnected() {
    let relay = Relay::with("relay.max_upload_rate = 10000\nrelay.peer_timeout = \"300ms\"");
    relay.upload(&padded(0, 4_000_000));
    let mut stalled = relay.connect();
    stalled.write_all(b"GET /live.mjpeg HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
    // Its own buffer was full, so it is the connection that notices.
    let metric = "stillwatch_viewers_dropped_total{kind=\"connection\",reason=\"stalled\"}";
    let mut n = 0;
    becomes_true("its end", SOON, || {
        n += 1;
        relay.upload(&padded(n, 4_000_000));
        relay.metric(metric) > 0.5
    });
    relay.becomes("default", "/viewers/mjpeg", &0.into());
    assert!(n < 500);
}
