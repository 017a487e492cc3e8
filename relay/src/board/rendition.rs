//! A picture in the forms it is sent in: whole with its headers, as a part of an MJPEG stream, as a
//! WebSocket message. Each is made when somebody first asks, once, and shared by all viewers.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use frame::wire::{self, Head};
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue};

/// Between the parts of an MJPEG stream.
pub(crate) const BOUNDARY: &str = "frame";

/// The head of a part whose length is not known yet.
pub(crate) const OPEN_HEAD: &str = "Content-Type: image/jpeg\r\n\r\n";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Rendition {
    pub jpeg: Bytes,
    pub width: u16,
    pub height: u16,
    /// What every answer with this picture says; how old it is and what caches may do comes with each (`view/still.rs`).
    pub headers: HeaderMap,
    head: Head,
    part: OnceLock<Part>,
    message: OnceLock<Bytes>,
}

/// A part of an MJPEG stream, beginning behind the boundary line before it, and with the one behind
/// it: whoever waits for the boundary to draw has it at once.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its head with `Content-Length`, the JPEG, a boundary line.
    pub sized: Bytes,
    /// The JPEG, a boundary line, and already the next head.
    pub open: Bytes,
}

impl Rendition {
    pub(super) fn new(jpeg: Bytes, size: (u16, u16), headers: HeaderMap, head: Head) -> Rendition {
        let (width, height) = size;
        let (part, message) = (OnceLock::new(), OnceLock::new());
        Rendition { jpeg, width, height, headers, head, part, message }
    }

    /// The same picture in another size.
    pub(crate) fn scaled(&self, jpeg: Bytes, width: u16, height: u16) -> Rendition {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_LENGTH, jpeg.len().into());
        let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let tag = format!("\"{}-{width}x{height}\"", tag.trim_matches('"'));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        Rendition::new(jpeg, (width, height), headers, self.head)
    }

    /// As it stands in an MJPEG stream.
    pub(crate) fn part(&self) -> &Part {
        self.part.get_or_init(|| {
            let at = wire::format_time(self.head.captured_us, 3);
            let head = format!(
                "Content-Type: image/jpeg\r\nContent-Length: {}\r\n{}: {at}\r\n{}: {}\r\n\r\n",
                self.jpeg.len(),
                wire::CAPTURED_AT,
                wire::SEQ,
                self.head.seq,
            );
            let boundary = format!("\r\n--{BOUNDARY}\r\n");
            let mut whole = BytesMut::with_capacity(
                head.len() + self.jpeg.len() + boundary.len() + OPEN_HEAD.len(),
            );
            whole.put_slice(head.as_bytes());
            whole.put_slice(&self.jpeg);
            whole.put_slice(boundary.as_bytes());
            let sized = whole.len();
            whole.put_slice(OPEN_HEAD.as_bytes());
            // One copy of the picture serves both.
            let whole = whole.freeze();
            Part { sized: whole.slice(..sized), open: whole.slice(head.len()..) }
        })
    }

    /// The binary `stillwatch.v1` message.
    pub(crate) fn message(&self) -> Bytes {
        self.message.get_or_init(|| self.head.message(&self.jpeg)).clone()
    }
}
