//! Links, addresses, default routes and neighbours, as the kernel tells them (rtnetlink(7)).
//!
//! What follows from them does not belong here.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use super::netlink::{Question, Socket, attribute, name_of, u16_of, u32_of};

/// linux/if_arp.h, `ARPHRD_RAWIP`: a mobile network's modem.
const ARPHRD_RAWIP: u16 = 519;

/// linux/rtnetlink.h; `libc` has it for glibc only.
const RTA_VIA: u16 = 18;

/// linux/rtnetlink.h: a route's interface is down, or has no carrier.
const UNUSABLE: u32 = 1 | 16;

/// A network interface, loopback and tunnels too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// Somebody wants it to work.
    pub up: bool,
    /// It is connected to something and may be used.
    pub running: bool,
    pub nature: Nature,
}

/// What an interface can be to the way out. Whether it is WiFi is not said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// A socket that a cable or a modem is in.
    Device,
    /// A bridge, a bond or a virtual network of a container: it counts if the way out leads over it.
    Virtual,
    /// Loopback, a tunnel over something else, a part of something else.
    Other,
}

/// A default route of the table `main`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub interface: u32,
    /// `None`: whoever is at the other end.
    pub gateway: Option<IpAddr>,
    pub ipv6: bool,
    /// Of several, the kernel takes the one with the least.
    pub metric: u32,
}

/// Asks for all links.
pub(super) fn links(socket: &mut Socket) -> Result<Vec<Link>, Errno> {
    let mask = libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned().to_ne_bytes();
    let question = Question::all(libc::RTM_GETLINK, &[0; 16]).with(libc::IFLA_EXT_MASK, &mask);
    let mut links = Vec::new();
    socket.ask(&question, |message| links.extend(link(message)))?;
    Ok(links)
}

/// Of `struct ifinfomsg`: one byte family, one unused, then type, index, flags.
fn link(message: &[u8]) -> Option<Link> {
    let (head, rest) = message.split_at_checked(16)?;
    let kind = u16_of(head.get(2..)?)?;
    let index = u32_of(head.get(4..)?)?;
    let flags = u32_of(head.get(8..)?)?;
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let info = attribute(rest, libc::IFLA_LINKINFO);
    let made = info.and_then(|info| attribute(info, libc::IFLA_INFO_KIND)).map(name_of);
    let part = attribute(rest, libc::IFLA_MASTER).is_some();
    Some(Link {
        index,
        name: attribute(rest, libc::IFLA_IFNAME).map(name_of)?,
        up: has(libc::IFF_UP),
        // Until a WiFi has authenticated itself there is a carrier, but it does not run.
        running: has(libc::IFF_RUNNING) && has(libc::IFF_LOWER_UP),
        nature: if has(libc::IFF_LOOPBACK) || part { Nature::Other } else { nature(kind, made) },
    })
}

/// By linux/if_arp.h and the kind of driver that made it, if it is no device.
fn nature(kind: u16, made: Option<String>) -> Nature {
    let carries = [libc::ARPHRD_ETHER, libc::ARPHRD_PPP, ARPHRD_RAWIP].contains(&kind);
    match made.as_deref() {
        _ if !carries => Nature::Other,
        // A container's only socket is a virtual one.
        None | Some("veth" | "ppp" | "wwan") => Nature::Device,
        Some("tun" | "vxlan" | "gretap" | "ip6gretap" | "geneve" | "dummy" | "ifb") => {
            Nature::Other
        }
        Some(_) => Nature::Virtual,
    }
}

/// Asks which interfaces have an address that leads further than their own link.
pub(super) fn addressed(socket: &mut Socket) -> Result<HashSet<u32>, Errno> {
    let mut found = HashSet::new();
    let question = Question::all(libc::RTM_GETADDR, &[0; 8]);
    socket.ask(&question, |message| found.extend(usable_address(message)))?;
    Ok(found)
}

/// Of `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn usable_address(message: &[u8]) -> Option<u32> {
    let (head, rest) = message.split_at_checked(8)?;
    let &[family, _, flags, scope, ..] = head else { return None };
    let index = u32_of(head.get(4..)?)?;
    let flags = attribute(rest, libc::IFA_FLAGS).and_then(u32_of).unwrap_or(flags.into());
    let unproven = flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) != 0;
    let own = attribute(rest, libc::IFA_LOCAL).or_else(|| attribute(rest, libc::IFA_ADDRESS))?;
    let of_link = match address(family, own)? {
        // What a machine gives itself when nobody else does (RFC 3927).
        IpAddr::V4(own) => own.is_link_local(),
        IpAddr::V6(_) => false,
    };
    // linux/rtnetlink.h, RT_SCOPE_UNIVERSE.
    (scope == 0 && !unproven && !of_link).then_some(index)
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Asks for the default routes of both families that are not dead.
pub(super) fn default_routes(socket: &mut Socket) -> Result<Vec<Route>, Errno> {
    let mut routes = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut head = [0; 12];
        if let Some(first) = head.first_mut() {
            *first = u8::try_from(family).unwrap_or_default();
        }
        let question = Question::all(libc::RTM_GETROUTE, &head);
        match socket.ask(&question, |message| routes.extend(default_route(message))) {
            // A kernel without IPv6.
            Err(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) if family == libc::AF_INET6 => {}
            outcome => outcome?,
        }
    }
    Ok(routes)
}

/// Of `struct rtmsg`: family, destination's length, source's, tos, table, protocol, scope, type, flags.
fn default_route(message: &[u8]) -> Vec<Route> {
    let of = || {
        let (head, rest) = message.split_at_checked(12)?;
        let &[family, length, _, _, table, _, _, kind, ..] = head else { return None };
        let table = attribute(rest, libc::RTA_TABLE).and_then(u32_of).unwrap_or(table.into());
        let is_default =
            length == 0 && kind == libc::RTN_UNICAST && table == u32::from(libc::RT_TABLE_MAIN);
        let flags = u32_of(head.get(8..)?)?;
        is_default.then(|| hops(family, flags, rest))
    };
    of().unwrap_or_default()
}

fn hops(family: u8, flags: u32, attributes: &[u8]) -> Vec<Route> {
    let metric = attribute(attributes, libc::RTA_PRIORITY).and_then(u32_of).unwrap_or_default();
    let hop = |interface: u32, flags: u32, attributes: &[u8]| {
        let direct = attribute(attributes, libc::RTA_GATEWAY).and_then(|to| address(family, to));
        // An IPv4 route may go by an IPv6 router: its family, then the address.
        let via = || {
            let via = attribute(attributes, RTA_VIA)?;
            address(u8::try_from(u16_of(via)?).ok()?, via.get(2..)?)
        };
        let gateway = direct.or_else(via);
        let ipv6 = i32::from(family) == libc::AF_INET6;
        let alive = flags & UNUSABLE == 0;
        alive.then_some(Route { interface, gateway, ipv6, metric })
    };
    if let Some(interface) = attribute(attributes, libc::RTA_OIF).and_then(u32_of) {
        return hop(interface, flags, attributes).into_iter().collect();
    }
    // Several ways of one route: each a `struct rtnexthop` with attributes of its own.
    let mut rest = attribute(attributes, libc::RTA_MULTIPATH).unwrap_or_default();
    let mut routes = Vec::new();
    while let Some(length) = u16_of(rest).map(usize::from).filter(|length| *length >= 8) {
        let Some(way) = rest.get(..length) else { break };
        let interface = way.get(4..).and_then(u32_of);
        let flags = way.get(2).copied().unwrap_or_default().into();
        let attributes = way.get(8..).unwrap_or_default();
        routes.extend(interface.and_then(|interface| hop(interface, flags, attributes)));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    routes
}

/// Asks for the state of one neighbour, `NUD_…`. `None`: the kernel knows nothing of it.
pub(super) fn neighbour(
    socket: &mut Socket,
    interface: u32,
    address: IpAddr,
) -> Result<Option<u16>, Errno> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // `struct ndmsg`: family, padding, index, state, flags, type.
    let mut head = u32::try_from(family).unwrap_or_default().to_le_bytes().to_vec();
    head.extend(interface.to_ne_bytes());
    head.extend([0; 4]);
    let question = Question::one(libc::RTM_GETNEIGH, &head).with(libc::NDA_DST, &bytes);
    let mut state = None;
    match socket.ask(&question, |message| state = message.get(8..).and_then(u16_of)) {
        Err(Errno::ENOENT) => Ok(None),
        outcome => outcome.map(|()| state),
    }
}

/// The ways out that the kernel takes: of each family the one with the least metric.
pub(super) fn preferred(routes: &[Route]) -> Vec<Route> {
    let best =
        |ipv6| routes.iter().filter(move |route| route.ipv6 == ipv6).min_by_key(|r| r.metric);
    [best(false), best(true)].into_iter().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::netlink::message;

    const V4: &[u8] = &[192, 168, 1, 1];

    fn route_head(family: i32, length: u8, table: u8, kind: u8, flags: u32) -> Vec<u8> {
        let family = u8::try_from(family).unwrap();
        [&[family, length, 0, 0, table, 0, 0, kind][..], &flags.to_ne_bytes()].concat()
    }

    #[test]
    fn what_an_interface_is() {
        let flags = libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOWER_UP;
        let link_of = |kind: u16, flags: i32, more: &[(u16, &[u8])]| {
            let head = [
                &[0, 0][..],
                &kind.to_ne_bytes(),
                &3_u32.to_ne_bytes(),
                &flags.to_ne_bytes(),
                &[0; 4],
            ];
            link(&message(&head.concat(), &[&[(libc::IFLA_IFNAME, &b"eth0\0"[..])], more].concat()))
        };
        let found = link_of(libc::ARPHRD_ETHER, flags, &[]).unwrap();
        assert_eq!((found.index, found.name.as_str()), (3, "eth0"));
        assert!(found.up && found.running);
        assert_eq!(found.nature, Nature::Device);
        // A WiFi that is associated, but not yet authenticated, has a carrier.
        for flags in [flags & !libc::IFF_RUNNING, flags & !libc::IFF_LOWER_UP] {
            assert!(!link_of(libc::ARPHRD_ETHER, flags, &[]).unwrap().running);
        }
        let made = |kind: u16, driver: &[u8]| {
            let info = message(&[], &[(libc::IFLA_INFO_KIND, driver)]);
            link_of(kind, flags, &[(libc::IFLA_LINKINFO, &info)]).unwrap().nature
        };
        for (kind, driver, nature) in [
            (libc::ARPHRD_ETHER, &b"bridge\0"[..], Nature::Virtual),
            (libc::ARPHRD_ETHER, b"vlan\0", Nature::Virtual),
            (libc::ARPHRD_ETHER, b"veth\0", Nature::Device),
            (libc::ARPHRD_ETHER, b"tun\0", Nature::Other),
            (libc::ARPHRD_PPP, b"ppp\0", Nature::Device),
            (ARPHRD_RAWIP, b"wwan\0", Nature::Device),
            (0xfffe, b"wireguard\0", Nature::Other),
        ] {
            assert_eq!(made(kind, driver), nature, "{driver:?}");
        }
        let port = link_of(libc::ARPHRD_ETHER, flags, &[(libc::IFLA_MASTER, &[9, 0, 0, 0])]);
        assert_eq!(port.unwrap().nature, Nature::Other);
        let loopback = link_of(libc::ARPHRD_ETHER, flags | libc::IFF_LOOPBACK, &[]);
        assert_eq!(loopback.unwrap().nature, Nature::Other);
    }

    #[test]
    fn which_addresses_lead_further() {
        let usable = |family: i32, flags: u8, scope: u8, address: &[u8]| {
            let family = u8::try_from(family).unwrap();
            let head = [&[family, 24, flags, scope][..], &7_u32.to_ne_bytes()].concat();
            usable_address(&message(&head, &[(libc::IFA_ADDRESS, address)])).is_some()
        };
        assert!(usable(libc::AF_INET, 0, 0, V4));
        assert!(!usable(libc::AF_INET, 0, 0, &[169, 254, 3, 4]));
        assert!(!usable(libc::AF_INET, 0, 253, &[169, 254, 3, 4]));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 12]].concat();
        assert!(usable(libc::AF_INET6, 0, 0, &v6));
        for (flags, scope) in [(0x40, 0), (0x08, 0), (0, 253)] {
            assert!(!usable(libc::AF_INET6, flags, scope, &v6), "{flags} {scope}");
        }
        assert!(!usable(libc::AF_INET, 0, 0, &[1, 2]));
    }

    #[test]
    fn default_routes_of_the_table_main() {
        let route = |length, table, kind, flags| {
            let head = route_head(libc::AF_INET, length, table, kind, flags);
            let metric = 600_u32.to_ne_bytes();
            default_route(&message(
                &head,
                &[
                    (libc::RTA_TABLE, &u32::from(table).to_ne_bytes()),
                    (libc::RTA_GATEWAY, V4),
                    (libc::RTA_OIF, &3_u32.to_ne_bytes()),
                    (libc::RTA_PRIORITY, &metric),
                ],
            ))
        };
        let gateway = Some("192.168.1.1".parse().unwrap());
        let found = Route { interface: 3, gateway, ipv6: false, metric: 600 };
        assert_eq!(route(0, 254, libc::RTN_UNICAST, 0), [found]);
        for (length, table, kind, flags) in [
            (24, 254, libc::RTN_UNICAST, 0),
            (0, 255, libc::RTN_UNICAST, 0),
            (0, 254, libc::RTN_UNREACHABLE, 0),
            (0, 254, libc::RTN_UNICAST, 16),
            (0, 254, libc::RTN_UNICAST, 1),
        ] {
            assert_eq!(route(length, table, kind, flags), [], "{length} {table} {kind} {flags}");
        }
    }

    #[test]
    fn several_ways_and_ways_of_the_other_family() {
        let head = route_head(libc::AF_INET, 0, 254, libc::RTN_UNICAST, 0);
        let way = |interface: u32, flags: u8, gateway: &[u8]| {
            let gateway = message(&[], &[(libc::RTA_GATEWAY, gateway)]);
            let length = u16::try_from(8 + gateway.len()).unwrap();
            let head = [&length.to_ne_bytes()[..], &[flags, 0], &interface.to_ne_bytes()].concat();
            [head, gateway].concat()
        };
        let ways = [way(3, 0, V4), way(4, 16, V4), way(5, 0, V4)].concat();
        let found = default_route(&message(&head, &[(libc::RTA_MULTIPATH, &ways)]));
        assert_eq!(found.iter().map(|route| route.interface).collect::<Vec<_>>(), [3, 5]);
        let cut = &ways[..ways.len() - 3];
        let found = default_route(&message(&head, &[(libc::RTA_MULTIPATH, cut)]));
        assert_eq!(found.len(), 1);

        let family = u16::try_from(libc::AF_INET6).unwrap().to_ne_bytes();
        let router = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let via = [&family[..], &router].concat();
        let oif = 3_u32.to_ne_bytes();
        let found = default_route(&message(&head, &[(RTA_VIA, &via), (libc::RTA_OIF, &oif)]));
        assert_eq!(found[0].gateway, Some("fe80::1".parse().unwrap()));
        assert!(!found[0].ipv6);
    }

    #[test]
    fn of_each_family_the_way_with_the_least_metric_is_taken() {
        let route = |interface, ipv6, metric| Route { interface, gateway: None, ipv6, metric };
        let routes = [route(1, false, 600), route(2, false, 100), route(1, true, 1024)];
        assert_eq!(preferred(&routes), [routes[1], routes[2]]);
        assert_eq!(preferred(&[]), []);
    }
}
