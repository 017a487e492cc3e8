//! The page of the setup access point in Chromium, at a phone's size, with the real program behind it and
//! somebody in the place of the access point's keeper. The access point itself is `machine_setup.rs`.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::settings::written::Mistake;
use runtime::setup::{Answer, Ask, Heard, Setup, Wants};
use stories::browser::{Browser, Tab};
use testbed::http::request;
use testbed::program::{Program, SOON, command};

/// What the keeper was sent, and what it says is in trouble.
#[derive(Debug, Default)]
struct Kept {
    sent: Vec<String>,
    trouble: Option<String>,
}

/// Somebody who answers like the keeper.
fn keeper(socket: &Path) -> Arc<Mutex<Kept>> {
    let listener = UnixListener::bind(socket).unwrap();
    let kept = Arc::new(Mutex::new(Kept::default()));
    let own = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let answer = answer(&serde_json::from_str(&line).unwrap(), &own);
            writeln!(stream, "{}", serde_json::to_string(&answer).unwrap()).unwrap();
        }
    });
    kept
}

fn answer(ask: &Ask, kept: &Mutex<Kept>) -> Answer {
    let mut kept = kept.lock().unwrap();
    match ask {
        Ask::Look => {
            let heard = |ssid: &str, signal, wants| Heard { ssid: ssid.to_owned(), signal, wants };
            Answer::Setup(Setup {
                name: "stillwatch-camera".to_owned(),
                networks: vec![
                    heard("My Home", -48, Wants::Password),
                    heard("Café am Markt", -66, Wants::Nothing),
                    heard("eduroam", -78, Wants::Account),
                ],
                trouble: kept.trouble.clone(),
                left: Duration::from_secs(532),
            })
        }
        Ask::Scan => Answer::Begun,
        Ask::Take { text } if text.contains("garden 1") => Answer::Wrong(vec![Mistake {
            line: 2,
            text: "name: 1 to 32 of a-z, 0-9 and -, such as \"garden-1\"; not \"garden 1\""
                .to_owned(),
        }]),
        Ask::Take { text } => {
            kept.sent.push(text.clone());
            Answer::Begun
        }
    }
}

/// The page's program, where its page is, and where names are answered.
fn page(socket: &Path) -> (Program, SocketAddr, SocketAddr) {
    let mut setup = command("stillwatch-agent");
    setup.args(["setup", "--address", "127.0.0.1", "--http-port", "0", "--dns-port", "0"]);
    let program = Program::start("the setup page", setup.arg("--socket").arg(socket));
    let address = |line: String| {
        let end = line.rsplit([' ', '/']).find(|part| part.contains(':')).unwrap();
        end.parse().unwrap()
    };
    let page = address(program.line("the setup page is at "));
    let names = address(program.line("names are answered on "));
    (program, page, names)
}

fn picture_of_the_screen(tab: &Tab, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.screenshot(&folder.join(format!("{name}.png")));
}

fn fill(tab: &Tab, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        let input = format!("document.querySelector('form input[name={field}]')");
        tab.eval(&format!("{input}.value = {}", serde_json::to_string(value).unwrap()));
    }
}

/// Two of them stand in one field.
const RELAYS: &str = "https://cam.example.org/ https://cam3.example.org/";

const SUBMIT: &str = "document.querySelector('form button').click()";

#[test]
fn what_is_entered_on_a_phone_becomes_the_cards_text() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("setup.sock");
    let kept = keeper(&socket);
    let (_program, address, _) = page(&socket);
    let browser = Browser::start(&["lang=de-DE"]);
    let tab = browser.tab();
    tab.resize(390, 844, 2.0, true);
    tab.go(&format!("http://{address}/"));
    tab.becomes("document.querySelectorAll('.choice').length === 6");
    tab.eval("document.querySelector('input[value=\"wifi:My Home\"]').click()");
    fill(
        &tab,
        &[
            ("name", "garden 1"),
            ("country", "DE"),
            ("wifi_password", "hunter22"),
            ("relay", RELAYS),
            ("relay_password", "s3cret"),
        ],
    );
    // A phone's keyboard for addresses has no space.
    tab.becomes("(input => input.type === 'text' && !input.inputMode)(document.querySelector('input[name=relay]'))");
    picture_of_the_screen(&tab, "setup-form");
    tab.eval(SUBMIT);
    tab.becomes("document.querySelector('.wrong')?.textContent.includes('such as \"garden-1\"')");
    // What was right stands there still.
    tab.becomes("document.querySelector('input[value=\"wifi:My Home\"]').checked");
    picture_of_the_screen(&tab, "setup-mistake");
    fill(&tab, &[("name", "garden"), ("wifi_password", "")]);
    tab.eval(SUBMIT);
    tab.becomes("document.body.innerText.includes('this network wants a password')");
    fill(&tab, &[("wifi_password", "hunter\"22")]);
    tab.eval("document.querySelector('input[name=viewer]').click()");
    tab.eval(SUBMIT);
    tab.becomes("document.body.innerText.includes('now tries to join “My Home”')");
    picture_of_the_screen(&tab, "setup-done");
    let sent = kept.lock().unwrap().sent.clone();
    let expected = format!(
        "# Written by the camera's setup page.\nname = \"garden\"\nviewer = true\n\n[wifi]\n\
         country = \"DE\"\nssid = \"My Home\"\npassword = 'hunter\"22'\n\n[relay]\n\
         url = \"{RELAYS}\"\npassword = \"s3cret\"\n"
    );
    assert_eq!(sent, [expected]);

    // It came back: the reason, what was entered, and nobody's passwords.
    kept.lock().unwrap().trouble = Some("is its password right?".to_owned());
    tab.go(&format!("http://{address}/"));
    tab.becomes("document.body.innerText.includes('did not work: is its password right?')");
    tab.becomes(&format!("document.querySelector('input[name=relay]').value === '{RELAYS}'"));
    tab.becomes("document.querySelector('input[name=wifi_password]').value === ''");
    picture_of_the_screen(&tab, "setup-again");
    fill(&tab, &[("wifi_password", "hunter23")]);
    tab.eval(SUBMIT);
    tab.becomes("document.body.innerText.includes('now tries to join')");
    let sent = kept.lock().unwrap().sent.clone();
    assert!(sent[1].contains("hunter23") && sent[1].contains("s3cret"), "{sent:?}");
    // Chromium would have one form for each password, for its own to be kept.
    let complaints: Vec<String> =
        tab.complaints().into_iter().filter(|line| !line.starts_with("log: [DOM]")).collect();
    assert_eq!(complaints, [] as [String; 0]);
}

#[test]
fn everything_else_leads_to_it_and_it_takes_forms_of_its_own_only() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("setup.sock");
    let kept = keeper(&socket);
    let (_program, address, names) = page(&socket);
    let here = format!("http://{address}/");
    let ask = |method, path, headers: &[(&str, &str)], body: &[u8]| {
        request(address, method, path, headers, body).unwrap()
    };
    for path in ["/generate_204", "/hotspot-detect.html", "/connecttest.txt"] {
        let answer = ask("GET", path, &[("Host", "captive.apple.com")], &[]);
        assert_eq!(
            (answer.status(), answer.header("location")),
            (302, Some(here.as_str())),
            "{path}"
        );
    }
    let form = b"network=wifi%3AMy+Home&wifi_password=hunter22&relay=http%3A%2F%2F10.0.0.1%2F&relay_password=x";
    for origin in ["http://evil.example", "null"] {
        assert_eq!(ask("POST", "/", &[("Origin", origin)], form).status(), 403);
    }
    assert_eq!(ask("POST", "/", &[], &vec![b'x'; 64 << 10]).status(), 413);
    assert_eq!(kept.lock().unwrap().sent.len(), 0);
    assert_eq!(ask("POST", "/", &[("Origin", here.trim_end_matches('/'))], form).status(), 200);
    assert_eq!(kept.lock().unwrap().sent.len(), 1);
    assert_eq!(ask("POST", "/scan", &[], &[]).status(), 200);

    // What comes from others is text, and nothing but that.
    kept.lock().unwrap().trouble = Some("<b>bold</b>".to_owned());
    let page = String::from_utf8_lossy(&ask("GET", "/", &[], &[]).body).into_owned();
    assert!(!page.contains("<b>bold") && page.contains("bold"), "{page}");

    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(SOON)).unwrap();
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07captive\x05apple\x03com\0\0\x01\0\x01";
    for nonsense in [&question[..20], &[0xff; 900]] {
        phone.send_to(nonsense, names).unwrap();
    }
    phone.send_to(question, names).unwrap();
    let mut answer = [0; 512];
    let length = phone.recv(&mut answer).unwrap();
    assert_eq!(
        (answer[..2].to_vec(), &answer[length - 4..length]),
        (vec![0x12, 0x34], &[127, 0, 0, 1][..])
    );
}

#[test]
fn without_a_radio_it_waits_for_one_and_can_be_stopped() {
    let mut setup = command("stillwatch-agent");
    setup.args(["setup", "--interface", "no-such-radio", "--socket", "/nonexistent"]);
    let mut program = Program::start("the setup page", &mut setup);
    program.line("there is no no-such-radio yet: waiting for it");
    assert!(program.stop().success());
}
