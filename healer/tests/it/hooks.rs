//! What hooks get, and what becomes of those that misbehave.

use runtime::heal::{Outcome, Verb};
use testbed::eventually::becomes_true;
use testbed::program::{Program, SOON, binary};

use crate::stage::{QUICK, Stage};

const VERB: Verb = Verb::ClockRetry;

#[test]
fn a_hook_gets_a_clean_environment() {
    let stage = Stage::new();
    stage.file("/sys/class/net/wlan0/wireless/link", "");
    stage.hook(Verb::WifiCycle, "env | sort >$STAGE/env; pwd >>$STAGE/env; cat >>$STAGE/env");
    let healer = stage.serve();
    healer.expect(Verb::WifiCycle, Some("wlan0"), Outcome::Done);
    let env = stage.read("env");
    let mut lines: Vec<&str> = env.lines().filter(|line| !line.starts_with("PATH=")).collect();
    lines.retain(|line| !line.starts_with("PWD=") && !line.starts_with("OLDPWD="));
    let memory = format!("STILLWATCH_STATE={}", stage.shown("run/heal"));
    let root = stage.shown("");
    let root = format!("STILLWATCH_ROOT={}", root.trim_end_matches('/'));
    let expected = [
        "LC_ALL=C.UTF-8",
        "STILLWATCH_DEVICE=wlan0",
        "STILLWATCH_REASON=the test wants it",
        &root,
        &memory,
        "/",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn each_end_has_its_answer() {
    let stage = Stage::new();
    let me = nix::unistd::getuid().to_string();
    let healer = stage.serve_with(&["--allow-user", &me, "--deadline-ms", "2000"]);
    let hook = stage.shown("hooks/clock-retry");
    for (body, outcome, said) in [
        ("echo all is well", Outcome::Done, "all is well".to_owned()),
        ("echo nobody here; exit 69", Outcome::Unavailable, "nobody here".to_owned()),
        ("echo no >&2; exit 3", Outcome::Failed, format!("{hook} ended with exit status: 3: no")),
        ("kill -SEGV $$", Outcome::Failed, format!("{hook} ended with signal: 11 (SIGSEGV)")),
        (
            "trap '' TERM INT; echo wait; sleep 600 & sleep 600",
            Outcome::Failed,
            format!("{hook} took longer than 2s and was killed: wait"),
        ),
        ("printf 'a\\001\\377\\n\\033[2Jb'", Outcome::Done, "a\u{fffd} [2Jb".to_owned()),
    ] {
        stage.hook(VERB, body);
        assert_eq!(healer.expect(VERB, None, outcome), said);
    }
    stage.hook(VERB, "yes");
    let said = healer.expect(VERB, None, Outcome::Failed);
    assert!(said.contains("was killed: y y y") && said.len() < 4096, "{}", said.len());
}

#[test]
fn what_can_not_be_run_says_so() {
    let stage = Stage::new();
    let healer = stage.serve();
    stage.hook(VERB, "");
    stage.file("hooks/clock-retry", "#!/no/such/interpreter\n");
    let said = healer.expect(VERB, None, Outcome::Failed);
    assert!(said.contains("could not be run: No such file"), "{said}");
    let mut nothing = std::process::Command::new(binary("stillwatch-healer"));
    nothing.args(["serve", "--listen", stage.path("socket").to_str().unwrap()]);
    nothing.args(["--hooks", stage.path("none").to_str().unwrap()]);
    nothing.args(["--run-dir", stage.path("run").to_str().unwrap()]);
    nothing.args(["--state-dir", stage.path("state").to_str().unwrap()]);
    nothing.args(["--allow-user", &nix::unistd::getuid().to_string()]);
    drop(healer);
    std::fs::remove_file(stage.path("socket")).unwrap();
    let program = Program::start("healer", &mut nothing);
    becomes_true("its socket", SOON, || stage.path("socket").exists());
    let healer = crate::stage::Served { stage: &stage, program };
    let said = healer.expect(VERB, None, Outcome::Unavailable);
    let hook = stage.shown("none/clock-retry");
    assert_eq!(said, format!("no hook does this: there is no executable {hook}"));
}

#[test]
fn a_grandchild_that_keeps_the_output_open_holds_up_nobody() {
    let stage = Stage::new();
    let healer = stage.serve();
    stage.hook(VERB, "setsid sleep 20 & echo done");
    let before = runtime::clock::mono();
    assert_eq!(healer.expect(VERB, None, Outcome::Done), "done");
    assert!(runtime::clock::mono().since(before).as_secs() < 15);
    // One that stays in the group goes with it.
    stage.hook(
        VERB,
        "sh -c 'echo $$ >$STAGE/pid; exec sleep 600' & until [ -s $STAGE/pid ]; do :; done",
    );
    let body = stage.read("hooks/clock-retry").replace("$STAGE", &stage.shown(""));
    stage.file("hooks/clock-retry", &body);
    healer.expect(VERB, None, Outcome::Done);
    let pid = stage.read("pid").trim().to_owned();
    becomes_true("the grandchild's end", QUICK, || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
}

#[test]
fn the_reason_is_synced_before_the_act() {
    let stage = Stage::new();
    stage.file("/sys/class/net/wlan0/wireless/link", "");
    stage.tool("journalctl", "");
    stage.hook(VERB, "echo act >>$STAGE/calls");
    stage.hook(Verb::WifiTune, "echo tune >>$STAGE/calls");
    let healer = stage.serve();
    healer.expect(VERB, None, Outcome::Done);
    healer.expect(Verb::WifiTune, Some("wlan0"), Outcome::Done);
    assert_eq!(stage.calls(), ["journalctl --sync", "act", "tune"]);
    let line = healer.program.line("about to do clock-retry, because the test wants it");
    for field in ["stillwatch_event=\"healing\"", "organ=\"clock\"", "rung=\"clock-retry\""] {
        assert!(line.contains(field), "{line}");
    }
}

#[test]
fn a_journal_that_hangs_holds_up_only_for_a_moment() {
    let stage = Stage::new();
    stage.tool("journalctl", "exec sleep 600");
    stage.hook(VERB, "");
    let healer = stage.serve();
    let before = runtime::clock::mono();
    healer.expect(VERB, None, Outcome::Done);
    assert!(runtime::clock::mono().since(before).as_secs() < 10);
}

#[test]
fn what_comes_again_is_no_news() {
    let stage = Stage::new();
    stage.file("/sys/class/net/wlan0/wireless/link", "");
    stage.hook(Verb::WifiReassociate, "[ ! -e $STAGE/broken ]");
    let reassociate = |healer: &crate::stage::Served<'_>, outcome| {
        healer.expect(Verb::WifiReassociate, Some("wlan0"), outcome);
    };
    let healer = stage.serve();
    for _ in 0..5 {
        reassociate(&healer, Outcome::Done);
    }
    stage.file("broken", "");
    for _ in 0..3 {
        reassociate(&healer, Outcome::Failed);
    }
    healer.told(&[
        ("stillwatch_event=\"healing\"", 1),
        ("stillwatch_event=\"healed\"", 1),
        ("stillwatch_event=\"heal-failed\"", 1),
    ]);
    // Not even to the next process, which starts when somebody asks again.
    std::fs::remove_file(stage.path("socket")).unwrap();
    let healer = stage.serve();
    reassociate(&healer, Outcome::Failed);
    healer.told(&[("wifi-reassociate of wlan0: Failed", 1), ("stillwatch_event", 0)]);
}

#[test]
fn it_ends_after_what_runs() {
    let stage = Stage::new();
    stage.hook(VERB, "touch $STAGE/begun; until [ -e $STAGE/go ]; do sleep 0.1; done; echo done");
    let mut healer = stage.serve();
    let mut stream = healer.connect();
    std::io::Write::write_all(&mut stream, b"{\"verb\":\"clock-retry\",\"reason\":\"x\"}\n")
        .unwrap();
    becomes_true("the hook", SOON, || stage.path("begun").exists());
    healer.program.signal("TERM");
    healer.program.line("SIGTERM: stopping");
    assert!(healer.program.runs());
    stage.file("go", "");
    assert_eq!(crate::stage::receive(&stream).said, "done");
    assert!(healer.program.ended().success());
}
