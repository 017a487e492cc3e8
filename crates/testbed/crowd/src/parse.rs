//! What comes in on a connection, taken apart as it comes: nothing is kept but a few bytes. Pure.
//!
//! A frame carries the time at which it was made in a comment right behind its SOI:
//! `SWSTAMP:` and 20 digits, nanoseconds of `CLOCK_MONOTONIC`.

/// SOI, marker and length, `SWSTAMP:`, 20 digits.
pub(crate) const STAMPED: usize = 34;

/// Where the digits begin.
pub(crate) const DIGITS: usize = 14;

const MAGIC: &[u8] = b"SWSTAMP:";

/// Longer heads than this are none.
const MAX_HEAD: usize = 8 << 10;

/// The fixed head of a `stillwatch.v1` message.
const MESSAGE_HEAD: usize = 24;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `live.mjpeg`.
    Mjpeg,
    /// `live.ws`.
    Ws,
    /// `live.jpeg`, again and again.
    Still,
}

/// Something is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The head of the answer, with its status.
    Answered {
        status: u16,
        etag: Option<String>,
    },
    /// A frame; of a still with an empty body (304), too.
    Frame {
        stamp: Option<u64>,
        seq: u64,
    },
    Ping(Vec<u8>),
    /// What the other end says beside frames.
    Text(String),
    /// The other end said goodbye.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The answer's head.
    Answer,
    /// The head of a part, with the boundary line before it.
    Part,
    /// The head of a WebSocket frame.
    Message,
    /// A picture.
    Picture { left: usize },
    /// The content of a control or text frame.
    Control { opcode: u8, left: usize },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Parser {
    kind: Kind,
    state: State,
    /// What is collected at the moment: a head, or the beginning of a picture.
    kept: Vec<u8>,
    seq: u64,
}

impl Parser {
    pub(crate) fn new(kind: Kind) -> Parser {
        Parser { kind, state: State::Answer, kept: Vec::new(), seq: 0 }
    }

    /// Takes what has come.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut on: impl FnMut(Event),
    ) -> Result<(), &'static str> {
        while let [first, rest @ ..] = bytes {
            match self.state {
                State::Answer | State::Part | State::Message => {
                    self.kept.push(*first);
                    bytes = rest;
                    if self.kept.len() > MAX_HEAD {
                        return Err("an endless head");
                    }
                    self.head(&mut on)?;
                }
                State::Picture { left } => {
                    let n = left.min(bytes.len());
                    let (now, rest) = bytes.split_at(n);
                    let wanted = STAMPED.saturating_sub(self.kept.len()).min(n);
                    self.kept.extend(now.get(..wanted).unwrap_or_default());
                    bytes = rest;
                    self.state = State::Picture { left: left - n };
                    if left == n {
                        self.complete(&mut on);
                    }
                }
                State::Control { opcode, left } => {
                    let n = left.min(bytes.len());
                    let (now, rest) = bytes.split_at(n);
                    self.kept.extend(now.get(..n.min(MAX_HEAD)).unwrap_or_default());
                    bytes = rest;
                    self.state = State::Control { opcode, left: left - n };
                    if left == n {
                        self.control(opcode, &mut on);
                    }
                }
            }
        }
        Ok(())
    }

    fn head(&mut self, on: &mut impl FnMut(Event)) -> Result<(), &'static str> {
        if self.state == State::Message {
            return self.message_head(on);
        }
        if !self.kept.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let head = String::from_utf8_lossy(&self.kept).into_owned();
        self.kept.clear();
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length = field("content-length").and_then(|text| text.parse().ok());
        if self.state == State::Answer {
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            on(Event::Answered { status, etag: field("etag").map(str::to_owned) });
            self.state = match (self.kind, status) {
                (Kind::Mjpeg, 200) => State::Part,
                (Kind::Ws, 101) => State::Message,
                (Kind::Still, 200 | 304) => State::Picture { left: length.unwrap_or(0) },
                _ => return Err("not the answer that was asked for"),
            };
        } else {
            self.state = State::Picture { left: length.ok_or("a part without a length")? };
        }
        if self.state == (State::Picture { left: 0 }) {
            self.complete(on);
        }
        Ok(())
    }

    /// RFC 6455, 5.2; servers don't mask.
    fn message_head(&mut self, on: &mut impl FnMut(Event)) -> Result<(), &'static str> {
        let (opcode, length, used) = match self.kept.as_slice() {
            [first, 126, high, low, ..] => {
                (first & 15, usize::from(u16::from_be_bytes([*high, *low])), 4)
            }
            [first, 127, a, b, c, d, e, f, g, h, ..] => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (first & 15, usize::try_from(length).unwrap_or(usize::MAX), 10)
            }
            [first, length @ ..=125, ..] => (first & 15, usize::from(*length), 2),
            [_, 128..=255, ..] => return Err("a masked frame from a server"),
            _ => return Ok(()),
        };
        if opcode == 2 {
            let Some(head) = self.kept.get(used..used + MESSAGE_HEAD) else { return Ok(()) };
            let seq = head.get(8..16).and_then(|seq| seq.try_into().ok());
            self.seq = seq.map_or(0, u64::from_be_bytes);
            self.state =
                State::Picture { left: length.checked_sub(MESSAGE_HEAD).ok_or("a short message")? };
        } else {
            self.state = State::Control { opcode, left: length };
        }
        self.kept.clear();
        if let State::Control { left: 0, .. } = self.state {
            self.control(opcode, on);
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, on: &mut impl FnMut(Event)) {
        let kept = std::mem::take(&mut self.kept);
        match opcode {
            1 => on(Event::Text(String::from_utf8_lossy(&kept).into_owned())),
            8 => on(Event::Closed),
            9 => on(Event::Ping(kept)),
            _ => {}
        }
        self.state = State::Message;
    }

    fn complete(&mut self, on: &mut impl FnMut(Event)) {
        let stamp = self.kept.get(6..STAMPED).and_then(|stamp| stamp.strip_prefix(MAGIC));
        let stamp = stamp.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        on(Event::Frame { stamp, seq: self.seq });
        self.kept.clear();
        self.state = match self.kind {
            Kind::Mjpeg => State::Part,
            Kind::Ws => State::Message,
            Kind::Still => State::Answer,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(stamp: u64, length: usize) -> Vec<u8> {
        let mut picture = b"\xff\xd8\xff\xfe\x00\x1e".to_vec();
        picture.extend(format!("SWSTAMP:{stamp:020}").bytes());
        picture.resize(length, b'x');
        picture
    }

    /// The events, whatever pieces it comes in.
    fn events(kind: Kind, bytes: &[u8]) -> Vec<Event> {
        let mut all: Option<Vec<Event>> = None;
        for cut in 1..=bytes.len() {
            let (mut parser, mut found) = (Parser::new(kind), Vec::new());
            for piece in bytes.chunks(cut) {
                parser.take(piece, |event| found.push(event)).unwrap();
            }
            assert!(all.as_ref().is_none_or(|all| *all == found), "in pieces of {cut}");
            all = Some(found);
        }
        all.unwrap()
    }

    #[test]
    fn parts_of_a_stream() {
        let mut stream = b"HTTP/1.0 200 OK\r\nContent-Type: multipart\r\n\r\n--frame\r\n".to_vec();
        for stamp in [7, 8] {
            let body = picture(stamp, 100);
            stream.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            stream.extend(body);
            stream.extend(b"\r\n--frame\r\n");
        }
        let frame = |stamp| Event::Frame { stamp: Some(stamp), seq: 0 };
        let answered = Event::Answered { status: 200, etag: None };
        assert_eq!(events(Kind::Mjpeg, &stream), [answered, frame(7), frame(8)]);
    }

    #[test]
    fn messages_of_a_websocket() {
        let mut stream = b"HTTP/1.1 101 Switching\r\n\r\n\x81\x02{}\x89\x01!".to_vec();
        for (seq, length) in [(3_u64, 50), (4, 400), (5, 70_000)] {
            stream.push(0x82);
            let whole = length + 24;
            match whole {
                ..126 => stream.push(u8::try_from(whole).unwrap()),
                126..65_536 => {
                    stream.push(126);
                    stream.extend(u16::try_from(whole).unwrap().to_be_bytes());
                }
                _ => {
                    stream.push(127);
                    stream.extend((whole as u64).to_be_bytes());
                }
            }
            stream.extend([0; 8]);
            stream.extend(seq.to_be_bytes());
            stream.extend([0; 8]);
            stream.extend(picture(seq * 10, length));
        }
        stream.extend(b"\x88\x00");
        let mut found = Vec::new();
        for cut in [1, 7, 1_000, stream.len()] {
            let mut parser = Parser::new(Kind::Ws);
            found.clear();
            for piece in stream.chunks(cut) {
                parser.take(piece, |event| found.push(event)).unwrap();
            }
            let frame = |seq| Event::Frame { stamp: Some(seq * 10), seq };
            let answered = Event::Answered { status: 101, etag: None };
            let (text, ping) = (Event::Text("{}".to_owned()), Event::Ping(b"!".to_vec()));
            assert_eq!(
                found,
                [answered, text, ping, frame(3), frame(4), frame(5), Event::Closed],
                "{cut}"
            );
        }
    }

    #[test]
    fn stills_and_what_did_not_change() {
        let mut stream = b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 60\r\n\r\n".to_vec();
        stream.extend(picture(9, 60));
        stream.extend(b"HTTP/1.1 304 Not Modified\r\n\r\n");
        let answered =
            |status, etag: Option<&str>| Event::Answered { status, etag: etag.map(Into::into) };
        assert_eq!(
            events(Kind::Still, &stream),
            [
                answered(200, Some("\"a\"")),
                Event::Frame { stamp: Some(9), seq: 0 },
                answered(304, None),
                Event::Frame { stamp: None, seq: 0 },
            ]
        );
    }

    #[test]
    fn what_is_something_else_is_an_error() {
        for (kind, bytes) in [
            (Kind::Mjpeg, &b"HTTP/1.1 503 Busy\r\n\r\n"[..]),
            (Kind::Mjpeg, b"HTTP/1.0 200 OK\r\n\r\n--frame\r\n\r\n"),
            (Kind::Ws, b"HTTP/1.1 101 S\r\n\r\n\x82\xff"),
            (Kind::Ws, b"HTTP/1.1 101 S\r\n\r\n\x82\x05hello-----------------------------"),
        ] {
            assert!(Parser::new(kind).take(bytes, |_| {}).is_err());
        }
    }
}
