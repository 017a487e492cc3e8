//! Man pages and shell completions, written from what the program itself goes by: its command line and its
//! table of keys. Packages install them (`scripts/package`).

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use roff::{Roff, bold, roman};

use crate::settings::Key;

/// The page of a configuration file.
#[derive(Debug, Clone, Copy)]
pub struct ConfigurationPage {
    /// Where it is read from without being named.
    pub file: &'static str,
    /// All that can stand in it.
    pub keys: &'static [Key],
}

/// Writes them all below `share`, a folder laid out as /usr/share, and says what went wrong.
pub fn generate(
    share: &Path,
    command: Command,
    configuration: Option<ConfigurationPage>,
) -> ExitCode {
    match write(share, command, configuration) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", share.display());
            ExitCode::FAILURE
        }
    }
}

fn write(
    share: &Path,
    mut command: Command,
    configuration: Option<ConfigurationPage>,
) -> io::Result<()> {
    let name = command.get_name().to_owned();
    // Not the commit: pages are the same whatever build writes them.
    command = command.version(env!("CARGO_PKG_VERSION")).long_version(None);
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(without_help(command.clone()), &pages)?;
    for (shell, folder, file) in [
        (Shell::Bash, "bash-completion/completions", name.clone()),
        (Shell::Zsh, "zsh/vendor-completions", format!("_{name}")),
        (Shell::Fish, "fish/vendor_completions.d", format!("{name}.fish")),
    ] {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        let mut file = File::create(folder.join(file))?;
        clap_complete::generate(shell, &mut command, &name, &mut file);
    }
    let Some(page) = configuration else { return Ok(()) };
    let pages = share.join("man/man5");
    fs::create_dir_all(&pages)?;
    fs::write(pages.join(format!("{name}.toml.5")), page.text(&name))
}

/// Without a page for each `help SUBCOMMAND`.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

impl ConfigurationPage {
    fn text(&self, program: &str) -> String {
        let title = format!("{program}.toml");
        let mut page = Roff::new();
        page.control("TH", [title.as_str(), "5", "", program, ""]);
        page.control("SH", ["NAME"]);
        page.text([roman(format!("{title} - configuration of {program}"))]);
        page.control("SH", ["DESCRIPTION"]);
        page.text([
            bold(program),
            roman(" reads "),
            bold(self.file),
            roman(" if it exists, or the file that "),
            bold("--config"),
            roman(
                " names. It is TOML: each key below is written as section.key = value, or as key = value under a \
                 heading [section]. The variable beside a key wins over the file, and a flag over both.",
            ),
        ]);
        page.control("SH", ["KEYS"]);
        for key in self.keys {
            page.control("TP", []);
            page.text([bold(key.name)]);
            page.text([roman(plain(&described(key)))]);
            if let Some(variable) = key.variable() {
                page.control("br", []);
                page.text([roman("Variable: "), roman(variable)]);
            }
        }
        page.control("SH", ["SEE ALSO"]);
        page.text([bold(program), roman("(1)")]);
        page.render()
    }
}

fn described(key: &Key) -> String {
    let default = match key.default {
        "" => String::new(),
        default => format!("; default {default}"),
    };
    format!("{}{default}. {}", key.kind.described(), key.help)
}

/// Without the Markdown of docs/configuration.md.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Kind;

    const KEYS: &[Key] = &[
        Key { name: "box.colour", kind: Kind::Text, default: "\"red\"", help: "Its `colour`." },
        Key { name: "box.*.lid", kind: Kind::Flag, default: "", help: ".Whether it has one." },
    ];

    #[test]
    fn pages_and_completions_lie_as_in_usr_share() {
        let share = tempfile::tempdir().unwrap();
        let hidden = Command::new("secret").hide(true);
        let open = Command::new("open").about("Open the box");
        let command = Command::new("box").about("A box").subcommands([open, hidden]);
        let page = ConfigurationPage { file: "/etc/box.toml", keys: KEYS };
        write(share.path(), command, Some(page)).unwrap();
        for file in [
            "bash-completion/completions/box",
            "zsh/vendor-completions/_box",
            "fish/vendor_completions.d/box.fish",
            "man/man1/box.1",
            "man/man1/box-open.1",
            "man/man5/box.toml.5",
        ] {
            assert!(share.path().join(file).exists(), "{file}");
        }
        for file in ["box-secret.1", "box-help.1", "box-help-open.1"] {
            assert!(!share.path().join("man/man1").join(file).exists(), "{file}");
        }
        let page = fs::read_to_string(share.path().join("man/man5/box.toml.5")).unwrap();
        assert!(page.contains("Variable: STILLWATCH_BOX_COLOUR"), "{page}");
        assert!(page.contains("default \"red\". Its colour."), "{page}");
        assert!(page.contains("true or false. .Whether"), "{page}");
    }
}
