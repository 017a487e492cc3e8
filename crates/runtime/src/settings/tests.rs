use std::time::Duration;

use serde::Deserialize;

use super::*;

const KEYS: &[Key] = &[
    Key { name: "camera.fps", kind: Kind::Number(0.1, 60.0), default: "5", help: "Rate." },
    Key { name: "camera.size", kind: Kind::Size, default: "1280x720", help: "Size." },
    Key {
        name: "camera.source",
        kind: Kind::Choice(&["auto", "v4l2"]),
        default: "auto",
        help: ".",
    },
    Key { name: "upload.timeout", kind: Kind::Duration(100, 60_000), default: "10s", help: "." },
    Key { name: "led.on", kind: Kind::Flag, default: "false", help: "Light." },
    Key { name: "cameras.*.name", kind: Kind::Text, default: "", help: "Name." },
];

#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Config {
    camera: Camera,
    upload: Upload,
    led: BTreeMap<String, bool>,
    cameras: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Camera {
    fps: f64,
    size: Option<Size>,
    source: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Upload {
    #[serde(deserialize_with = "duration")]
    timeout: Duration,
}

type Flags<'a> = &'a [(&'static str, &'static str, &'a str)];

fn read(
    file: &str,
    variables: &[(&str, &str)],
    flags: Flags<'_>,
) -> Result<Settings<Config>, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs::write(&path, file).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    load(Layers {
        keys: KEYS,
        file: Some(&path),
        variables: variables.iter().map(owned).collect(),
        flags: flags.iter().map(|(key, flag, text)| (*key, *flag, (*text).to_owned())).collect(),
    })
}

#[test]
fn later_layers_win_and_the_origin_is_known() {
    let file = "[camera]\nfps = 5\nsize = \"640x480\"\n[cameras.garden]\nname = \"Garden\"\n\
                [upload]\ntimeout = \"1m 30ms\"";
    let long = read(file, &[], &[]).unwrap_err().to_string();
    assert!(long.contains("upload.timeout: \"1m 30ms\" is not a duration from"), "{long}");
    let file = file.replace("1m 30ms", "1500ms");
    let variables = [("STILLWATCH_CAMERA_FPS", "10"), ("STILLWATCH_LED_ON", "true")];
    let flags = [("camera.fps", "--fps", "15")];
    let settings = read(&file, &variables, &flags).unwrap();
    let Config { camera, upload, led, cameras } = &settings.value;
    assert_eq!((camera.fps, camera.size.unwrap().to_string()), (15.0, "640x480".to_owned()));
    assert_eq!(upload.timeout, Duration::from_millis(1500));
    assert_eq!(led.get("on"), Some(&true));
    assert_eq!(cameras["garden"]["name"], "Garden");
    assert_eq!(settings.origin("camera.fps"), Some(&Origin::Flag("--fps".to_owned())));
    assert!(matches!(settings.origin("camera.size"), Some(Origin::File(_))));
    assert_eq!(settings.origin("camera.source"), None);
}

#[test]
fn mistakes_are_named_with_place_key_and_fix() {
    for (file, says) in [
        ("[camera]\nfsp = 5", "unknown key \"camera.fsp\"; did you mean \"camera.fps\"?"),
        ("[camera]\ntimeout = \"1s\"", "did you mean \"upload.timeout\"?"),
        ("fps = 5", "unknown key \"fps\"; did you mean \"camera.fps\"?"),
        ("[weather]\nrain = 5", "unknown key \"weather\""),
        ("[camera]\nfps = \"fast\"", "camera.fps: \"fast\" is not a number from 0.1 to 60"),
        ("[camera]\nfps = 100", "camera.fps: 100.0 is not a number from 0.1 to 60"),
        ("[camera]\nsize = \"big\"", "write \"1280x720\""),
        ("[camera]\nsource = \"v4l\"", "is not one of \"auto\", \"v4l2\""),
        ("[upload]\ntimeout = 5", "upload.timeout: 5 is not a duration"),
        ("camera = 5", "unknown key \"camera\""),
        ("[camera.fps]\nx = 1", "camera.fps: a table is not a number"),
        ("[camera", "not valid TOML"),
    ] {
        let error = read(file, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("agent.toml"), "{file}: {error}");
    }
    let error = read("", &[("STILLWATCH_CAMERA_FPS", "x")], &[]).unwrap_err().to_string();
    assert!(error.starts_with("environment variable STILLWATCH_CAMERA_FPS: camera.fps"), "{error}");
    let error = read("", &[], &[("camera.fps", "--fps", "0")]).unwrap_err().to_string();
    assert!(error.starts_with("--fps: camera.fps"), "{error}");
    let settings = read("", &[("STILLWATCH_CAMERA_FSP", "1"), ("HOME", "/")], &[]).unwrap();
    assert_eq!(settings.unknown_variables, ["STILLWATCH_CAMERA_FSP"]);
}

#[test]
fn a_missing_file_is_named() {
    let layers = Layers {
        keys: KEYS,
        file: Some(Path::new("/none.toml")),
        variables: vec![],
        flags: vec![],
    };
    let error = load::<Config>(layers).unwrap_err().to_string();
    assert!(error.contains("/none.toml: can't read this configuration file"), "{error}");
}

#[test]
fn the_reference_lists_every_key() {
    let page = "before\n<!-- x keys -->\nold\n<!-- /x keys -->\nafter\n";
    let page = with_reference(page, "x", KEYS).unwrap();
    assert!(page.contains("| `camera.fps` | a number from 0.1 to 60 | `5` | Rate. |"), "{page}");
    assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
    assert_eq!(page.lines().count(), KEYS.len() + 2 + 4);
    assert_eq!(with_reference("no marks", "x", KEYS), None);
}

#[test]
fn sizes() {
    assert_eq!("1x65535".parse::<Size>().unwrap(), Size { width: 1, height: 65_535 });
    for bad in ["", "x", "1x", "0x1", "1x65536", "+1x1", "1X1", "1x1x1", " 1x1"] {
        assert!(bad.parse::<Size>().is_err(), "{bad}");
    }
}
