use runtime::settings::with_reference;

use super::*;

const RELAY: &str = "[relay]\nurl = \"https://cam.example.org/\"\npassword = \"s3cret\"\n";

fn card(more: &str) -> Result<Card, Vec<String>> {
    let text = format!("{more}\n{RELAY}");
    let known = |zone: &str| ["UTC", "Europe/Berlin"].contains(&zone);
    read(&text, known).map_err(|found| found.iter().map(ToString::to_string).collect())
}

fn security(wifi: &str) -> Security {
    let text = format!("[wifi]\ncountry = \"de\"\nssid = \"Home\"\n{wifi}");
    card(&text).unwrap().wifi.unwrap().security
}

#[test]
fn the_least_that_can_be_said_is_enough() {
    let card = card("").unwrap();
    assert_eq!((card.name.as_str(), card.timezone.as_str()), ("camera", "UTC"));
    assert_eq!((card.wifi, card.fixed, card.ssh_key), (None, None, None));
    assert_eq!(card.relay_password, "s3cret");
}

#[test]
fn a_form_with_empty_lines_is_no_mistake() {
    let empty = "name = \"\"\n[wifi]\nssid = \"\"\npassword = \"\"\n[network]\naddress = \"\"\n\
                 gateway = \"\"\n[ssh]\nkey = \"\"\n";
    assert_eq!(card(empty).unwrap().wifi, None);
}

#[test]
fn networks_of_all_kinds() {
    assert_eq!(security(""), Security::Open);
    assert_eq!(security("password = \"hunter22\""), Security::Password("hunter22".into()));
    let key = "0123456789abcdef".repeat(4);
    assert_eq!(security(&format!("password = \"{key}\"")), Security::Key(key));
    let enterprise =
        "identity = \"me@uni\"\npassword = \"x\"\nmethod = \"ttls\"\nserver = \"r.uni\"";
    assert_eq!(
        security(enterprise),
        Security::Enterprise {
            identity: "me@uni".into(),
            anonymous: None,
            password: "x".into(),
            method: Method::Ttls,
            server: Some("r.uni".into()),
        }
    );
    let fixed = card("[network]\naddress = \"192.168.1.50/24\"\ngateway = \"192.168.1.1\"\n");
    let fixed = fixed.unwrap().fixed.unwrap();
    assert_eq!((fixed.address.as_str(), &fixed.dns), ("192.168.1.50/24", &vec![fixed.gateway]));
}

#[test]
fn every_mistake_says_where_and_what_would_be_right() {
    let wifi = |rest: &str| format!("[wifi]\ncountry = \"DE\"\nssid = \"Home\"\n{rest}");
    for (text, says) in [
        (
            "name = \"Garden Cäm\"",
            "line 1: name: 1 to 32 of a-z, 0-9 and -, such as \"garden-caem\"",
        ),
        ("name = \"???\"", "such as \"garden\""),
        ("timezone = \"Berlin\"", "line 1: timezone: there is no \"Berlin\""),
        ("[wifi]\nssid = \"Home\"", "line 2: wifi.country: two letters are needed"),
        ("[wifi]\ncountry = \"DE\"", "line 2: wifi.ssid: the network's name is missing"),
        (&wifi("password = \"short\""), "line 4: wifi.password: a WiFi password has 8 to 63"),
        (&wifi("password = \"lösungswort\""), "plain letters, digits and signs"),
        (&wifi("password = \"\""), "line 4: wifi.password: is empty, and none is kept"),
        (&wifi("identity = \"me\""), "wifi.password: is missing"),
        (
            &format!("[wifi]\ncountry = \"DE\"\nssid = \"{}\"", "x".repeat(33)),
            "no more than 32 bytes",
        ),
        (
            "[network]\naddress = \"192.168.1.50\"",
            "line 2: network.address: \"192.168.1.50\" is no",
        ),
        ("[network]\naddress = \"10.0.0.5/8\"\ngateway = \"11.0.0.1\"", "is not in the network"),
        ("[network]\naddress = \"10.0.0.5/8\"\ngateway = \"fe80::1\"", "is not in the network"),
        (
            &wifi("identity = \"me\"\npassword = \"x\"\nserver = \"a\\\"\\nca_cert=\\\"\""),
            "wifi.server: is no name",
        ),
        (&wifi("password = \"long\\nenough\""), "another invisible sign"),
        ("[ssh]\nkey = \"ssh-ed25519 x\"", "is no public key"),
        ("[ssh]\nkey = \" \"", "is no public key"),
        ("[network]\naddress = \"10.0.0.5/8\"", "network.gateway: a fixed address needs"),
        ("[network]\ngateway = \"10.0.0.5\"", "says nothing without network.address"),
        ("[ssh]\nkey = \"-----BEGIN OPENSSH PRIVATE KEY-----\"", "this is the private key"),
        ("[ssh]\nkey = \"AAAA\"", "is no public key"),
        ("[camera]\nid = \"a\"", "line 2: camera.id: on the card this is name"),
    ] {
        let found = card(text).unwrap_err();
        assert!(found.iter().any(|mistake| mistake.contains(says)), "{text:?}: {found:?}");
    }
    for (relay, says) in [
        ("", "line 1: relay.url: is missing"),
        ("[relay]\nurl = \"cam.example.org\"\npassword = \"x\"", "has to begin with http://"),
        ("[relay]\nurl = \"http://h/?password=1\"\npassword = \"x\"", "without ?password="),
        ("[relay]\nurl = \"http://h/\"", "relay.password: is missing"),
        ("[relay]\nurl = \"http://u:p@h/\"\npassword = \"x\"", "no name before the @"),
        ("[relay]\nurl = \"http://h/?token=1\"\npassword = \"x\"", "ends before the ?"),
        ("[relay]\nurl = \"  \"\npassword = \"x\"", "line 2: relay.url: is missing"),
        ("[relay]\nurl = \"http://h/, http://i/\"\npassword = \"x\"", "separated by spaces"),
        ("[relay]\nurl = \"http://h/;http://i/\"\npassword = \"x\"", "separated by spaces"),
    ] {
        let found = read(relay, |_| true).unwrap_err();
        assert!(found.iter().any(|m| m.to_string().contains(says)), "{relay:?}: {found:?}");
    }
}

#[test]
fn of_several_relays_each_is_checked() {
    let read = |url: &str| {
        let text = format!("[relay]\nurl = \"{url}\"\npassword = \"x\"");
        let read = read(&text, |_| true).map(|card| card.relay_addresses());
        read.map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(
        read(" https://a.example.org  http://10.0.0.1:5000/cams/\\n"),
        Ok("https://a.example.org/ http://10.0.0.1:5000/cams/".to_owned())
    );
    let found = read("b.example.org https://a.example.org/ http://h/?password=s3cret").unwrap_err();
    assert!(found.contains("line 2: relay.url: address 1 of 3: it has to begin with"), "{found}");
    assert!(found.contains("line 2: relay.url: address 3 of 3: write the password"), "{found}");
    assert!(!found.contains("s3cret"), "{found}");
    assert_eq!(found.lines().count(), 2, "{found}");
    // One that has no number is the only one.
    assert!(read("b.example.org").unwrap_err().starts_with("line 2: relay.url: it has to begin"));
    let many = |count| vec!["http://h/"; count].join(" ");
    assert_eq!(read(&many(MAX_RELAYS)), Ok(many(MAX_RELAYS)));
    assert!(read(&many(MAX_RELAYS + 1)).unwrap_err().contains("more than 16 addresses"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = card("name = \"A B\"\ntimezone = \"X\"\n[wifi]\nssid = \"a\"\n").unwrap_err();
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn blanked_secrets_come_back_for_the_same_network_and_relay_only() {
    let wifi =
        "[wifi] # mine\ncountry = \"DE\"\nssid = \"Home\"\npassword = \"hunter22\"  # at home\n";
    let full = format!("{wifi}{RELAY}");
    let blanked = without_secrets(&full);
    assert!(!blanked.contains("hunter22") && !blanked.contains("s3cret"), "{blanked}");
    assert!(blanked.contains("password = \"\"  # at home"), "{blanked}");
    assert_eq!(without_secrets(&blanked), blanked);
    assert_eq!(with_secrets(&blanked, &full), full);
    assert_eq!(with_secrets(&full, ""), full);
    let other_network = with_secrets(&blanked.replace("Home", "Yard"), &full);
    assert!(!other_network.contains("hunter22") && other_network.contains("s3cret"));
    let other_relay = with_secrets(&blanked.replace("cam.example", "evil.example"), &full);
    assert!(other_relay.contains("hunter22") && !other_relay.contains("s3cret"));
    let further = blanked.replace("example.org/", "example.org/ https://evil.example/");
    assert!(!with_secrets(&further, &full).contains("s3cret"), "a relay more is another one, too");
    let other_way = with_secrets(&blanked.replace("[wifi]", "[wifi]\nidentity = \"eve\""), &full);
    assert!(!other_way.contains("hunter22"), "{other_way}");
    // A line that was taken out says: this network has no password.
    let open = blanked.replace("password = \"\"  # at home\n", "");
    assert!(!with_secrets(&open, &full).contains("hunter22"));
}

#[test]
fn the_example_is_right_and_so_is_every_line_of_it_that_is_commented_out() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/stillwatch-example.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let known = |zone: &str| zone == "Europe/Berlin";
    let card = read(&text, known).unwrap();
    assert_eq!(card.wifi.unwrap().ssid, "My network");
    let all: String = text
        .split_inclusive('\n')
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let card = read(&all, known).unwrap();
    assert!(card.fixed.is_some());
    assert!(matches!(card.wifi.unwrap().security, Security::Enterprise { .. }));
    for key in KEYS.iter().filter(|key| key.name != "wifi.anonymous_identity") {
        let name = key.name.rsplit('.').next().unwrap();
        assert!(all.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
}

#[test]
fn the_page_shows_all_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/provision.md");
    let page = std::fs::read_to_string(path).unwrap();
    let right = with_reference(&page, "provision", KEYS).unwrap();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &right).unwrap();
        return;
    }
    assert!(page == right, "docs/provision.md: run BLESS=1 cargo test -p stillwatch-provision");
}
