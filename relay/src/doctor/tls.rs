//! HTTPS of the relay's own: its certificate, and whether it is shown and believed. Pure.

use std::net::SocketAddr;

use super::finding::Finding;
use super::service::Answer;
use crate::tls::certificate::Validity;
use crate::tls::{Source, TlsConfig, is_late};
use crate::units::{SERVICE, SOCKET, WEB_SOCKET};

const DAY: i64 = 86_400;

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub validity: Validity,
    pub names: Vec<String>,
    /// Those that the configuration wants it for.
    pub wanted: Vec<String>,
}

/// The certificate that the relay has; `None`: it has none yet.
pub(super) async fn certificate(config: &TlsConfig) -> Result<Option<Known>, String> {
    let (found, wanted) = match &config.source {
        Source::Files(files) => (Some(files.read()?), Vec::new()),
        Source::Acme(acme) => (acme.kept().await, acme.domains.clone()),
    };
    Ok(found.map(|found| Known { validity: found.validity, names: found.names, wanted }))
}

/// The name that viewers use, without a port: the configured one, else that of the certificate.
pub(super) fn name(config: &TlsConfig, known: Option<&Known>) -> Option<String> {
    let configured = config.host.as_deref().and_then(|host| host.split(':').next());
    configured.or_else(|| known?.names.first().map(String::as_str)).map(str::to_owned)
}

/// Whether it is valid, for the right name, and long enough.
pub(super) fn judge_certificate(
    name: Option<&str>,
    by_itself: bool,
    found: &Result<Option<Known>, String>,
    unix_s: i64,
) -> Finding {
    let (check, log) = ("certificate", "journalctl -u stillwatch-relay | grep -i certificate");
    let known = match found {
        Err(why) => {
            return Finding::wrong(
                check,
                why.clone(),
                "mend it; the relay reads it again by itself",
            );
        }
        Ok(None) => {
            return Finding::wrong(
                check,
                "there is none yet: the authority has to reach this machine by its name, at port 443 or 80",
                format!("see \"dns\" and \"reachability\"; {log} says what it answered"),
            );
        }
        Ok(Some(known)) => known,
    };
    let days = (known.validity.until - unix_s).div_euclid(DAY);
    let names = known.names.join(", ");
    let renewal = if by_itself { log } else { "whoever renews it has to write the file anew" };
    if unix_s < known.validity.from {
        return Finding::wrong(
            check,
            format!("that for {names} is not valid yet"),
            "is the clock right?",
        );
    }
    if unix_s >= known.validity.until {
        return Finding::wrong(
            check,
            format!("that for {names} ran out {} days ago", -days),
            renewal,
        );
    }
    let mut missing: Vec<&str> = name.into_iter().collect();
    missing.extend(known.wanted.iter().map(String::as_str).filter(|one| Some(*one) != name));
    missing.retain(|name| !known.names.iter().any(|one| covers(one, name)));
    if !missing.is_empty() {
        return Finding::wrong(
            check,
            format!("it is for {names}, and not for {}", missing.join(", ")),
            "tls.domain has to name the domain, and tls.certificate_file a certificate for it",
        );
    }
    if is_late(known.validity, unix_s) {
        return Finding::warning(
            check,
            format!("that for {names} runs out in {days} days, and was not renewed"),
            renewal,
        );
    }
    Finding::ok(check, format!("for {names}, valid for {days} days more"))
}

fn covers(one: &str, name: &str) -> bool {
    let below = |parent: &str| {
        name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
    };
    one.eq_ignore_ascii_case(name) || one.strip_prefix("*.").is_some_and(below)
}

/// Whether HTTPS answers on this machine itself.
pub(super) fn judge_shown(listen: SocketAddr, answer: &Answer) -> Finding {
    let check = "tls";
    match answer {
        Answer::Relay(_) => Finding::ok(
            check,
            format!("https is answered on {listen}, and its certificate is believed"),
        ),
        Answer::Nothing => Finding::wrong(
            check,
            format!("nothing listens on {listen}"),
            format!(
                "systemctl stop {SOCKET} {SERVICE}; systemctl enable --now {SOCKET} {WEB_SOCKET} {SERVICE}"
            ),
        ),
        Answer::Silent(why) if why.contains("UnknownIssuer") || why.contains("unknown issuer") => {
            Finding::warning(
                check,
                "this machine does not know the authority that signed its certificate, and so no browser will",
                "right for an authority of your own: cameras want it as upload.ca_file, or its key as upload.pin",
            )
        }
        Answer::Silent(why) => {
            Finding::wrong(check, format!("{listen}: {why}"), "see the line \"certificate\"")
        }
        Answer::Other(what) => Finding::wrong(
            check,
            format!("another program answers https on {listen}: {what}"),
            "stop it (ss -ltnp shows which), or pass requests on to the relay from there (docs/deploy.md)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn known(names: &[&str], until: i64) -> Result<Option<Known>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let validity = Validity { from: 0, until: until * DAY };
        Ok(Some(Known { validity, names, wanted: Vec::new() }))
    }

    #[test]
    fn every_name_of_the_configuration_has_to_be_in_it() {
        let mut found = known(&["cam.example.org", "*.example.net"], 90);
        let names = ["cam.example.org", "www.example.org", "a.example.net", "example.net"];
        if let Ok(Some(known)) = &mut found {
            known.wanted = names.map(str::to_owned).to_vec();
        }
        let finding = judge_certificate(Some("cam.example.org"), true, &found, 10 * DAY);
        assert_eq!(finding.verdict, Verdict::Wrong);
        assert!(finding.says.ends_with("not for www.example.org, example.net"), "{finding:?}");
    }

    #[test]
    fn certificates() {
        let cam = Some("cam.example.org");
        for (found, at, verdict, says) in [
            (known(&["cam.example.org"], 90), 10, Verdict::Ok, "valid for 80 days more"),
            (known(&["*.example.org"], 90), 10, Verdict::Ok, "80 days"),
            (known(&["example.org", "Cam.Example.org"], 90), 10, Verdict::Ok, "80 days"),
            (known(&["*.org"], 90), 10, Verdict::Wrong, "not for cam.example.org"),
            (known(&["cam.example.org"], 90), 85, Verdict::Warning, "runs out in 5 days"),
            (known(&["cam.example.org"], 90), 92, Verdict::Wrong, "ran out 2 days ago"),
            (known(&["cam.example.org"], 90), -1, Verdict::Wrong, "not valid yet"),
            (Ok(None), 10, Verdict::Wrong, "there is none yet"),
            (Err("/x.pem: no".to_owned()), 10, Verdict::Wrong, "/x.pem: no"),
        ] {
            let finding = judge_certificate(cam, true, &found, at * DAY);
            assert!(finding.verdict == verdict && finding.says.contains(says), "{finding:?}");
        }
    }

    #[test]
    fn what_is_shown() {
        let listen = "[::]:443".parse().unwrap();
        let unknown = Answer::Silent("invalid peer certificate: UnknownIssuer".to_owned());
        assert_eq!(judge_shown(listen, &unknown).verdict, Verdict::Warning);
        for answer in
            [Answer::Nothing, Answer::Other("404".to_owned()), Answer::Silent("late".to_owned())]
        {
            assert_eq!(judge_shown(listen, &answer).verdict, Verdict::Wrong);
        }
    }
}
