//! Any bytes at the relay's socket: what comes back is HTTP with the statuses and headers there are, and a picture
//! is shown only where an upload was answered 200.
#![no_main]

use fuzz::{answer, answers, last};
use libfuzzer_sys::fuzz_target;
use stillwatch_relay::fuzzing::Relay;

thread_local! {
    static RELAY: Relay = fuzz::relay();
}

fuzz_target!(|data: &[u8]| {
    RELAY.with(|relay| {
        let uploads = data.windows(4).any(|four| four == b"POST" || four == b".ws?");
        let before = uploads.then(|| shown(relay));
        // Only the first is waited for: whether there is a second is the peer's business.
        let bare = data.starts_with(b"HEAD ");
        let answered = relay.talk(data, |bytes| last(bytes, bare).is_some());
        let all = answers(&answered, bare);
        let requests = data.windows(6).filter(|six| six == b"HTTP/1").count();
        // Of several requests in one piece, those after the first may be answered unseen.
        if let (Some(before), ..=1) = (before, requests) {
            let taken = all.iter().any(|answer| matches!(answer.status, 101 | 200));
            assert!(taken || shown(relay) == before, "stored, and answered {all:?}");
        }
    });
});

/// What identifies the picture of the default camera.
fn shown(relay: &Relay) -> Option<String> {
    let request = b"GET /live.jpeg HTTP/1.1\r\nHost: fuzz\r\n\r\n";
    let answered = relay.talk(request, |bytes| answer(bytes, false).is_some());
    let found = answer(&answered, false).expect("an answer");
    assert!([200, 503].contains(&found.status), "{found:?}");
    found.headers.iter().find(|(name, _)| name == "etag").map(|(_, etag)| (*etag).to_owned())
}
