//! Signs frames, if the owner wants it.

use frame::Frame;
use frame::sign::{Challenge, SignKey, Signature};
use frame::wire::{Flags, Head};
use ring::rand::{SecureRandom, SystemRandom};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    key: SignKey,
    /// Of this run.
    boot: [u8; 16],
}

impl Signer {
    /// `None` without randomness, which no running Linux is.
    pub(super) fn new(key: SignKey) -> Option<Signer> {
        let mut boot = [0; 16];
        SystemRandom::new().fill(&mut boot).ok()?;
        Some(Signer { key, boot })
    }

    fn sign(&self, challenge: &Challenge, frame: &Frame, head: &Head) -> Signature {
        self.key.sign(challenge, &frame.camera, self.boot, head, frame.picture.bytes())
    }
}

/// A frame's head as it is sent, and its signature.
pub(super) fn head(
    frame: &Frame,
    history: bool,
    signer: Option<(&Signer, &Challenge)>,
) -> (Head, Option<Signature>) {
    let flags = Flags { history, signed: signer.is_some(), ..Flags::from(frame) };
    let head = Head { captured_us: frame.captured.unix_us, seq: frame.seq, flags };
    (head, signer.map(|(signer, challenge)| signer.sign(challenge, frame, &head)))
}
