//! What docs/scale has for operators: the relays' settings, and who may what on the bus.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, consumer::push};
use testbed::eventually::becomes_true;
use testbed::nats::Nats;
use testbed::of_repository;
use testbed::program::SOON;

use super::{bus_is, relay, shows, upload};
use crate::relay::{command, jpeg, padded};

fn example(name: &str) -> String {
    fs::read_to_string(of_repository("docs/scale").join(name)).unwrap()
}

/// A file that only its owner reads.
fn secret(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// A server with the accounts of the example.
fn server() -> Nats {
    let mut accounts = example("stillwatch-accounts.conf").replace("1GB", "100MB");
    for user in ["ingest", "edge", "admin"] {
        let hash = format!("{}-HASH", user.to_uppercase());
        assert!(accounts.contains(&hash));
        accounts = accounts.replace(&hash, &format!("of-{user}"));
    }
    Nats::start(&format!("max_payload: 9MB\n{accounts}"))
}

#[test]
fn the_settings_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let authority = rcgen::generate_simple_self_signed(["nats1".to_owned()]).unwrap();
    fs::write(&ca, authority.cert.pem()).unwrap();
    for role in ["both", "ingest", "edge"] {
        let credentials = tempfile::tempdir().unwrap();
        secret(credentials.path(), "cluster-password", "of-the-bus");
        // An edge has none.
        if role != "edge" {
            secret(credentials.path(), "password", "of-uploads");
        }
        let config = folder.path().join(format!("{role}.toml"));
        let text = example(&format!("relay-{role}.toml"));
        assert!(text.contains("/etc/stillwatch/nats-ca.pem"));
        let text = text.replace("/etc/stillwatch/nats-ca.pem", ca.to_str().unwrap());
        fs::write(&config, text).unwrap();
        let checked = command()
            .args(["check-config", "--config"])
            .arg(&config)
            .env("CREDENTIALS_DIRECTORY", credentials.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && said.is_empty(), "{role}: {said}");
    }
}

#[test]
fn the_accounts_let_relays_do_what_they_need() {
    let nats = server();
    let folder = tempfile::tempdir().unwrap();
    let login = |user: &str| {
        let path = secret(folder.path(), user, &format!("of-{user}"));
        format!("user = \"{user}\"\npassword_file = \"{path}\"")
    };
    let a = relay("a", &nats.url(), &login("ingest"));
    let b = relay("b", &nats.url(), &format!("role = \"ingest\"\n{}", login("ingest")));
    let edge = relay("edge", &nats.url(), &format!("role = \"edge\"\n{}", login("edge")));
    upload(&a, "garden", &[], &jpeg(1));
    let large = padded(2, 5_000_000);
    upload(&b, "roof", &[], &large);
    for relay in [&a, &edge] {
        shows(relay, "garden", &jpeg(1));
        shows(relay, "roof", &large);
    }
    becomes_true("all hear one another", SOON, || {
        [&a, &b, &edge].iter().all(|one| {
            one.status()["cluster"]["relays"].as_array().is_some_and(|others| others.len() == 2)
        })
    });
}

#[test]
fn an_edges_user_changes_nothing_that_is_shown() {
    let nats = server();
    let folder = tempfile::tempdir().unwrap();
    let of = |user: &str| secret(folder.path(), user, &format!("of-{user}"));
    let login = format!("user = \"ingest\"\npassword_file = \"{}\"", of("ingest"));
    let a = relay("a", &nats.url(), &login);
    upload(&a, "garden", &[], &jpeg(1));
    // One with an edge's password that says it takes uploads.
    let login = format!("user = \"edge\"\npassword_file = \"{}\"", of("edge"));
    let false_one = relay("false", &nats.url(), &login);
    upload(&false_one, "garden", &[], &jpeg(2));
    let problem = bus_is(&false_one, "refused");
    assert!(problem.contains("stillwatch.frame.garden"), "{problem}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = ConnectOptions::with_user_and_password("edge".into(), "of-edge".into())
            .request_timeout(Some(Duration::from_millis(500)))
            .connect(nats.url())
            .await
            .unwrap();
        for what in ["DELETE", "PURGE", "UPDATE", "MSG.DELETE"] {
            let subject = format!("$JS.API.STREAM.{what}.stillwatch");
            assert!(client.request(subject, "{}".into()).await.is_err(), "{what}");
        }
        // What a consumer delivers is published by the server.
        let stream = jetstream::new(client).get_stream("stillwatch").await.unwrap();
        let forged = push::Config {
            deliver_subject: "stillwatch.frame.roof".to_owned(),
            filter_subject: "stillwatch.frame.garden".to_owned(),
            ..push::Config::default()
        };
        assert!(stream.create_consumer(forged).await.is_err());
    });
    shows(&a, "garden", &jpeg(1));
}
