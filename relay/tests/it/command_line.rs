//! Exit statuses and messages: a wrong configuration, an address that is taken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testbed::program::Program;

use crate::relay::{PASSWORD, PHOTO, Relay, command};

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).unwrap())
}

fn password_file(folder: &Path, mode: u32) -> PathBuf {
    let path = folder.join("password");
    fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn without_a_password_it_does_not_start() {
    let (code, text) = run(command().args(["--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(78), "{text}");
    for way in ["PASSWORD", "--password-file", "credential"] {
        assert!(text.contains(way), "{text}");
    }
    let (code, text) = run(command().args(["run", "--listen", "127.0.0.1:0"]).env("PASSWORD", ""));
    assert_eq!(code, Some(78), "{text}");
}

#[test]
fn a_password_that_others_can_read_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = password_file(folder.path(), 0o644);
    let (code, text) = run(command().arg("--password-file").arg(&path).env("PASSWORD", "x"));
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("chmod 600") && !text.contains(PASSWORD), "{text}");
}

#[test]
fn where_the_password_is_from_is_said_and_what_it_is_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = password_file(folder.path(), 0o600);
    let credentials = folder.path().to_str().unwrap();
    for (flag, variables, place) in [
        (true, vec![("CREDENTIALS_DIRECTORY", credentials), ("PASSWORD", "other")], "the file"),
        (
            false,
            vec![("CREDENTIALS_DIRECTORY", credentials), ("PASSWORD", "other")],
            "systemd's credential",
        ),
        (false, vec![("PASSWORD", PASSWORD)], "the environment variable PASSWORD"),
    ] {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).envs(variables);
        if flag {
            command.arg("--password-file").arg(&path);
        }
        let mut program = Program::start("the relay", &mut command);
        program.line(&format!("the password for uploads is that of {place}"));
        let line = program.line("listening on ");
        let address = line.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
        let upload = format!("/?password={PASSWORD}");
        let answer = testbed::http::request(address, "POST", &upload, &[], PHOTO).unwrap();
        assert_eq!(answer.status(), 200, "{place}");
        assert!(program.stop().success());
        let lines = program.lines().join("\n");
        assert!(!lines.contains(PASSWORD) && !lines.contains("other"), "{lines}");
    }
}

#[test]
fn a_wrong_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, "[relay]\nlissten = \"x\"\n").unwrap();
    for arguments in [&["run"] as &[&str], &[], &["check-config"], &["check-config", "--json"]] {
        let mut command = command();
        let (code, text) = run(command.args(arguments).arg("--config").arg(&file));
        assert_eq!(code, Some(78), "{text}");
        assert!(text.contains("did you mean") && text.contains("relay.listen"), "{text}");
    }
    let (code, text) = run(command().args(["--config", "/nonexistent/relay.toml"]));
    assert_eq!((code, text.contains("/nonexistent/relay.toml")), (Some(78), true), "{text}");
    let (code, text) = run(command().args(["--listen", "here"]).env("PASSWORD", "x"));
    assert_eq!((code, text.contains("--listen")), (Some(78), true), "{text}");
}

#[test]
fn a_good_configuration_is_shown_without_its_password() {
    let run = |json: bool| {
        let mut command = command();
        command.arg("check-config").args(["--listen", "127.0.0.1:81", "--data-dir", "/tmp/d"]);
        command.env("PASSWORD", PASSWORD).env("STILLWATCH_RELAY_LISTN", "x");
        run(if json { command.arg("--json") } else { &mut command })
    };
    let (code, text) = run(false);
    assert_eq!(code, Some(0), "{text}");
    for part in ["configuration is good", "127.0.0.1:81", "/tmp/d", "STILLWATCH_RELAY_LISTN"] {
        assert!(text.contains(part), "{text}");
    }
    let (code, json) = run(true);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &report["ok"], &report["listen"]),
        (Some(0), &true.into(), &"127.0.0.1:81".into())
    );
    assert!(!text.contains(PASSWORD) && !json.contains(PASSWORD));
}

#[test]
fn variables_set_keys() {
    let (code, json) = run(command()
        .args(["check-config", "--json"])
        .env("PASSWORD", "x")
        .env("STILLWATCH_RELAY_LISTEN", "127.0.0.1:82"));
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["listen"], "127.0.0.1:82");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let relay = Relay::start();
    let listen = relay.address.to_string();
    let (code, text) = run(command().args(["--listen", &listen]).env("PASSWORD", "x"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&listen) && text.contains("--listen"), "{text}");
    let (code, text) = run(command().args(["--listen", "192.0.2.1:5000"]).env("PASSWORD", "x"));
    assert_eq!((code, text.contains("no such address")), (Some(1), true), "{text}");
}

#[test]
fn version_and_help() {
    let (code, text) = run(command().arg("--version"));
    assert_eq!(
        (code, text.trim()),
        (Some(0), format!("stillwatch-relay {}", runtime::version::full()).as_str())
    );
    assert_eq!(run(command().arg("--help")).0, Some(0));
}
