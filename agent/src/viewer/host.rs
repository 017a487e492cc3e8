//! Which names a request may call this machine by. Pure.
//!
//! A browser takes any web site's word for where its name leads. One whose name leads here for a moment
//! could read the picture and the status from within the local network ("DNS rebinding"); its own name
//! in the header `Host` gives it away.

use std::net::IpAddr;

/// Ends of names that nobody on the Internet can have: RFC 6762, 8375, 9476 and what routers are
/// called by.
const LOCAL: [&str; 7] =
    [".local", ".home.arpa", ".internal", ".lan", ".home", ".fritz.box", ".localhost"];

/// Whether `host`, as in the header, is an address or a name of the local network.
pub(super) fn is_local(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = without_port.trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    !name.is_empty() && (!name.contains(['.', ':']) || LOCAL.iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_local_names_are_ours_and_others_are_not() {
        for host in [
            "192.168.1.7",
            "192.168.1.7:8080",
            "[fe80::1]",
            "[2001:db8::7]:80",
            "camera",
            "camera.local",
            "Camera.Local:8080",
            "camera.local.",
            "camera.fritz.box",
            "localhost:80",
            "garden.lan",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "evil.example.org",
            "camera.evil.com:80",
            "local.evil.com",
            "notlocal.example",
            "",
            ":80",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
