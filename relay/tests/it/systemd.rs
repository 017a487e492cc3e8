//! What systemd is told.

use std::os::unix::net::UnixDatagram;

use testbed::eventually::eventually;
use testbed::program::SOON;

use crate::relay::{PHOTO, Relay};

/// Everything that was told so far.
struct Told {
    socket: UnixDatagram,
    messages: Vec<String>,
}

impl Told {
    /// Waits until a message after the first `skip` has `text`.
    fn has(&mut self, skip: usize, text: &str) {
        eventually(text, SOON, || {
            if self.messages.iter().skip(skip).any(|message| message.contains(text)) {
                return Ok(());
            }
            let mut message = [0; 1024];
            let length = self.socket.recv(&mut message).map_err(|error| error.to_string())?;
            self.messages.push(String::from_utf8_lossy(&message[..length]).into_owned());
            Err(self.messages.join(", "))
        });
    }
}

#[test]
fn ready_status_watchdog_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "900000")];
    let mut relay = Relay::at(&folder.path().join("data"), "", &variables);
    let mut told = Told { socket, messages: Vec::new() };
    told.has(0, "READY=1");
    told.has(0, "STATUS=1 camera empty, no frame yet");
    told.has(0, "WATCHDOG=1");
    relay.upload(PHOTO);
    let skip = told.messages.len();
    told.has(skip, "STATUS=1 camera live, last frame ");
    told.has(skip, "WATCHDOG=1");
    relay.program.signal("TERM");
    told.has(skip, "STOPPING=1");
    assert!(relay.program.ended().success());
}
