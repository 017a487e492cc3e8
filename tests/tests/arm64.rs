//! The binaries for the Raspberry Pi, run by QEMU's user-mode emulation: the main job, end to end.
//! `scripts/test cross` sets STILLWATCH_BIN_DIR and STILLWATCH_RUNNER.

use stories::{Relay, agent, seq_of};

#[test]
fn frames_move_from_the_pattern_to_a_viewer() {
    if std::env::var_os("STILLWATCH_RUNNER").is_none() {
        println!("not run: STILLWATCH_RUNNER is not set, see scripts/test cross");
        return;
    }
    let mut relay = Relay::start();
    let mut agent = agent(&relay.url(), &["--source", "pattern", "--size", "640x360"], &[]);
    let first = relay.frame("/live.jpeg");
    let later = relay.frame_after(seq_of(&first) + 3);
    assert!(later.body.starts_with(b"\xff\xd8") && later.body.ends_with(b"\xff\xd9"));
    assert_ne!(first.body, later.body);
    assert!(agent.stop().success());
    assert!(relay.program.stop().success());
    relay.restart();
    assert!(seq_of(&relay.frame("/live.jpeg")) >= seq_of(&later));
}
