//! What viewers notice of a restart and of an upgrade of the relay, for `scripts/bench restart`: a container, the
//! packages, and clients that open a new connection for each picture. Prints a table.

use std::time::Duration;

use stories::load::under_load;
use stories::packages::{VERSIONS, install, picture, set_password, upload};
use stories::test_card;
use testbed::container::Container;
use testbed::eventually::pause;

/// Viewers at the same time.
const CLIENTS: usize = 16;

/// How often each is done.
const ROUNDS: usize = 5;

/// Before and after.
const AROUND: Duration = Duration::from_secs(1);

fn main() {
    let [old, new] = VERSIONS;
    let container = Container::boot();
    set_password(&container);
    install(&container, "relay", old);
    upload(&container, &test_card("640x480"));
    picture(&container);
    println!(
        "| {CLIENTS} clients, {ROUNDS} times | requests | refused | cut off | turned away | longest wait |"
    );
    println!("|---|---|---|---|---|---|");
    let row = |what: &str, act: &(dyn Fn() + Sync)| {
        let load = under_load(&container, CLIENTS, || {
            for _ in 0..ROUNDS {
                pause(AROUND);
                act();
            }
            pause(AROUND);
        });
        let (requests, longest) = (load.requests(), load.longest.as_millis());
        println!(
            "| {what} | {requests} | {} | {} | {} | {longest} ms |",
            load.refused, load.cut, load.turned_away
        );
    };
    row("nothing", &|| {});
    row("`systemctl restart stillwatch-relay`", &|| {
        container.run("systemctl restart stillwatch-relay");
    });
    row("`dpkg --install`, of a newer one and back", &|| {
        install(&container, "relay", new);
        install(&container, "relay", old);
    });
    row("`kill -KILL`", &|| {
        container.run("systemctl kill --signal=KILL stillwatch-relay");
    });
}
