//! Asks the agent itself whether its own sections are right: there is one list of its keys, and it is there.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use runtime::settings::EXIT_CONFIG;
use runtime::settings::written::Mistake;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::card::{AGENT_SECTIONS, Card};
use crate::render::agent_config;

/// It reads one file. On a Pi Zero whose card is slow its start takes a second.
const WITHIN: Duration = Duration::from_secs(20);

/// What it says is one line.
const MAX_OUTPUT: u64 = 4 << 10;

/// Whether the agent takes what the card says.
///
/// # Errors
/// The first mistake that it names. An agent that can't be asked is no mistake of the card's.
pub(crate) fn check(agent: &Path, card: &Card) -> Result<(), Vec<Mistake>> {
    match ask(agent, card) {
        Ok(Some(said)) => Err(vec![mistake(&said, card)]),
        Ok(None) => Ok(()),
        Err(error) => {
            tracing::warn!("{}: can't be asked: {error}", agent.display());
            Ok(())
        }
    }
}

/// What it says against the configuration.
fn ask(agent: &Path, card: &Card) -> io::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, agent_config(card))?;
    let mut command = Command::new(agent);
    command.arg("check-config").arg("--config").arg(&file);
    command.env_clear().env("STILLWATCH_PASSWORD", &card.relay_password);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { timeout(WITHIN, answer(command)).await });
    answer.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn answer(mut command: Command) -> io::Result<Option<String>> {
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(output) = child.stderr.take() {
        output.take(MAX_OUTPUT).read_to_end(&mut said).await?;
    }
    let is_wrong = child.wait().await?.code() == Some(EXIT_CONFIG.into());
    Ok(is_wrong.then(|| String::from_utf8_lossy(&said).trim().to_owned()))
}

/// Where that stands on the card.
fn mistake(said: &str, card: &Card) -> Mistake {
    // `time ERROR file: key: what is wrong`
    // Its time would make every boot's report another one.
    let said = said.split_once(" ERROR ").map_or(said, |(_, text)| text);
    let text = said.split_once("agent.toml: ").map_or(said, |(_, text)| text);
    let keys = AGENT_SECTIONS.into_iter().flat_map(|section| {
        card.written.section(section).map(move |(key, _)| format!("{section}.{key}"))
    });
    let named = keys.filter(|key| text.contains(key.as_str())).max_by_key(String::len);
    let line = match &named {
        Some(key) => card.written.line(key),
        None if text.contains("upload.relay") => card.written.line("relay.url"),
        None => 1,
    };
    Mistake { line, text: text.replace("upload.relay", "relay.url") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_found_on_the_card() {
        let text = "[relay]\nurl = \"http://10.0.0.1/\"\npassword = \"p\"\n[camera]\nfps = 500\n";
        let card = crate::card::read(text, |_| true).unwrap();
        for (said, line, expected) in [
            ("ERROR /tmp/x/agent.toml: camera.fps: 500.0 is not a number", 5, "camera.fps: 500"),
            ("ERROR /tmp/x/agent.toml: upload.relay: not a URL", 2, "relay.url: not a URL"),
            ("2026-11-25T10:00:00Z ERROR the moon is missing", 1, "the moon"),
        ] {
            let found = mistake(said, &card);
            assert!(found.line == line && found.text.starts_with(expected), "{found}");
        }
    }
}
