//! How much of what was written to a TCP socket is still on its way.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Linux, include/uapi/linux/sockios.h.
const SIOCOUTQNSD: libc::Ioctl = 0x894B;

/// Bytes in a TCP socket's send queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendQueue {
    /// Not acknowledged by the peer's kernel, whether sent or not (`SIOCOUTQ`, tcp(7)).
    pub unacknowledged: u32,
    /// Of these, not even sent: the network or the peer's buffer is full (`SIOCOUTQNSD`). Asked only
    /// if something is unacknowledged.
    pub unsent: u32,
}

/// Reads a TCP socket's send queue.
///
/// # Errors
/// It is no TCP socket.
pub fn send_queue(socket: impl AsFd) -> io::Result<SendQueue> {
    let fd = socket.as_fd().as_raw_fd();
    let unacknowledged = read(fd, libc::TIOCOUTQ)?;
    let unsent = if unacknowledged == 0 { 0 } else { read(fd, SIOCOUTQNSD)? };
    Ok(SendQueue { unacknowledged, unsent })
}

fn read(fd: i32, request: libc::Ioctl) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the whole call, and both requests write one `int`.
    #[expect(unsafe_code, reason = "no safe wrapper: neither std nor nix has these requests")]
    let outcome = unsafe { libc::ioctl(fd, request, &raw mut bytes) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_silent_peer_leaves_unread_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(send_queue(&sender).unwrap(), SendQueue::default());
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(n) = sender.write(&[0; 65536]) {
            written += n;
        }
        let full = send_queue(&sender).unwrap();
        assert!(full.unsent > 0 && full.unacknowledged >= full.unsent, "{full:?}");
        let mut rest = vec![0; written];
        peer.read_exact(&mut rest).unwrap();
        // The last acknowledgement may take a moment, and the unsent rest was sent by then.
        assert_eq!(send_queue(&sender).unwrap().unsent, 0);
    }
}
