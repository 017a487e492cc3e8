use super::*;

fn rendered(text: &str) -> Vec<File> {
    files(&crate::card::read(text, |_| true).unwrap())
}

fn content<'a>(files: &'a [File], path: &str) -> &'a str {
    &files.iter().find(|file| file.path == path).unwrap().content
}

const FULL: &str = "name = \"garden\"\n[wifi]\ncountry = \"de\"\nssid = \"Ho\\\"me\"\npassword = \"hu\\\"nter 22\"\n\
    hidden = true\n[network]\naddress = \"192.168.1.50/24\"\ngateway = \"192.168.1.1\"\ndns = \"9.9.9.9 1.1.1.1\"\n\
    [relay]\nurl = \"https://cam.example.org/\"\npassword = \"s3cret\"\n[camera]\nfps = 2\nsize = \"640x480\"\n\
    [upload]\nidle_interval = \"30s\"\n[ssh]\nkey = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Dm0dXg3c8bFz9bYh2mU1Z3x4y5a6b7c8d9e0f1g2h me\"\n";

#[test]
fn secrets_stand_in_files_of_their_owner_alone() {
    let files = rendered(FULL);
    for file in &files {
        let holds = file.content.contains("s3cret") || file.content.contains("nter 22");
        assert_eq!(holds, file.secret, "{file:?}");
        assert!(PATHS.contains(&file.path));
    }
    assert_eq!(files.len(), PATHS.len() - 1, "all but the setup access point's");
}

#[test]
fn the_agent_gets_its_sections_and_what_the_card_says_in_other_words() {
    let files = rendered(FULL);
    let expected = "[camera]\nid = \"garden\"\nfps = 2\nsize = \"640x480\"\n\n[upload]\n\
                    relay = \"https://cam.example.org/\"\nidle_interval = \"30s\"\n\n";
    assert_eq!(content(&files, AGENT_CONFIG), expected);
    let files = rendered(&FULL.replace("example.org/", "example.org/  https://cam3.example.org"));
    let both = "relay = \"https://cam.example.org/ https://cam3.example.org/\"\n";
    assert!(content(&files, AGENT_CONFIG).contains(both), "{}", content(&files, AGENT_CONFIG));
    let files = rendered(&FULL.replace("name = \"garden\"\n", ""));
    assert!(content(&files, AGENT_CONFIG).starts_with("[camera]\nfps"), "the relay's /live.jpeg");
    let files = rendered(&format!("viewer = true\n{FULL}"));
    let expected = format!("{expected}[viewer]\nlisten = \"[::]:80\"\n");
    assert_eq!(content(&files, AGENT_CONFIG), expected);
}

#[test]
fn a_fixed_address_is_the_wifis_and_the_cable_is_preferred() {
    let files = rendered(FULL);
    let (wifi, cable) = (content(&files, WIRELESS), content(&files, ETHERNET));
    assert!(wifi.contains("Address=192.168.1.50/24\nDNS=9.9.9.9\nDNS=1.1.1.1\n"), "{wifi}");
    assert!(wifi.contains("Gateway=192.168.1.1\nMetric=600"), "{wifi}");
    assert!(cable.contains("DHCP=yes") && cable.contains("RouteMetric=100"), "{cable}");
    let by_cable = FULL.replace("ssid = \"Ho\\\"me\"\n", "ssid = \"\"\n");
    let by_cable = by_cable
        .replace("country = \"de\"\n", "")
        .replace("password = \"hu\\\"nter 22\"\nhidden = true\n", "");
    let files = rendered(&by_cable);
    assert!(content(&files, ETHERNET).contains("Address=192.168.1.50/24"));
    assert!(files.iter().all(|file| file.path != WIRELESS));
}

#[test]
fn wpa_supplicant_gets_names_that_can_hold_anything() {
    let files = rendered(FULL);
    let config = content(&files, SUPPLICANT);
    assert!(config.contains("country=DE\n"), "{config}");
    assert!(config.contains("    ssid=486f226d65\n    scan_ssid=1\n"), "{config}");
    assert!(config.contains("    psk=\"hu\"nter 22\"\n"), "{config}");
    let enterprise = FULL.replace("hidden = true", "identity = \"me\"\nserver = \"radius.uni\"");
    let config = content(&rendered(&enterprise), SUPPLICANT).to_owned();
    assert!(
        config.contains("eap=PEAP\n    phase2=\"auth=MSCHAPV2\"\n    identity=6d65\n"),
        "{config}"
    );
    assert!(config.contains("domain_suffix_match=\"radius.uni\"") && config.contains("ca_cert="));
}

#[test]
fn the_setup_access_point_is_wpa2_and_leads_to_its_page() {
    let ours = AccessPoint { name: "stillwatch-ü\"".into(), password: "abcd-\"efgh".into() };
    let files = access_point(&ours, "wlan0");
    let supplicant = content(&files, SUPPLICANT);
    for line in ["mode=2", "key_mgmt=WPA-PSK", "proto=RSN", "psk=\"abcd-\"efgh\""] {
        assert!(supplicant.lines().any(|found| found.trim() == line), "{supplicant}");
    }
    assert!(supplicant.contains("ssid=7374696c6c77617463682dc3bc22\n"), "{supplicant}");
    let network = content(&files, SETUP);
    for line in [
        "Name=wlan0",
        "Address=192.168.223.1/24",
        "DHCPServer=yes",
        "DNS=192.168.223.1",
        "SendOption=114:string:http://192.168.223.1/",
    ] {
        assert!(network.lines().any(|found| found == line), "{network}");
    }
    let radio = [files, listener(), radio(&crate::card::read(FULL, |_| true).unwrap())].concat();
    assert!(radio.iter().all(|file| RADIO_PATHS.contains(&file.path)));
    let holds = |file: &File| file.content.contains("psk=");
    assert!(radio.iter().all(|file| file.secret || !holds(file)));
}
