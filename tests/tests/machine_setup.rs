//! The setup access point inside a whole machine, with the kernel's own simulated radios: a phone joins, finds
//! the page by whatever name it asks for, mistypes a password, and in the end pictures come over WiFi.

use std::time::Duration;

use stories::guest::{KEY, SOON, packages, phone, with_healer, with_setup, with_vivid};
use stories::{PASSWORD, Relay};
use testbed::eventually::eventually;
use testbed::http::get;
use testbed::machine::{HOST, Machine, Options};

/// A radio that looks around, becomes an access point or joins, in an emulated machine.
const RADIO: Duration = Duration::from_secs(300);

const PAGE: &str = "http://192.168.223.1/";

/// Name and password of the access point, as its owner reads them on the card.
fn on_the_card(guest: &Machine) -> (String, String) {
    let status = guest.eventually("a status", SOON, "cat /boot/firmware/stillwatch-status.txt");
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let (name, password) = (value("name"), value("password"));
    assert!(name == "stillwatch-camera" && password.len() == 14, "{status}");
    (name, password)
}

/// Waits until the access point can be joined, and joins it. Returns what DHCP said.
fn join(guest: &Machine, name: &str, password: &str) -> String {
    guest.eventually(
        "the access point",
        RADIO,
        "wpa_cli -i wlan0 status | grep -x mode=AP && wpa_cli -i wlan0 status | grep -x wpa_state=COMPLETED",
    );
    phone(guest, &format!("join {name} {password}"))
}

fn form(key: &str, relay: &Relay) -> String {
    let relay = format!("http://{HOST}:{}/", relay.address.port());
    let fields = [
        ("name", "garden"),
        ("country", "de"),
        ("network", "wifi:stillwatch-test"),
        ("wifi_password", key),
        ("relay", &relay),
        ("relay_password", PASSWORD),
        ("viewer", "yes"),
    ];
    fields.map(|(field, value)| format!("--data-urlencode '{field}={value}'")).join(" ")
}

/// Whatever the phone asks for leads to the page, and nobody else gets there.
fn all_names_lead_to_the_page(guest: &Machine) {
    for host in ["connectivitycheck.gstatic.com", "captive.apple.com", "www.msftconnecttest.com"] {
        assert_eq!(phone(guest, &format!("look-up {host}")).trim(), "192.168.223.1");
        let written = "-o /dev/null -w '%{http_code} %{redirect_url}'";
        let probe = phone(guest, &format!("browse {written} http://{host}/generate_204"));
        assert_eq!(probe.trim(), format!("302 {PAGE}"));
    }
    let page = phone(guest, &format!("browse {PAGE}"));
    assert!(page.contains("wifi:stillwatch-test") && page.contains("Set up your camera"), "{page}");
    // A cable beside it leads nowhere: the address is this machine's, but not there.
    guest.run(
        "ip link add cable0 type veth peer name cable1 netns ap && ip link set cable0 up && \
         ip address add 10.9.9.1/24 dev cable0 && ip -n ap link set cable1 up && \
         ip -n ap address add 10.9.9.2/24 dev cable1 && ip -n ap route add 192.168.223.1 via 10.9.9.1 && \
         ip netns exec ap ping -c 1 -W 5 192.168.223.1 && \
         ! ip netns exec ap curl --silent --max-time 5 http://192.168.223.1/",
    );
    guest.run("ip link delete cable0");
}

/// The access point goes, and comes back with the reason.
fn a_wrong_password_locks_nobody_out(guest: &Machine, relay: &Relay, name: &str, password: &str) {
    let begun = phone(guest, &format!("browse {} {PAGE}", form("another-key", relay)));
    assert!(begun.contains("now tries to join"), "{begun}");
    let journal = "journalctl -b -u stillwatch-setup";
    guest.eventually("the attempt", RADIO, &format!("{journal} | grep 'trying the WiFi'"));
    guest.eventually("its end", RADIO, &format!("{journal} | grep 'the chosen WiFi: '"));
    join(guest, name, password);
    let page = phone(guest, &format!("browse {PAGE}"));
    assert!(page.contains("is its password right?") && !page.contains("another-key"), "{page}");
    guest
        .run("! test -e /data/provision/stillwatch.toml && ! systemctl is-active stillwatch-agent");
}

#[test]
fn a_phone_sets_the_camera_up() {
    let relay = Relay::everywhere(&[]);
    let payload = with_setup(with_healer(with_vivid(packages())));
    let mut guest = Machine::boot(&payload, &Options::default());
    let (name, password) = on_the_card(&guest);
    let lease = join(&guest, &name, &password);
    for line in ["router=192.168.223.1", "dns=192.168.223.1"] {
        assert!(lease.lines().any(|found| found == line), "{lease}");
    }
    assert!(lease.contains("opt114="), "{lease}");
    all_names_lead_to_the_page(&guest);
    // A mistake is told at its field, and nothing happens.
    let short = phone(&guest, &format!("browse {} {PAGE}", form("short", &relay)));
    assert!(short.contains("a WiFi password has 8 to 63 characters"), "{short}");
    a_wrong_password_locks_nobody_out(&guest, &relay, &name, &password);

    // The right one: pictures come, and the access point is gone for good.
    let begun = phone(&guest, &format!("browse {} {PAGE}", form(KEY, &relay)));
    assert!(begun.contains("http://garden.local/"), "{begun}");
    guest.eventually("a configuration", RADIO, "test -e /run/stillwatch/etc/agent.toml");
    eventually("a picture at the relay", SOON, || {
        match get(relay.address, "/cameras/garden/live.jpeg") {
            Ok(answer) if answer.status() == 200 => Ok(()),
            other => Err(format!("{other:?} {}", guest.journal("-b -n 40"))),
        }
    });
    let ended = "! systemctl is-active stillwatch-setup stillwatch-setup-page";
    guest.eventually("the end of the setup", RADIO, ended);
    let card = guest.run("cat /boot/firmware/stillwatch.toml /boot/firmware/stillwatch-status.txt");
    assert!(card.contains("is all right") && card.contains("ssid = \"stillwatch-test\""), "{card}");
    for secret in [KEY, PASSWORD, &password] {
        assert!(!card.contains(secret), "{card}");
    }
    // It was asked for.
    let viewer = "curl --silent --fail http://127.0.0.1/live.jpeg -o /dev/null";
    guest.eventually("the local viewer", SOON, viewer);

    // A camera that has a configuration never opens one.
    guest.run("sync");
    guest.reset();
    guest.eventually("the local viewer", SOON, viewer);
    guest.run(&format!("{ended} && ! test -e /run/stillwatch/access-point"));
}
