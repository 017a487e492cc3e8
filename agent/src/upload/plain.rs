//! Where a password may go without TLS: to this machine and into the local network, where the
//! tutorial's relay stands. Pure.

use url::Host;

/// Whether a relay of this name or address is in the local network, as far as the name says. What it
/// resolves to is no evidence: whoever listens may answer for it.
pub(crate) fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => {
            let [a, b, ..] = address.octets();
            // RFC 6598: between subscribers and their provider, and what Tailscale uses.
            let shared = a == 100 && (64..128).contains(&b);
            address.is_loopback() || address.is_private() || address.is_link_local() || shared
        }
        Host::Ipv6(address) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|v4| is_local(&Host::Ipv4(v4)));
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || mapped
        }
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and what home routers use.
            let last = name.rsplit('.').next().unwrap_or_default();
            let local = ["localhost", "local", "internal", "lan", "home"].contains(&last);
            local
                || !name.contains('.')
                || name.ends_with(".home.arpa")
                || name.ends_with("fritz.box")
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn what_is_in_the_local_network() {
        for (host, local) in [
            ("127.0.0.1", true),
            ("192.168.1.100", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("169.254.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("[::1]", true),
            ("[fe80::1]", true),
            ("[fd00::1]", true),
            ("[2001:db8::1]", false),
            ("[::ffff:192.168.1.1]", true),
            ("[::ffff:8.8.8.8]", false),
            ("localhost", true),
            ("relay", true),
            ("relay.local", true),
            ("Relay.Local.", true),
            ("relay.home.arpa", true),
            ("relay.fritz.box", true),
            ("relay.example.org", false),
            ("local.example.org", false),
            ("myhome.arpa", false),
            // 3232235876 is 192.168.1.100, and URLs may write it so.
            ("3232235876", true),
            ("134744072", false),
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(is_local(&url.host().unwrap()), local, "{host}");
        }
    }
}
