//! The relay at HTTPS without a proxy: a domain is enough (with Debian's `pebble` as the authority), or files are; with
//! curl, an agent and Chromium.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

use stories::acme::Pebble;
use stories::browser::Browser;
use stories::nginx::{Authority, free_port};
use stories::{PASSWORD, PYTHON, Relay, agent};
use tempfile::TempDir;
use testbed::eventually::{becomes_true, eventually};
use testbed::http::{get, request};
use testbed::program::SOON;

const DOMAIN: &str = "cam.example.org";

/// A relay with a section `tls`, and its ports.
struct Site {
    relay: Relay,
    https: u16,
    http: u16,
    _folder: TempDir,
}

impl Site {
    fn start(https: u16, http: u16, lines: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        let text = format!(
            "[tls]\nlisten = \"127.0.0.1:{https}\"\nredirect_listen = \"127.0.0.1:{http}\"\n{lines}\n"
        );
        fs::write(&file, text).unwrap();
        Site { relay: Relay::configured(&file), https, http, _folder: folder }
    }

    /// With an authority; where the authority looks is said apart.
    fn with_domain(pebble: &Pebble, https: u16, http: u16, more: &str) -> Site {
        let (directory, ca) = (pebble.directory(), pebble.ca_file());
        let ca = ca.display();
        let lines = format!(
            "domain = \"{DOMAIN}\"\ndirectory = \"{directory}\"\ndirectory_ca_file = \"{ca}\"\n{more}"
        );
        Site::start(https, http, &lines)
    }

    /// curl for `https://DOMAIN/path`; what it prints, an error if it says so.
    fn curl(&self, roots: &Path, path: &str, arguments: &[&str]) -> Result<String, String> {
        let port = self.https;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--cacert"])
            .arg(roots)
            .args(["--resolve", &format!("{DOMAIN}:{port}:127.0.0.1")])
            .args(arguments)
            .arg(format!("https://{DOMAIN}:{port}{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(text) } else { Err(format!("{text}{said}")) }
    }

    /// What OpenSSL makes of the certificate that is shown.
    fn certificate(&self, then: &str) -> String {
        let port = self.https;
        let script = format!(
            "echo | openssl s_client -connect 127.0.0.1:{port} -servername {DOMAIN} 2>/dev/null | {then}"
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn serial(&self) -> String {
        self.certificate("openssl x509 -noout -serial")
    }

    /// Its key, for an agent that knows another name of this machine.
    fn pin(&self) -> String {
        let key = self.certificate(
            "openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary \
             | openssl base64",
        );
        format!("sha256//{key}")
    }
}

#[test]
fn a_domain_is_enough() {
    let (https, http) = (free_port(), free_port());
    let mut pebble = Pebble::start(https, http, 7_776_000);
    let mut site = Site::with_domain(&pebble, https, http, "");
    site.relay.program.line("a certificate for cam.example.org, valid until ");
    let roots = pebble.roots().unwrap();

    // Both versions of HTTP, and an upload as the tutorial's client sends it.
    let version = ["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"];
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let found = site.curl(&roots, "/status.json", &[&[flag], &version[..]].concat());
        assert_eq!(found.as_deref(), Ok(expected));
    }
    let port = site.https;
    let agent = agent(
        &format!("https://localhost:{port}/"),
        &["--source", "pattern", "--size", "640x360", "--fps", "10"],
        &[("STILLWATCH_UPLOAD_PIN".to_owned(), site.pin())],
    );
    agent.line("uploading over a WebSocket");
    site.relay.frame_after(3);
    let posted = ["--data-binary", "GIF", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let path = format!("/?password={PASSWORD}");
    assert_eq!(site.curl(&roots, &path, &posted).as_deref(), Ok("415"));

    // A stream over HTTP/2.
    let stream = ["--http2", "--max-time", "5", "--output", "-"];
    let read = site.curl(&roots, "/live.mjpeg", &stream).unwrap_err();
    assert!(read.matches("frame-seq").count() >= 5, "{read:.2000}");

    // The page is live, over HTTP/2 and a WebSocket.
    let rules = format!("host-resolver-rules=MAP {DOMAIN} 127.0.0.1");
    let browser = Browser::start(&[&rules, "ignore-certificate-errors"]);
    let tab = browser.open(&format!("https://{DOMAIN}:{port}/"));
    tab.becomes("document.querySelector('.camera')?.dataset.state === 'live'");
    assert_eq!(tab.text("performance.getEntriesByType('navigation')[0].nextHopProtocol"), "h2");
    let socket = format!("wss://{DOMAIN}:{port}/");
    assert!(tab.requests().iter().any(|url| url.starts_with(&socket)), "{:?}", tab.requests());
    tab.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots/https.png"));
    assert_eq!(tab.complaints(), [""; 0]);
    drop((tab, browser));

    // What was given once survives the authority, and a restart.
    let serial = site.serial();
    pebble.program.stop();
    site.relay.program.stop();
    site.relay.restart();
    assert_eq!(site.serial(), serial);
}

#[test]
fn plain_http_is_sent_on() {
    let authority = Authority::default();
    let (pem, key) = authority.certificate(DOMAIN, 2099);
    let (pem, key) = (pem.display(), key.display());
    let files = format!("certificate_file = \"{pem}\"\nkey_file = \"{key}\"\n");
    let site = Site::start(
        free_port(),
        free_port(),
        &format!("{files}domain = \"{DOMAIN}\"\n[relay]\nproxies = \"none\"\n"),
    );
    let at_https = format!("https://{DOMAIN}:{}", site.https);
    for address in [([127, 0, 0, 1], site.http).into(), site.relay.address] {
        for (method, path) in
            [("GET", "/live.jpeg?1"), ("GET", "/"), ("POST", "/?password=x"), ("GET", "/none")]
        {
            let answer = eventually("an answer", SOON, || {
                request(address, method, path, &[("Host", "evil.net")], b"")
                    .map_err(|e| e.to_string())
            });
            let to = answer.header("location");
            assert_eq!((answer.status(), to), (308, Some(&*format!("{at_https}{path}"))));
        }
    }
    // At a name that somebody else's page could be at it is nobody.
    for (flag, named) in
        [("--http1.1", "evil.example"), ("--http2", "evil.example"), ("--http2", DOMAIN)]
    {
        let host = format!("Host: {named}");
        let asked =
            [flag, "--header", &host, "--output", "/dev/null", "--write-out", "%{http_code}"];
        let answered = if named == DOMAIN { "200" } else { "421" };
        let found = site.curl(&authority.file(), "/status.json", &asked);
        assert_eq!(found.as_deref(), Ok(answered), "{flag} {named}");
    }
    // A client that follows gets there with its body: the tutorial's does.
    let post = format!(
        "import requests\nanswer = requests.post('http://{}/?password={PASSWORD}', data=b'GIF', verify=False, \
         proxies={{}}, timeout=30)\nprint(answer.status_code, answer.url.split('/')[0])",
        site.relay.address
    );
    // requests has no --resolve: the name is in its own process only.
    let named = format!(
        "import socket\nknown = socket.getaddrinfo\nsocket.getaddrinfo = lambda host, *more, **names: \
         known('127.0.0.1' if host == '{DOMAIN}' else host, *more, **names)\n{post}"
    );
    let output = Command::new(PYTHON).args(["-W", "ignore", "-c", &named]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "415 https:", "{output:?}");
}

/// A slow line is no idle one: hyper is done with an answer long before the viewer has it.
#[test]
fn a_slow_viewer_gets_all_of_a_large_picture_over_http_2() {
    let authority = Authority::default();
    let (pem, key) = authority.certificate(DOMAIN, 2099);
    let site = Site::start(
        free_port(),
        free_port(),
        &format!(
            "certificate_file = \"{}\"\nkey_file = \"{}\"\n[relay]\nheader_timeout = \"1s\"\n\
             max_frame_bytes = 67108864\n",
            pem.display(),
            key.display()
        ),
    );
    // Larger than what sockets keep, by comments behind the picture's first two bytes.
    let card = stories::test_card("320x240");
    let comment = [&[0xff, 0xfe, 0xff, 0xff][..], &[b'x'; 65_533]].concat();
    let mut picture = card[..2].to_vec();
    picture.extend(comment.repeat(480));
    picture.extend(&card[2..]);
    let posted =
        request(site.relay.address, "POST", &format!("/?password={PASSWORD}"), &[], &picture);
    assert_eq!(posted.unwrap().status(), 200);
    let slowly = [
        "--http2",
        "--limit-rate",
        "4M",
        "--output",
        "/dev/null",
        "--write-out",
        "%{size_download}",
    ];
    let came = site.curl(&authority.file(), "/live.jpeg", &slowly);
    assert_eq!(came, Ok(picture.len().to_string()));
}

#[test]
fn whose_certificate_is_renewed_while_it_is_asked() {
    let (https, http) = (free_port(), free_port());
    let pebble = Pebble::start(https, http, 15);
    let site = Site::with_domain(&pebble, https, http, "");
    site.relay.program.line("a certificate for cam.example.org");
    let first = site.serial();
    let roots = pebble.roots().unwrap();
    becomes_true("another certificate", SOON, || {
        site.curl(&roots, "/healthz", &["--fail"]).unwrap();
        site.serial() != first
    });
}

#[test]
fn port_80_is_enough_for_the_proof() {
    let (https, http, nobody) = (free_port(), free_port(), free_port());
    let pebble = Pebble::start(nobody, http, 7_776_000);
    let site = Site::with_domain(&pebble, https, http, "");
    site.relay.program.line("a certificate for cam.example.org");
    site.curl(&pebble.roots().unwrap(), "/healthz", &["--fail"]).unwrap();
}

#[test]
fn what_the_authority_found_wrong_is_said_and_the_relay_goes_on() {
    let (https, http, nobody) = (free_port(), free_port(), free_port());
    let pebble = Pebble::start(nobody, nobody, 7_776_000);
    let site = Site::with_domain(&pebble, https, http, "");
    let line = site.relay.program.line("no new certificate for cam.example.org: ");
    assert!(line.contains("could not see that cam.example.org is this relay"), "{line}");
    assert!(line.contains("HTTPS is not answered; trying again in 20m"), "{line}");
    assert_eq!(get(site.relay.address, "/healthz").unwrap().status(), 200);
    assert!(site.curl(&pebble.roots().unwrap(), "/healthz", &[]).is_err());
    let metrics = String::from_utf8(get(site.relay.address, "/metrics").unwrap().body).unwrap();
    assert!(!metrics.contains("stillwatch_certificate_expiry_seconds "), "{metrics}");
    assert!(!metrics.contains("stillwatch_tls_handshakes_failed_total 0"), "{metrics}");
}

#[test]
fn files_are_read_again_and_damage_is_said() {
    let authority = Authority::default();
    let (pem, key) = authority.certificate(DOMAIN, 2098);
    let files =
        format!("certificate_file = \"{}\"\nkey_file = \"{}\"", pem.display(), key.display());
    let site = Site::start(free_port(), free_port(), &files);
    let ca = authority.file();
    site.curl(&ca, "/healthz", &["--fail"]).unwrap();
    let until = |year: &str| {
        let text = String::from_utf8(get(site.relay.address, "/metrics").unwrap().body).unwrap();
        text.contains(&format!("stillwatch_certificate_expiry_seconds {year}"))
    };
    // 2098-12-31.
    assert!(until("4070822400"));
    let first = site.serial();

    fs::write(&pem, "half a certific").unwrap();
    site.relay.program.line("going on with the certificate from before");
    assert_eq!(site.serial(), first);
    site.curl(&ca, "/healthz", &["--fail"]).unwrap();

    authority.certificate(DOMAIN, 2099);
    becomes_true("the new certificate", SOON, || {
        site.serial() != first && !site.serial().is_empty()
    });
    site.curl(&ca, "/healthz", &["--fail"]).unwrap();
    site.relay.program.line("the certificate's files have changed: it is for cam.example.org now");
    assert!(until("4102358400"));
}
