//! What can stand in `stillwatch.toml`, and what it means: from a text to a [`Card`] that leaves nothing to
//! interpret, or to all of its mistakes. Pure.

use std::net::IpAddr;

use frame::CameraId;
use ipnet::IpNet;
use runtime::settings::written::{self, Mistake, Written, with_texts};
use runtime::settings::{Key, Kind};
use url::Url;

use crate::access_point::is_password;

/// Sections that are the agent's own, and which it checks itself; docs/configuration.md lists them.
pub(crate) const AGENT_SECTIONS: [&str; 7] =
    ["camera", "upload", "offline", "heal", "led", "button", "update"];

/// What is no affair of the agent's. image/stillwatch-example.toml is this list with more words.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: Kind::Text,
        default: "\"camera\"",
        help: "The camera's name, with `.local` behind it in the local network. If it is written, the relay shows it at `/cameras/NAME/live.jpeg`, else at `/live.jpeg`.",
    },
    Key {
        name: "timezone",
        kind: Kind::Text,
        default: "\"UTC\"",
        help: "Such as `Europe/Berlin`; for the journal only.",
    },
    Key {
        name: "viewer",
        kind: Kind::Flag,
        default: "false",
        help: "Whether everybody in the local network may see the picture at `http://NAME.local/` ([viewer.md](viewer.md)).",
    },
    Key {
        name: "wifi.country",
        kind: Kind::Text,
        default: "",
        help: "Two letters (`DE`): the rules for radio where the camera hangs. WiFi needs it.",
    },
    Key { name: "wifi.ssid", kind: Kind::Text, default: "", help: "The network's name." },
    Key {
        name: "wifi.password",
        kind: Kind::Text,
        default: "",
        help: "Its password. Without this line: a network without one.",
    },
    Key {
        name: "wifi.hidden",
        kind: Kind::Flag,
        default: "false",
        help: "Whether the network does not tell its name.",
    },
    Key {
        name: "wifi.identity",
        kind: Kind::Text,
        default: "",
        help: "Enterprise networks (802.1X, eduroam): who you are; the password is yours then.",
    },
    Key {
        name: "wifi.anonymous_identity",
        kind: Kind::Text,
        default: "",
        help: "Enterprise networks: what is said of you before it is encrypted.",
    },
    Key {
        name: "wifi.method",
        kind: Kind::Choice(&["peap", "ttls"]),
        default: "\"peap\"",
        help: "Enterprise networks: how the password is sent.",
    },
    Key {
        name: "wifi.server",
        kind: Kind::Text,
        default: "",
        help: "Enterprise networks: the authentication server's name, as in its certificate.",
    },
    Key {
        name: "network.address",
        kind: Kind::Text,
        default: "",
        help: "A fixed address with its network's length, `192.168.1.50/24`; else DHCP gives one.",
    },
    Key {
        name: "network.gateway",
        kind: Kind::Text,
        default: "",
        help: "With a fixed address: the router's.",
    },
    Key {
        name: "network.dns",
        kind: Kind::Text,
        default: "",
        help: "With a fixed address: name servers, separated by blanks; else the router.",
    },
    Key {
        name: "relay.url",
        kind: Kind::Text,
        default: "",
        help: "Where the pictures go: `https://cam.example.org/`. Several, separated by spaces, are tried in this order; their password is the same.",
    },
    Key { name: "relay.password", kind: Kind::Text, default: "", help: "The relay's password." },
    Key {
        name: "setup.password",
        kind: Kind::Text,
        default: "",
        help: "The password of the setup access point ([setup.md](setup.md)), 8 to 63 characters, for who prints labels; else one is made, and stands in `stillwatch-status.txt`. It stays on the card.",
    },
    Key {
        name: "ssh.key",
        kind: Kind::Text,
        default: "",
        help: "A public key (`ssh-ed25519 AAAA… you@home`); without one nobody can log in.",
    },
];

/// What is blanked on the card once the camera has it.
pub(crate) const SECRETS: [&str; 2] = ["wifi.password", "relay.password"];

/// The camera's, if it has none.
const NAME: &str = "camera";

/// The time zone that is always there.
pub(crate) const UTC: &str = "UTC";

/// More than anybody has; each address that is wrong is told.
const MAX_RELAYS: usize = 16;

/// How an address is written.
const ADDRESS_EXAMPLE: &str = "write it as in \"https://cam.example.org/\"";

/// As `runtime::secret` reads it from a file.
const MAX_PASSWORD: usize = 1024;

/// The WiFi to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wifi {
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: String,
    /// 1 to 32 bytes (IEEE 802.11).
    pub ssid: String,
    pub hidden: bool,
    pub security: Security,
}

/// How it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Security {
    Open,
    /// 8 to 63 printable ASCII characters (IEEE 802.11, annex J).
    Password(String),
    /// The key that is made from password and name, as 64 hexadecimal digits.
    Key(String),
    Enterprise {
        identity: String,
        anonymous: Option<String>,
        password: String,
        method: Method,
        server: Option<String>,
    },
}

/// The inner part of an enterprise network's authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Peap,
    Ttls,
}

/// A fixed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// With the length of its network: `192.168.1.50/24`.
    pub address: String,
    pub gateway: IpAddr,
    pub dns: Vec<IpAddr>,
}

/// What the card says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    pub name: CameraId,
    pub timezone: String,
    pub wifi: Option<Wifi>,
    pub fixed: Option<Fixed>,
    /// In the order of preference; one at least.
    pub relays: Vec<Url>,
    /// The same for all of them.
    pub relay_password: String,
    pub ssh_key: Option<String>,
    /// Whether the local viewer is asked for.
    pub viewer: bool,
    /// Where things stand, and what is the agent's.
    pub written: Written,
}

impl Card {
    /// The relays' addresses, as the agent and people read them.
    pub(crate) fn relay_addresses(&self) -> String {
        let urls: Vec<&str> = self.relays.iter().map(Url::as_str).collect();
        urls.join(" ")
    }
}

/// Whom the WiFi's password is told to, and in which way.
const NETWORK: [&str; 4] = ["wifi.ssid", "wifi.identity", "wifi.method", "wifi.server"];

/// Whether `text` can be read, right or not.
pub(crate) fn is_readable(text: &str) -> bool {
    written::read(text, KEYS, &AGENT_SECTIONS).is_ok()
}

/// `text` with the secrets that were blanked, as they are in `stored`. Whoever names another network or
/// other relays, or one more, has to write their password, too: nobody gets somebody else's.
pub(crate) fn with_secrets(text: &str, stored: &str) -> String {
    let Ok(written) = written::read(text, KEYS, &AGENT_SECTIONS) else { return text.to_owned() };
    let Ok(stored) = written::read(stored, KEYS, &AGENT_SECTIONS) else { return text.to_owned() };
    let own = |secret: &'static str, whose: &[&str]| {
        let is_same = whose.iter().all(|key| written.text(key) == stored.text(key));
        let value = stored.text(secret).filter(|_| is_same && written.is_empty(secret))?;
        Some((written.get(secret)?.span.clone(), value))
    };
    let secrets = [own("wifi.password", &NETWORK), own("relay.password", &["relay.url"])];
    with_texts(text, secrets.into_iter().flatten().collect())
}

/// `text` without its secrets.
pub(crate) fn without_secrets(text: &str) -> String {
    let Ok(written) = written::read(text, KEYS, &AGENT_SECTIONS) else { return text.to_owned() };
    let blank = |secret| written.get(secret).map(|entry| (entry.span.clone(), ""));
    with_texts(text, SECRETS.into_iter().filter_map(blank).collect())
}

/// What the setup access point goes by: the camera's name, and the password for it, as far as they are right.
pub(crate) fn for_setup(text: &str) -> (CameraId, Option<String>) {
    let written = written::read(text, KEYS, &AGENT_SECTIONS).unwrap_or_default();
    let name = written.text("name").unwrap_or(NAME).parse();
    let password = written.text("setup.password").filter(|text| is_password(text));
    let own = || NAME.parse().unwrap_or_default();
    (name.unwrap_or_else(|_| own()), password.map(str::to_owned))
}

/// Whether nothing is written but what the setup access point goes by, and what can be said beforehand.
pub(crate) fn is_for_setup_only(text: &str) -> bool {
    let beforehand = |key: &str| key == "name" || key == "timezone" || key.starts_with("setup.");
    written::read(text, KEYS, &AGENT_SECTIONS).is_ok_and(|written| written.keys().all(beforehand))
}

/// Reads a card's text, its secrets in it. `knows_zone` says whether a time zone exists.
///
/// # Errors
/// All mistakes.
pub(crate) fn read(text: &str, knows_zone: impl Fn(&str) -> bool) -> Result<Card, Vec<Mistake>> {
    let written = written::read(text, KEYS, &AGENT_SECTIONS)?;
    let mut check = Check { written: &written, mistakes: Vec::new() };
    let name = check.name();
    let timezone = check.timezone(knows_zone);
    let wifi = check.wifi();
    let fixed = check.fixed();
    let relays = check.relays();
    let relay_password = check.secret("relay.password", "relay.url");
    let ssh_key = check.ssh_key();
    check.agent();
    check.setup_password();
    let viewer = written.get("viewer").and_then(|entry| entry.value.as_bool()).unwrap_or(false);
    let mut mistakes = check.mistakes;
    mistakes.sort();
    match (name, timezone, relays, relay_password) {
        (Some(name), Some(timezone), Some(relays), Some(relay_password)) if mistakes.is_empty() => {
            Ok(Card {
                name,
                timezone,
                wifi,
                fixed,
                relays,
                relay_password,
                ssh_key,
                viewer,
                written,
            })
        }
        _ => Err(mistakes),
    }
}

struct Check<'a> {
    written: &'a Written,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    /// Notes a mistake; the place is `key`'s.
    fn wrong<T>(&mut self, key: &str, what: impl Into<String>) -> Option<T> {
        let line = self.written.line(key);
        self.mistakes.push(Mistake { line, text: format!("{key}: {}", what.into()) });
        None
    }

    fn name(&mut self) -> Option<CameraId> {
        let name = self.written.text("name").unwrap_or(NAME);
        match name.parse() {
            Ok(id) => Some(id),
            Err(_) => {
                let better = suggested(name);
                self.wrong(
                    "name",
                    format!("1 to 32 of a-z, 0-9 and -, such as \"{better}\"; not \"{name}\""),
                )
            }
        }
    }

    fn timezone(&mut self, knows_zone: impl Fn(&str) -> bool) -> Option<String> {
        let zone = self.written.text("timezone").unwrap_or(UTC).to_owned();
        if knows_zone(&zone) {
            return Some(zone);
        }
        self.wrong("timezone", format!("there is no \"{zone}\"; write it as in \"Europe/Berlin\""))
    }

    fn wifi(&mut self) -> Option<Wifi> {
        let written = self.written;
        if !written.section("wifi").any(|(key, _)| written.text(&format!("wifi.{key}")).is_some()) {
            // All its lines were left empty: there is a cable.
            return None;
        }
        let country = written.text("wifi.country").unwrap_or_default().to_ascii_uppercase();
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            self.wrong::<()>("wifi.country", "two letters are needed, such as \"DE\" or \"GB\"");
        }
        let Some(ssid) = written.text("wifi.ssid").map(str::to_owned) else {
            return self.wrong("wifi.ssid", "the network's name is missing");
        };
        if ssid.len() > 32 {
            self.wrong::<()>("wifi.ssid", "a network's name has no more than 32 bytes");
        }
        let hidden = written.get("wifi.hidden").and_then(|entry| entry.value.as_bool());
        let security = self.security()?;
        Some(Wifi { country, ssid, hidden: hidden.unwrap_or(false), security })
    }

    fn security(&mut self) -> Option<Security> {
        let written = self.written;
        let own = |key: &str| written.text(key).map(str::to_owned);
        if let Some(identity) = own("wifi.identity") {
            return Some(Security::Enterprise {
                identity,
                anonymous: own("wifi.anonymous_identity"),
                password: self.secret("wifi.password", "wifi.ssid")?,
                method: match written.text("wifi.method") {
                    Some("ttls") => Method::Ttls,
                    _ => Method::Peap,
                },
                server: self.server()?,
            });
        }
        if written.get("wifi.password").is_none() {
            return Some(Security::Open);
        }
        let password = self.secret("wifi.password", "wifi.ssid")?;
        if password.len() == 64 && password.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(Security::Key(password));
        }
        if is_password(&password) {
            return Some(Security::Password(password));
        }
        let why = match password.is_ascii() {
            true => "a WiFi password has 8 to 63 characters",
            false => "a WiFi password has none but plain letters, digits and signs (ASCII)",
        };
        self.wrong("wifi.password", format!("{why}; is it mistyped?"))
    }

    /// Names, separated by semicolons.
    #[expect(clippy::option_option, reason = "wrong, or not given")]
    fn server(&mut self) -> Option<Option<String>> {
        let Some(server) = self.written.text("wifi.server") else { return Some(None) };
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-;".contains(c);
        match server.chars().all(is_name) {
            true => Some(Some(server.to_owned())),
            false => self.wrong("wifi.server", "is no name; write it as in \"radius.example.org\""),
        }
    }

    /// A secret that may have been blanked, of what stands at `whose`.
    fn secret(&mut self, key: &str, whose: &str) -> Option<String> {
        match self.written.text(key) {
            Some(secret) if secret.chars().any(char::is_control) => {
                self.wrong(key, "has a line's end or another invisible sign in it")
            }
            Some(secret) if secret.len() > MAX_PASSWORD => {
                self.wrong(key, format!("has more than {MAX_PASSWORD} bytes"))
            }
            Some(secret) => Some(secret.to_owned()),
            None if self.written.is_empty(key) => self.wrong(
                key,
                format!("is empty, and none is kept for this {whose}: write it once more"),
            ),
            None => self.wrong(key, "is missing"),
        }
    }

    fn fixed(&mut self) -> Option<Fixed> {
        let written = self.written;
        let Some(address) = written.text("network.address") else {
            for key in ["network.gateway", "network.dns"] {
                if written.text(key).is_some() {
                    self.wrong::<()>(key, "says nothing without network.address");
                }
            }
            return None;
        };
        let Some(net) = address.trim().parse::<IpNet>().ok().filter(|net| net.prefix_len() > 0)
        else {
            return self.wrong(
                "network.address",
                format!("\"{address}\" is no address with its network's length; write \"192.168.1.50/24\""),
            );
        };
        let gateway = match written.text("network.gateway").map(|text| text.trim().parse()) {
            Some(Ok(gateway)) if net.contains(&gateway) => gateway,
            Some(Ok(_)) => {
                return self.wrong("network.gateway", format!("is not in the network {net}"));
            }
            Some(Err(_)) => return self.wrong("network.gateway", "is no address"),
            None => {
                return self.wrong("network.gateway", "a fixed address needs the router's, too");
            }
        };
        let dns = written.text("network.dns").map(|text| {
            text.split([' ', ',']).filter(|part| !part.is_empty()).map(str::parse).collect()
        });
        match dns {
            Some(Ok(dns)) => Some(Fixed { address: net.to_string(), gateway, dns }),
            Some(Err(_)) => self.wrong("network.dns", "addresses, separated by blanks"),
            None => Some(Fixed { address: net.to_string(), gateway, dns: vec![gateway] }),
        }
    }

    fn relays(&mut self) -> Option<Vec<Url>> {
        let text = self.written.text("relay.url").unwrap_or_default();
        let count = text.split_whitespace().count();
        if count == 0 {
            let why = format!("is missing: where do the pictures go? {ADDRESS_EXAMPLE}");
            return self.wrong("relay.url", why);
        }
        if count > MAX_RELAYS {
            return self.wrong("relay.url", format!("has more than {MAX_RELAYS} addresses"));
        }
        let mut relays = Vec::new();
        for (number, address) in (1..).zip(text.split_whitespace()) {
            match relay(address) {
                Ok(url) => relays.push(url),
                Err(why) if count == 1 => return self.wrong("relay.url", why),
                Err(why) => {
                    let why = format!("address {number} of {count}: {why}");
                    self.wrong::<()>("relay.url", why);
                }
            }
        }
        Some(relays)
    }

    fn ssh_key(&mut self) -> Option<String> {
        let key = self.written.text("ssh.key")?;
        let kinds = ["ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
        let lines: Vec<&str> = key.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.iter().any(|line| line.contains("PRIVATE KEY")) {
            return self.wrong("ssh.key", "this is the private key, which nobody else may have; write the one from the file that ends in .pub");
        }
        // The shortest, of Ed25519, has 68 letters.
        let is_key = |line: &&str| {
            let body = line.split_whitespace().nth(1).unwrap_or_default();
            kinds.iter().any(|kind| line.starts_with(kind)) && body.len() >= 60
        };
        match !lines.is_empty() && lines.iter().all(is_key) {
            true => Some(lines.iter().flat_map(|line| [line, "\n"]).collect()),
            false => self.wrong("ssh.key", "is no public key; it begins with ssh-ed25519, say"),
        }
    }

    fn setup_password(&mut self) {
        if self.written.text("setup.password").is_some_and(|text| !is_password(text)) {
            let why = "has to have 8 to 63 plain letters, digits and signs (ASCII)";
            self.wrong::<()>("setup.password", why);
        }
    }

    /// What the agent has keys of its own for, and is said here in other words.
    fn agent(&mut self) {
        for (key, instead) in [
            ("camera.id", "name"),
            ("upload.relay", "relay.url"),
            ("upload.password_file", "relay.password"),
        ] {
            if self.written.get(key).is_some() {
                self.wrong::<()>(key, format!("on the card this is {instead}"));
            }
        }
    }
}

/// One relay's address, or what is wrong with it. That does not repeat it: a password may stand in it.
fn relay(address: &str) -> Result<Url, String> {
    if address.ends_with([',', ';']) || address.matches("://").count() > 1 {
        return Err("several addresses are separated by spaces, and by nothing else".to_owned());
    }
    match Url::parse(address) {
        Ok(url) if url.query_pairs().any(|(name, _)| name == "password") => {
            Err("write the password as relay.password, without ?password=".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("write the password as relay.password, and no name before the @".to_owned())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Err(format!("ends before the ? or #; {ADDRESS_EXAMPLE}"))
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => {
            Err(format!("it has to begin with http:// or https://; {ADDRESS_EXAMPLE}"))
        }
    }
}

/// What could be meant by a name that is none.
fn suggested(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'ä' => out.push_str("ae"),
            'ö' => out.push_str("oe"),
            'ü' => out.push_str("ue"),
            'ß' => out.push_str("ss"),
            _ if out.ends_with('-') || out.is_empty() => {}
            _ => out.push('-'),
        }
    }
    let out: String = out.chars().take(32).collect();
    let out = out.trim_matches('-');
    if out.is_empty() { "garden" } else { out }.to_owned()
}

#[cfg(test)]
mod tests;
