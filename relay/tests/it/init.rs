//! `stillwatch-relay init`: what it writes, that it never writes over anything, and that what it prints works.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testbed::program::Program;

use crate::relay::{PHOTO, command};

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("etc").join(name)
    }

    fn init(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = command();
        command
            .arg("--config")
            .arg(self.path("relay.toml"))
            .arg("--data-dir")
            .arg(self.folder.path().join("data"));
        printed(command.arg("init").args(arguments))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// What it printed; `Err` if it failed.
fn printed(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    if status.success() {
        Ok(String::from_utf8(stdout).unwrap())
    } else {
        Err(String::from_utf8(stderr).unwrap())
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The value of a line of the card, as it is printed.
fn on_the_card(said: &str, key: &str) -> String {
    let mark = format!("    {key} = \"");
    let line = said.lines().find_map(|line| line.strip_prefix(&mark)).unwrap();
    line.trim_end_matches('"').to_owned()
}

#[test]
fn what_it_prints_is_what_an_upload_needs() {
    let place = Place::new();
    let said = place.init(&["--url", "https://cam.example.org/garden"]).unwrap();
    for name in ["relay.password", "owner.password"] {
        assert_eq!(mode(&place.path(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&place.path("relay.toml")), 0o644);
    let password = on_the_card(&said, "password");
    assert_eq!(on_the_card(&said, "url"), "https://cam.example.org/garden/");
    assert_eq!(place.read("relay.password"), format!("{password}\n"));
    assert_ne!(place.read("relay.password"), place.read("owner.password"));
    let owner = place.read("owner.password").trim().to_owned();
    assert!(said.contains(&format!("garden/status (any user name; password: {owner})")), "{said}");

    let mut relay = command();
    relay.arg("--config").arg(place.path("relay.toml")).args(["--listen", "127.0.0.1:0"]);
    let relay = Program::start("the relay", &mut relay);
    let line = relay.line("listening on ");
    let address = line.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
    let post = |password: &str| {
        let path = format!("/?password={password}");
        testbed::http::request(address, "POST", &path, &[], PHOTO).unwrap().status()
    };
    assert_eq!((post(&password), post(&owner)), (200, 400));
    let basic = format!("Basic {}", base64(&format!("me:{owner}")));
    let page = |headers: &[(&str, &str)]| {
        testbed::http::request(address, "GET", "/status", headers, b"").unwrap().status()
    };
    assert_eq!((page(&[]), page(&[("Authorization", &basic)])), (401, 200));
}

#[test]
fn a_domain_is_enough() {
    let place = Place::new();
    let arguments = ["--domain", "Cam.Example.org", "--contact", "me@example.org"];
    let said = place.init(&arguments).unwrap();
    assert_eq!(on_the_card(&said, "url"), "https://cam.example.org/");
    for wanted in
        ["cam.example.org needs a record", "ports 80 and 443", "stillwatch-relay --config"]
    {
        assert!(said.contains(wanted), "{said}");
    }
    let mut check = command();
    check.arg("--config").arg(place.path("relay.toml")).arg("check-config");
    let checked = printed(&mut check).unwrap();
    assert!(checked.contains("configuration is good"), "{checked}");
    assert!(place.read("relay.toml").contains("[tls]\ndomain = \"cam.example.org\"\n"));
    assert_eq!(on_the_card(&place.init(&arguments).unwrap(), "url"), "https://cam.example.org/");
}

#[test]
fn a_second_run_shows_the_same_and_writes_nothing() {
    let place = Place::new();
    let first = place.init(&["--url", "https://cam.example.org/", "--camera", "garden"]).unwrap();
    assert!(first.contains("    name = \"garden\"\n"), "{first}");
    let files = ["relay.toml", "relay.password", "owner.password"];
    let before = files.map(|name| {
        (place.read(name), fs::metadata(place.path(name)).unwrap().modified().unwrap())
    });
    for arguments in
        [&["--url", "https://cam.example.org/", "--camera", "garden"][..], &[], &["--show"]]
    {
        let again = place.init(arguments).unwrap();
        for key in ["url", "password", "name"] {
            assert_eq!(on_the_card(&again, key), on_the_card(&first, key), "{arguments:?}");
        }
        assert!(!again.contains("written"), "{again}");
    }
    let after = files.map(|name| {
        (place.read(name), fs::metadata(place.path(name)).unwrap().modified().unwrap())
    });
    assert_eq!(before, after);
    // Another address is a setting that is there already.
    let refused = place.init(&["--url", "https://other.example.org/"]).unwrap_err();
    assert!(
        refused.contains("has settings already") && refused.contains("other.example.org"),
        "{refused}"
    );
    assert_eq!(before[0].0, place.read("relay.toml"));
}

#[test]
fn the_password_that_is_shown_is_one_that_the_relay_takes() {
    let place = Place::new();
    fs::create_dir_all(place.path("")).unwrap();
    let secret = |name: &str| {
        fs::write(place.path(name), format!("{name}-word\n")).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        place.path(name).display().to_string()
    };
    // Those beside the configuration, of an earlier run, are not the ones that it names.
    for name in ["relay.password", "owner.password"] {
        secret(name);
    }
    let (uploads, owner, door) = (secret("uploads"), secret("mine"), secret("door"));
    let data = place.folder.path().join("data").display().to_string();
    fs::create_dir(&data).unwrap();
    let text = format!(
        "[relay]\ndata_dir = \"{data}\"\npassword_file = \"{uploads}\"\n[owner]\npassword_file = \"{owner}\"\n\
         [cameras.door]\npassword_file = \"{door}\"\n[cameras.garden]\ntitle = \"x\"\n[cameras.shed]\ntitle = \"x\"\n"
    );
    fs::write(place.path("relay.toml"), text).unwrap();
    let mut passwords = command();
    passwords.arg("--config").arg(place.path("relay.toml")).args(["passwords", "add", "shed"]);
    printed(&mut passwords).unwrap();
    for arguments in [&[][..], &["--show"]] {
        let said = place.init(arguments).unwrap();
        assert_eq!(on_the_card(&said, "password"), "uploads-word");
        assert_eq!(said.matches("    password = ").count(), 1, "the garden's alone: {said}");
        assert!(said.contains("(any user name; password: mine-word)"), "{said}");
        for name in ["relay.password", "owner.password", "door"] {
            assert!(!said.contains(&format!("{name}-word")), "{said}");
        }
        for camera in ["door", "shed"] {
            let rotate = format!("relay.toml passwords rotate {camera}\n");
            assert!(said.contains(&rotate), "{said}");
        }
    }
    // One that is named and missing is not made: init does not know who has to read it.
    fs::remove_file(&owner).unwrap();
    let refused = place.init(&[]).unwrap_err();
    assert!(refused.contains("owner.password_file") && refused.contains(&owner), "{refused}");
}

#[test]
fn what_was_begun_is_finished() {
    let place = Place::new();
    fs::create_dir_all(place.path("")).unwrap();
    fs::write(place.path("relay.toml"), "# As the package leaves it.\n").unwrap();
    // A first run ended before it had written all, and left a half-written file of its own.
    fs::write(place.path("relay.password"), "mine\n").unwrap();
    fs::set_permissions(place.path("relay.password"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path(".owner.password.tmp"), "half").unwrap();
    fs::set_permissions(place.path(".owner.password.tmp"), fs::Permissions::from_mode(0o644))
        .unwrap();
    let said = place.init(&["--url", "https://cam.example.org/"]).unwrap();
    assert_eq!(on_the_card(&said, "password"), "mine");
    assert_eq!(
        (place.read("relay.password"), mode(&place.path("owner.password"))),
        ("mine\n".to_owned(), 0o600)
    );
    assert!(place.read("relay.toml").starts_with("# As the package leaves it.\n\n[owner]\n"));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 3);
}

#[test]
fn wishes_that_make_no_sense_write_nothing() {
    let place = Place::new();
    for (arguments, says) in [
        (&["--domain", "https://cam.example.org/"][..], "cam.example.org"),
        (&["--url", "cam.example.org"], "is no address"),
        (&["--camera", "My Garden"], "My Garden"),
        (&["--show"], "no password to show"),
    ] {
        let refused = place.init(arguments).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    assert!(!place.path("").exists());
    fs::create_dir_all(place.path("")).unwrap();
    fs::write(place.path("relay.password"), "mine\n").unwrap();
    fs::set_permissions(place.path("relay.password"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.init(&[]).unwrap_err().contains("chmod 600"));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
}

/// A real reader of QR codes gets the lines back, from a dark terminal's picture as from a coloured one's.
#[test]
fn the_code_is_read_by_a_real_reader() {
    let place = Place::new();
    let said = place.init(&["--url", "https://cam.example.org/", "--camera", "garden"]).unwrap();
    let rows: Vec<Vec<char>> = said
        .lines()
        .filter(|line| line.starts_with('█'))
        .map(|line| line.chars().collect())
        .collect();
    let (across, down) = (rows[0].len(), rows.len() * 2);
    // What is printed in full is bright on a dark terminal.
    let module = |x: usize, y: usize| match (rows[y / 2][x], y % 2) {
        ('█', _) | ('▀', 0) | ('▄', 1) => 255_u8,
        _ => 0,
    };
    const SCALE: usize = 4;
    let picture = place.folder.path().join("code.pgm");
    let mut file = fs::File::create(&picture).unwrap();
    writeln!(file, "P5 {} {} 255", across * SCALE, down * SCALE).unwrap();
    let pixels: Vec<u8> = (0..down * SCALE)
        .flat_map(|y| (0..across * SCALE).map(move |x| (x / SCALE, y / SCALE)))
        .map(|(x, y)| module(x, y))
        .collect();
    file.write_all(&pixels).unwrap();
    let Ok(read) = Command::new("zbarimg").args(["--raw", "--quiet"]).arg(&picture).output() else {
        eprintln!("SKIPPED: no zbarimg here (scripts/setup test)");
        return;
    };
    let password = place.read("relay.password").trim().to_owned();
    let lines = format!(
        "name = \"garden\"\n\n[relay]\nurl = \"https://cam.example.org/\"\npassword = \"{password}\"\n"
    );
    assert_eq!(String::from_utf8(read.stdout).unwrap().trim_end(), lines.trim_end());
}

fn base64(text: &str) -> String {
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
