//! When the machine's network changes: a link that comes up, an address that is gained or lost.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::net::UnixDatagram;

/// Linux, include/uapi/linux/rtnetlink.h: links, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The kernel's messages about links and addresses.
#[derive(Debug)]
pub struct Changes {
    /// A netlink socket: it delivers datagrams as a Unix one does, and tokio has no type of its own.
    socket: UnixDatagram,
}

impl Changes {
    /// # Errors
    /// The kernel has no rtnetlink, or a sandbox forbids it (systemd.exec(5),
    /// `RestrictAddressFamilies=` without `AF_NETLINK`).
    pub fn listen() -> io::Result<Changes> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Changes { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Waits for a change; several at once are one.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub async fn next(&mut self) -> io::Result<()> {
        let mut message = [0; 4096];
        let first = self.socket.recv(&mut message).await;
        while self.socket.try_recv(&mut message).is_ok() {}
        match first {
            // More came than there was room for: then something has changed.
            Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether `address` is one of this machine's. If that can't be found out, it is.
pub fn has_address(address: IpAddr) -> bool {
    let Ok(interfaces) = getifaddrs() else { return true };
    let of_interface = |interface: nix::ifaddrs::InterfaceAddress| {
        let found = interface.address?;
        let v4 = found.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| found.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    interfaces.filter_map(of_interface).any(|found| found == address)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loopback_is_ours_and_documentations_addresses_are_not() {
        assert!(has_address("127.0.0.1".parse().unwrap()));
        assert!(!has_address("192.0.2.1".parse().unwrap()));
        assert!(!has_address("2001:db8::1".parse().unwrap()));
    }

    #[tokio::test]
    async fn while_nothing_changes_nothing_is_said() {
        let mut changes = Changes::listen().unwrap();
        // Other tests of this machine may add links: then it says so, and that is no failure.
        let _ = tokio::time::timeout(Duration::from_millis(10), changes.next()).await;
    }
}
