//! What wpa_supplicant says of the networks it heard and of the one it is connected to. Pure.

use std::collections::HashMap;

use runtime::setup::{Heard, Wants};

/// More than anybody scrolls through on a phone.
const MAX_NETWORKS: usize = 40;

/// IEEE 802.11.
const MAX_SSID: usize = 32;

/// `SCAN_RESULTS` of its control interface: a line of heads, then address, frequency, level, flags and
/// name, separated by tabs. Each network once, the strongest first. Those that hide their name, or whose
/// name is no text, can't be shown.
pub(super) fn networks(results: &str) -> Vec<Heard> {
    let mut found: HashMap<String, Heard> = HashMap::new();
    for line in results.lines() {
        let parts: Vec<&str> = line.splitn(5, '\t').collect();
        let [_, _, level, flags, name] = parts.as_slice() else { continue };
        let (Ok(signal), Some(ssid)) = (level.parse::<i32>(), unescaped(name)) else { continue };
        if ssid.is_empty() || ssid.len() > MAX_SSID || ssid.chars().any(char::is_control) {
            continue;
        }
        let heard = Heard { ssid: ssid.clone(), signal, wants: wants(flags) };
        let known = found.entry(ssid).or_insert_with(|| heard.clone());
        if known.signal < signal {
            *known = heard;
        }
    }
    let mut found: Vec<Heard> = found.into_values().collect();
    found.sort_by(|a, b| b.signal.cmp(&a.signal).then_with(|| a.ssid.cmp(&b.ssid)));
    found.truncate(MAX_NETWORKS);
    found
}

fn wants(flags: &str) -> Wants {
    let has = |word| flags.contains(word);
    // Most of those that take accounts and passwords are told apart by name.
    if has("PSK") || has("SAE") || has("WEP") {
        Wants::Password
    } else if has("EAP") {
        Wants::Account
    } else {
        Wants::Nothing
    }
}

/// wpa_supplicant's `printf_encode` undone; `None` if it is no UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'e' => 0x1b,
            b'x' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// The value of `key` in `STATUS`, lines of `key=value`.
pub(super) fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_network_once_with_its_strongest_signal_first() {
        let results = "bssid / frequency / signal level / flags / ssid\n\
            02:00:00:00:01:00\t2412\t-70\t[WPA2-PSK-CCMP][ESS]\tHome\n\
            02:00:00:00:01:01\t5180\t-41\t[WPA2-PSK+SAE-CCMP][ESS]\tHome\n\
            02:00:00:00:01:02\t2412\t-30\t[ESS]\tCaf\\xc3\\xa9 \\\"x\\\"\n\
            02:00:00:00:01:03\t2412\t-60\t[WPA2-EAP-CCMP][ESS]\teduroam\n\
            02:00:00:00:01:04\t2412\t-20\t[WPA2-PSK-CCMP][ESS]\t\\x00\\x00\n\
            02:00:00:00:01:05\t2412\t-20\t[WPA2-PSK-CCMP][ESS]\t\n\
            02:00:00:00:01:06\t2412\t-20\t[ESS]\t\\xff\n\
            nonsense\n";
        let found = networks(results);
        let of = |at: usize| (found[at].ssid.as_str(), found[at].signal, found[at].wants);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(of(0), ("Café \"x\"", -30, Wants::Nothing));
        assert_eq!(of(1), ("Home", -41, Wants::Password));
        assert_eq!(of(2), ("eduroam", -60, Wants::Account));
    }

    #[test]
    fn a_status_is_read_by_whole_keys() {
        let status = "bssid=02:00\nssid=wpa_state=x\nwpa_state=COMPLETED\nmode=AP\n";
        assert_eq!(value(status, "wpa_state"), Some("COMPLETED"));
        assert_eq!((value(status, "mode"), value(status, "state")), (Some("AP"), None));
    }

    proptest! {
        #[test]
        fn nobody_near_makes_it_panic(name in ".{0,80}", flags in ".{0,20}") {
            let _ = networks(&format!("a\t1\t-3\t{flags}\t{name}\n"));
        }
    }
}
