//! Signed frames: who has no key shows nothing, and a recording is none.

use std::os::unix::fs::PermissionsExt;

use frame::CameraId;
use frame::sign::{Challenge, SignKey, from_hex};
use frame::wire::{Flags, Head, format_time};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{PASSWORD, PHOTO, ROOT, Relay, jpeg};
use crate::websocket::{camera_with_challenge, text};

/// A relay whose camera `default` has a key, and its folder.
fn relay() -> (Relay, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "a key of this camera\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!("cameras.default.sign_key_file = \"{}\"", file.display());
    (Relay::with(&config), folder)
}

fn key() -> SignKey {
    SignKey::new("a key of this camera")
}

fn head(captured_us: i64, seq: u64) -> Head {
    Head { captured_us, seq, flags: Flags { signed: true, ..Flags::default() } }
}

fn message(key: &SignKey, challenge: &Challenge, head: &Head, jpeg: &[u8]) -> tungstenite::Message {
    let signature = key.sign(challenge, &CameraId::default(), [7; 16], head, jpeg);
    tungstenite::Message::Binary(head.message_with(&signature.encode(), jpeg))
}

#[test]
fn over_a_websocket_a_signature_holds_for_this_connection_only() {
    let (relay, _folder) = relay();
    let (mut first, challenge) = camera_with_challenge(&relay);
    let challenge: Challenge = from_hex(&challenge).unwrap();
    let now = runtime::clock::wall_us();
    let good = message(&key(), &challenge, &head(now, 1), PHOTO);
    first.send(good.clone()).unwrap();
    assert_eq!(text(&mut first), json!({ "ack": 1 }));
    assert_eq!(relay.shown(), PHOTO);
    let (mut second, other) = camera_with_challenge(&relay);
    assert_ne!(from_hex(&other), Some(challenge));
    let forged =
        message(&SignKey::new("guessed"), &from_hex(&other).unwrap(), &head(now, 2), PHOTO);
    let unsigned = Head { flags: Flags::default(), ..head(now, 3) };
    let unsigned = tungstenite::Message::Binary(unsigned.message(PHOTO));
    for (case, seq, message) in
        [("a recording", 1, good), ("another key", 2, forged), ("none", 3, unsigned)]
    {
        second.send(message).unwrap();
        let answer = text(&mut second);
        assert_eq!(answer["refused"], json!(seq), "{case}: {answer}");
        assert!(answer["why"].as_str().unwrap().contains("not signed"), "{case}: {answer}");
    }
    assert_eq!(relay.of_camera("default", "/uploads/refused/signature"), json!(3));
    assert_eq!(relay.of_camera("default", "/seq"), json!(1));
    // Other cameras have no key, and need none.
    let path = format!("/cameras/garden?password={PASSWORD}");
    assert_eq!(relay.post(&path, &[], &jpeg(1)).status(), 200);
}

#[test]
fn by_post_a_recording_is_too_old() {
    let (relay, _folder) = relay();
    let now = runtime::clock::wall_us();
    let post = |captured_us: i64, seq: u64, jpeg: &[u8], signed: bool| {
        let head = head(captured_us, seq);
        let key = key();
        let signature = key.sign(&[0; 16], &CameraId::default(), [7; 16], &head, jpeg);
        let (time, number) = (format_time(captured_us, 6), seq.to_string());
        let signature = signature.to_header();
        let mut headers = vec![("Frame-Captured-At", time.as_str()), ("Frame-Seq", &number)];
        if signed {
            headers.extend([("Frame-Signature", signature.as_str()), ("Frame-Flags", "signed")]);
        }
        relay.post(ROOT, &headers, jpeg).status()
    };
    assert_eq!(post(now, 1, PHOTO, false), 403);
    assert_eq!(post(now - 61_000_000, 1, PHOTO, true), 403, "too old");
    assert_eq!(post(now + 61_000_000, 1, PHOTO, true), 403, "too far ahead");
    assert_eq!(post(now - 1_000_000, 1, PHOTO, true), 200);
    assert_eq!(post(now, 2, &jpeg(2), true), 200);
    // A recording of a moment ago is acknowledged as any late frame is, and changes nothing.
    assert_eq!(post(now - 1_000_000, 1, PHOTO, true), 200);
    assert_eq!(relay.shown(), jpeg(2));
}
