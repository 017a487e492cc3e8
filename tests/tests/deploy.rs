//! docs/deploy.md, its two commands: from a Debian that has nothing of ours to `https://…/live.jpeg`, with Debian's
//! `pebble` as the authority, in a container.

#![expect(clippy::expect_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

use stories::nginx::Authority;
use stories::packages::{SOON, VERSIONS, nothing_fails, package};
use stories::{of_repository, test_card};
use testbed::container::Container;

const DOMAIN: &str = "cam.example.org";

/// The machine's address on the internet.
const ADDRESS: &str = "203.0.113.7";

/// In its own network there is no authority that everybody knows.
const DIRECTORY: &str = "https://localhost:14000/dir";

/// The commands of the page's first block: what follows `# `.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(of_repository("docs/deploy.md")).expect("the page");
    let block = page.split("```").nth(1).expect("a block");
    block.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
}

/// Gives it the address, which it has until it is rebooted.
fn addressed(container: &Container) {
    container.inside(|| {
        let address = format!("{ADDRESS}/32");
        let given = Command::new("ip").args(["address", "add", &address, "dev", "lo"]).status();
        assert!(given.expect("ip").success());
    });
}

/// An authority that believes in the container's own names, and whose certificates the container believes.
fn authority(container: &Container) {
    for program in ["pebble", "pebble-challtestsrv"] {
        let place = format!("/usr/local/bin/{program}");
        container.copy_in(&Path::new("/usr/bin").join(program), &place);
    }
    let authority = Authority::default();
    let (pem, key) = authority.certificate("localhost", 2099);
    for (from, to) in [(pem.as_path(), "pem"), (&key, "key"), (&authority.file(), "ca.crt")] {
        container.copy_in(from, &format!("/root/{to}"));
    }
    container.put(
        "/root/pebble.json",
        0o644,
        r#"{ "pebble": { "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/root/pem", "privateKey": "/root/key", "httpPort": 80, "tlsPort": 443 } }"#,
    );
    addressed(container);
    container.run(&format!(
        "mkdir -p /usr/local/share/ca-certificates && cp /root/ca.crt /usr/local/share/ca-certificates/ \
         && update-ca-certificates && echo '{ADDRESS} {DOMAIN}' >>/etc/hosts \
         && systemd-run --unit names pebble-challtestsrv -dns01 127.0.0.1:8053 -defaultIPv4 {ADDRESS} \
            -defaultIPv6 '' -http01 '' -https01 '' -tlsalpn01 '' -management 127.0.0.1:8055 \
         && systemd-run --unit pebble --setenv=PEBBLE_VA_NOSLEEP=1 pebble -config /root/pebble.json \
            -dnsserver 127.0.0.1:8053",
    ));
    container.eventually(
        "pebble's root",
        SOON,
        "curl --silent --show-error --fail https://localhost:15000/roots/0 \
         >/usr/local/share/ca-certificates/pebble.crt && update-ca-certificates",
    );
    // On the internet it is Let's Encrypt's, and nothing has to be said.
    container.run("mkdir -p /etc/systemd/system/stillwatch-relay.service.d");
    container.put(
        "/etc/systemd/system/stillwatch-relay.service.d/authority.conf",
        0o644,
        format!("[Service]\nEnvironment=STILLWATCH_TLS_DIRECTORY={DIRECTORY}\n"),
    );
}

#[test]
fn two_commands_lead_from_a_bare_debian_to_https() {
    let container = Container::boot();
    authority(&container);
    let [install, init] = <[String; 2]>::try_from(commands()).expect("two commands");
    let file = install.rsplit("./").next().expect("a file's name");
    assert_eq!(file, "stillwatch-relay_0.1.0_amd64.deb");
    container.copy_in(&package("relay", VERSIONS[0]), &format!("/root/{file}"));
    container.run(&format!("cd /root && {install} </dev/null"));
    assert_eq!(init, format!("stillwatch-relay init --domain {DOMAIN}"));
    let said = container.run(&init);
    eprintln!("{said}");
    nothing_fails(&container);

    // What it says to put on the card is what lets a camera in.
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(&format!("{key} = \"")));
        line.and_then(|rest| rest.strip_suffix('"')).expect("a line for the card").to_owned()
    };
    assert_eq!(value("url"), format!("https://{DOMAIN}/"));
    let (url, password) = (value("url"), value("password"));
    let card = test_card("320x240");
    container.put("/root/card.jpeg", 0o644, &card);
    container.eventually(
        "an upload over HTTPS",
        SOON,
        &format!("curl --silent --show-error --fail --data-binary @/root/card.jpeg '{url}?password={password}'"),
    );
    container.run(&format!(
        "curl --silent --show-error --fail --http2 --output /root/shown.jpeg https://{DOMAIN}/live.jpeg"
    ));
    assert_eq!(container.get("/root/shown.jpeg"), card);
    let sent_on = "curl --silent --output /dev/null --write-out '%{http_code} %{redirect_url}'";
    let led = container.run(&format!("{sent_on} http://{DOMAIN}/live.jpeg"));
    assert_eq!(led, format!("308 https://{DOMAIN}/live.jpeg"));

    // The doctor agrees, but for what a container has not: somebody who sets the clock.
    let examined = container
        .try_run(SOON, &format!("STILLWATCH_TLS_DIRECTORY={DIRECTORY} stillwatch-relay doctor"))
        .expect("the container runs");
    eprintln!("{}", examined.text);
    for well in
        ["configuration", "unit", "certificate", "tls", "dns", "reachability", "websocket", "mjpeg"]
    {
        let line = examined.text.lines().find(|line| line.split_whitespace().nth(1) == Some(well));
        assert!(line.is_some_and(|line| line.starts_with("ok ")), "{well}: {}", examined.text);
    }

    // A restart asks nobody, and a reboot brings it back.
    container.run("systemctl stop pebble && systemctl restart stillwatch-relay");
    container.eventually(
        "it again",
        SOON,
        &format!("curl --silent --fail --output /dev/null https://{DOMAIN}/live.jpeg"),
    );
    container.reboot();
    addressed(&container);
    container.eventually(
        "it again",
        SOON,
        &format!("curl --silent --fail --output /dev/null https://{DOMAIN}/live.jpeg"),
    );
}
