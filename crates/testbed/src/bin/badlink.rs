//! A bad network as a program, for `scripts/bench uplink`: `badlink SCENARIO PORT [SYSCTL.CONF]`, for a
//! relay on this machine. Prints the address to connect to, the namespace to do that from (`-` for none), and the
//! address in there; then `fault`, `event` (a moment's) or `fine` as each phase begins, and in the end
//! `sent` and how many bytes left the namespace.

use std::net::Ipv4Addr;
use std::path::Path;

use testbed::link::Link;
use testbed::network::Network;
use testbed::scenario::{Phase, Scenario};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("badlink SCENARIO PORT".into());
    };
    let scenario = Scenario::read(Path::new(&file));
    let port: u16 = port.parse()?;
    let tell = |phase: &Phase| {
        let event = phase.forget || phase.moves || phase.longest > 0;
        println!(
            "{}",
            if phase.is_fault() {
                "fault"
            } else if event {
                "event"
            } else {
                "fine"
            }
        );
    };
    if scenario.has_portal() {
        let link = Link::to((Ipv4Addr::LOCALHOST, port).into());
        println!("{} - -", link.address);
        scenario.play_portal(&link, tell);
    } else {
        let network = Network::start();
        println!("{}:{port} {} {}", network.outside(), network.name(), network.inside());
        if let Some(parameters) = arguments.next() {
            network.sysctl(Path::new(&parameters));
        }
        scenario.play(&network, tell);
        println!("sent {}", network.sent());
    }
    Ok(())
}
