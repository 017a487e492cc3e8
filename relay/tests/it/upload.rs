//! Uploads of all kinds: what is answered, and that the picture shown before stays.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::relay::{PASSWORD, PHOTO, ROOT, Relay, answer, jpeg, padded, rest};

#[test]
fn the_tutorials_exchange() {
    let relay = Relay::start();
    for path in ["/", "/?password=wrong", "/?password=", "/?Password=story-password"] {
        let refused = relay.post(path, &[], PHOTO);
        assert_eq!((refused.status(), refused.body.len()), (400, 0), "{path}");
    }
    assert_eq!(relay.get("/live.jpeg").status(), 503);
    for headers in [&[] as &[_], &[("Content-Type", "application/x-www-form-urlencoded")]] {
        relay.upload_with(headers, PHOTO);
        assert_eq!(relay.shown(), PHOTO);
    }
    assert_eq!(relay.of_camera("default", "/uploads/refused/password"), json!(4));
    assert_eq!(relay.of_camera("default", "/uploads/accepted"), json!(2));
}

#[test]
fn a_bearer_token_works_too() {
    let relay = Relay::start();
    let right = format!("Bearer {PASSWORD}");
    assert_eq!(relay.post("/", &[("Authorization", &right)], PHOTO).status(), 200);
    let wrong = relay.post(ROOT, &[("Authorization", "Bearer wrong")], &jpeg(1));
    assert_eq!((wrong.status(), wrong.body.as_slice()), (401, &b"wrong bearer token\n"[..]));
    assert!(wrong.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn what_is_no_picture_is_refused_in_one_line_and_changes_nothing() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let cut = &PHOTO[..PHOTO.len() - 1];
    for (case, body, says) in [
        ("empty", &b""[..], "empty"),
        ("text", b"hello", "not a JPEG"),
        ("PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a JPEG"),
        ("cut off", cut, "cut off"),
        ("beginning only", &PHOTO[..2], "cut off"),
        ("damaged", b"\xff\xd8\0\0\xff\xd9", "damaged"),
        ("no picture", b"\xff\xd8\xff\xd9", "without a picture"),
    ] {
        let refused = relay.post(ROOT, &[("Content-Type", "image/jpeg")], body);
        let line = String::from_utf8(refused.body).unwrap();
        assert_eq!(refused.first, "HTTP/1.1 415 Unsupported Media Type", "{case}");
        assert!(line.contains(says) && line.ends_with('\n'), "{case}: {line}");
        assert_eq!(line.lines().count(), 1, "{case}: {line}");
        assert_eq!(relay.shown(), PHOTO, "{case}");
    }
    assert_eq!(relay.of_camera("default", "/uploads/refused/not_jpeg"), json!(7));
    // Seven refusals, one line.
    relay.said("refused:", 1);
}

#[test]
fn padding_after_the_end_is_served_as_given() {
    let relay = Relay::start();
    let body = padded(1, 2_000);
    relay.upload(&body);
    assert_eq!(relay.shown(), body);
}

#[test]
fn chunks_of_one_byte() {
    let relay = Relay::start();
    let mut stream = relay.connect();
    let head = format!("POST {ROOT} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nodelay(true).unwrap();
    let body = jpeg(7);
    for byte in &body {
        stream.write_all(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).status(), 200);
    assert_eq!(relay.shown(), body);
}

#[test]
fn the_limit_holds_with_and_without_content_length() {
    let relay = Relay::with("relay.max_frame_bytes = 4096");
    let (at, beyond) = (padded(1, 4096), padded(2, 4097));
    let chunked = |body: &[u8]| {
        let mut stream = relay.connect();
        let head =
            format!("POST {ROOT} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream.write_all(b"\r\n0\r\n\r\n").unwrap();
        answer(&mut stream)
    };
    relay.upload(&at);
    for refused in [relay.post(ROOT, &[], &beyond), chunked(&beyond)] {
        assert_eq!(refused.first, "HTTP/1.1 413 Payload Too Large");
        assert_eq!(refused.body, b"larger than 4096 bytes, the relay's limit\n");
        assert_eq!(relay.shown(), at);
    }
    let last = padded(3, 4096);
    assert_eq!(chunked(&last).status(), 200);
    assert_eq!(relay.shown(), last);
    assert_eq!(relay.of_camera("default", "/uploads/refused/too_large"), json!(2));
}

#[test]
fn whoever_sends_everything_first_still_reads_why_it_was_refused() {
    let relay = Relay::with("relay.max_frame_bytes = 4096");
    // Far more than all buffers between the two hold.
    let body = vec![0; 24 << 20];
    for (path, status) in [(ROOT, 413), ("/?password=wrong", 400), ("/nothing", 404)] {
        // This client reads nothing before it has sent everything, as the tutorial's.
        assert_eq!(relay.post(path, &[], &body).status(), status, "{path}");
    }
    let mut stream = relay.connect();
    let head = format!("POST {ROOT} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    assert_eq!(answer(&mut stream).status(), 413);
    assert_eq!(rest(&mut stream), b"");
}

#[test]
fn who_asks_before_sending_is_answered_before_sending() {
    let relay = Relay::start();
    for (path, status) in [("/?password=wrong", 400), (ROOT, 100)] {
        let mut stream = relay.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: relay\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            PHOTO.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).status(), status);
        if status == 100 {
            stream.write_all(PHOTO).unwrap();
            assert_eq!(answer(&mut stream).status(), 200);
        }
    }
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn a_connection_cut_in_the_middle_changes_nothing() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let next = jpeg(1);
    for sent in [0, 1, next.len() / 2, next.len() - 1] {
        let stream = relay.begin_upload(next.len(), &next[..sent]);
        stream.shutdown(Shutdown::Both).unwrap();
    }
    relay.becomes("default", "/uploads/refused/cut", &json!(4));
    assert_eq!(relay.shown(), PHOTO);
    assert_eq!(relay.of_camera("default", "/uploads/accepted"), json!(1));
}

#[test]
fn a_body_has_a_deadline() {
    let relay = Relay::with("relay.body_timeout = \"300ms\"");
    relay.upload(PHOTO);
    let next = jpeg(1);
    let mut stream = relay.begin_upload(next.len(), &next[..10]);
    let refused = answer(&mut stream);
    assert_eq!(refused.first, "HTTP/1.1 408 Request Timeout");
    assert_eq!(refused.body, b"the body did not arrive within 300ms\n");
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn twenty_uploads_at_once_and_no_reader_sees_half_a_frame() {
    let relay = Relay::start();
    let frames: Vec<Vec<u8>> = (0..20).map(|n| padded(n, 50_000 + 1_000 * n as usize)).collect();
    relay.upload(&frames[0]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !done.load(Ordering::Relaxed) {
                        let shown = relay.shown();
                        assert!(frames.contains(&shown), "{} bytes", shown.len());
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let writers: Vec<_> = frames
            .iter()
            .map(|frame| scope.spawn(|| (0..5).for_each(|_| relay.upload(frame))))
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let reads: Vec<u32> = readers.into_iter().map(|r| r.join().unwrap()).collect();
        assert!(reads.iter().all(|reads| *reads > 0), "{reads:?}");
    });
    assert_eq!(relay.of_camera("default", "/uploads/accepted"), json!(101));
    assert_eq!(relay.of_camera("default", "/seq"), json!(100));
}

#[test]
fn too_many_uploads_at_once_are_told_to_come_again() {
    let relay = Relay::with("relay.max_uploads = 1");
    let mut first = relay.begin_upload(PHOTO.len(), &PHOTO[..100]);
    let busy = relay.post(ROOT, &[], &jpeg(1));
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(busy.body, b"too many uploads at once; try again\n");
    first.write_all(&PHOTO[100..]).unwrap();
    assert_eq!(answer(&mut first).status(), 200);
    assert_eq!(relay.shown(), PHOTO);
    relay.upload(&jpeg(2));
}

#[test]
fn cameras_appear_with_their_first_picture_and_are_bounded() {
    let relay = Relay::with("relay.max_cameras = 2");
    let at = |id: &str| format!("/cameras/{id}?password={PASSWORD}");
    assert_eq!(relay.get("/cameras/garden/live.jpeg").status(), 404);
    assert_eq!(relay.post("/cameras/garden?password=x", &[], PHOTO).status(), 400);
    assert_eq!(relay.post(&at("garden"), &[], b"hello").status(), 415);
    assert_eq!(relay.post(&at("Garden"), &[], PHOTO).status(), 404);
    assert_eq!(relay.get("/cameras/garden/live.jpeg").status(), 404);
    assert_eq!(relay.status()["refused"]["not_jpeg"], 1);
    assert_eq!(relay.post(&at("garden"), &[], PHOTO).status(), 200);
    assert_eq!(relay.get("/cameras/garden/live.jpeg").body, PHOTO);
    let refused = relay.post(&at("street"), &[], PHOTO);
    assert_eq!(refused.status(), 503);
    assert!(String::from_utf8(refused.body).unwrap().contains("relay.max_cameras"));
    // The two are cameras of their own, and "default" is one by its name, too.
    assert_eq!(relay.get("/live.jpeg").status(), 503);
    assert_eq!(relay.post(&at("default"), &[], &jpeg(1)).status(), 200);
    assert_eq!(relay.shown(), jpeg(1));
    assert_eq!(relay.get("/cameras/garden/live.jpeg").body, PHOTO);
}

#[test]
fn a_camera_with_its_own_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garden");
    std::fs::write(&path, "gardens-own\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let relay = Relay::with(&format!("[cameras.garden]\npassword_file = \"{}\"", path.display()));
    assert_eq!(relay.get("/cameras/garden/live.jpeg").status(), 503);
    let relays = format!("/cameras/garden?password={PASSWORD}");
    assert_eq!(relay.post(&relays, &[], PHOTO).status(), 400);
    assert_eq!(relay.post("/?password=gardens-own", &[], PHOTO).status(), 400);
    assert_eq!(relay.post("/cameras/garden?password=gardens-own", &[], PHOTO).status(), 200);
}
