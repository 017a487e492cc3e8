//! What the network may say: heads, flags, times and camera ids either are refused or come back
//! as they went in.
#![no_main]

use bytes::Bytes;
use frame::CameraId;
use frame::wire::{Flags, Head, format_time, parse_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    head(data);
    if let Ok(text) = std::str::from_utf8(data) {
        words(text);
    }
});

fn head(data: &[u8]) {
    let Some((head, jpeg)) = Head::decode(Bytes::copy_from_slice(data)) else {
        assert!(data.len() < Head::LEN);
        return;
    };
    assert_eq!(jpeg, data[Head::LEN..]);
    let message = head.message(&jpeg);
    // Captured time and number are told as they came; unknown flags and the reserved part are not.
    assert_eq!(message[..16], data[..16]);
    assert_eq!(Head::decode(message), Some((head, jpeg)));
    assert_eq!(head.captured().synchronised, !head.flags.clock_unsynchronised);
    for digits in 0..=9 {
        let text = format_time(head.captured_us, digits);
        let back = parse_time(&text).expect("a time we wrote can be read");
        // The year 9999's last moment and beyond are clamped.
        let clamped = head.captured_us.unsigned_abs() > 253_000_000_000_000_000;
        assert!(clamped || back.abs_diff(head.captured_us) < 1_000_000, "{text}");
    }
}

fn words(text: &str) {
    let flags = Flags::from_header(text);
    assert_eq!(Flags::from_header(&flags.to_header().unwrap_or_default()), flags);
    if let Some(us) = parse_time(text) {
        assert_eq!(parse_time(&format_time(us, 6)), Some(us), "{text:?}");
    }
    match text.parse::<CameraId>() {
        Ok(id) => assert_eq!(id.to_string(), text),
        // It is logged: no hostile text of any length may get there.
        Err(error) => assert!(error.to_string().len() < 1024),
    }
}
