//! USB/IP's messages, as in the kernel's Documentation/usb/usbip_protocol.rst: read and made, nothing is
//! decided here. All numbers are big-endian.

use std::io::{self, Read};

use super::device::{PRODUCT, VENDOR};

const VERSION: u16 = 0x0111;
const LIST: u16 = 5;
const IMPORT: u16 = 3;
/// The same with this bit are requests.
const REQUEST: u16 = 0x8000;

const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;

const EPIPE: i32 = -32;
const ECONNRESET: i32 = -104;

/// High speed, as the kernel counts (`enum usb_device_speed`).
const HIGH_SPEED: u32 = 3;

/// What a new connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Devices,
    Import,
}

/// A transfer, as far as its answer needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Urb {
    pub(super) sequence: u32,
    /// The longest answer.
    pub(super) length: usize,
}

/// What the kernel at the other end sends after an import.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Submission {
    Control { urb: Urb, setup: [u8; 8], data: Vec<u8> },
    Bulk(Urb),
    Unlink { sequence: u32, victim: u32 },
}

impl Asked {
    pub(super) fn read(from: &mut impl Read) -> io::Result<Asked> {
        let [_, _, high, low, ..] = exactly::<8>(from)?;
        match u16::from_be_bytes([high, low]) {
            code if code == REQUEST | LIST => Ok(Asked::Devices),
            code if code == REQUEST | IMPORT => {
                // Which bus: there is one.
                exactly::<32>(from)?;
                Ok(Asked::Import)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Submission {
    /// Reads the next one; what is longer than `limit` is an error.
    pub(super) fn read(from: &mut impl Read, limit: usize) -> io::Result<Submission> {
        let [command, sequence, _, inward, endpoint] = numbers(from)?;
        let [first, length, ..] = numbers::<5>(from)?;
        let setup = exactly::<8>(from)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= limit);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        let urb = Urb { sequence, length };
        match (command, endpoint) {
            (SUBMIT, 0) => {
                let mut data = vec![0; if inward == 0 { length } else { 0 }];
                from.read_exact(&mut data)?;
                Ok(Submission::Control { urb, setup, data })
            }
            (SUBMIT, _) => Ok(Submission::Bulk(urb)),
            (UNLINK, _) => Ok(Submission::Unlink { sequence, victim: first }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The answer to a new connection, with the device if it is plugged in.
pub(super) fn welcome(asked: Asked, plugged: bool) -> Vec<u8> {
    let (code, status) = match asked {
        Asked::Devices => (LIST, 0),
        Asked::Import => (IMPORT, u32::from(!plugged)),
    };
    let mut bytes = [VERSION.to_be_bytes(), code.to_be_bytes()].concat();
    bytes.extend(status.to_be_bytes());
    if asked == Asked::Devices {
        bytes.extend(u32::from(plugged).to_be_bytes());
    }
    if plugged {
        bytes.extend(device());
    }
    if plugged && asked == Asked::Devices {
        // Class, subclass and protocol of the two interfaces, and padding.
        bytes.extend([0x0e, 1, 0, 0, 0x0e, 2, 0, 0]);
    }
    bytes
}

fn device() -> Vec<u8> {
    let mut bytes = b"/sys/devices/test/1-1".to_vec();
    bytes.resize(256, 0);
    bytes.extend(b"1-1");
    bytes.resize(256 + 32, 0);
    // Bus 1, device 2.
    for number in [1, 2, HIGH_SPEED] {
        bytes.extend(number.to_be_bytes());
    }
    for number in [VENDOR, PRODUCT, 0x0100] {
        bytes.extend(number.to_be_bytes());
    }
    // Class, subclass, protocol; configuration 1 of 1, two interfaces.
    bytes.extend([0xef, 2, 1, 1, 1, 2]);
    bytes
}

/// A transfer from the device, with what it holds.
pub(super) fn filled(urb: Urb, bytes: &[u8]) -> Vec<u8> {
    [submitted(urb, 0, bytes.len()), bytes.to_vec()].concat()
}

/// A transfer to the device, which took so many bytes.
pub(super) fn taken(urb: Urb, length: usize) -> Vec<u8> {
    submitted(urb, 0, length)
}

/// A transfer that the endpoint refused.
pub(super) fn stalled(urb: Urb) -> Vec<u8> {
    submitted(urb, EPIPE, 0)
}

/// The end of an unlink: whether there was such a transfer.
pub(super) fn unlinked(sequence: u32, found: bool) -> Vec<u8> {
    answer(4, sequence, if found { ECONNRESET } else { 0 }, 0)
}

fn submitted(urb: Urb, status: i32, length: usize) -> Vec<u8> {
    answer(3, urb.sequence, status, u32::try_from(length).unwrap_or(0))
}

/// Of 48 bytes, all of them.
fn answer(command: u32, sequence: u32, status: i32, length: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [command, sequence, 0, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(status.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.resize(48, 0);
    bytes
}

fn exactly<const LENGTH: usize>(from: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn numbers<const COUNT: usize>(from: &mut impl Read) -> io::Result<[u32; COUNT]> {
    let mut numbers = [0; COUNT];
    for number in &mut numbers {
        *number = u32::from_be_bytes(exactly(from)?);
    }
    Ok(numbers)
}
