//! What the camera says of itself, and its answers to control requests: USB 2.0 chapter 9 and "USB Device
//! Class Definition for Video Devices" 1.1 ("UVC"). One format, one size. Pure.

use std::time::Duration;

/// Of the pictures.
pub(super) const SIZE: (u16, u16) = (640, 480);

/// The endpoint's longest packet.
pub(super) const PACKET: u16 = 512;

/// Before each picture: two bytes long, the end of a frame.
pub(super) const HEADER: [u8; 2] = [2, 0x82];

/// What the guest sees with `lsusb`: the Linux Foundation's number for test devices.
pub(super) const VENDOR: u16 = 0x1d6b;
pub(super) const PRODUCT: u16 = 0x0102;

/// Longest payload; a picture is always shorter.
const MAX_PAYLOAD: u32 = 1 << 16;

/// Between two pictures, in 100 ns: 10, 5 and 2 per second.
const INTERVALS: [u32; 3] = [1_000_000, 2_000_000, 5_000_000];

const STRINGS: [&str; 3] = ["Stillwatch", "Test camera", "SW0001"];

// Standard requests (USB 2.0, table 9-4).
const CLEAR_FEATURE: u8 = 1;
const GET_STATUS: u8 = 0;
const GET_DESCRIPTOR: u8 = 6;
const GET_CONFIGURATION: u8 = 8;
const SET_CONFIGURATION: u8 = 9;
const GET_INTERFACE: u8 = 10;

// UVC's (table A-8), and the control of the streaming interface that begins a stream.
const SET_CUR: u8 = 1;
const GET_CUR: u8 = 0x81;
const GET_MIN: u8 = 0x82;
const GET_MAX: u8 = 0x83;
const GET_LEN: u8 = 0x85;
const GET_INFO: u8 = 0x86;
const GET_DEF: u8 = 0x87;
const COMMIT: u8 = 2;

/// What becomes of a control request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Data(Vec<u8>),
    Taken,
    Stall,
}

#[derive(Debug)]
pub(super) struct Device {
    configuration: u8,
    interval: u32,
}

impl Default for Device {
    fn default() -> Device {
        Device { configuration: 0, interval: INTERVALS[0] }
    }
}

/// Whether the request chooses a configuration: the kernel does so for a device that is new, was
/// authorised, or was reset, and 0 is the end of one.
pub(super) fn configures(setup: [u8; 8]) -> bool {
    let [kind, request, configuration, ..] = setup;
    kind == 0 && request == SET_CONFIGURATION && configuration != 0
}

/// Whether a stream begins with the request.
pub(super) fn begins_stream(setup: [u8; 8]) -> bool {
    let [kind, request, _, control, ..] = setup;
    (kind, request, control) == (0x21, SET_CUR, COMMIT)
}

/// Whether a stream has ended: half a picture must not be the next one's start. (It is how Windows
/// and so Linux say it to bulk cameras.)
pub(super) fn ends_stream(setup: [u8; 8]) -> bool {
    let [kind, request, ..] = setup;
    (kind, request) == (2, CLEAR_FEATURE)
}

impl Device {
    /// Between two pictures.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(u64::from(self.interval) * 100)
    }

    pub(super) fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Answer {
        let [kind, request, value, kind_of_value, index, _, length, length_high] = setup;
        let length = usize::from(u16::from_le_bytes([length, length_high]));
        let answer = match (kind, request) {
            (0x80, GET_DESCRIPTOR) => descriptor(kind_of_value, value),
            (0x80, GET_CONFIGURATION) => Some(vec![self.configuration]),
            (0x80..=0x82, GET_STATUS) => Some(vec![0, 0]),
            (0x81, GET_INTERFACE) => Some(vec![0]),
            // The streaming interface; the controlling one has no controls.
            (0xa1, GET_CUR | GET_MIN | GET_MAX | GET_DEF) if index == 1 => Some(self.probe()),
            (0xa1, GET_LEN) if index == 1 => {
                u16::try_from(self.probe().len()).ok().map(|length| length.to_le_bytes().to_vec())
            }
            (0xa1, GET_INFO) if index == 1 => Some(vec![3]),
            _ => None,
        };
        if let Some(mut bytes) = answer {
            bytes.truncate(length);
            return Answer::Data(bytes);
        }
        match (kind, request) {
            (0, SET_CONFIGURATION) => self.configuration = value,
            (0x21, SET_CUR) if index == 1 => self.interval = wanted(data),
            (0..=2, _) => {}
            _ => return Answer::Stall,
        }
        Answer::Taken
    }

    /// Video probe and commit controls (UVC, table 4-75): all but the interval is settled.
    fn probe(&self) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 1];
        bytes.extend(self.interval.to_le_bytes());
        bytes.extend([0; 10]);
        bytes.extend(MAX_PAYLOAD.to_le_bytes());
        bytes.extend(MAX_PAYLOAD.to_le_bytes());
        bytes
    }
}

/// The interval that a SET_CUR asks for, or the shortest.
fn wanted(data: &[u8]) -> u32 {
    let bytes = data.get(4..8).and_then(|bytes| bytes.try_into().ok());
    let interval = bytes.map(u32::from_le_bytes).filter(|interval| INTERVALS.contains(interval));
    interval.unwrap_or(INTERVALS[0])
}

fn descriptor(kind: u8, number: u8) -> Option<Vec<u8>> {
    match (kind, number) {
        (1, _) => Some(device()),
        (2, _) => Some(configuration()),
        // American English.
        (3, 0) => Some(vec![4, 3, 0x09, 0x04]),
        (3, _) => {
            let text = STRINGS.get(usize::from(number).checked_sub(1)?)?;
            Some(sized(3, &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// A descriptor of that kind: its length comes first.
fn sized(kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(rest.len() + 2).unwrap_or(u8::MAX);
    [&[length, kind], rest].concat()
}

fn length_of(parts: &[u8], more: usize) -> [u8; 2] {
    u16::try_from(parts.len() + more).unwrap_or(u16::MAX).to_le_bytes()
}

fn device() -> Vec<u8> {
    // USB 2.0; "miscellaneous": the interfaces say what they are; 64 bytes at the control endpoint.
    let mut rest = vec![0, 2, 0xef, 2, 1, 64];
    rest.extend(VENDOR.to_le_bytes());
    rest.extend(PRODUCT.to_le_bytes());
    // Release 1.0; the three strings; one configuration.
    rest.extend([0, 1, 1, 2, 3, 1]);
    sized(1, &rest)
}

/// Everything behind the device's own descriptor, as the kernel asks for it.
pub(super) fn configuration() -> Vec<u8> {
    let both = sized(0x0b, &[0, 2, 0x0e, 3, 0, 2]);
    let body = [both, controlling(), streaming()].concat();
    let [low, high] = length_of(&body, 9);
    // Two interfaces, powered by the bus, 500 mA.
    [sized(2, &[low, high, 2, 1, 0, 0x80, 250]), body].concat()
}

fn controlling() -> Vec<u8> {
    let interface = sized(4, &[0, 0, 0, 0x0e, 1, 0, 2]);
    let camera = sized(0x24, &[2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    let output = sized(0x24, &[3, 2, 1, 1, 0, 1, 0]);
    let units = [camera, output].concat();
    let [low, high] = length_of(&units, 13);
    // UVC 1.0, a clock of 48 MHz, one streaming interface.
    let [a, b, c, d] = 48_000_000_u32.to_le_bytes();
    [interface, sized(0x24, &[1, 0, 1, low, high, a, b, c, d, 1, 1]), units].concat()
}

fn streaming() -> Vec<u8> {
    let interface = sized(4, &[1, 0, 1, 0x0e, 2, 0, 0]);
    let format = sized(0x24, &[6, 1, 1, 1, 1, 0, 0, 0, 0]);
    let (width, height) = SIZE;
    let pixels = u32::from(width) * u32::from(height);
    let mut frame = vec![7, 1, 0];
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    // Bits per second at the slowest and at the fastest, and the bytes of a picture.
    for number in [pixels * 8, pixels * 160, MAX_PAYLOAD, INTERVALS[0]] {
        frame.extend(number.to_le_bytes());
    }
    frame.push(3);
    frame.extend(INTERVALS.iter().flat_map(|interval| interval.to_le_bytes()));
    let colours = sized(0x24, &[0x0d, 1, 1, 4]);
    let described = [format, sized(0x24, &frame), colours].concat();
    let [low, high] = length_of(&described, 14);
    let header = sized(0x24, &[1, 1, low, high, 0x81, 0, 2, 0, 0, 0, 1, 0]);
    let [packet, packet_high] = PACKET.to_le_bytes();
    let endpoint = sized(5, &[0x81, 2, packet, packet_high, 0]);
    [interface, header, described, endpoint].concat()
}
