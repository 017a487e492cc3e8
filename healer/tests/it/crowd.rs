//! Who may ask, and how many at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runtime::heal::{Outcome, Verb};
use testbed::eventually::becomes_true;
use testbed::program::{Program, SOON, binary};

use crate::stage::{Served, Stage, receive};

#[test]
fn a_thousand_connections_cost_nobody_the_answer() {
    let stage = Stage::new();
    stage.hook(Verb::ClockRetry, "echo fine");
    let healer = stage.serve();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let crowd: Vec<_> = (0..1_000).map(|_| healer.connect()).collect();
    let mut busy = 0;
    for stream in &crowd {
        let answer = receive(stream);
        if answer.outcome == Outcome::Busy {
            assert_eq!(answer.said, "16 others are asking already");
            busy += 1;
        } else {
            // It had a seat, and said nothing for 2 s.
            assert_eq!(answer.outcome, Outcome::Refused, "{}", answer.said);
        }
    }
    assert!((500..=984).contains(&busy), "{busy} of them found no seat");
    healer.expect(Verb::ClockRetry, None, Outcome::Done);
}

#[test]
fn others_are_turned_away() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: only root can ask as somebody else");
        return;
    }
    let stage = Stage::new();
    stage.hook(Verb::ClockRetry, "touch $STAGE/ran");
    let healer = stage.serve_with(&["--allow-user", "4711"]);
    fs::set_permissions(stage.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(stage.path("socket"), PermissionsExt::from_mode(0o666)).unwrap();
    // Where others may run it.
    fs::copy(binary("stillwatch-healer"), stage.path("ask")).unwrap();
    let ask = |uid: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", uid, "--regid", uid, "--clear-groups"])
            .arg(stage.path("ask"))
            .args(["ask", "--socket", stage.path("socket").to_str().unwrap(), "clock-retry"])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for _ in 0..20 {
        let (code, said) = ask("4712");
        assert_eq!(code, Some(77), "{said}");
        assert!(said.contains("refused: the user 4712 may not ask the healer"), "{said}");
    }
    assert!(!stage.path("ran").exists());
    assert_eq!(ask("4711"), (Some(0), "done\n".to_owned()));
    assert!(stage.path("ran").exists());
    healer.told(&[("may not ask", 1)]);
}

#[test]
fn one_verb_of_each_organ_at_a_time() {
    let stage = Stage::new();
    stage.file("/sys/class/net/wlan0/phy80211/index", "0");
    stage.hook(Verb::WifiCycle, "mkfifo $STAGE/go; touch $STAGE/begun; read line <$STAGE/go");
    stage.hook(Verb::WifiTune, "");
    stage.hook(Verb::ClockRetry, "");
    let healer = stage.serve();
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| healer.ask(Verb::WifiCycle, Some("wlan0")));
        becomes_true("the hook", SOON, || stage.path("begun").exists());
        let said = healer.expect(Verb::WifiTune, Some("wlan0"), Outcome::Busy);
        assert_eq!(said, "something else is done to the wifi already");
        healer.expect(Verb::ClockRetry, None, Outcome::Done);
        fs::write(stage.path("go"), "go\n").unwrap();
        assert_eq!(cycle.join().unwrap().outcome, Outcome::Done);
    });
    healer.expect(Verb::WifiTune, Some("wlan0"), Outcome::Done);
}

#[test]
fn systemd_hands_over_the_socket() {
    let stage = Stage::new();
    stage.hook(Verb::ClockRetry, "env | grep LISTEN_; echo fine");
    let socket = stage.path("socket");
    let healer = stage.healer("serve");
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&socket).arg("--setenv=STILLWATCH_LOG=debug");
    command.arg(healer.get_program()).args(healer.get_args());
    command.args(["--allow-user", &nix::unistd::getuid().to_string()]);
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no systemd-socket-activate");
        return;
    }
    let program = Program::start("healer", &mut command);
    becomes_true("the socket", SOON, || socket.exists());
    let healer = Served { stage: &stage, program };
    assert_eq!(healer.expect(Verb::ClockRetry, None, Outcome::Done), "fine");
}
