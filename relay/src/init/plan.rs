//! What a first run writes, and what it leaves as it is. Pure.

use std::collections::BTreeMap;

use frame::CameraId;
use runtime::settings::Key;
use runtime::settings::written::{quoted, read};

/// What its owner asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub domain: Option<String>,
    pub contact: Option<String>,
    /// Checked.
    pub url: Option<String>,
    pub cameras: Vec<CameraId>,
    pub listen: Option<String>,
    pub data_dir: Option<String>,
    /// Where no unit finds the password files by itself: the relay's and the owner's.
    pub password_files: Option<(String, String)>,
}

/// Why a configuration file stays as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "it has settings already, and they are not touched. If these are to apply, write them there by hand:\n\n{0}"
    )]
    HasSettings(String),
    #[error("it has mistakes: {0}")]
    Mistakes(String),
}

/// A name that certificates are made for, in small letters; in words if it is none.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let letters =
        name.rsplit('.').next().is_some_and(|last| !last.chars().all(|c| c.is_ascii_digit()));
    if name.len() <= 253 && name.contains('.') && letters && name.split('.').all(label) {
        Ok(name)
    } else {
        Err("this is no domain; write such as cam.example.org".to_owned())
    }
}

impl Wishes {
    /// The keys to write, and their values.
    fn keys(&self) -> Vec<(String, &str)> {
        let of = |key: &str, value: &'_ Option<String>| value.as_ref().map(|_| key.to_owned());
        let mut keys = Vec::new();
        for (key, value) in [
            ("tls.domain", &self.domain),
            ("tls.contact", &self.contact),
            ("site.url", &self.url),
            ("relay.listen", &self.listen),
            ("relay.data_dir", &self.data_dir),
        ] {
            if let (Some(key), Some(value)) = (of(key, value), value) {
                keys.push((key, value.as_str()));
            }
        }
        if let Some((uploads, owner)) = &self.password_files {
            keys.push(("relay.password_file".to_owned(), uploads));
            keys.push(("owner.password_file".to_owned(), owner));
        }
        for id in &self.cameras {
            keys.push((format!("cameras.{id}.title"), id.as_str()));
        }
        keys
    }

    /// As TOML; empty if the defaults will do.
    fn toml(&self) -> String {
        let mut sections: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in self.keys() {
            if let Some((section, name)) = key.rsplit_once('.') {
                *sections.entry(section.to_owned()).or_default() +=
                    &format!("{name} = {}\n", quoted(value));
            }
        }
        let sections = sections.iter().map(|(name, lines)| format!("[{name}]\n{lines}"));
        sections.collect::<Vec<_>>().join("\n")
    }
}

/// The configuration file's new text, from what stands there; `None` if it is right as it is.
pub(super) fn plan(
    there: Option<&str>,
    wishes: &Wishes,
    keys: &[Key],
) -> Result<Option<String>, Refusal> {
    let (text, toml) = (there.unwrap_or_default(), wishes.toml());
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_comment) {
        let text = text.trim_end();
        let gap = if text.is_empty() { "" } else { "\n\n" };
        return Ok((!toml.is_empty()).then(|| format!("{text}{gap}{toml}")));
    }
    let written = read(text, keys, &[]).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Refusal::Mistakes(mistakes.join("; "))
    })?;
    let stands = |(key, value): &(String, &str)| written.text(key) == Some(*value);
    if wishes.keys().iter().all(stands) { Ok(None) } else { Err(Refusal::HasSettings(toml)) }
}

#[cfg(test)]
mod tests {
    use runtime::settings::Kind;

    use super::*;

    const KEYS: &[Key] = &[
        Key { name: "tls.domain", kind: Kind::Text, default: "", help: "" },
        Key { name: "site.url", kind: Kind::Text, default: "", help: "" },
        Key { name: "site.title", kind: Kind::Text, default: "", help: "" },
        Key { name: "cameras.*.title", kind: Kind::Text, default: "", help: "" },
    ];

    fn wishes() -> Wishes {
        Wishes {
            domain: Some("cam.example.org".to_owned()),
            cameras: vec!["garden".parse().unwrap()],
            ..Wishes::default()
        }
    }

    #[test]
    fn settings_are_added_to_comments_and_to_nothing_else() {
        let written = plan(None, &wishes(), KEYS).unwrap().unwrap();
        assert_eq!(
            written,
            "[cameras.garden]\ntitle = \"garden\"\n\n[tls]\ndomain = \"cam.example.org\"\n"
        );
        let commented =
            plan(Some("# Settings.\n\n#[relay]\n\n"), &wishes(), KEYS).unwrap().unwrap();
        assert_eq!(commented, format!("# Settings.\n\n#[relay]\n\n{written}"));
        // A second run finds them.
        assert_eq!(plan(Some(&written), &wishes(), KEYS), Ok(None));
        assert_eq!(
            plan(Some(&format!("{written}[site]\ntitle = \"x\"\n")), &wishes(), KEYS),
            Ok(None)
        );
        let other = Wishes { domain: Some("other.example.org".to_owned()), ..wishes() };
        let Err(Refusal::HasSettings(lines)) = plan(Some(&written), &other, KEYS) else { panic!() };
        assert!(lines.contains("domain = \"other.example.org\""), "{lines}");
        let mistakes = plan(Some("[tls]\ndomian = \"x\"\n"), &wishes(), KEYS).unwrap_err();
        assert!(mistakes.to_string().contains("did you mean"), "{mistakes}");
    }

    #[test]
    fn where_the_defaults_will_do_nothing_is_written() {
        assert_eq!(plan(None, &Wishes::default(), KEYS), Ok(None));
        assert_eq!(plan(Some("# x\n"), &Wishes::default(), KEYS), Ok(None));
        assert_eq!(plan(Some("[site]\ntitle = \"x\"\n"), &Wishes::default(), KEYS), Ok(None));
    }

    #[test]
    fn domains() {
        assert_eq!(domain("Cam.Example.org.").as_deref(), Ok("cam.example.org"));
        for wrong in
            ["", "localhost", "https://cam.example.org/", "192.0.2.1", "a..b", "-a.org", "a b.org"]
        {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        assert!(domain(&format!("{}.org", "a".repeat(64))).is_err());
    }
}
