//! What is put on a camera's card: the lines of its `stillwatch.toml` (docs/provision.md), as text and as a QR code.

use frame::CameraId;
use qrcode::{Color, EcLevel, QrCode};
use runtime::secret::Secret;
use runtime::settings::written::quoted;

/// White and black whatever the terminal's colours are: a code that is bright on dark is read by some phones only.
const BLACK_ON_WHITE: (&str, &str) = ("\x1b[38;5;16;48;5;231m", "\x1b[0m");

/// Empty modules around the code, which readers want.
const QUIET: usize = 4;

/// The lines. `camera` is `None` for the one that is shown at `/live.jpeg`.
pub(crate) fn lines(url: &str, password: &Secret, camera: Option<&CameraId>) -> String {
    let name = camera.map(|id| format!("name = {}\n\n", quoted(id.as_str()))).unwrap_or_default();
    let (url, password) = (quoted(url), quoted(password.expose()));
    format!("{name}[relay]\nurl = {url}\npassword = {password}\n")
}

/// As they stand in what a command prints.
pub(crate) fn indented(lines: &str) -> String {
    let indent =
        |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
    lines.lines().map(indent).collect()
}

/// `text` as a QR code, two modules in a character; in `colour` if it goes to a terminal. `None`: it is too long
/// for one.
pub(crate) fn code(text: &str, colour: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let across = width + 2 * QUIET;
    let modules = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        let module = inside(x).zip(inside(y)).and_then(|(x, y)| modules.get(y * width + x));
        module == Some(&Color::Dark)
    };
    let mut out = String::new();
    for y in (0..across).step_by(2) {
        if colour {
            out += BLACK_ON_WHITE.0;
        }
        for x in 0..across {
            // Without colours the terminal is taken for a dark one, or the text for one on paper that is read later.
            let (upper, lower) = (is_dark(x, y) == colour, is_dark(x, y + 1) == colour);
            out.push(match (upper, lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        if colour {
            out += BLACK_ON_WHITE.1;
        }
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_provision_reads() {
        let password = Secret::new("a\"b").unwrap();
        let garden = "garden".parse().unwrap();
        assert_eq!(
            lines("https://cam.example.org/", &password, None),
            "[relay]\nurl = \"https://cam.example.org/\"\npassword = 'a\"b'\n"
        );
        let named = lines("http://192.0.2.1:5000/", &password, Some(&garden));
        assert!(named.starts_with("name = \"garden\"\n\n[relay]\n"), "{named}");
    }

    #[test]
    fn a_code_is_square_and_has_its_margin() {
        let text = code("https://cam.example.org/", false).unwrap();
        let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let across = rows[0].len();
        assert!(rows.iter().all(|row| row.len() == across), "{text}");
        assert_eq!(rows.len(), across.div_ceil(2));
        assert!(rows[..2].iter().flatten().all(|c| *c == '█'), "{text}");
        let coloured = code("https://cam.example.org/", true).unwrap();
        assert_eq!(coloured.matches("\x1b[0m").count(), rows.len());
        assert!(code(&"x".repeat(4000), false).is_none());
    }
}
