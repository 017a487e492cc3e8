//! From the bytes that somebody's editor wrote to a text that can be read. Pure.
//!
//! Forgiven: a byte order mark, UTF-16 (Notepad's "Unicode"), Windows line endings, the quotes that
//! phones and word processors put in by themselves, and their blanks that do not break. Inside a text in
//! straight quotes nothing is touched: a password may hold what it likes.

use runtime::settings::written::is_toml;

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(
        "it is no text, but a file of another kind (of Word, say); save it as plain text in UTF-8"
    )]
    NoText,
    #[error("it is longer than {} KB; is it the right file?", MAX_BYTES / 1024)]
    TooLong,
    #[error("the card can't be read: {0}")]
    Card(String),
}

/// A configuration of hand-written lines; the example with all its comments has 4 KB.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// The text in `bytes`.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Unreadable> {
    if bytes.len() > MAX_BYTES {
        return Err(Unreadable::TooLong);
    }
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8(bytes.to_vec()).map_err(|_| Unreadable::NoText)?
        }
    };
    // A card that lost power leaves zeros at a file's end.
    let text = text.trim_end_matches('\0');
    if text.contains('\0') {
        return Err(Unreadable::NoText);
    }
    // An old Macintosh ended its lines so.
    let text = if text.contains('\n') { text.to_owned() } else { text.replace('\r', "\n") };
    // What can be read needs no repair: what looks like a key's line may stand in a text of several lines.
    let text = match is_toml(&text) {
        true => text,
        false => text.split_inclusive('\n').map(line).collect(),
    };
    // UTF-16 grows.
    if text.len() > MAX_BYTES { Err(Unreadable::TooLong) } else { Ok(text) }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Unreadable> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Unreadable::NoText);
    }
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    String::from_utf16(&units).map_err(|_| Unreadable::NoText)
}

/// “English”, „German“, «French», ‘single’, ″primes″ and ＂full width＂ ones.
fn is_quote(c: char) -> bool {
    matches!(
        c,
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2032}' | '\u{2033}' | '\u{ff02}'
    )
}

fn is_blank(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{3000}' | '\u{feff}')
}

/// Only what follows a key's `=` is looked at, and comments stay as they are.
fn line(line: &str) -> String {
    let body = line.trim_end_matches(['\r', '\n']);
    let ending = line.get(body.len()..).unwrap_or_default();
    let Some((key, value)) = body.split_once('=').filter(|(key, _)| !key.contains('#')) else {
        return line.to_owned();
    };
    let value = value.trim_matches(|c: char| c.is_whitespace() || is_blank(c));
    let value = match value.chars().next() {
        Some('"' | '\'') => value.to_owned(),
        Some(quote) if is_quote(quote) => {
            straight(value, quote).unwrap_or_else(|| value.to_owned())
        }
        _ => value.replace(is_blank, " "),
    };
    format!("{}= {value}{ending}", key.replace(is_blank, " "))
}

/// A text in curly quotes, and what follows it, with straight ones; `None` if none ends it. What ends it
/// may be a straight one: a phone knows only where words begin.
fn straight(value: &str, opening: char) -> Option<String> {
    let ends = value.char_indices().skip(1).filter(|(_, c)| is_quote(*c) || *c == '"');
    let parts = ends.filter_map(|(at, closing)| {
        let text = value.get(opening.len_utf8()..at)?;
        let rest = value.get(at + closing.len_utf8()..)?;
        let plain = rest.trim_start_matches(|c: char| c.is_whitespace() || is_blank(c));
        (plain.is_empty() || plain.starts_with('#')).then_some((text, rest))
    });
    let (text, rest) = { parts }.next()?;
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!("\"{text}\"{}", rest.replace(is_blank, " ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_editors_do_is_undone() {
        let expected = "ssid = \"My Home\"\r\n";
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let marked = format!("\u{feff}{expected}");
        for bytes in [
            expected.as_bytes().to_vec(),
            marked.as_bytes().to_vec(),
            utf16(&marked, u16::to_le_bytes),
            utf16(&marked, u16::to_be_bytes),
            "ssid\u{a0}= “My Home”\r\n".as_bytes().to_vec(),
            "ssid = „My Home“\r\n".as_bytes().to_vec(),
            "ssid=«My Home\"\r\n".as_bytes().to_vec(),
            [expected.as_bytes(), &[0; 40]].concat(),
        ] {
            let found = text(&bytes).unwrap();
            assert_eq!(found.replace("ssid=", "ssid ="), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_stands_in_straight_quotes_is_nobodys_business() {
        for line in [
            "password = \"“curly”\u{a0}and = 'more'\"\n",
            "password = 'a“b'\n",
            "# ssid = “this is a comment”\n",
            "[wifi]\n",
            "fps = 5 # “five”\n",
            "key = \"\"\"\nssh-rsa c2E== me\u{a0}\n\"\"\"\n",
        ] {
            assert_eq!(text(line.as_bytes()).unwrap(), line);
        }
        assert_eq!(
            text("a = “Bob’s \\ \"net” # it’s mine".as_bytes()).unwrap(),
            "a = \"Bob’s \\\\ \\\"net\" # it’s mine"
        );
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(text(b"PK\x03\x04\xff\xfe\x00"), Err(Unreadable::NoText));
        assert_eq!(text(b"a\0b"), Err(Unreadable::NoText));
        assert_eq!(text(&[0xff, 0xfe, 1]), Err(Unreadable::NoText));
        assert_eq!(text(&vec![b'#'; MAX_BYTES + 1]), Err(Unreadable::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_a_second_time_changes_nothing(bytes: Vec<u8>) {
            if let Ok(once) = text(&bytes) {
                prop_assert_eq!(text(once.as_bytes()), Ok(once.clone()));
            }
        }
    }
}
