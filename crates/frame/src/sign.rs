//! Signed frames: proof that a frame is its camera's, and is no recording.
//!
//! HMAC-SHA-256 (RFC 2104) with a key that camera and relay share and that is never sent, over
//! everything that matters: the relay's challenge to this very connection, the camera, the run of its
//! agent, number, time, flags, and the picture's bytes.

use bytes::Bytes;
use ring::hmac;

use crate::CameraId;
use crate::wire::Head;

/// What a relay gives each connection to sign with, so that no frame fits another connection. An
/// upload by POST has none: all zero.
pub type Challenge = [u8; 16];

/// What makes this no other HMAC with the same key.
const PURPOSE: &[u8] = b"stillwatch.v1 frame\n";

/// A camera's key.
#[derive(Debug, Clone)]
pub struct SignKey(hmac::Key);

/// A frame's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Another one with each run of an agent, chosen at random.
    pub boot: [u8; 16],
    mac: [u8; 32],
}

impl Signature {
    /// Its size on the wire in bytes: `boot`, then the HMAC.
    pub const LEN: usize = 48;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Signature::LEN] {
        let mut out = [0; Signature::LEN];
        for (to, from) in out.iter_mut().zip(self.boot.iter().chain(&self.mac)) {
            *to = *from;
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Signature> {
        let (boot, mac) = bytes.split_first_chunk()?;
        Some(Signature { boot: *boot, mac: mac.try_into().ok()? })
    }

    /// Splits what follows a head into the signature and the JPEG; `None` if it is too short.
    pub fn split(mut rest: Bytes) -> Option<(Signature, Bytes)> {
        let signature = Signature::decode(rest.get(..Signature::LEN)?)?;
        Some((signature, rest.split_off(Signature::LEN)))
    }

    /// As a header's value: hexadecimal.
    pub fn to_header(&self) -> String {
        to_hex(&self.encode())
    }

    /// Reads a header's value.
    pub fn from_header(text: &str) -> Option<Signature> {
        Signature::decode(&from_hex::<{ Signature::LEN }>(text)?)
    }
}

/// As lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads exactly `N` bytes of hexadecimal.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let digits = text.trim().as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (to, pair) in out.iter_mut().zip(digits.chunks(2)) {
        // from_str_radix alone would take a sign.
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *to = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}

impl SignKey {
    /// A key from a secret text.
    pub fn new(secret: &str) -> SignKey {
        SignKey(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Signs a frame.
    pub fn sign(
        &self,
        challenge: &Challenge,
        camera: &CameraId,
        boot: [u8; 16],
        head: &Head,
        jpeg: &[u8],
    ) -> Signature {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts(challenge, camera, &boot, &head.encode(), jpeg) {
            context.update(part);
        }
        let mut mac = [0; 32];
        for (to, from) in mac.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Signature { boot, mac }
    }

    /// Whether a signature is this frame's; in a time that tells nothing about the right one.
    pub fn verify(
        &self,
        challenge: &Challenge,
        camera: &CameraId,
        signature: &Signature,
        head: &Head,
        jpeg: &[u8],
    ) -> bool {
        let head = head.encode();
        let parts = parts(challenge, camera, &signature.boot, &head, jpeg);
        hmac::verify(&self.0, &parts.concat(), &signature.mac).is_ok()
    }
}

/// All but the name are of a fixed length, and the name ends with what no name has.
fn parts<'a>(
    challenge: &'a Challenge,
    camera: &'a CameraId,
    boot: &'a [u8; 16],
    head: &'a [u8; Head::LEN],
    jpeg: &'a [u8],
) -> [&'a [u8]; 7] {
    [PURPOSE, challenge, camera.as_str().as_bytes(), b"\n", boot, head, jpeg]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Flags;

    #[test]
    fn a_signature_is_of_this_frame_on_this_connection_only() {
        let (key, other) = (SignKey::new("secret"), SignKey::new("other"));
        let camera: CameraId = "garden".parse().unwrap();
        let street: CameraId = "street".parse().unwrap();
        let head =
            Head { captured_us: 7, seq: 9, flags: Flags { signed: true, ..Flags::default() } };
        let (challenge, boot, jpeg) = ([1; 16], [2; 16], b"jpeg".as_slice());
        let good = key.sign(&challenge, &camera, boot, &head, jpeg);
        assert!(key.verify(&challenge, &camera, &good, &head, jpeg));
        assert!(!other.verify(&challenge, &camera, &good, &head, jpeg));
        assert!(!key.verify(&[3; 16], &camera, &good, &head, jpeg), "another connection");
        assert!(!key.verify(&challenge, &street, &good, &head, jpeg), "another camera");
        let later = Head { captured_us: 8, ..head };
        assert!(!key.verify(&challenge, &camera, &good, &later, jpeg), "another time");
        let past = Head { flags: Flags { history: true, ..head.flags }, ..head };
        assert!(!key.verify(&challenge, &camera, &good, &past, jpeg), "another purpose");
        assert!(!key.verify(&challenge, &camera, &good, &head, b"jpeh"), "another picture");
        let another_run = Signature { boot: [4; 16], ..good };
        assert!(!key.verify(&challenge, &camera, &another_run, &head, jpeg));
    }

    #[test]
    fn it_survives_header_and_message() {
        let head = Head { captured_us: 7, seq: 9, flags: Flags::default() };
        let signature =
            SignKey::new("x").sign(&[0; 16], &CameraId::default(), [9; 16], &head, b"jpeg");
        assert_eq!(Signature::from_header(&signature.to_header()), Some(signature));
        let message = [&signature.encode()[..], b"jpeg"].concat();
        let (found, jpeg) = Signature::split(Bytes::from(message)).unwrap();
        assert_eq!((found, &jpeg[..]), (signature, &b"jpeg"[..]));
        for bad in ["", "00", &"g".repeat(96), &"+1".repeat(48), &"00".repeat(49)] {
            assert_eq!(Signature::from_header(bad), None, "{bad}");
        }
        assert_eq!(Signature::split(Bytes::from_static(&[0; 47])), None);
    }

    /// RFC 4231's first test case, through the same library: the key is used as it is.
    #[test]
    fn the_hmac_is_the_standards() {
        let key = SignKey::new(std::str::from_utf8(&[0x0b; 20]).unwrap());
        let tag = hmac::sign(&key.0, b"Hi There");
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(to_hex(tag.as_ref()), expected);
    }
}
