//! Whether the router answers, by what the kernel's neighbour table says of it.
//!
//! Nothing is sent to a router but, when uploads are in trouble, one byte that makes the kernel ask
//! for it (ARP, or IPv6's neighbour discovery): no privilege is needed, and routers answer that which
//! answer nothing else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use serde::Serialize;

/// RFC 863: whatever comes there is thrown away.
const DISCARD: u16 = 9;

/// The router of the way that the machine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Gateway {
    /// There is no default route.
    NoRoute,
    /// Nobody has asked for it of late, or it has yet to answer, or there is none to ask
    /// (a point-to-point link).
    Unknown,
    /// It has answered within the last minute.
    Answers,
    /// It was asked for and does not answer.
    Silent,
}

/// Judges a neighbour by its state (`NUD_…`, linux/neighbour.h), `None` if there is no such entry.
pub(super) fn judge(state: Option<u16>) -> Gateway {
    match state {
        Some(libc::NUD_REACHABLE) => Gateway::Answers,
        Some(libc::NUD_INCOMPLETE | libc::NUD_FAILED) => Gateway::Silent,
        // STALE: it answered some time ago. DELAY, PROBE: it is about to be asked, or is being asked.
        // NOARP, PERMANENT: nobody ever asks.
        _ => Gateway::Unknown,
    }
}

/// Judges several: one for each family of addresses.
pub(super) fn judge_all(gateways: &[Gateway]) -> Gateway {
    if gateways.is_empty() {
        Gateway::NoRoute
    } else if gateways.contains(&Gateway::Answers) {
        Gateway::Answers
    } else if gateways.iter().all(|gateway| *gateway == Gateway::Silent) {
        Gateway::Silent
    } else {
        Gateway::Unknown
    }
}

/// Gives the kernel a reason to find out whether a neighbour is there: what becomes of its entry
/// says so within seconds (after 5 s that an old entry may still be used, 3 s of asking).
pub(super) fn nudge(interface: u32, address: IpAddr) -> io::Result<()> {
    let (from, to): (IpAddr, SocketAddr) = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), (address, DISCARD).into()),
        IpAddr::V6(v6) => {
            // Routers have addresses of the link, which mean nothing without it.
            (Ipv6Addr::UNSPECIFIED.into(), SocketAddrV6::new(v6, DISCARD, 0, interface).into())
        }
    };
    UdpSocket::bind((from, 0))?.send_to(&[0], to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_is_an_answer() {
        for (state, gateway) in [
            (None, Gateway::Unknown),
            (Some(libc::NUD_NONE), Gateway::Unknown),
            (Some(libc::NUD_INCOMPLETE), Gateway::Silent),
            (Some(libc::NUD_REACHABLE), Gateway::Answers),
            (Some(libc::NUD_STALE), Gateway::Unknown),
            (Some(libc::NUD_DELAY), Gateway::Unknown),
            (Some(libc::NUD_PROBE), Gateway::Unknown),
            (Some(libc::NUD_FAILED), Gateway::Silent),
            (Some(libc::NUD_NOARP), Gateway::Unknown),
            (Some(libc::NUD_PERMANENT), Gateway::Unknown),
        ] {
            assert_eq!(judge(state), gateway, "{state:?}");
        }
    }

    #[test]
    fn one_that_answers_is_enough_and_silence_has_to_be_complete() {
        use Gateway::{Answers, NoRoute, Silent, Unknown};
        for (all, one) in [
            (&[][..], NoRoute),
            (&[Unknown], Unknown),
            (&[Silent, Answers], Answers),
            (&[Silent, Unknown], Unknown),
            (&[Silent, Silent], Silent),
            (&[Silent], Silent),
        ] {
            assert_eq!(judge_all(all), one, "{all:?}");
        }
    }
}
