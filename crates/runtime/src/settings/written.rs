//! A settings file that somebody wrote who sees its errors only later, elsewhere: all of its mistakes
//! at once, each with its line and in plain words.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Value;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table};

use super::key::Key;

/// The longest key has 24 bytes; what is longer is none, and is not repeated.
const MAX_KEY: usize = 40;

/// A mistake in a file, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mistake {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Its bytes in the text, quotes included.
    pub span: Range<usize>,
    /// Its line, from 1.
    pub line: usize,
}

/// What stands in a file, by `section.key`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written(BTreeMap<String, Entry>);

impl Written {
    /// What stands there for `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    /// The text that stands there for `key`, if it is not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|entry| entry.value.as_str()).filter(|text| !text.is_empty())
    }

    /// Whether `key` stands there and was left empty.
    pub fn is_empty(&self, key: &str) -> bool {
        self.get(key).and_then(|entry| entry.value.as_str()) == Some("")
    }

    /// All keys that stand there.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The line of `key`, else that of the first key of its section, else the first.
    pub fn line(&self, key: &str) -> usize {
        let section = key.split('.').next().unwrap_or(key);
        let within = |name: &&String| name.split('.').next() == Some(section);
        let first = || self.0.keys().find(within).and_then(|name| self.get(name));
        self.get(key).or_else(first).map_or(1, |entry| entry.line)
    }

    /// What stands there in `section`, without its name.
    pub fn section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let within = move |(name, entry): (&'a String, &'a Entry)| {
            Some((name.strip_prefix(section)?.strip_prefix('.')?, entry))
        };
        self.0.iter().filter_map(within)
    }
}

/// Reads `text`: keys of `known`, and whatever stands in the sections `foreign`, which somebody else
/// checks.
///
/// # Errors
/// All mistakes, in the order of their lines. While it is not even TOML, nothing else is looked at.
pub fn read(text: &str, known: &[Key], foreign: &[&str]) -> Result<Written, Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader =
        Reader { text, known, foreign, found: Written::default(), mistakes: Vec::new() };
    for error in &errors {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        // What follows from the first one on a line is none.
        if reader.mistakes.last().is_none_or(|last| last.line != line) {
            reader.mistakes.push(Mistake { line, text: syntax(text, line, error.message()) });
        }
    }
    if errors.is_empty() {
        reader.table("", table.get_ref());
    }
    let Reader { found, mut mistakes, .. } = reader;
    mistakes.sort();
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

struct Reader<'a> {
    text: &'a str,
    known: &'a [Key],
    foreign: &'a [&'a str],
    found: Written,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = line_of(self.text, name.span().start);
            let own = name.get_ref();
            // "a.b" in quotes would stand beside `b` in the section `a`.
            if own.contains('.') || own.len() > MAX_KEY {
                let text = "there is no setting of that name".to_owned();
                self.mistakes.push(Mistake { line, text });
                continue;
            }
            let key = if above.is_empty() { own.to_string() } else { format!("{above}.{own}") };
            self.key(&key, line, value);
        }
    }

    fn key(&mut self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) {
        let is_foreign = key.split('.').next().is_some_and(|top| self.foreign.contains(&top));
        let wrong = match (value.get_ref(), Key::find(self.known, key)) {
            // A line of a form that was left empty.
            (DeValue::String(text), Some(_)) if text.is_empty() => {
                return self.keep(key, line, value.span(), Value::String(String::new()));
            }
            (_, Some(known)) => match plain(value).and_then(|value| known.kind.check(value)) {
                Ok(checked) => return self.keep(key, line, value.span(), checked),
                // The problem would repeat it.
                Err(_) if key.contains("password") => {
                    format!("{key}: a text has to stand in quotes; write \"…\"")
                }
                Err(problem) => format!("{key}: {problem}"),
            },
            (DeValue::Table(below), None) if is_foreign || Key::is_section(self.known, key) => {
                return self.table(key, below);
            }
            (_, None) if is_foreign => match plain(value) {
                Ok(plain) => return self.keep(key, line, value.span(), plain),
                Err(problem) => format!("{key}: {problem}"),
            },
            (_, None) => {
                let nearest = Key::nearest(self.known, key);
                let hint = nearest.map(|known| format!("; did you mean \"{known}\"?"));
                format!("there is no setting \"{key}\"{}", hint.unwrap_or_default())
            }
        };
        self.mistakes.push(Mistake { line, text: wrong });
    }

    fn keep(&mut self, key: &str, line: usize, span: Range<usize>, value: Value) {
        self.found.0.insert(key.to_owned(), Entry { value, span, line });
    }
}

fn plain(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(ValueDeserializer::from(value.clone())).map_err(|e| e.message().to_owned())
}

/// The line, from 1, of a byte.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Whether `text` is TOML at all.
pub fn is_toml(text: &str) -> bool {
    DeTable::parse(text).is_ok()
}

/// In the words of somebody who never heard of TOML, where the line says what was meant. Nothing of it is
/// repeated but a key: anything else may be a password.
fn syntax(text: &str, line: usize, message: &str) -> String {
    let written = text.lines().nth(line - 1).unwrap_or_default().trim();
    let Some((key, value)) = written.split_once('=') else {
        if written.starts_with('[') {
            return "a section's name stands between two brackets, as in [wifi]".to_owned();
        }
        return "this is no setting; write: name = \"value\"".to_owned();
    };
    let (key, value) = (key.trim(), value.trim());
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let key = if key.len() <= MAX_KEY && key.chars().all(is_bare) { key } else { "name" };
    let quotes = value.matches('"').count();
    match value.chars().next() {
        None => format!("a value is missing; write: {key} = \"…\""),
        Some('"') if quotes == 1 => format!("{key}: the quote at the end is missing"),
        Some('"') if value.contains('\\') => format!(
            "a \\ in the text has to be written twice, or the text put in single quotes: \
             {key} = '…'"
        ),
        Some('"' | '\'' | '[' | '{') => format!("{key}: {message}"),
        Some(c) if c.is_ascii_digit() || "+-.".contains(c) => {
            format!("{key}: no number; if it is a text, write: {key} = \"…\"")
        }
        Some(_) => format!("a text has to stand in quotes; write: {key} = \"…\""),
    }
}

/// `text` with other values in these places, as TOML texts.
pub fn with_texts(text: &str, mut texts: Vec<(Range<usize>, &str)>) -> String {
    texts.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (span, value) in texts {
        out.push_str(text.get(from..span.start).unwrap_or_default());
        out.push_str(&quoted(value));
        from = span.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// `text` as TOML writes it.
pub fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// What stands in `section`, as TOML, without the section's name.
pub fn values_text(written: &Written, section: &str) -> String {
    let mut table = Table::new();
    for (key, entry) in written.section(section) {
        table.insert(key.to_owned(), entry.value.clone());
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    const KEYS: &[Key] = &[
        Key { name: "name", kind: Kind::Text, default: "", help: "" },
        Key { name: "wifi.ssid", kind: Kind::Text, default: "", help: "" },
        Key { name: "wifi.hidden", kind: Kind::Flag, default: "", help: "" },
    ];

    fn mistakes(text: &str) -> Vec<String> {
        read(text, KEYS, &["camera"]).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_found_with_their_places() {
        let text = "name = \"a\"\r\n[wifi]\r\nssid = \"b\"\r\n[camera]\r\nfps = 5\r\n";
        let written = read(text, KEYS, &["camera"]).unwrap();
        assert_eq!(written.text("wifi.ssid"), Some("b"));
        assert_eq!((written.line("wifi.ssid"), written.line("wifi.hidden")), (3, 3));
        assert_eq!(written.section("camera").map(|(key, _)| key).collect::<Vec<_>>(), ["fps"]);
        assert_eq!(values_text(&written, "camera"), "fps = 5\n");
        let spans = ["name", "wifi.ssid"].map(|key| written.get(key).unwrap().span.clone());
        let [name, ssid] = spans;
        let other = with_texts(text, vec![(ssid, "x\"y"), (name, "")]);
        let again = read(&other, KEYS, &["camera"]).unwrap();
        assert_eq!((again.text("name"), again.text("wifi.ssid")), (None, Some("x\"y")));
        assert!(again.is_empty("name") && !again.is_empty("wifi.hidden"));
        assert_eq!(other.matches("\r\n").count(), 5);
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let text = "nam = \"a\"\n[wifi]\nhidden = \"yes\"\nsid = \"b\"\n[wlan]\n";
        let found = mistakes(text);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("line 1: there is no setting \"nam\"; did you mean \"name\""));
        assert!(found[1].starts_with("line 3: wifi.hidden: \"yes\" is not true or false"));
        assert!(found[2].contains("line 4:") && found[2].contains("\"wifi.ssid\"?"));
        assert!(found[3].starts_with("line 5: there is no setting \"wlan\""));
    }

    #[test]
    fn what_may_be_a_password_is_never_repeated() {
        const SECRET: &[Key] =
            &[Key { name: "wifi.password", kind: Kind::Text, default: "", help: "" }];
        for text in [
            "[wifi]\npassword = 12345678",
            "[wifi]\nssid=\"x\" password=\"12345678\"",
            "[wifi]\nPasswort = 12345678",
            "[wifi]\npassword: 12345678=",
            "wifi = { ssid = \"x\", password=\"12345678 }",
            "url = https://h/?password=12345678",
            "[wifi 12345678\n",
            "12345678",
            "\"wifi.password\" = \"12345678\"",
        ] {
            let found = read(text, SECRET, &[]).unwrap_err();
            let found: String = found.iter().map(ToString::to_string).collect();
            assert!(!found.is_empty() && !found.contains("12345678"), "{text:?}: {found}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_in_plain_words() {
        for (text, says) in [
            ("name = My garden", "line 1: a text has to stand in quotes; write: name = \"…\""),
            ("\nname = \"a", "line 2: name: the quote at the end is missing"),
            ("name", "line 1: this is no setting; write: name = \"value\""),
            ("name =", "line 1: a value is missing; write: name = \"…\""),
            ("[wifi\nssid = \"a\"", "line 1: a section's name stands between two brackets"),
            ("[wifi]\nssid = \"C:\\home\"", "line 2: a \\ in the text has to be written twice"),
            (
                "[wifi]\npassword = hunter2",
                "line 2: a text has to stand in quotes; write: password = \"…\"",
            ),
            (
                "[wifi]\nssid = 12ab",
                "line 2: ssid: no number; if it is a text, write: ssid = \"…\"",
            ),
        ] {
            let found = mistakes(text);
            assert!(found[0].starts_with(says), "{text:?}: {found:?}");
        }
    }
}
