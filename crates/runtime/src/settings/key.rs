//! The table of keys: names, kinds, ranges, defaults and their documentation.

use std::fmt::Write;

use toml::Value;

use super::VARIABLE_PREFIX;
use super::value::{Size, duration_text, parse_duration};

/// One thing that can be set.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`; a `*` part stands for any name (`cameras.*.password_file`).
    pub name: &'static str,
    /// What its value has to be.
    pub kind: Kind,
    /// Its default, as one would write it; empty if there is none.
    pub default: &'static str,
    /// What it does, for the reference: one or two sentences.
    pub help: &'static str,
}

/// What a value has to be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text but the empty one.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number in this range, ends included.
    Integer(i64, i64),
    /// A number in this range, ends included.
    Number(f64, f64),
    /// A duration such as `"1.5s"` or `"10m"`, in this range of milliseconds, ends included.
    Duration(u64, u64),
    /// Pixels, as `"1280x720"`.
    Size,
}

impl Key {
    /// The variable that overrides it; none for keys with a `*`.
    pub fn variable(&self) -> Option<String> {
        let plain = !self.name.contains('*');
        plain.then(|| format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_uppercase()))
    }

    pub(super) fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
        keys.iter().find(|key| {
            let parts = || key.name.split('.').zip(name.split('.'));
            key.name.split('.').count() == name.split('.').count()
                && parts().all(|(known, part)| known == "*" || known == part)
        })
    }

    pub(super) fn is_section(keys: &[Key], name: &str) -> bool {
        keys.iter().any(|key| {
            key.name.split('.').count() > name.split('.').count()
                && key.name.split('.').zip(name.split('.')).all(|(k, n)| k == "*" || k == n)
        })
    }

    pub(super) fn nearest(keys: &[Key], name: &str) -> Option<String> {
        /// Beyond this many changed letters a suggestion is a guess.
        const FARTHEST: usize = 4;
        // The right key in the wrong section is nearer than any misspelling.
        let last = name.rsplit('.').next().unwrap_or(name);
        let distance = |known: &str| {
            let end = known.rsplit('.').next().unwrap_or(known);
            strsim::damerau_levenshtein(known, name).min(1 + strsim::damerau_levenshtein(end, last))
        };
        keys.iter()
            .map(|key| (distance(key.name), key.name))
            .min()
            .filter(|(distance, _)| *distance <= FARTHEST)
            .map(|(_, known)| known.to_owned())
    }
}

impl Kind {
    /// Checks a value from a file; a whole number may stand for a number.
    pub(super) fn check(self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Kind::Flag, value @ Value::Boolean(_)) => Ok(value),
            (Kind::Integer(min, max), Value::Integer(n)) if (min..=max).contains(&n) => {
                Ok(Value::Integer(n))
            }
            #[expect(clippy::cast_precision_loss, reason = "ranges are far below 2^52")]
            (Kind::Number(..), Value::Integer(n)) => self.check(Value::Float(n as f64)),
            (Kind::Number(min, max), Value::Float(n)) if (min..=max).contains(&n) => {
                Ok(Value::Float(n))
            }
            (Kind::Text | Kind::Choice(_) | Kind::Duration(..) | Kind::Size, Value::String(s)) => {
                self.parse(&s)
            }
            (_, other) => Err(format!("{} is not {}", shown(&other), self.expected())),
        }
    }

    /// Reads a value from a variable or a flag.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("\"{text}\" is not {}", self.expected());
        match self {
            Kind::Text if text.is_empty() => Err(wrong()),
            Kind::Text => Ok(Value::String(text.to_owned())),
            Kind::Choice(words) if words.contains(&text) => Ok(Value::String(text.to_owned())),
            Kind::Choice(_) => Err(wrong()),
            Kind::Flag => text.parse().map(Value::Boolean).map_err(|_| wrong()),
            Kind::Integer(..) => {
                text.parse().map_err(|_| wrong()).and_then(|n| self.check(Value::Integer(n)))
            }
            Kind::Number(..) => {
                text.parse().map_err(|_| wrong()).and_then(|n| self.check(Value::Float(n)))
            }
            Kind::Duration(min, max) => parse_duration(text)
                .filter(|d| (u128::from(min)..=u128::from(max)).contains(&d.as_millis()))
                .map(|_| Value::String(text.to_owned()))
                .ok_or_else(wrong),
            Kind::Size => {
                text.parse::<Size>().map(|_| Value::String(text.to_owned())).map_err(|_| wrong())
            }
        }
    }

    fn expected(self) -> String {
        match self {
            Kind::Text => "a text; write \"…\"".to_owned(),
            Kind::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::Flag => "true or false".to_owned(),
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Number(min, max) => format!("a number from {min} to {max}"),
            Kind::Duration(min, max) => {
                let millis = std::time::Duration::from_millis;
                let (min, max) = (duration_text(millis(min)), duration_text(millis(max)));
                format!(
                    "a duration from \"{min}\" to \"{max}\"; write \"500ms\", \"10s\" or \"5m\""
                )
            }
            Kind::Size => "a size in pixels; write \"1280x720\"".to_owned(),
        }
    }

    pub(crate) fn described(self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Choice(words) => format!("`\"{}\"`", words.join("\"`, `\"")),
            Kind::Integer(..) | Kind::Number(..) => self.expected(),
            Kind::Duration(min, max) => {
                let millis = std::time::Duration::from_millis;
                format!(
                    "duration, {} to {}",
                    duration_text(millis(min)),
                    duration_text(millis(max))
                )
            }
            Kind::Size => "width`x`height in pixels".to_owned(),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => value.to_string(),
    }
}

/// `page` (docs/configuration.md) with the table of a program's keys as it should be, between its two
/// marks; `None` if they are not there.
pub fn with_reference(page: &str, program: &str, keys: &[Key]) -> Option<String> {
    let (start, end) = (format!("<!-- {program} keys -->\n"), format!("<!-- /{program} keys -->"));
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{start}{}{end}{after}", reference(keys)))
}

/// The Markdown table of all keys.
fn reference(keys: &[Key]) -> String {
    let mut out = String::from("| key | value | default | what it does |\n|---|---|---|---|\n");
    for key in keys {
        let default =
            if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let Key { name, kind, help, .. } = key;
        // Writing to a String can't fail.
        let _ = writeln!(out, "| `{name}` | {} | {default} | {help} |", kind.described());
    }
    out
}
