//! Half a minute of what `scripts/soak` does for an hour: cameras, viewers that come and go, faults, and a relay that is
//! killed. What it fails for is a picture that was acknowledged and isn't there afterwards.

use std::process::Command;

use stories::{PYTHON, of_repository};
use testbed::program::binary;

#[test]
fn nothing_acknowledged_is_lost_whatever_is_done_to_the_relay() {
    let relay = binary("stillwatch-relay");
    let programs = relay.parent().unwrap_or(&relay);
    for needed in ["stillwatch-agent", "crowd"] {
        binary(needed);
    }
    let mut soak = Command::new(PYTHON);
    soak.arg(of_repository("scripts/soak"))
        .args(["30", "--viewers", "60", "--programs"])
        .arg(programs);
    let output = soak.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
