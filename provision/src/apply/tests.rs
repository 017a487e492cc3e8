//! With real files. That the card's mount is writable for a moment only is tests/tests/provision.rs' story.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    cli: Cli,
}

const CARD: &str = "name = \"garden\"\r\n[wifi]\r\ncountry = \"de\"\r\nssid = “My Home”\r\n\
    password = “hunter22”\r\n[relay]\r\nurl = \"http://10.0.0.1/\"\r\npassword = \"s3cret\"\r\n";

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["card", "run", "root/usr/share/zoneinfo/Europe", "root/etc"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for zone in ["UTC", "Europe/Berlin"] {
            fs::write(at("root/usr/share/zoneinfo").join(zone), "").unwrap();
        }
        fs::File::create(at("disk")).unwrap().set_len(8 << 20).unwrap();
        let cli = Cli {
            card: at("card"),
            state: at("state/provision"),
            spare: Some(at("disk")),
            spare_offset: 4096,
            run: at("run"),
            root: at("root"),
            agent: PathBuf::from("/bin/true"),
            command: None,
        };
        Bench { folder, cli }
    }

    fn with_card(text: &str) -> Bench {
        let bench = Bench::new();
        bench.put("card/stillwatch.toml", text);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self) -> Result<(), ApplyError> {
        run(&self.cli)
    }

    fn status(&self) -> String {
        self.get("card/stillwatch-status.txt")
    }

    fn relay_password(&self) -> String {
        self.get("run/stillwatch/etc/relay.password")
    }
}

#[test]
fn a_right_card_is_in_force_and_loses_its_secrets() {
    let bench = Bench::with_card(CARD);
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
    for secret in ["run/stillwatch/etc/relay.password", "state/provision/stillwatch.toml"] {
        let mode = fs::metadata(bench.path(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let card = bench.get("card/stillwatch.toml");
    assert!(!card.contains("hunter22") && !card.contains("s3cret"), "{card}");
    assert_eq!(card.matches("\r\n").count(), 8, "{card:?}");
    assert!(bench.status().contains("is all right"), "{}", bench.status());
    let zone = fs::read_link(bench.path("root/etc/localtime")).unwrap();
    assert_eq!(zone, Path::new("../usr/share/zoneinfo/UTC"));
}

#[test]
fn later_boots_write_nothing_to_the_card_and_are_the_same() {
    let bench = Bench::with_card(CARD);
    bench.run().unwrap();
    let written = |name: &str| fs::metadata(bench.path(name)).unwrap().modified().unwrap();
    let names = [
        "card/stillwatch.toml",
        "card/stillwatch-status.txt",
        "state/provision/stillwatch.toml",
        "disk",
    ];
    let before = names.map(written);
    fs::remove_dir_all(bench.path("run")).unwrap();
    bench.run().unwrap();
    assert_eq!(names.map(written), before);
    assert_eq!(bench.relay_password(), "s3cret\n");
    // Neither does a card without the file.
    fs::remove_file(bench.path("card/stillwatch.toml")).unwrap();
    bench.run().unwrap();
    assert!(bench.status().contains("There is no stillwatch.toml"), "{}", bench.status());
    assert!(bench.status().contains("goes on with"), "{}", bench.status());
}

#[test]
fn an_edit_is_taken_over_and_a_wrong_one_changes_nothing() {
    let bench = Bench::with_card(CARD);
    bench.run().unwrap();
    let blanked = bench.get("card/stillwatch.toml");
    bench.put("card/stillwatch.toml", &format!("timezone = \"Europe/Berlin\"\r\n{blanked}"));
    bench.run().unwrap();
    assert!(bench.get("state/provision/stillwatch.toml").contains("s3cret"));
    let zone = fs::read_link(bench.path("root/etc/localtime")).unwrap();
    assert_eq!(zone, Path::new("../usr/share/zoneinfo/Europe/Berlin"));

    let kept = bench.get("state/provision/stillwatch.toml");
    let wrong = blanked.replace("country", "contry");
    bench.put("card/stillwatch.toml", &wrong);
    bench.run().unwrap();
    assert!(
        bench.status().contains("line 3: there is no setting \"wifi.contry\""),
        "{}",
        bench.status()
    );
    assert_eq!(bench.get("card/stillwatch.toml"), wrong);
    assert_eq!(bench.get("state/provision/stillwatch.toml"), kept);
    assert!(bench.get("run/stillwatch/etc/wpa_supplicant.conf").contains("hunter22"));

    // By cable from now on: nothing of the WiFi stays.
    bench.put("card/stillwatch.toml", "[relay]\nurl = \"http://10.0.0.1/\"\npassword = \"\"\n");
    bench.run().unwrap();
    assert!(!bench.path("run/stillwatch/etc/wpa_supplicant.conf").exists());
    assert_eq!(bench.relay_password(), "s3cret\n");
}

#[test]
fn without_anything_it_says_so_and_ends() {
    let bench = Bench::new();
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    assert!(bench.status().contains("Copy stillwatch-example.toml"), "{}", bench.status());
    bench.put("card/stillwatch.toml", "nonsense");
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    assert!(bench.status().contains("line 1: this is no setting"), "{}", bench.status());
    fs::write(bench.path("card/stillwatch.toml"), b"PK\x03\x04\xff\xff").unwrap();
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    assert!(bench.status().contains("save it as plain text"), "{}", bench.status());
}

#[test]
fn what_the_card_says_is_here_too_and_mistakes_have_a_file_of_their_own() {
    let bench = Bench::with_card("nonsense");
    assert!(bench.run().is_err());
    assert_eq!(bench.get("run/stillwatch/status.txt"), bench.status());
    assert_eq!(bench.get("run/stillwatch/mistakes.txt"), bench.status());
    bench.put("card/stillwatch.toml", CARD);
    bench.run().unwrap();
    assert_eq!(bench.get("run/stillwatch/status.txt"), bench.status());
    assert!(!bench.path("run/stillwatch/mistakes.txt").exists());
}

#[test]
fn a_lost_data_partition_costs_no_password() {
    let bench = Bench::with_card(CARD);
    bench.run().unwrap();
    fs::remove_dir_all(bench.path("state")).unwrap();
    fs::remove_dir_all(bench.path("run")).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
    assert!(bench.get("state/provision/stillwatch.toml").contains("hunter22"));
    // Half of it is as good as nothing, and the spare is taken.
    bench.put("state/provision/stillwatch.toml", "name = \"gar");
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
}

#[test]
fn where_nothing_can_be_kept_the_secrets_stay_on_the_card() {
    let mut bench = Bench::with_card(CARD);
    // A file where the folder should be.
    bench.put("state", "");
    bench.cli.spare = None;
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
    assert_eq!(bench.get("card/stillwatch.toml"), CARD);
    assert!(bench.status().contains("the passwords stay in it:\r\n    "), "{}", bench.status());
    // The spare alone is enough.
    let mut bench = Bench::with_card(CARD);
    bench.put("state", "");
    bench.run().unwrap();
    assert!(!bench.get("card/stillwatch.toml").contains("s3cret"));
    // So is the data partition.
    bench = Bench::with_card(CARD);
    bench.cli.spare = Some(PathBuf::from("/nowhere"));
    bench.run().unwrap();
    assert!(!bench.get("card/stillwatch.toml").contains("s3cret"));
}

#[test]
fn a_card_that_can_not_be_written_is_not_said_to_be_blanked() {
    let bench = Bench::with_card(CARD);
    fs::create_dir(bench.path("card/.stillwatch.toml.tmp")).unwrap();
    bench.run().unwrap();
    assert!(bench.status().contains("the passwords stay in it"), "{}", bench.status());
    assert_eq!(bench.relay_password(), "s3cret\n");
}

#[test]
fn of_two_copies_the_newer_one_counts() {
    let bench = Bench::with_card(CARD);
    bench.run().unwrap();
    let old = bench.get("state/provision/stillwatch.toml");
    let renewed = bench
        .get("card/stillwatch.toml")
        .replace("/\"\r\npassword = \"\"", "/\"\r\npassword = \"new\"");
    bench.put("card/stillwatch.toml", &renewed);
    // The data partition was away meanwhile.
    bench.run().unwrap();
    bench.put("state/provision/stillwatch.toml", &old);
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "new\n");
    assert!(bench.get("state/provision/stillwatch.toml").contains("\"new\""));
}

#[test]
fn what_was_right_once_stays_in_force_on_a_system_that_knows_less() {
    let bench = Bench::with_card(&format!("timezone = \"Europe/Berlin\"\n{CARD}"));
    bench.run().unwrap();
    fs::remove_file(bench.path("root/usr/share/zoneinfo/Europe/Berlin")).unwrap();
    bench.run().unwrap();
    assert!(bench.status().contains("has 1 mistake:"), "{}", bench.status());
    assert_eq!(bench.relay_password(), "s3cret\n");
    let zone = fs::read_link(bench.path("root/etc/localtime")).unwrap();
    assert_eq!(zone, Path::new("../usr/share/zoneinfo/UTC"));
}

#[test]
fn a_text_that_is_too_long_to_be_kept_stays_where_it_is() {
    let text = format!("{CARD}# {}\r\n", "x".repeat(MAX_BYTES - CARD.len() - 6));
    let bench = Bench::with_card(&text);
    bench.run().unwrap();
    assert_eq!(bench.get("card/stillwatch.toml"), text);
    assert!(bench.status().contains("longer than 64 KB"), "{}", bench.status());
    let wide = format!("\u{feff}{CARD}# {}", "漢".repeat(30_000));
    let bytes: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(bench.path("card/stillwatch.toml"), bytes).unwrap();
    let _ = bench.run();
    assert!(bench.status().contains("is it the right file?"), "{}", bench.status());
}

#[test]
fn a_name_that_windows_hid_is_told() {
    let bench = Bench::new();
    bench.put("card/stillwatch.toml.txt", CARD);
    assert!(bench.run().is_err());
    assert!(bench.status().contains("but a stillwatch.toml.txt: rename it"), "{}", bench.status());
}

#[test]
fn without_a_configuration_a_setup_access_point_is_offered() {
    let bench = Bench::new();
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    let offered = bench.get("run/stillwatch/access-point");
    let password = offered.lines().nth(1).unwrap();
    assert!(offered.starts_with("stillwatch-camera\n") && password.len() == 14, "{offered}");
    assert!(bench.status().contains(&format!("password: {password}\r\n")), "{}", bench.status());
    // The label's, with a name.
    bench.put("card/stillwatch.toml", "name = \"garden\"\n[setup]\npassword = \"on the label\"\n");
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    assert_eq!(bench.get("run/stillwatch/access-point"), "stillwatch-garden\non the label\n");
    assert!(bench.status().contains("leaves all to the setup page"), "{}", bench.status());
    // Once there is a configuration there is no access point.
    bench.put("card/stillwatch.toml", CARD);
    bench.run().unwrap();
    assert!(!bench.path("run/stillwatch/access-point").exists());
    assert!(!bench.status().contains("phone"), "{}", bench.status());
}

#[test]
fn what_the_setup_page_sends_is_as_if_it_had_stood_on_the_card() {
    let bench = Bench::with_card("name = \"Gar den\"\n");
    assert!(matches!(bench.run(), Err(ApplyError::Unprovisioned)));
    let sent = CARD.replace(['“', '”'], "\"");
    let mistakes = check(&bench.cli, &sent.replace("de", "deutsch")).unwrap_err();
    assert!(mistakes[0].text.starts_with("wifi.country: "), "{mistakes:?}");
    assert!(check(&bench.cli, &sent).is_ok());
    take(&bench.cli, &sent).unwrap();
    let card = bench.get("card/stillwatch.toml");
    assert!(card.contains("My Home") && !card.contains("hunter22"), "{card}");
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
    assert!(bench.status().contains("is all right"), "{}", bench.status());
    // A card that can't be written to changes nothing about that.
    let bench = Bench::new();
    fs::create_dir(bench.path("card/.stillwatch.toml.tmp")).unwrap();
    take(&bench.cli, &sent).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.relay_password(), "s3cret\n");
}
