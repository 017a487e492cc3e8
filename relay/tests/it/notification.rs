//! Who is told of trouble: over real HTTP, and by a real command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use ring::hmac;
use serde_json::{Value, json};
use testbed::eventually::{becomes_true, eventually};
use testbed::http::Message;
use testbed::program::SOON;
use testbed::relay::{Behaviour, FakeRelay, OK};

use crate::relay::{ROOT, Relay, command, jpeg};

/// Trouble is told after a moment, and so is its end.
const SOON_TOLD: &str = "freshness.stale_after = \"500ms\"\nfreshness.offline_after = \"1h\"\n\
    site.title = \"Gärten\"\nsite.url = \"https://cam.example.org/\"\n[notify]\nafter = \"400ms\"\n\
    recovered_after = \"300ms\"\n";

fn secret(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, "s3cret-token\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Its address, with a secret in it.
fn topic(service: &FakeRelay) -> String {
    service.url().replace("/?password=123", "/t0pic-secret?token=t0ken-secret")
}

/// What a service got, once there are so many.
fn told(service: &FakeRelay, count: usize) -> Vec<Message> {
    eventually(&format!("{count} messages"), SOON, || {
        let got = service.uploads();
        if got.len() >= count { Ok(got) } else { Err(format!("{} of them", got.len())) }
    })
}

fn stays_live(relay: &Relay, until: impl Fn() -> bool) {
    let mut n = 1_000;
    eventually("what happens while it is live", SOON, || {
        n += 1;
        relay.upload(&jpeg(n));
        if until() { Ok(()) } else { Err("not yet") }
    });
}

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn trouble_and_its_end_are_told_on_every_channel() {
    let folder = tempfile::tempdir().unwrap();
    let (webhook, ntfy) = (FakeRelay::start(OK), FakeRelay::start(OK));
    let script = folder.path().join("tell me");
    let heard = folder.path().join("heard");
    let body = "#!/bin/sh\n(env | grep -v ^_ | sort; cat; echo) >>$(dirname \"$0\")/heard\n";
    fs::write(&script, body).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let relay = Relay::with(&format!(
        "{SOON_TOLD}webhook = \"{}\"\nwebhook_secret_file = \"{}\"\nntfy = \"{}\"\nntfy_token_file = \"{}\"\n\
         command = \"{}\"\n[cameras.default]\ntitle = \"Beete\"\n",
        topic(&webhook),
        secret(folder.path(), "webhook"),
        topic(&ntfy),
        secret(folder.path(), "ntfy"),
        script.display()
    ));
    relay.upload(&jpeg(1));
    signed_json(&webhook);
    a_phones_text(&ntfy);
    facts_for_a_command(&heard);
    stays_live(&relay, || ntfy.uploads().len() > 1 && webhook.uploads().len() > 1);
    let again = told(&ntfy, 2).remove(1);
    assert_eq!(again.header("title"), Some("Gärten: Beete is live again"));
    assert_eq!(again.header("tags"), Some("white_check_mark"));
    assert_eq!(json_of(&told(&webhook, 2)[1])["events"][0]["kind"], "again");
    relay.becomes("default", "/state", &json!("live"));
    let status = relay.status();
    let works = json!({"channel": "ntfy", "state": "works", "problem": null, "waiting": 0});
    assert_eq!(status["notifications"][0], works);
    assert!(
        relay.metric("stillwatch_notifications_total{channel=\"ntfy\",outcome=\"sent\"}") > 1.5
    );
    no_secret_in(&relay);
}

fn signed_json(webhook: &FakeRelay) {
    let first = told(webhook, 1).remove(0);
    assert_eq!(first.first, "POST /t0pic-secret?token=t0ken-secret HTTP/1.1");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret-token");
    let tag = hmac::sign(&key, &first.body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(first.header("stillwatch-signature"), Some(format!("sha256={hex}").as_str()));
    assert_eq!(first.header("content-type"), Some("application/json; charset=utf-8"));
    let sent = json_of(&first);
    assert_eq!((&sent["version"], &sent["title"]), (&json!(1), &json!("Gärten: Beete is stale")));
    let event = &sent["events"][0];
    assert_eq!(
        (&event["camera"], &event["kind"], &event["state"], &event["url"]),
        (
            &json!("default"),
            &json!("trouble"),
            &json!("stale"),
            &json!("https://cam.example.org/cameras/default/")
        )
    );
}

fn a_phones_text(ntfy: &FakeRelay) {
    let first = told(ntfy, 1).remove(0);
    assert_eq!(first.header("title"), Some("Gärten: Beete is stale"));
    assert_eq!(first.header("priority"), Some("high"));
    assert_eq!(first.header("tags"), Some("warning"));
    assert_eq!(first.header("click"), Some("https://cam.example.org/cameras/default/"));
    assert_eq!(first.header("authorization"), Some("Bearer s3cret-token"));
    let text = String::from_utf8(first.body).unwrap();
    assert!(text.starts_with("Beete has been stale for "), "{text}");
}

fn facts_for_a_command(heard: &Path) {
    becomes_true("the command's words", SOON, || {
        fs::read_to_string(heard).is_ok_and(|said| said.ends_with("}\n"))
    });
    let said = fs::read_to_string(heard).unwrap();
    for line in [
        "STILLWATCH_CAMERA=default",
        "STILLWATCH_KIND=trouble",
        "STILLWATCH_PRIORITY=high",
        "STILLWATCH_STATE=stale",
        "STILLWATCH_SUBJECT=camera",
        "STILLWATCH_TITLE=Gärten: Beete is stale",
        "STILLWATCH_URL=https://cam.example.org/cameras/default/",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} in\n{said}");
    }
    assert!(!said.contains("PASSWORD"), "nothing of the relay's own environment: {said}");
    let json = said.lines().last().unwrap();
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["events"][0]["camera"], "default");
}

/// Neither in the log, nor where everybody looks.
fn no_secret_in(relay: &Relay) {
    let status = relay.status().to_string();
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    for text in relay.program.lines().iter().chain([&status, &metrics]) {
        for secret in ["secret", "s3cret", "t0ken", "t0pic"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_service_that_fails_is_said_once_and_gets_what_is_newest_when_it_works() {
    let ntfy = FakeRelay::start(Behaviour::Answer("404 Not Found", ""));
    let webhook = FakeRelay::start(OK);
    let relay = Relay::with(&format!(
        "{SOON_TOLD}ntfy = \"{}\"\nwebhook = \"{}\"\n",
        topic(&ntfy),
        topic(&webhook)
    ));
    relay.upload(&jpeg(1));
    told(&webhook, 1);
    let line = relay
        .program
        .line("notifications by ntfy (127.0.0.1) are not delivered: it answers 404 Not Found");
    assert!(line.contains("channel=\"ntfy\""), "{line}");
    let status = relay.status();
    assert_eq!(status["notifications"][0]["state"], "degraded", "{status}");
    assert_eq!(status["notifications"][1]["state"], "works", "{status}");
    assert!(relay.metric("stillwatch_notify_works{channel=\"ntfy\"}") < 0.5);
    assert!(relay.metric("stillwatch_notify_works{channel=\"webhook\"}") > 0.5);
    // Meanwhile it ends, which the other one is told; then ntfy works.
    stays_live(&relay, || webhook.uploads().len() > 1);
    let failed = ntfy.uploads().len();
    ntfy.set(OK);
    stays_live(&relay, || ntfy.uploads().len() > failed);
    relay.program.line("notifications by ntfy (127.0.0.1) are delivered again");
    assert_eq!(ntfy.uploads()[failed].header("title"), Some("Gärten: The camera is live again"));
    relay.said("notifications by ntfy (127.0.0.1) are not delivered", 1);
    assert!(relay.metric("stillwatch_notify_works{channel=\"ntfy\"}") > 0.5);
    no_secret_in(&relay);
}

#[test]
fn a_service_that_never_answers_holds_up_neither_pictures_nor_the_end() {
    let ntfy = FakeRelay::start(Behaviour::Never);
    let mut relay = Relay::with(&format!("{SOON_TOLD}ntfy = \"{}\"\n", topic(&ntfy)));
    relay.upload(&jpeg(1));
    told(&ntfy, 1);
    relay.upload(&jpeg(2));
    assert_eq!(relay.shown(), jpeg(2));
    assert_eq!(relay.status()["notifications"][0]["waiting"], 1);
    assert!(relay.program.stop().success());
    assert_eq!(relay.count_lines("did not end in time"), 0);
}

#[test]
fn a_restart_repeats_nothing_and_its_end_is_told() {
    let ntfy = FakeRelay::start(OK);
    let mut relay = Relay::with(&format!("{SOON_TOLD}ntfy = \"{}\"\n", topic(&ntfy)));
    for camera in ["a", "b"] {
        let path = format!("/cameras/{camera}?password=story-password");
        assert_eq!(relay.post(&path, &[], &jpeg(1)).status(), 200);
    }
    let first = told(&ntfy, 1).remove(0);
    assert_eq!(first.header("title"), Some("Gärten: 2 stale"), "one message of both");
    becomes_true("what was told is kept", SOON, || {
        fs::read_to_string(relay.data.join("told.json"))
            .is_ok_and(|kept| kept.contains("cameras/b"))
    });
    relay.kill_and_restart();
    // The default camera is new; the others are as they were told.
    relay.upload(&jpeg(1));
    assert_eq!(told(&ntfy, 2)[1].header("title"), Some("Gärten: The camera is stale"));
    let path = "/cameras/a?password=story-password";
    let mut n = 10;
    eventually("the end of it", SOON, || {
        n += 1;
        assert_eq!(relay.post(path, &[], &jpeg(n)).status(), 200);
        if ntfy.uploads().len() > 2 { Ok(()) } else { Err("not yet") }
    });
    assert_eq!(told(&ntfy, 3)[2].header("title"), Some("Gärten: a is live again"));
}

#[test]
fn a_channel_that_is_dead_makes_no_restart_repeat_on_the_others() {
    let webhook = FakeRelay::start(OK);
    let ntfy = FakeRelay::start(Behaviour::Answer("404 Not Found", ""));
    let mut relay = Relay::with(&format!(
        "{SOON_TOLD}ntfy = \"{}\"\nwebhook = \"{}\"\n",
        topic(&ntfy),
        topic(&webhook)
    ));
    let path = "/cameras/a?password=story-password";
    assert_eq!(relay.post(path, &[], &jpeg(1)).status(), 200);
    told(&webhook, 1);
    becomes_true("what was told is kept", SOON, || {
        fs::read_to_string(relay.data.join("told.json"))
            .is_ok_and(|kept| kept.contains("cameras/a"))
    });
    relay.kill_and_restart();
    // The next news are another camera's.
    relay.upload(&jpeg(2));
    assert_eq!(json_of(&told(&webhook, 2)[1])["title"], "Gärten: The camera is stale");
}

#[test]
fn a_camera_that_comes_back_in_time_is_never_mentioned() {
    let ntfy = FakeRelay::start(OK);
    let relay = Relay::with(&format!(
        "freshness.stale_after = \"200ms\"\n[notify]\nafter = \"10m\"\nntfy = \"{}\"\n",
        topic(&ntfy)
    ));
    for n in 0..3 {
        relay.upload(&jpeg(n));
        relay.becomes("default", "/state", &json!("stale"));
    }
    relay.upload(&jpeg(9));
    assert_eq!(relay.post(ROOT, &[], &jpeg(10)).status(), 200);
    assert_eq!(ntfy.connections(), 0);
}

fn notify_test(config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, config).unwrap();
    command().arg("notify-test").arg("--config").arg(file).output().unwrap()
}

#[test]
fn a_test_says_what_came_of_it_on_each_channel() {
    let (ntfy, webhook) =
        (FakeRelay::start(OK), FakeRelay::start(Behaviour::Answer("401 Unauthorized", "")));
    let tested = notify_test(&format!(
        "[notify]\nntfy = \"{}\"\nwebhook = \"{}\"\ncommand = \"/bin/false\"\n",
        topic(&ntfy),
        topic(&webhook)
    ));
    assert_eq!(tested.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&tested.stdout),
        "ntfy (127.0.0.1): delivered\n\
         webhook (127.0.0.1): not delivered: it answers 401 Unauthorized; is the token or password the right one?\n\
         command (/bin/false): not delivered: it ended with exit status: 1\n"
    );
    assert_eq!(told(&ntfy, 1)[0].header("title"), Some("Stillwatch: it works"));

    let gone = topic(&ntfy).replace("127.0.0.1:", "127.0.0.1:1/");
    let tested = notify_test(&format!("notify.ntfy = \"{gone}\"\n"));
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(said.contains("it can't be asked: ") && !said.contains("secret"), "{said}");

    let tested = notify_test(&format!("notify.ntfy = \"{}\"\n", topic(&ntfy)));
    assert!(tested.status.success(), "{tested:?}");
    let nobody = notify_test("");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stdout).contains("set notify.webhook"), "{nobody:?}");
    let wrong = notify_test("notify.ntfy = \"ntfy.sh/t0pic-secret\"");
    assert_eq!(wrong.status.code(), Some(78));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("notify.ntfy") && !said.contains("secret"), "{said}");
}
