//! Whether the world finds this relay at its own address, and gets all of it. Pure.

use std::net::IpAddr;

use super::finding::Finding;
use super::network::Moving;
use super::service::Answer;

/// Where viewers and cameras go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Public {
    /// Ends with a slash.
    pub url: String,
    pub host: String,
    pub https: bool,
}

impl Public {
    /// `None` for what is no address.
    pub(super) fn read(url: &str) -> Option<Public> {
        let parsed: http::Uri = url.parse().ok()?;
        let host = parsed.host()?.trim_matches(['[', ']']).to_owned();
        let url = format!("{}/", url.trim_end_matches('/'));
        Some(Public { url, host, https: parsed.scheme_str() == Some("https") })
    }

    /// Whether it is a name, which has to be looked up.
    pub(super) fn has_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

/// Who answered at the public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// This very relay.
    Ours,
    Other,
    Nobody,
    /// It can't be told: the relay here does not answer.
    Unknown,
}

/// Compares what the world gets with what is got here.
pub(super) fn who(here: &Answer, there: &Answer) -> Who {
    match (here, there) {
        (_, Answer::Nothing | Answer::Silent(_)) => Who::Nobody,
        (Answer::Relay(here), Answer::Relay(there)) if here.instance == there.instance => Who::Ours,
        (Answer::Relay(_), Answer::Relay(_) | Answer::Other(_)) => Who::Other,
        (_, _) => Who::Unknown,
    }
}

/// Whether the name leads here.
pub(super) fn judge_name(
    host: &str,
    found: &Result<Vec<IpAddr>, String>,
    own: &[IpAddr],
    who: Who,
) -> Finding {
    let list = |addresses: &[IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let fix = || {
        let own = if own.is_empty() { "none".to_owned() } else { list(own) };
        format!(
            "at the provider of the name: a record A (IPv4) or AAAA (IPv6) with the address by which the internet \
                 knows this machine; its own are: {own}"
        )
    };
    match found {
        Err(why) => Finding::wrong("dns", format!("{host} is not found: {why}"), fix()),
        Ok(found) if found.is_empty() => {
            Finding::wrong("dns", format!("{host} has no address"), fix())
        }
        Ok(found) if found.iter().any(|ip| own.contains(ip) || ip.is_loopback()) => {
            Finding::ok("dns", format!("{host} is {}", list(found)))
        }
        Ok(found) if who == Who::Ours => {
            Finding::ok("dns", format!("{host} is {}, which leads here", list(found)))
        }
        Ok(found) => Finding::warning(
            "dns",
            format!("{host} is {}, and that is no address of this machine", list(found)),
            format!("right behind a router or a proxy that passes it on; else {}", fix()),
        ),
    }
}

/// Whether this very relay answers there.
pub(super) fn judge_reached(public: &Public, who: Who, there: &Answer) -> Finding {
    let url = &public.url;
    let check = "reachability";
    let ports = if public.https { "443 (and 80)" } else { "of it" };
    let firewall = format!(
        "let port {ports} through: the firewall here, the provider's, and the router's port forwarding. A router that \
         can't be reached by its own outer address from inside looks the same: try with a phone, without WiFi"
    );
    match (who, there) {
        (Who::Ours, _) => Finding::ok(check, format!("{url} is this relay")),
        (_, Answer::Nothing) => {
            Finding::wrong(check, format!("{url}: nobody listens there"), firewall)
        }
        (_, Answer::Silent(why)) if why.contains("certificate") || why.contains("tls") => {
            Finding::wrong(
                check,
                format!("{url}: its certificate is not accepted: {why}"),
                "see the line \"tls\"; behind a proxy it is the proxy's",
            )
        }
        (_, Answer::Silent(why)) => Finding::wrong(check, format!("{url}: {why}"), firewall),
        (Who::Unknown, _) => Finding::warning(
            check,
            format!("{url} answers; whether for this relay can't be told while it does not run"),
            "start it, and ask again",
        ),
        (_, Answer::Relay(_)) => Finding::wrong(
            check,
            format!("{url} is another relay"),
            "let the name, or the proxy, lead to this machine; or correct site.url",
        ),
        (_, Answer::Other(what)) => Finding::wrong(
            check,
            format!("{url}: {what}; that is not this relay"),
            "the proxy there has to pass everything on (docs/deploy.md), and site.url to be what it is called outside",
        ),
    }
}

/// Whether what stays open gets through.
pub(super) fn judge_socket(answer: &Result<u16, String>) -> Finding {
    let fix = "the proxy has to pass Upgrade on, with HTTP/1.1 (docs/nginx/stillwatch-proxy.conf); without it cameras \
               and pages fall back to what is slower";
    match answer {
        Ok(101) => Finding::ok("websocket", "gets through"),
        Ok(401 | 403) => {
            Finding::ok("websocket", "asks for a password, as the pages do; not tried further")
        }
        Ok(status) => Finding::warning(
            "websocket",
            format!("does not get through: {status} instead of 101"),
            fix,
        ),
        Err(why) => Finding::warning("websocket", format!("does not get through: {why}"), fix),
    }
}

/// Whether pictures come while they are sent.
pub(super) fn judge_moving(moving: Moving) -> Finding {
    let fix = "proxy_buffering off, or what your proxy calls it (docs/nginx/stillwatch-proxy.conf)";
    match moving {
        Moving::Picture => Finding::ok("mjpeg", "comes as it is sent"),
        Moving::HeadOnly => {
            Finding::ok("mjpeg", "answers; no camera sent a picture yet, so more can't be seen")
        }
        Moving::Status(401 | 403) => {
            Finding::ok("mjpeg", "asks for a password, as the pages do; not tried further")
        }
        Moving::Status(status) => Finding::warning(
            "mjpeg",
            format!("is answered with {status}"),
            "see the line \"reachability\"",
        ),
        Moving::HeldBack => {
            Finding::warning("mjpeg", "a part of the picture is held back on the way", fix)
        }
        Moving::Nothing => Finding::warning(
            "mjpeg",
            "nothing comes while the stream lasts: it is collected on the way",
            fix,
        ),
    }
}

/// Whether who types no `https://` gets there.
pub(super) fn judge_redirect(
    host: &str,
    answer: &Result<(u16, Option<String>), String>,
) -> Finding {
    let fix = "let port 80 through to this machine, or have the proxy redirect";
    match answer {
        Ok((301 | 302 | 307 | 308, Some(to))) if to.starts_with(&format!("https://{host}")) => {
            Finding::ok("redirect", format!("http://{host}/ leads to https"))
        }
        Ok((status, to)) => {
            let to = to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
            Finding::warning(
                "redirect",
                format!("http://{host}/ is answered with {status}{to}, and does not lead to https"),
                fix,
            )
        }
        Err(why) => Finding::warning(
            "redirect",
            format!("http://{host}/ does not answer ({why}): who types no https finds nothing"),
            fix,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::super::service::Health;
    use super::*;

    fn relay(instance: &str) -> Answer {
        Answer::Relay(Health {
            version: "0.1.0".to_owned(),
            instance: instance.to_owned(),
            persistence: "works".to_owned(),
            persistence_problem: None,
        })
    }

    #[test]
    fn addresses_are_taken_apart() {
        let public = Public::read("https://cam.example.org/garden").unwrap();
        assert_eq!(
            (public.url.as_str(), public.host.as_str()),
            ("https://cam.example.org/garden/", "cam.example.org")
        );
        assert!(public.https && public.has_name());
        let address = Public::read("http://[2001:db8::1]:5000/").unwrap();
        assert_eq!(
            (address.host.as_str(), address.has_name(), address.https),
            ("2001:db8::1", false, false)
        );
    }

    #[test]
    fn only_the_same_process_is_ours() {
        let other = Answer::Other("404".to_owned());
        assert_eq!(who(&relay("a"), &relay("a")), Who::Ours);
        assert_eq!(who(&relay("a"), &relay("b")), Who::Other);
        assert_eq!(who(&relay("a"), &other), Who::Other);
        assert_eq!(who(&relay("a"), &Answer::Nothing), Who::Nobody);
        assert_eq!(who(&Answer::Nothing, &relay("a")), Who::Unknown);
    }

    #[test]
    fn names() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [ip("192.168.1.5"), ip("203.0.113.7")];
        let judge = |found: Result<Vec<IpAddr>, String>, who| {
            judge_name("cam.example.org", &found, &own, who)
        };
        assert_eq!(judge(Ok(vec![ip("203.0.113.7")]), Who::Nobody).verdict, Verdict::Ok);
        assert_eq!(judge(Ok(vec![ip("198.51.100.1")]), Who::Ours).verdict, Verdict::Ok);
        let elsewhere = judge(Ok(vec![ip("198.51.100.1")]), Who::Nobody);
        assert_eq!(elsewhere.verdict, Verdict::Warning);
        let missing = judge(Err("no such name".to_owned()), Who::Nobody);
        assert_eq!(missing.verdict, Verdict::Wrong);
        assert!(missing.fix.unwrap().contains("192.168.1.5, 203.0.113.7"));
        assert_eq!(judge(Ok(Vec::new()), Who::Nobody).verdict, Verdict::Wrong);
    }

    #[test]
    fn what_answers_there() {
        let public = Public::read("https://cam.example.org/").unwrap();
        let judge = |here: &Answer, there: &Answer| judge_reached(&public, who(here, there), there);
        assert_eq!(judge(&relay("a"), &relay("a")).verdict, Verdict::Ok);
        for (there, says) in [
            (relay("b"), "is another relay"),
            (Answer::Other("502".to_owned()), "not this relay"),
            (Answer::Nothing, "nobody listens"),
            (Answer::Silent("no answer within 10 s".to_owned()), "no answer"),
            (
                Answer::Silent("invalid peer certificate: Expired".to_owned()),
                "certificate is not accepted",
            ),
        ] {
            let found = judge(&relay("a"), &there);
            assert!(found.verdict == Verdict::Wrong && found.says.contains(says), "{found:?}");
        }
        assert_eq!(judge(&Answer::Nothing, &relay("b")).verdict, Verdict::Warning);
    }

    #[test]
    fn what_proxies_do() {
        assert_eq!(judge_socket(&Ok(101)).verdict, Verdict::Ok);
        assert_eq!(judge_socket(&Ok(426)).verdict, Verdict::Warning);
        assert_eq!(judge_socket(&Err("late".to_owned())).verdict, Verdict::Warning);
        assert_eq!(judge_moving(Moving::Picture).verdict, Verdict::Ok);
        assert_eq!(judge_moving(Moving::HeadOnly).verdict, Verdict::Ok);
        for held in [Moving::HeldBack, Moving::Nothing, Moving::Status(502)] {
            assert_eq!(judge_moving(held).verdict, Verdict::Warning);
        }
        let leads = |status, to: Option<&str>| {
            judge_redirect("cam.example.org", &Ok((status, to.map(str::to_owned)))).verdict
        };
        assert_eq!(leads(308, Some("https://cam.example.org/healthz")), Verdict::Ok);
        assert_eq!(leads(301, Some("https://other.example.org/")), Verdict::Warning);
        assert_eq!(leads(200, None), Verdict::Warning);
    }
}
