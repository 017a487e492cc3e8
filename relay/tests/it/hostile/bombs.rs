//! Small pictures that would be large: in pixels, in scans, in sizes; and a history that would fill the disk.

use std::thread;

use super::{Bystanders, peak_kib};
use crate::relay::{ROOT, Relay, captured_at, padded, photo};

/// A picture of one component whose header claims so many pixels; `kind` is its SOF's code. Its scans say nothing,
/// and each of them is about a whole picture.
fn bomb(kind: u8, width: u16, height: u16, scans: usize) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    let [w, h] = [width.to_be_bytes(), height.to_be_bytes()];
    out.extend([0xff, 0xdb, 0, 67, 0]);
    out.extend([1; 64]);
    out.extend([0xff, kind, 0, 11, 8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
    // DC: the code 0 is "no difference"; AC: it is "14 more bits say how many blocks are empty", or "this one is".
    for (class, symbol) in [(0x00, 0), (0x10, if kind == 0xc2 { 0xe0 } else { 0 })] {
        out.extend([0xff, 0xc4, 0, 20, class, 1]);
        out.extend([0; 15]);
        out.push(symbol);
    }
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    for scan in 0..scans {
        if kind == 0xc2 {
            let (first, last) = if scan == 0 { (0, 0) } else { (1, 63) };
            out.extend([0xff, 0xda, 0, 8, 1, 1, 0, first, last, 0]);
            // A bit for each block; or 15 for each 16384 of them.
            let bytes = if scan == 0 { blocks / 8 } else { (blocks / 16_384 + 1) * 2 };
            out.resize(out.len() + bytes + 1, 0);
        } else {
            out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
            out.resize(out.len() + blocks / 4 + 1, 0);
        }
    }
    out.extend([0xff, 0xd9]);
    out
}

#[test]
fn more_pixels_than_any_camera_has_are_refused() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    for (width, height) in [(65_500, 65_500), (65_535, 65_535), (10_000, 10_001), (65_535, 1_526)] {
        let picture = padded_head(width, height);
        let refused = relay.post(ROOT, &[], &picture);
        let line = String::from_utf8(refused.body.clone()).unwrap();
        assert_eq!(refused.status(), 415, "{width}x{height}: {line}");
        assert!(line.contains("pixels"), "{line}");
        others.go_on();
    }
}

/// Complete by its structure, and nothing but a claim.
fn padded_head(width: u16, height: u16) -> Vec<u8> {
    let mut picture = bomb(0xc0, 8, 8, 1);
    let sof = picture.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    picture[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
    picture[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
    picture
}

#[test]
fn pictures_in_many_scans_or_in_large_ones_are_shown_and_not_scaled() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let before = peak_kib(&relay);
    let upload = "/cameras/bomb?password=story-password";
    for (case, picture) in [
        ("100 megapixels, progressive", bomb(0xc2, 10_000, 10_000, 10)),
        ("10,000 scans of 16 megapixels", bomb(0xc2, 4_000, 4_000, 10_000)),
    ] {
        assert_eq!(relay.post(upload, &[], &picture).status(), 200, "{case}");
        assert_eq!(relay.get("/cameras/bomb/live.jpeg").body, picture, "{case}");
        assert_eq!(relay.get("/cameras/bomb/live64x64.jpeg").status(), 422, "{case}");
        others.go_on();
    }
    // One that was made for people can be had in any size.
    assert_eq!(relay.post(upload, &[], &photo(1280, 720, 1)).status(), 200);
    assert_eq!(relay.get("/cameras/bomb/live64x64.jpeg").status(), 200, "the workers go on");
    let grown = peak_kib(&relay) - before;
    // 6 bytes for each of 16 million pixels would be 94 MiB, of 100 million 572.
    assert!(grown < 200_000, "{grown} KiB");
}

#[test]
fn a_picture_of_a_hundred_megapixels_in_one_scan_is_shown_and_scaled_within_bounds() {
    let relay = Relay::start();
    let mut others = Bystanders::of(&relay);
    let before = peak_kib(&relay);
    let picture = bomb(0xc0, 10_000, 10_000, 1);
    assert!(picture.len() < 500_000, "{} bytes", picture.len());
    assert_eq!(relay.post("/cameras/bomb?password=story-password", &[], &picture).status(), 200);
    assert_eq!(relay.get("/cameras/bomb/live.jpeg").body, picture);
    assert_eq!(relay.get("/cameras/bomb/live64x64.jpeg").status(), 200);
    others.go_on();
    let grown = peak_kib(&relay) - before;
    // The decoder's own eighths are 1250x1250; all of it would be 98 MiB of one component, 286 of three.
    assert!(grown < 60_000, "{grown} KiB");
}

#[test]
fn who_reads_all_of_the_history_leaves_places_for_others() {
    let relay = Relay::with("history.interval = \"1s\"");
    let mut others = Bystanders::of(&relay);
    relay.persistence_becomes("works");
    let at = captured_at(-60_000);
    let headers = [("Frame-Captured-At", at.as_str()), ("Frame-Flags", "history")];
    assert_eq!(relay.post(ROOT, &headers, &padded(1, 400_000)).status(), 200);
    let path = format!("/history/{at}.jpeg");
    testbed::eventually::becomes_true("a picture of the past", testbed::program::SOON, || {
        relay.get(&path).status() == 200
    });
    let statuses: Vec<u16> = thread::scope(|scope| {
        let (relay, path) = (&relay, path.as_str());
        let asked: Vec<_> =
            (0..100).map(|_| scope.spawn(move || relay.get(path).status())).collect();
        others.go_on();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    others.go_on();
}

#[test]
fn who_tries_all_sizes_gets_some() {
    let relay = Relay::with("relay.max_sizes = 4");
    let mut others = Bystanders::of(&relay);
    let upload = "/cameras/sizes?password=story-password";
    assert_eq!(relay.post(upload, &[], &photo(640, 480, 0)).status(), 200);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let relay = &relay;
        let ask = |side: u16| relay.get(&format!("/cameras/sizes/live{side}x{side}.jpeg")).status();
        let asked: Vec<_> = (1..=200).map(|side| scope.spawn(move || ask(side))).collect();
        others.go_on();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let got = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(got, 4, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    others.go_on();
}

#[test]
fn a_history_takes_no_more_of_the_disk_than_it_may() {
    let relay = Relay::with("history.max_bytes = 400000\nhistory.interval = \"1s\"");
    let mut others = Bystanders::of(&relay);
    relay.persistence_becomes("works");
    // Sixty times what may be kept, each of another second.
    for n in 0..600 {
        let at = captured_at(-i64::from(n + 1) * 2_000);
        let headers = [("Frame-Captured-At", at.as_str()), ("Frame-Flags", "history")];
        let answer = relay.post(ROOT, &headers, &padded(n, 40_000));
        assert!([200, 429, 503].contains(&answer.status()), "{answer:?}");
        if n % 100 == 0 {
            others.go_on();
        }
    }
    let held = || relay.of_camera("default", "/history/bytes").as_u64().unwrap_or(0);
    testbed::eventually::becomes_true("what was sent is written", testbed::program::SOON, || {
        held() > 300_000
    });
    assert!(held() <= 400_000, "{}", held());
    let files = std::fs::read_dir(&relay.data).unwrap().flatten();
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 40_000_000, "{bytes} bytes on the disk");
    others.go_on();
}
