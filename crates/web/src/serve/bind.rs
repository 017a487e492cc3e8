//! The listening socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener as StdListener};
use std::os::fd::OwnedFd;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait for being accepted.
const BACKLOG: u32 = 1024;

/// Why nothing can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "can't listen on {0}: another program does already (ss -ltnp shows which); stop it, or \
         choose another address"
    )]
    InUse(SocketAddr),
    /// No interface has it.
    #[error(
        "can't listen on {0}: this machine has no such address; choose another one, such as \
         0.0.0.0:{port}", port = .0.port()
    )]
    NotHere(SocketAddr),
    /// A port below 1024, most often.
    #[error(
        "can't listen on {0}: this user may not; choose a port from 1024 on, or give the unit \
         AmbientCapabilities=CAP_NET_BIND_SERVICE (systemd/README.md)"
    )]
    NotAllowed(SocketAddr),
    /// Whatever the kernel says.
    #[error("can't listen on {0}: {1}; choose another address")]
    Other(SocketAddr, io::Error),
}

/// Listens on `address`. `[::]` takes IPv4 too, and only that where there is no IPv6.
///
/// # Errors
/// Why nothing can be listened to, and what to do.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let everything = address.is_ipv6() && address.ip().is_unspecified();
    match listen(address) {
        Err(error) if everything && no_ipv6(&error) => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            listen(address).map_err(|error| explained(address, error))
        }
        outcome => outcome.map_err(|error| explained(address, error)),
    }
}

/// Takes over a socket that systemd listens with.
///
/// # Errors
/// It is none that connections of TCP come to.
pub fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = StdListener::from(socket);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Listens on `address` for what comes in by the interface `device` only, whether the address is there
/// yet or not.
///
/// # Errors
/// Why nothing can be listened to, and what to do.
pub fn bind_to_device(address: SocketAddrV4, device: &str) -> Result<TcpListener, BindError> {
    let bound = || {
        let socket = TcpSocket::new_v4()?;
        SockRef::from(&socket).bind_device(Some(device.as_bytes()))?;
        SockRef::from(&socket).set_freebind_v4(true)?;
        socket.set_reuseaddr(true)?;
        socket.bind(address.into())?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error| explained(address.into(), error))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Else a restart would have to wait for the last connections to be forgotten.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn no_ipv6(error: &io::Error) -> bool {
    use nix::errno::Errno::{EADDRNOTAVAIL, EAFNOSUPPORT};
    let code = error.raw_os_error();
    code == Some(EAFNOSUPPORT as i32) || code == Some(EADDRNOTAVAIL as i32)
}

fn explained(address: SocketAddr, error: io::Error) -> BindError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotHere(address),
        io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
        _ => BindError::Other(address, error),
    }
}
