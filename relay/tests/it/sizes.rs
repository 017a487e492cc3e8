//! Scaled stills.

use std::thread;

use crate::relay::{Relay, photo};

const MADE: &str = "stillwatch_scaled_total{camera=\"default\"}";

fn size_of(jpeg: Vec<u8>) -> (u16, u16) {
    let picture = frame::Picture::accept(jpeg.into()).unwrap();
    (picture.width(), picture.height())
}

#[test]
fn pictures_are_scaled_to_fit() {
    let relay = Relay::start();
    relay.upload_with(&[("Frame-Seq", "3")], &photo(1280, 720, 0));
    let full = relay.get("/live.jpeg");
    for (path, size) in [
        ("/live800x600.jpeg", (800, 450)),
        ("/cameras/default/live800x5000.jpeg", (800, 450)),
        ("/live1x1.jpeg?_=1", (1, 1)),
        ("/live1280x720.jpeg", (1280, 720)),
        ("/live65535x65535.jpeg", (1280, 720)),
    ] {
        let answer = relay.get(path);
        assert_eq!((answer.status(), size_of(answer.body.clone())), (200, size), "{path}");
        for header in ["frame-seq", "frame-captured-at", "frame-state", "last-modified"] {
            assert_eq!(answer.header(header), full.header(header), "{path} {header}");
        }
        let own = size == (1280, 720);
        assert_eq!(answer.header("etag") == full.header("etag"), own, "{path}");
        assert_eq!(answer.body == full.body, own, "never enlarged, and never made anew");
        let etag = answer.header("etag").unwrap();
        let again = relay.get_with(path, &[("If-None-Match", etag)]);
        assert_eq!((again.status(), again.body.len()), (304, 0));
    }
    // 800x450 by two names, and 1x1.
    assert!((relay.metric(MADE) - 2.0).abs() < 0.1);
}

#[test]
fn each_size_is_made_once_per_frame_however_many_ask() {
    let relay = Relay::start();
    for frame in 0..3 {
        relay.upload(&photo(1280, 720, frame));
        thread::scope(|scope| {
            for viewer in 0..60 {
                let (relay, side) = (&relay, 100 + viewer % 3 * 100);
                scope.spawn(move || {
                    let answer = relay.get(&format!("/live{side}x{side}.jpeg"));
                    assert_eq!(size_of(answer.body).0, side);
                });
            }
        });
    }
    assert!((relay.metric(MADE) - 9.0).abs() < 0.1, "{}", relay.metric(MADE));
}

#[test]
fn what_is_no_size_is_told_so() {
    let relay = Relay::start();
    relay.upload(&photo(64, 48, 0));
    for size in
        ["0x0", "0x600", "800X600", "-8x6", "8x-6", "99999x1", "x", "8", "8x", "+8x6", "8x6x4"]
    {
        let answer = relay.get(&format!("/live{size}.jpeg"));
        assert_eq!(answer.status(), 400, "{size}");
        assert!(String::from_utf8(answer.body).unwrap().contains("800x600"), "an example");
    }
    assert_eq!(relay.get("/cameras/nobody/live8x6.jpeg").status(), 404);
}

#[test]
fn sizes_are_bounded_and_those_in_use_go_on() {
    let relay = Relay::with("relay.max_sizes = 2");
    relay.upload(&photo(640, 480, 0));
    assert_eq!(relay.get("/live64x48.jpeg").status(), 200);
    assert_eq!(relay.get("/live32x24.jpeg").status(), 200);
    let third = relay.get("/live16x12.jpeg");
    assert_eq!((third.status(), third.header("retry-after")), (503, Some("1")));
    relay.upload(&photo(640, 480, 1));
    assert_eq!(relay.get("/live64x48.jpeg").status(), 200);
    assert_eq!(relay.get("/live16x12.jpeg").status(), 503);
    assert_eq!(relay.get("/live640x480.jpeg").status(), 200, "its own size needs no making");
    assert!(relay.metric("stillwatch_scale_refused_total{reason=\"too_many_sizes\"}") >= 2.0);
}

#[test]
fn a_picture_that_cannot_be_decoded_is_shown_and_not_scaled() {
    let relay = Relay::start();
    // Complete by its structure; most of the picture is missing.
    let mut hollow = photo(640, 480, 0);
    let scan = hollow.windows(2).position(|two| two == [0xff, 0xda]).unwrap();
    hollow.truncate(scan + 40);
    hollow.extend([0xff, 0xd9]);
    relay.upload(&hollow);
    assert_eq!(relay.shown(), hollow);
    let answer = relay.get("/live32x24.jpeg");
    assert!([200, 422].contains(&answer.status()), "{}", answer.first);
    relay.upload(&photo(640, 480, 1));
    assert_eq!(relay.get("/live32x24.jpeg").status(), 200, "the workers go on");
}
