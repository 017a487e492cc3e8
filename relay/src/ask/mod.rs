//! `stillwatch-relay status`: asks the running relay how it and its cameras are.
//!
//! The exit code is what monitoring plugins use: 0 all is well, 1 something is not, 2 no relay answers.

mod relays;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use runtime::settings::EXIT_CONFIG;
use table::{Answer, Look};

use crate::cli;
use crate::client;
use crate::config::{self, Asked};

/// A relay that takes longer does not answer.
const WITHIN: Duration = Duration::from_secs(10);

/// A longer answer is none.
const MAX_ANSWER: usize = 16 << 20;

/// Something is not well.
const WARNING: u8 = 1;

/// Nobody answers.
const CRITICAL: u8 = 2;

/// The user name is of no importance.
const OWNER: &str = "owner";

/// How wide the table is where nobody knows better.
const WIDTH: usize = 100;

/// Does it.
pub(crate) fn run(what: &cli::Status, settings: &cli::Settings) -> ExitCode {
    let asked = match &what.url {
        // Whoever that is does not get this relay's password.
        Some(url) => Ok(Asked { url: url.trim_end_matches('/').to_owned(), password: None }),
        None => config::load_asked(settings),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let text = crate::wait(ask(&asked)).flatten();
    let read = |text: String| {
        let answer: Result<Answer, _> = serde_json::from_str(&text);
        let no_relay =
            |error| format!("{}: what answers is no Stillwatch relay: {error}", asked.url);
        answer.map(|answer| (text, answer)).map_err(no_relay)
    };
    match text.and_then(read) {
        Ok((text, answer)) => {
            if what.json {
                println!("{text}");
            } else {
                if what.cluster {
                    print!("{}", answer.relays());
                }
                print!("{}", answer.table(&look()));
            }
            if answer.is_well() { ExitCode::SUCCESS } else { ExitCode::from(WARNING) }
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(CRITICAL)
        }
    }
}

fn look() -> Look {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Look { width: columns.unwrap_or(WIDTH), coloured }
}

async fn ask(asked: &Asked) -> Result<String, String> {
    let Asked { url, password } = asked;
    let mut request = client::client(&[], WITHIN)?.get(format!("{url}/status.json"));
    if let Some(password) = password {
        request = request.basic_auth(OWNER, Some(password.expose()));
    }
    let silent = |error: reqwest::Error| {
        let error = client::causes(error);
        format!(
            "no relay answers at {url}: {error}; does it run? systemctl status stillwatch-relay"
        )
    };
    let mut answer = request.send().await.map_err(silent)?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => {
            return Err(format!(
                "{url}: the owner's password is asked for; run this as root, who can read it"
            ));
        }
        // `relay.proxies` without this machine: it is sent on as everybody is.
        308 => {
            return Err(format!(
                "{url} sends on to HTTPS: name the address, --url https://… (or leave 127.0.0.0/8 in relay.proxies)"
            ));
        }
        _ => return Err(format!("{url} answers {}", answer.status())),
    }
    let text = client::body(&mut answer, MAX_ANSWER).await.map_err(silent)?;
    let text = text.ok_or_else(|| format!("{url}: what answers is no Stillwatch relay"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
