//! What a relay's configuration says that a first run has to know, and which cameras have passwords of their own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use frame::CameraId;
use runtime::settings::written::read;
use serde::Deserialize;

use super::Arguments;
use crate::config::{DEFAULT_LISTEN, KEYS};

/// A longer list of passwords is not looked into.
const MAX_LIST: u64 = 8 << 20;

/// What the configuration says, and the arguments where it says nothing.
#[derive(Debug)]
pub(super) struct Known {
    pub domain: Option<String>,
    /// It answers at HTTPS.
    pub https: bool,
    pub url: Option<String>,
    pub listen: String,
    pub cameras: Vec<CameraId>,
    /// Those with a `password_file` of their own.
    pub own: BTreeSet<CameraId>,
}

impl Known {
    pub(super) fn read(text: &str, arguments: &Arguments) -> Known {
        // One with mistakes is the relay's to complain about.
        let written = read(text, KEYS, &[]).unwrap_or_default();
        let value = |key: &str| written.text(key).map(str::to_owned);
        // Of several, people use the first.
        let first = |names: String| names.split_whitespace().next().map(str::to_owned);
        let id = |key: &str| key.strip_prefix("cameras.")?.split('.').next()?.parse().ok();
        let mut cameras: Vec<CameraId> = written.keys().filter_map(id).collect();
        cameras.dedup();
        if !arguments.camera.is_empty() {
            cameras.clone_from(&arguments.camera);
        }
        let named = |key: &&str| key.ends_with(".password_file") && written.text(key).is_some();
        let domain = value("tls.domain").or_else(|| arguments.domain.clone()).and_then(first);
        Known {
            https: domain.is_some() || value("tls.certificate_file").is_some(),
            domain,
            url: value("site.url").or_else(|| arguments.url.clone()),
            listen: value("relay.listen").unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            cameras,
            own: written.keys().filter(named).filter_map(id).collect(),
        }
    }

    pub(super) fn url(&self, address: Option<IpAddr>) -> String {
        match (&self.url, &self.domain) {
            (Some(url), _) => format!("{}/", url.trim_end_matches('/')),
            (None, Some(domain)) => format!("https://{domain}/"),
            (None, None) => {
                let listen = self.listen.parse::<SocketAddr>().ok();
                let host = listen.map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified());
                let port = listen.map_or(5000, |listen| listen.port());
                match host.or(address) {
                    Some(ip) => format!("http://{}/", SocketAddr::new(ip, port)),
                    None => format!("http://ADDRESS:{port}/"),
                }
            }
        }
    }
}

/// The files that `relay.password_file` and `owner.password_file` name: they win over those beside the configuration.
pub(super) fn password_files(text: &str) -> (Option<PathBuf>, Option<PathBuf>) {
    let written = read(text, KEYS, &[]).unwrap_or_default();
    let file = |key: &str| written.text(key).map(PathBuf::from);
    (file("relay.password_file"), file("owner.password_file"))
}

/// The cameras for which `stillwatch-relay passwords` keeps one: the relay's is not theirs, or not for long. What is
/// wrong with the list, the relay and `passwords list` say.
pub(super) fn of_passwords(data: &Path) -> BTreeSet<CameraId> {
    #[derive(Deserialize)]
    struct List {
        passwords: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        camera: Option<String>,
        retired_us: Option<i64>,
    }
    let path = data.join("access/passwords.json");
    // The folder is not root's, who runs this: what lies there may be a pipe.
    if !fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
        return BTreeSet::new();
    }
    let mut text = Vec::new();
    let whole = File::open(path).and_then(|file| file.take(MAX_LIST).read_to_end(&mut text));
    let list = whole.ok().and_then(|_| serde_json::from_slice::<List>(&text).ok());
    let valid = list.into_iter().flat_map(|list| list.passwords);
    valid
        .filter(|entry| entry.retired_us.is_none())
        .filter_map(|entry| entry.camera?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_ones_own_is_https_as_a_domain_is() {
        for (text, https) in [
            ("", false),
            ("[tls]\nplain_http = true\n", false),
            ("[tls]\ndomain = \"cam.example.org\"\n", true),
            ("[tls]\ncertificate_file = \"/etc/stillwatch/chain.pem\"\n", true),
        ] {
            let none = Arguments {
                domain: None,
                contact: None,
                url: None,
                camera: Vec::new(),
                show: false,
                no_start: false,
            };
            assert_eq!(Known::read(text, &none).https, https, "{text}");
        }
    }
}
