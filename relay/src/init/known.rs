//! What a relay's configuration says that a first run has to know.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use frame::CameraId;
use runtime::settings::written::read;

use super::Arguments;
use crate::config::{DEFAULT_LISTEN, KEYS};

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
