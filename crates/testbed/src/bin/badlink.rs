//! A link as a program, for `scripts/bench uplink`: `badlink SCENARIO HOST:PORT`. Prints the address to
//! connect to instead, then `fault` or `fine` as each
//! phase begins. Ends with the scenario.

use std::path::Path;

use testbed::link::Link;
use testbed::scenario::Scenario;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(server)) = (arguments.next(), arguments.next()) else {
        return Err("badlink SCENARIO HOST:PORT".into());
    };
    let scenario = Scenario::read(Path::new(&file));
    let link = Link::to(server.parse()?);
    println!("{}", link.address);
    scenario.play(&link, |phase| {
        println!("{}", if phase.is_fault() { "fault" } else { "fine" });
    });
    Ok(())
}
