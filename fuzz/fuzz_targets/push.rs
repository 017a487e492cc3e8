//! Any WebSocket frames from a viewer or an agent that was let in: what comes back are whole frames of ours, one
//! answer for each picture at most, and a reason for the end.
#![no_main]

use fuzz::answer;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stillwatch_relay::fuzzing::{PASSWORD, Relay};

thread_local! {
    static RELAY: Relay = fuzz::relay();
}

/// RFC 6455, 7.4.1, as far as the relay has a use for them.
const REASONS: [u16; 8] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011];

fuzz_target!(|data: &[u8]| {
    let Some((&who, messages)) = data.split_first() else { return };
    let path = [
        "/live.ws",
        "/upload.ws",
        "/cameras/garden/live.ws?size=16x16",
        "/cameras/garden/upload.ws",
    ];
    let path = path[usize::from(who % 4)];
    let mut bytes = format!(
        "GET {path} HTTP/1.1\r\nHost: fuzz\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Authorization: Bearer {PASSWORD}\r\nFrame-Viewers: wanted\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: stillwatch.v1\r\n\r\n"
    )
    .into_bytes();
    let pictures = frames(messages, &mut bytes);
    RELAY.with(|relay| {
        let answered = relay.talk(&bytes, |_| false);
        let accepted = answer(&answered, false).expect("an answer");
        assert_eq!(accepted.status, 101, "{accepted:?}");
        let answers = check(accepted.rest, path.contains("upload"));
        assert!(answers <= pictures, "{answers} answers to {pictures} frames");
    });
});

/// Writes WebSocket frames: one byte of flags and opcode, one of length (255: what follows goes out as it is), then
/// the payload, again and again. Returns how many pictures they can be at most.
fn frames(mut rest: &[u8], into: &mut Vec<u8>) -> usize {
    let mut pictures = 0;
    while let [first, length, behind @ ..] = rest {
        if *length == 255 {
            into.extend(behind);
            return pictures + behind.len();
        }
        // A picture is longer than a byte can tell.
        let length =
            if *length < 200 { usize::from(*length) } else { (usize::from(*length) - 199) * 32 };
        let (payload, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        into.push(*first);
        match u8::try_from(payload.len()) {
            Ok(short @ ..126) => into.push(0x80 | short),
            _ => {
                into.push(0x80 | 126);
                into.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
            }
        }
        into.extend([0; 4]);
        into.extend(payload);
        pictures += 1;
    }
    pictures
}

/// Reads the relay's frames, and returns how many answers to pictures were among them.
fn check(mut rest: &[u8], agent: bool) -> usize {
    let mut answers = 0;
    while let [first, second, behind @ ..] = rest {
        assert_eq!((first & 0x70, second & 0x80), (0, 0), "reserved bits, or a mask");
        let (length, behind) = match (*second, behind) {
            (126, [a, b, behind @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), behind),
            (127, [a, b, c, d, e, f, g, h, behind @ ..]) => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (usize::try_from(length).expect("a length"), behind)
            }
            (126 | 127, _) => return answers,
            (short, behind) => (usize::from(short), behind),
        };
        if behind.len() < length {
            return answers;
        }
        let (payload, behind) = behind.split_at(length);
        rest = behind;
        match first & 0x0f {
            1 => {
                let said: Value = serde_json::from_slice(payload).expect("JSON");
                let known = ["ack", "refused", "viewers", "state"];
                let what = known.iter().find(|key| said.get(**key).is_some());
                let what = what.unwrap_or_else(|| panic!("{said}"));
                assert_eq!(agent, *what != "state", "{said}");
                answers += usize::from(matches!(*what, "ack" | "refused"));
            }
            2 => assert!(!agent && length > 24, "a picture"),
            8 => {
                if let [high, low, ..] = payload {
                    let code = u16::from_be_bytes([*high, *low]);
                    // What the peer said may be said back to it.
                    assert!(
                        REASONS.contains(&code) || (3000..5000).contains(&code) || code < 1015,
                        "{code}"
                    );
                }
            }
            9 | 10 => assert!(length < 126, "a control frame"),
            other => panic!("opcode {other}"),
        }
    }
    answers
}
