use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime::settings::Kind;

use super::*;

/// A folder with a configuration file and a password file that nobody else may read.
fn folder(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("relay.toml"), file).unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "s3cret\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

fn load(file: &str, flags: cli::Settings) -> Result<Config, ConfigError> {
    let folder = folder(file);
    let path = |name: &str| Some(folder.path().join(name));
    let password_file = path("password").map(|p| p.display().to_string());
    Config::load(&cli::Settings {
        config: path("relay.toml"),
        password_file: flags.password_file.or(password_file),
        ..flags
    })
}

fn without_paths(config: &Config) -> String {
    format!("{:?}", Config { password_note: String::new(), ..config.clone() })
}

#[test]
fn defaults_are_those_of_the_table() {
    // Each default of the table, read as if it had been written, changes nothing.
    let mut file = String::new();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        file += &format!("{} = {}\n", key.name, key.default);
    }
    let written = load(&file, cli::Settings::default()).unwrap();
    let defaults = load("", cli::Settings::default()).unwrap();
    assert_eq!(without_paths(&written), without_paths(&defaults));
}

#[test]
fn every_key_of_the_table_can_be_read() {
    for key in KEYS {
        let value = match key.kind {
            Kind::Duration(..) => "\"7s\"",
            Kind::Integer(_, most) if most < 4096 => "3",
            Kind::Integer(..) => "4096",
            Kind::Flag => "true",
            Kind::Text | Kind::Choice(_) | Kind::Number(..) | Kind::Size => match key.name {
                "relay.proxies" => "\"192.0.2.0/24 2001:db8::/32\"",
                "site.url" => "\"https://cam.example.org/garden\"",
                "site.hosts" => "\"relay.lan Cam-2.example.org\"",
                "site.mirrors" => "\"https://b.example.org/ https://c.example.org/cams/\"",
                "embed.origins" => "\"https://example.org http://192.0.2.1:8080\"",
                "notify.ntfy" | "notify.webhook" => "\"http://127.0.0.1/topic\"",
                "notify.command" => "\"/bin/true\"",
                "export.sizes" => "\"800x600 1x1\"",
                // It wants others beside it: see below.
                "export.s3_bucket" => continue,
                "cameras.*.channel" => "\"beta\"",
                "tls.domain" => "\"cam.example.org www.example.org\"",
                "cluster.url" => "\"nats://10.0.0.5:4222 tls://nats.example.org\"",
                // It has to be given with others.
                "cluster.role" => "\"both\"",
                "cluster.storage" => "\"file\"",
                "cluster.name" | "cluster.stream" | "cluster.user" => "\"alps-1\"",
                "tls.directory" => "\"https://localhost:14000/dir\"",
                name if name.ends_with("_file") => continue,
                _ => "\"127.0.0.1:80\"",
            },
        };
        let name = key.name.replace('*', "garden");
        let result = load(&format!("{name} = {value}\n"), cli::Settings::default());
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn what_is_wrong_with_a_cluster_is_said() {
    let url = "url = \"nats://10.0.0.5:4222\"\n";
    for (section, words) in [
        ("role = \"edge\"".to_owned(), "cluster.url"),
        ("url = \"10.0.0.5:4222\"".to_owned(), "nats://10.0.0.5:4222"),
        ("url = \"nats://user:password@10.0.0.5\"".to_owned(), "cluster.user"),
        (format!("{url}role = \"viewer\""), "both, ingest, edge"),
        (format!("{url}storage = \"tape\""), "memory nor file"),
        (format!("{url}name = \"a.b\""), "cluster.name"),
        (format!("{url}stream = \"a b\""), "cluster.stream"),
        (format!("{url}user = \"alps\""), "cluster-password"),
        (format!("{url}password_file = \"/etc/hostname\""), "/etc/hostname"),
        (format!("{url}certificate_file = \"/a.pem\""), "cluster.key_file"),
        (format!("{url}key_file = \"/a.key\""), "cluster.certificate_file"),
        (format!("{url}credentials_file = \"/nowhere\""), "/nowhere"),
    ] {
        let error = load(&format!("[cluster]\n{section}\n"), cli::Settings::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(words), "{section}: {error}");
        assert!(!error.contains("user:password"), "{error}");
    }
    let config = load(&format!("[cluster]\n{url}"), cli::Settings::default()).unwrap();
    assert!(!config.cluster.unwrap().name.is_empty(), "the machine's");
    assert!(load("", cli::Settings::default()).unwrap().cluster.is_none());
}

#[test]
fn a_camera_has_its_own_limits_and_the_rest_from_all() {
    let file = "[freshness]\nstale_after = \"3s\"\nfrozen_uploads = 9\n\
                [cameras.garden]\nstale_after = \"5m\"\n[cameras.plain]\n";
    let config = load(file, cli::Settings::default()).unwrap();
    let names: Vec<_> = config.cameras.keys().map(CameraId::as_str).collect();
    assert_eq!(names, ["default", "garden", "plain"]);
    let seconds = |name: &str| {
        let limits = config.cameras.get(&name.parse().unwrap()).unwrap().freshness;
        (limits.stale_after.as_secs(), limits.frozen_uploads)
    };
    assert_eq!(
        (seconds("default"), seconds("garden"), seconds("plain")),
        ((3, 9), (300, 9), (3, 9))
    );
}

#[test]
fn a_cameras_own_password_is_read() {
    let own = folder("");
    let path = own.path().join("password");
    let file = format!("[cameras.garden]\npassword_file = \"{}\"", path.display());
    let config = load(&file, cli::Settings::default()).unwrap();
    let garden = config.cameras.get(&"garden".parse().unwrap()).unwrap();
    assert_eq!(garden.password.as_ref().unwrap().expose(), "s3cret");
}

#[test]
fn mistakes_are_named() {
    let exposed = folder("");
    let open = exposed.path().join("password");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let with_open =
        cli::Settings { password_file: Some(open.display().to_string()), ..Default::default() };
    let listen = |text: &str| cli::Settings { listen: Some(text.into()), ..Default::default() };
    for (file, flags, says) in [
        ("[relay]\nlisten_on = \"x\"", Default::default(), "did you mean \"relay.listen\"?"),
        ("[relay]\nmax_uploads = 0", Default::default(), "a whole number from 1 to"),
        ("[cameras.\"Garden 1\"]\nstale_after = \"1s\"", Default::default(), "is no camera id"),
        (
            "relay.max_cameras = 1\n[cameras.a]\nstale_after = \"1s\"",
            Default::default(),
            "2 cameras",
        ),
        (
            "site.mirrors = \"b.example.org\"",
            Default::default(),
            "relay.toml: site.mirrors: \"b.example.org\" is no address",
        ),
        ("site.hosts = \"relay.lan https://x\"", Default::default(), "\"https://x\" is no name"),
        ("[cameras.a]\nchannel = \"Beta 1\"", Default::default(), "is no name of a channel"),
        ("", listen("localhost"), "--listen: relay.listen: \"localhost\" is no address and port"),
        ("", listen("1.2.3.4"), "is no address and port"),
        ("", with_open, "chmod 600"),
        ("notify.ntfy = \"ntfy.sh/s3cret\"", Default::default(), "notify.ntfy: this is no address"),
        ("notify.command = \"mail me\"", Default::default(), "is no absolute path"),
        ("notify.max_per_hour = 3", Default::default(), "a whole number from 4 to"),
    ] {
        let error = load(file, flags).unwrap_err().to_string();
        assert!(error.contains(says), "{file}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let missing = cli::Settings { config: Some("/nonexistent".into()), ..Default::default() };
    assert!(Config::load(&missing).unwrap_err().to_string().contains("/nonexistent"));
}

#[test]
fn configuration_reference_is_in_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let right = settings::with_reference(&page, "relay", KEYS).unwrap();
    if std::env::var_os("BLESS").is_some() {
        return fs::write(&path, &right).unwrap();
    }
    assert!(page == right, "docs/configuration.md: run BLESS=1 cargo test -p stillwatch-relay");
}

#[test]
fn wrong_words_of_lists_are_named() {
    for (line, key, word) in [
        ("relay.proxies = \"192.0.2.0/24 example.org\"", "relay.proxies", "example.org"),
        ("export.sizes = \"800x600 800X600\"", "export.sizes", "800X600"),
    ] {
        let error = load(line, cli::Settings::default()).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(word), "{error}");
    }
    let none = load("relay.proxies = \"none\"", cli::Settings::default()).unwrap();
    assert!(none.connections.proxies.is_empty());
}

#[test]
fn https_needs_a_name_or_a_certificate() {
    let tls = |file: &str| load(file, cli::Settings::default()).map(|config| config.tls);
    assert!(tls("").unwrap().is_none());
    let one =
        tls("[tls]\ndomain = \"Cam.Example.org\"\nlisten = \"[::]:8443\"\n").unwrap().unwrap();
    assert_eq!(one.host.as_deref(), Some("cam.example.org:8443"));
    assert!(matches!(one.source, crate::tls::Source::Acme(_)));
    let files = "[tls]\ncertificate_file = \"/tls/both.pem\"\nredirect_listen = \"none\"\n";
    let files = tls(files).unwrap().unwrap();
    assert_eq!((files.redirect_listen, files.host), (None, None));
    for (wrong, said) in [
        ("domain = \"192.0.2.1\"", "is no domain"),
        ("domain = \"localhost\"", "is no domain"),
        ("domain = \"*.example.org\"", "is no domain"),
        ("domain = \"https://cam.example.org\"", "is no domain"),
        ("key_file = \"/tls/key.pem\"", "no tls.certificate_file"),
        ("domain = \"cam.example.org\"\nlisten = \"443\"", "no address and port"),
        ("domain = \"cam.example.org\"\ndirectory = \"http://acme\"", "https://"),
        ("domain = \"cam.example.org\"\ndirectory_ca_file = \"/none.pem\"", "/none.pem"),
    ] {
        let error = tls(&format!("[tls]\n{wrong}\n")).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("tls."), "{error}");
    }
    // The pages know their address.
    let config = load("[tls]\ndomain = \"cam.example.org\"\n", cli::Settings::default()).unwrap();
    assert_eq!(config.pages.url.as_deref(), Some("https://cam.example.org/"));
}

#[test]
fn a_bucket_wants_all_that_belongs_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "storages-secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let of = |keys: &[(&str, &str)]| {
        let lines: String =
            keys.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        load(&format!("[export]\n{lines}"), cli::Settings::default())
    };
    let secret = ("s3_secret_file", secret.to_str().unwrap());
    let (bucket, key) = (("s3_bucket", "my-cameras"), ("s3_access_key", "AK"));
    let whole = of(&[bucket, key, secret, ("s3_endpoint", "https://s3.example.org/")]).unwrap();
    let whole = whole.export.bucket.unwrap();
    assert_eq!(whole.endpoint.as_deref(), Some("https://s3.example.org"));
    assert!(!format!("{whole:?}").contains("storages-secret"));
    assert!(of(&[key, secret]).unwrap().export.bucket.is_none());
    for (keys, named) in [
        (&[bucket][..], "export.s3_access_key"),
        (&[bucket, key], "s3-secret"),
        (&[("s3_bucket", "a/b"), key, secret], "export.s3_bucket"),
        (&[bucket, key, secret, ("s3_endpoint", "s3.example.org")], "export.s3_endpoint"),
        (
            &[bucket, key, secret, ("s3_endpoint", "https://me:pw@s3.example.org")],
            "export.s3_endpoint",
        ),
    ] {
        let wrong = of(keys).unwrap_err().to_string();
        assert!(wrong.contains(named), "{wrong}");
    }
    let wrong = load("site.shared_cache = \"1500ms\"", cli::Settings::default()).unwrap_err();
    assert!(
        wrong.to_string().contains("site.shared_cache: caches count in whole seconds"),
        "{wrong}"
    );
}
