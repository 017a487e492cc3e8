//! From what the card says to the files of the programs that do it. Pure.
//!
//! All of them are made anew at each boot, in /run: the one file that is kept is the card's own text.

use std::fmt::Write;

use runtime::settings::written::{quoted, values_text};
use runtime::setup::ADDRESS;

use crate::access_point::AccessPoint;
use crate::card::{AGENT_SECTIONS, Card, Fixed, Method, Security, Wifi};

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// From /run on.
    pub path: &'static str,
    pub content: String,
    /// Only its owner, root, may read it.
    pub secret: bool,
}

const ETHERNET: &str = "systemd/network/20-stillwatch-ethernet.network";
const WIRELESS: &str = "systemd/network/25-stillwatch-wifi.network";
const SUPPLICANT: &str = "stillwatch/etc/wpa_supplicant.conf";
const COUNTRY: &str = "stillwatch/etc/country";
const PASSWORD: &str = "stillwatch/etc/relay.password";
const SSH_KEYS: &str = "stillwatch/etc/authorized_keys";
pub(crate) const AGENT_CONFIG: &str = "stillwatch/etc/agent.toml";

/// The port of a browser that is given a name only; systemd/60-stillwatch-ports.conf lets the agent have it.
const VIEWER: &str = "[viewer]\nlisten = \"[::]:80\"\n";

/// Of the setup access point's network; sorted before all others.
const SETUP: &str = "systemd/network/10-stillwatch-setup.network";

/// What the radio's roles differ by.
pub(crate) const RADIO_PATHS: [&str; 4] = [SETUP, WIRELESS, SUPPLICANT, COUNTRY];

/// All that may be written.
pub(crate) const PATHS: [&str; 8] =
    [ETHERNET, WIRELESS, SUPPLICANT, COUNTRY, PASSWORD, SSH_KEYS, AGENT_CONFIG, SETUP];

/// All files.
pub(crate) fn files(card: &Card) -> Vec<File> {
    let open = |path, content| File { path, content, secret: false };
    let secret = |path, content| File { path, content, secret: true };
    let mut files = vec![
        open(ETHERNET, ethernet(card)),
        open(AGENT_CONFIG, agent_config(card)),
        secret(PASSWORD, format!("{}\n", card.relay_password)),
    ];
    files.extend(radio(card));
    if let Some(key) = &card.ssh_key {
        files.push(open(SSH_KEYS, key.clone()));
    }
    files
}

/// Those of them that make the radio join a network.
pub(crate) fn radio(card: &Card) -> Vec<File> {
    let Some(wifi) = &card.wifi else { return Vec::new() };
    vec![
        File { path: WIRELESS, content: wireless(card), secret: false },
        File { path: SUPPLICANT, content: supplicant(wifi), secret: true },
        File { path: COUNTRY, content: format!("{}\n", wifi.country), secret: false },
    ]
}

/// Those that make the radio look around, and join nothing.
pub(crate) fn listener() -> Vec<File> {
    vec![File { path: SUPPLICANT, content: CONTROL.to_owned(), secret: true }]
}

/// Those that make it the setup access point.
pub(crate) fn access_point(access_point: &AccessPoint, interface: &str) -> Vec<File> {
    let AccessPoint { name, password } = access_point;
    let supplicant = format!(
        "{CONTROL}\nnetwork={{\n    mode=2\n    ssid={}\n    frequency={CHANNEL_MHZ}\n    key_mgmt=WPA-PSK\n    \
         proto=RSN\n    pairwise=CCMP\n    group=CCMP\n    psk=\"{password}\"\n}}\n",
        hex(name.as_bytes()),
    );
    // By name: with WLANInterfaceType= it would depend on what networkd has heard of the radio's role.
    let network = format!(
        "[Match]\nName={interface}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nAddress={ADDRESS}/24\n\
         DHCPServer=yes\nIPv6AcceptRA=no\nMulticastDNS=no\n\n[DHCPServer]\nPoolOffset=10\nPoolSize=50\n\
         DefaultLeaseTimeSec=10min\nEmitDNS=yes\nDNS={ADDRESS}\nEmitRouter=yes\nEmitNTP=no\n\
         SendOption=114:string:http://{ADDRESS}/\n"
    );
    vec![
        File { path: SETUP, content: network, secret: false },
        File { path: SUPPLICANT, content: supplicant, secret: true },
    ]
}

/// Channel 6: allowed in all countries, before anybody has said in which one we are.
const CHANNEL_MHZ: u32 = 2437;

/// For wpa_cli.
const CONTROL: &str = "ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n";

/// The cable: preferred to WiFi by its metric. A fixed address is the WiFi's, if there is one.
fn ethernet(card: &Card) -> String {
    let fixed = card.fixed.as_ref().filter(|_| card.wifi.is_none());
    let matches = "[Match]\nType=ether\nKind=!*\n";
    network(matches, 100, fixed, "")
}

fn wireless(card: &Card) -> String {
    let matches = "[Match]\nType=wlan\nWLANInterfaceType=station\n";
    // While it roams, and after a short look at another channel, addresses and routes stay.
    network(matches, 600, card.fixed.as_ref(), "IgnoreCarrierLoss=3s\n")
}

fn network(matches: &str, metric: u32, fixed: Option<&Fixed>, more: &str) -> String {
    let addresses = match fixed {
        None => "DHCP=yes\n".to_owned(),
        Some(Fixed { address, dns, .. }) => {
            let dns = dns.iter().map(|dns| format!("DNS={dns}\n")).collect::<String>();
            format!("Address={address}\n{dns}")
        }
    };
    let route = match fixed {
        Some(Fixed { gateway, .. }) => format!("\n[Route]\nGateway={gateway}\nMetric={metric}\n"),
        None => format!(
            "\n[DHCPv4]\nRouteMetric={metric}\nUseDomains=yes\n\n[IPv6AcceptRA]\nRouteMetric={metric}\n"
        ),
    };
    format!(
        "{matches}\n[Link]\nRequiredForOnline=no\n\n[Network]\n{addresses}IPv6AcceptRA=yes\n\
         MulticastDNS=yes\n{more}{route}"
    )
}

/// wpa_supplicant's configuration (its README, and `wpa_supplicant.conf` in its documentation). Names and
/// passwords in it are hexadecimal or in quotes of which only the last one ends them.
fn supplicant(wifi: &Wifi) -> String {
    let mut out = format!(
        "{CONTROL}country={}\n\n\
         network={{\n    ssid={}\n    scan_ssid={}\n",
        wifi.country,
        hex(wifi.ssid.as_bytes()),
        u8::from(wifi.hidden),
    );
    let lines = match &wifi.security {
        Security::Open => vec!["key_mgmt=NONE".to_owned()],
        // WPA3 where the access point has it; else WPA2. Management frames protected where both can.
        Security::Password(password) => vec![
            "key_mgmt=SAE WPA-PSK WPA-PSK-SHA256".to_owned(),
            format!("psk=\"{password}\""),
            "ieee80211w=1".to_owned(),
        ],
        Security::Key(key) => {
            vec!["key_mgmt=WPA-PSK WPA-PSK-SHA256".to_owned(), format!("psk={key}")]
        }
        Security::Enterprise { identity, anonymous, password, method, server } => {
            let (eap, inner) = match method {
                Method::Peap => ("PEAP", "auth=MSCHAPV2"),
                Method::Ttls => ("TTLS", "auth=PAP"),
            };
            let mut lines = vec![
                "key_mgmt=WPA-EAP WPA-EAP-SHA256".to_owned(),
                format!("eap={eap}"),
                format!("phase2=\"{inner}\""),
                format!("identity={}", hex(identity.as_bytes())),
                format!("password={}", hex(password.as_bytes())),
                // Without it anybody who calls his network the same gets the password.
                "ca_cert=\"/etc/ssl/certs/ca-certificates.crt\"".to_owned(),
            ];
            lines.extend(
                anonymous.as_ref().map(|a| format!("anonymous_identity={}", hex(a.as_bytes()))),
            );
            lines.extend(server.as_ref().map(|server| format!("domain_suffix_match=\"{server}\"")));
            lines
        }
    };
    for line in lines {
        // Writing to a String can't fail.
        let _ = writeln!(out, "    {line}");
    }
    out + "}\n"
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The agent's configuration: its own sections as they stand on the card, and what is said there in other
/// words.
pub(crate) fn agent_config(card: &Card) -> String {
    let section = |name| {
        let own = match name {
            // Who has one camera need not name it: it is the relay's /live.jpeg then.
            "camera" if card.written.text("name").is_some() => {
                format!("id = {}\n", quoted(card.name.as_str()))
            }
            "upload" => format!("relay = {}\n", quoted(&card.relay_addresses())),
            _ => String::new(),
        };
        let given = values_text(&card.written, name);
        let is_empty = own.is_empty() && given.is_empty();
        if is_empty { String::new() } else { format!("[{name}]\n{own}{given}\n") }
    };
    let mut config: String = AGENT_SECTIONS.into_iter().map(section).collect();
    if card.viewer {
        config += VIEWER;
    }
    config
}

#[cfg(test)]
mod tests;
