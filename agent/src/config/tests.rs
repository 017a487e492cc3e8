use std::fs;

use super::*;

fn load(file: &str, flags: cli::Settings) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs::write(&path, file).unwrap();
    Config::load(&cli::Settings { config: Some(path), ..flags }, true)
}

fn relay(url: &str) -> cli::Settings {
    cli::Settings { relay: Some(url.to_owned()), ..cli::Settings::default() }
}

#[test]
fn defaults_are_those_of_the_table() {
    // Each default of the table, read as if it had been written, changes nothing.
    let mut file = String::new();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        file += &format!("{} = {}\n", key.name, key.default);
    }
    let written = load(&file, relay("http://h/?password=1")).unwrap();
    let defaults = load("", relay("http://h/?password=1")).unwrap();
    assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
}

#[test]
fn every_key_of_the_table_can_be_read() {
    for key in KEYS {
        let value = match key.kind {
            Kind::Text => "\"garden\"",
            Kind::Integer(..) => "5",
            Kind::Duration(..) => "\"5s\"",
            Kind::Choice(_) | Kind::Flag | Kind::Number(..) | Kind::Size => key.default,
        };
        let value = if key.name == "upload.relay" { "\"http://h/?password=1\"" } else { value };
        let value = if key.name == "upload.pin" {
            "\"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\""
        } else {
            value
        };
        let value = if key.name == "viewer.listen" { "\"[::]:8080\"" } else { value };
        let as_default = key.name.starts_with("heal.") || key.name == "update.window";
        let value = if as_default { key.default } else { value };
        let value = if key.name.ends_with("_file") && key.name.starts_with("upload.") {
            continue;
        } else {
            value
        };
        let result = load(&format!("{} = {value}\n", key.name), cli::Settings::default());
        assert!(result.is_ok(), "{}: {result:?}", key.name);
    }
}

#[test]
fn a_ladder_in_an_impossible_order_is_refused_and_reboots_can_be_taken_out() {
    for (line, says) in [
        (
            "heal.camera = \"reboot usb\"",
            "heal.camera: the rung \"usb\" can't come after \"reboot\"",
        ),
        ("heal.wifi = \"reload usb\"", "heal.wifi: there is no rung \"usb\""),
    ] {
        let error = load(line, cli::Settings::default()).unwrap_err().to_string();
        assert!(error.contains("agent.toml") && error.contains(says), "{error}");
    }
    let heal = load("heal.reboot = false", cli::Settings::default()).unwrap().heal;
    assert!(![heal.camera, heal.wifi].concat().contains(&Action::Reboot));
}

#[test]
fn the_tutorials_url_is_taken_as_it_is() {
    let upload =
        load("", relay("http://192.168.1.100:5000/?password=a%26b")).unwrap().upload.unwrap();
    assert_eq!(upload.relays[0].url.as_str(), "http://192.168.1.100:5000/");
    assert_eq!(upload.relays[0].password.expose(), "a&b");
}

#[test]
fn a_named_camera_has_its_own_path() {
    for (base, whole) in [
        ("http://h:5000", "http://h:5000/cameras/garden"),
        ("http://h:5000/", "http://h:5000/cameras/garden"),
        ("https://h/cam/", "https://h/cam/cameras/garden"),
    ] {
        let flags =
            cli::Settings { camera: Some("garden".into()), ..relay(&format!("{base}?password=1")) };
        let relay = load("", flags).unwrap().upload.unwrap().relays.remove(0);
        assert_eq!(relay.url.as_str(), whole);
        let root = whole.strip_suffix("cameras/garden").unwrap();
        assert_eq!(relay.root.as_str().trim_end_matches('/'), root.trim_end_matches('/'));
    }
}

#[test]
fn mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    fs::write(&open, "s3cret").unwrap();
    let mut permissions = fs::metadata(&open).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&open, permissions).unwrap();
    let with_file =
        cli::Settings { password_file: Some(open.display().to_string()), ..relay("http://h/") };
    let named = cli::Settings { camera: Some("Garden!".into()), ..cli::Settings::default() };
    for (file, flags, says) in [
        ("[camera]\nfsp = 1", cli::Settings::default(), "did you mean \"camera.fps\"?"),
        (
            "[camera]\nid = \"A b\"",
            cli::Settings::default(),
            "agent.toml: camera.id: \"A b\" is no camera id",
        ),
        ("", named, "--camera: camera.id: \"Garden!\""),
        ("[camera]\nsource = \"directory\"", cli::Settings::default(), "camera.path is not set"),
        ("", relay("http://h/"), "set STILLWATCH_PASSWORD"),
        ("", relay("host:5000?password=s3cret"), "--relay: upload.relay: not a relay's URL"),
        ("", relay("ftp://h/?password=s3cret"), "not a relay's URL"),
        ("", with_file, "chmod 600"),
    ] {
        let error = load(file, flags).unwrap_err().to_string();
        assert!(error.contains(says), "{file}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn the_reference_is_in_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let right = settings::with_reference(&page, "agent", KEYS).unwrap();
    if std::env::var_os("BLESS").is_some() {
        return fs::write(&path, &right).unwrap();
    }
    assert!(page == right, "docs/configuration.md: run BLESS=1 cargo test -p stillwatch-agent");
}

#[test]
fn a_password_goes_out_of_the_house_encrypted_or_because_the_owner_says_so() {
    let public = "http://relay.example.org/?password=1";
    let refused = load("", relay(public)).unwrap_err().to_string();
    assert!(refused.contains("https://") && refused.contains("upload.plain_http"), "{refused}");
    assert!(!refused.contains("password=1"), "{refused}");
    assert!(load("", relay("https://relay.example.org/?password=1")).is_ok());
    assert!(load("upload.plain_http = true\n", relay(public)).is_ok());
    assert!(load("", cli::Settings { plain_http: true, ..relay(public) }).is_ok());
    assert!(load("", relay("http://192.168.1.2:5000/?password=1")).is_ok());
}

#[test]
fn hours_of_updates_that_are_none_are_named() {
    let error = load("update.window = \"at night\"", cli::Settings::default()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("agent.toml") && error.contains("update.window: no such"), "{error}");
    let off = load("update.enabled = false", cli::Settings::default()).unwrap();
    assert!(!off.update.enabled);
}

#[test]
fn who_is_trusted_is_said_in_one_way() {
    let key = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let pinned = load(&format!("upload.pin = \"{key} {key}\""), relay("https://h/?password=1"));
    let trust = pinned.unwrap().upload.unwrap().trust;
    assert!(matches!(trust, Trust::Keys(keys) if keys.len() == 2));
    for (file, says) in [
        ("upload.pin = \"sha1//x\"".to_owned(), "upload.pin: a key is sha256//"),
        ("upload.pin = \" \"".to_owned(), "upload.pin: names no key"),
        (format!("upload.pin = \"{key}\"\nupload.ca_file = \"/x\""), "would not matter"),
    ] {
        let error = load(&file, relay("https://h/?password=1")).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
