//! One look: what is asked of the kernel, in which order.
//!
//! What is remembered from look to look does not belong here, but for the open sockets.

use std::collections::HashSet;
use std::time::Duration;

use ladder::Mono;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use runtime::clock;

use super::netlink::Socket;
use super::route::{Link, Nature, Route, addressed, default_routes, links, neighbour, preferred};
use super::wifi::{Heard, Radio, Station};
use super::{Gateway, Look, Sight, gateway};

/// The router is not bothered more often.
const NUDGE_EVERY: Duration = Duration::from_secs(5);

/// What the look is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Want {
    /// Find out whether the router is there.
    pub suspicious: bool,
    /// The WiFi interface of the look before.
    pub known: Option<String>,
}

/// What the kernel said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub sight: Sight,
    pub links: Vec<Link>,
    /// All stations' interfaces.
    pub radios: HashSet<u32>,
    /// Interfaces with an address.
    pub addressed: HashSet<u32>,
    /// The default routes that the kernel takes.
    pub routes: Vec<Route>,
    pub gateway: Gateway,
    /// The one that counts.
    pub station: Option<Station>,
    pub signal_dbm: Option<i16>,
    pub heard: Vec<Heard>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            sight: Sight::Whole,
            links: Vec::new(),
            radios: HashSet::new(),
            addressed: HashSet::new(),
            routes: Vec::new(),
            gateway: Gateway::NoRoute,
            station: None,
            signal_dbm: None,
            heard: Vec::new(),
        }
    }
}

/// The sockets.
#[derive(Debug)]
pub(super) struct Kernel {
    route: Socket,
    radio: Radio,
    nudged: Option<Mono>,
}

impl Default for Kernel {
    fn default() -> Kernel {
        Kernel {
            route: Socket::new(SockProtocol::NetlinkRoute),
            radio: Radio::new(Socket::new(SockProtocol::NetlinkGeneric)),
            nudged: None,
        }
    }
}

/// What was refused, for one line of the log.
#[derive(Debug, Default)]
struct Refused(Vec<String>);

impl Refused {
    fn or_default<T: Default>(&mut self, what: &str, outcome: Result<T, Errno>) -> T {
        outcome.unwrap_or_else(|errno| {
            self.0.push(format!("{what} ({})", errno.desc()));
            T::default()
        })
    }
}

impl Look for Kernel {
    fn look(&mut self, want: &Want) -> Reading {
        let mut refused = Refused::default();
        let links = refused.or_default("links", again(|| links(&mut self.route)));
        let addressed = refused.or_default("addresses", again(|| addressed(&mut self.route)));
        let routes = refused.or_default("routes", again(|| default_routes(&mut self.route)));
        let stations = refused.or_default("WiFi", again(|| self.radio.stations()));
        // The rest is worth having, and nothing is judged by its absence.
        let sight = if refused.0.is_empty() { Sight::Whole } else { Sight::Part };
        let radios: HashSet<u32> = stations.iter().map(|station| station.index).collect();
        let routes = preferred(&leading_out(&routes, &links, &radios));
        let gateway = self.gateway(&routes, want.suspicious, &mut refused);
        let station = choose(stations, want.known.as_deref());
        let index = station.as_ref().map(|station| station.index);
        let signal = index.map_or(Ok(None), |index| self.radio.signal(index));
        let heard = index.map_or(Ok(Vec::new()), |index| again(|| self.radio.heard(index)));
        let signal_dbm = refused.or_default("signal", signal);
        let heard = refused.or_default("scan results", heard);
        if !refused.0.is_empty() {
            tracing::debug!("the kernel does not tell of the network's {}", refused.0.join(", "));
        }
        Reading { sight, links, radios, addressed, routes, gateway, station, signal_dbm, heard }
    }
}

impl Kernel {
    fn gateway(&mut self, routes: &[Route], suspicious: bool, refused: &mut Refused) -> Gateway {
        let now = clock::mono();
        let due = self.nudged.is_none_or(|last| now.since(last) >= NUDGE_EVERY);
        let mut found = Vec::new();
        for Route { interface, gateway: router, .. } in routes {
            let Some(router) = *router else {
                found.push(Gateway::Unknown);
                continue;
            };
            let state = neighbour(&mut self.route, *interface, router);
            let verdict = gateway::judge(refused.or_default("router", state));
            // What this brings is seen by the next look: the answer takes its time.
            if suspicious && due && verdict != Gateway::Answers {
                self.nudged = Some(now);
                if let Err(error) = gateway::nudge(*interface, router) {
                    refused.0.push(format!("router ({error})"));
                }
            }
            found.push(verdict);
        }
        gateway::judge_all(&found)
    }
}

/// What was being listed may change meanwhile.
fn again<T>(mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    match ask() {
        Err(Errno::EINTR) => ask(),
        outcome => outcome,
    }
}

/// Without the routes over what is itself carried by something else (a tunnel).
fn leading_out(routes: &[Route], links: &[Link], radios: &HashSet<u32>) -> Vec<Route> {
    let leads = |route: &&Route| {
        let link = links.iter().find(|link| link.index == route.interface);
        radios.contains(&route.interface) || link.is_some_and(|link| link.nature != Nature::Other)
    };
    routes.iter().filter(leads).copied().collect()
}

/// Of several: one that is connected, else the one that was used before, else the first.
fn choose(stations: Vec<Station>, known: Option<&str>) -> Option<Station> {
    stations.into_iter().min_by_key(|station| {
        (station.ssid.is_none(), known != Some(station.name.as_str()), station.index)
    })
}
