use std::io::{Read, Write};
use std::time::Duration;

use super::*;

/// The other end of a camera: what the guest's kernel would do.
struct Guest {
    stream: TcpStream,
    sequence: u32,
}

impl Guest {
    /// Imports it, if it lets itself be imported.
    fn attach(camera: &UsbCamera) -> Option<Guest> {
        let mut stream = TcpStream::connect(camera.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut request = vec![1, 0x11, 0x80, 3, 0, 0, 0, 0];
        request.extend(b"1-1");
        request.resize(40, 0);
        stream.write_all(&request).unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        if answer[7] != 0 {
            return None;
        }
        let mut device = [0; 312];
        stream.read_exact(&mut device).unwrap();
        assert!(device[256..].starts_with(b"1-1\0"), "{device:?}");
        Some(Guest { stream, sequence: 0 })
    }

    fn submit(&mut self, endpoint: u32, length: u32, setup: [u8; 8]) {
        self.sequence += 1;
        let numbers = [1, self.sequence, 0x1_0002, 1, endpoint, 0, length, 0, 0, 0];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.stream.write_all(&[&bytes, &setup[..]].concat()).unwrap();
    }

    /// Number, status and contents of the next answer.
    fn answer(&mut self) -> io::Result<(u32, i32, Vec<u8>)> {
        let mut head = [0; 48];
        self.stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let unlinked = number(0) == 4;
        let mut bytes = vec![0; if unlinked { 0 } else { number(24) as usize }];
        self.stream.read_exact(&mut bytes)?;
        Ok((number(4), number(20).cast_signed(), bytes))
    }

    /// What a control request gets.
    fn control(&mut self, setup: [u8; 8]) -> Vec<u8> {
        self.submit(0, u32::from(u16::from_le_bytes([setup[6], setup[7]])), setup);
        let (sequence, status, bytes) = self.answer().unwrap();
        assert_eq!((sequence, status), (self.sequence, 0));
        bytes
    }

    /// The next picture.
    fn picture(&mut self) -> Vec<u8> {
        self.submit(1, 65536, [0; 8]);
        let (_, status, bytes) = self.answer().unwrap();
        assert_eq!(status, 0);
        bytes[2..].to_vec()
    }

    fn configure(&mut self) {
        self.control([0, 9, 1, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn the_descriptors_are_as_long_as_they_say() {
    let all = device::configuration();
    assert_eq!(usize::from(u16::from_le_bytes([all[2], all[3]])), all.len());
    let mut kinds = Vec::new();
    let mut at = 0;
    while at < all.len() {
        assert!(all[at] >= 2 && at + usize::from(all[at]) <= all.len(), "at {at}: {all:?}");
        kinds.push(all[at + 1]);
        at += usize::from(all[at]);
    }
    let count = |kind: u8| kinds.iter().filter(|known| **known == kind).count();
    assert_eq!([count(2), count(4), count(5), count(0x0b)], [1, 2, 1, 1], "{kinds:?}");
}

#[test]
fn it_is_imported_and_tells_who_it_is() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    let device = guest.control([0x80, 6, 0, 1, 0, 0, 18, 0]);
    assert_eq!(device[..2], [18, 1]);
    assert_eq!(device.len(), 18);
    assert_eq!(guest.control([0x80, 6, 0, 2, 0, 0, 9, 0]).len(), 9);
    assert_eq!(camera.imports(), 1);
}

#[test]
fn pictures_are_jpegs_and_all_different() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    guest.configure();
    let (one, two) = (guest.picture(), guest.picture());
    assert!(one.starts_with(b"\xff\xd8\xff\xfe"), "{:?}", one.get(..8));
    assert_ne!(one, two);
    camera.set(Fault::Repeat);
    let last = guest.picture();
    assert_eq!(last, guest.picture());
    camera.set(Fault::Garbage);
    assert!(!guest.picture().starts_with(b"\xff\xd8"));
}

#[test]
fn a_long_picture_comes_in_pieces() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    let whole = guest.picture().len() + 2;
    let mut got = 0;
    let mut last = 1024;
    while last == 1024 {
        guest.submit(1, 1024, [0; 8]);
        last = guest.answer().unwrap().2.len();
        got += last;
    }
    assert!(got.abs_diff(whole) < 512, "{got} of about {whole} bytes");
}

#[test]
fn pulled_out_it_can_not_be_attached_until_it_is_back() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    camera.unplug();
    assert!(guest.answer().is_err(), "the connection goes on");
    assert!(Guest::attach(&camera).is_none());
    camera.plug();
    assert!(Guest::attach(&camera).is_some());
}

#[test]
fn dead_until_reset_is_cured_by_a_configuration_and_by_nothing_less() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    camera.set(Fault::DeadUntilReset);
    guest.submit(1, 65536, [0; 8]);
    let wanted = guest.sequence;
    // What uvcvideo sends when a stream ends, and the end of the configuration.
    guest.control([2, 1, 0, 0, 0x81, 0, 0, 0]);
    guest.control([0, 9, 0, 0, 0, 0, 0, 0]);
    assert_eq!(camera.fault(), Fault::DeadUntilReset);
    guest.configure();
    let (sequence, _, picture) = guest.answer().unwrap();
    assert_eq!(sequence, wanted);
    assert!(picture[2..].starts_with(b"\xff\xd8"));
    assert_eq!(camera.fault(), Fault::Run);
}

#[test]
fn an_unlinked_transfer_gets_no_picture() {
    let camera = UsbCamera::plugged_in();
    let mut guest = Guest::attach(&camera).unwrap();
    camera.set(Fault::Freeze);
    guest.submit(1, 65536, [0; 8]);
    let victim = guest.sequence;
    let numbers = [2, 99, 0x1_0002, 0, 0, victim, 0, 0, 0, 0];
    let bytes: Vec<u8> = numbers.iter().flat_map(|number: &u32| number.to_be_bytes()).collect();
    guest.stream.write_all(&[&bytes[..], &[0; 8]].concat()).unwrap();
    let (sequence, status, _) = guest.answer().unwrap();
    assert_eq!((sequence, status), (99, -104));
    camera.set(Fault::Run);
    guest.submit(1, 65536, [0; 8]);
    assert_eq!(guest.answer().unwrap().0, guest.sequence);
}
