//! A relay that has an update, as a program, for `scripts/bench update`: `updates RELAY_PORT VERSION COMPATIBLE
//! BYTES`. It offers that version with a bundle of so many bytes, and hands everything else on to the relay on
//! this machine. Prints its port and the bundle's path, and runs until its input ends.

use std::io::Read;
use std::net::Ipv4Addr;

use testbed::updates::Updates;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, version, compatible, bytes] = arguments.as_slice() else {
        return Err("updates RELAY_PORT VERSION COMPATIBLE BYTES".into());
    };
    let relay = (Ipv4Addr::LOCALHOST, port.parse()?).into();
    let updates = Updates::at("0.0.0.0", Some(relay));
    let mut content = vec![0; bytes.parse()?];
    fastrand::Rng::with_seed(1).fill(&mut content);
    let offer = updates.offer(version, compatible, content);
    println!("{} {}", updates.address.port(), offer.path);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
