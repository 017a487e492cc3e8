//! Where log lines go: to the journal with their fields when systemd started us, else to stderr.

use std::os::fd::AsFd;
use std::{env, fmt, io};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that chooses what is logged, as `RUST_LOG` elsewhere: `debug`, `warn`,
/// `stillwatch_agent=trace`.
pub const FILTER_VARIABLE: &str = "STILLWATCH_LOG";

/// Starts logging. Call once, first thing.
///
/// # Errors
/// It was started before.
pub fn start() -> Result<(), TryInitError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(FILTER_VARIABLE)
        .from_env_lossy();
    // It says at INFO what the relay says in its own words; whoever chooses otherwise has it all.
    let filter = match (env::var_os(FILTER_VARIABLE), "async_nats=warn".parse()) {
        (None, Ok(quiet)) => filter.add_directive(quiet),
        _ => filter,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_the_journal() {
        // Its fields are the journal's own: journalctl CAMERA=garden.
        if let Ok(journal) = tracing_journald::layer() {
            return registry.with(journal.with_field_prefix(None)).try_init();
        }
    }
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .fmt_fields(format::debug_fn(field).delimited(" "));
    registry.with(lines).try_init()
}

/// A field as people read it; the events' identities are for the journal.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        "message_id" => Ok(()),
        name => write!(writer, "{name}={value:?}"),
    }
}

/// systemd.exec(5): `JOURNAL_STREAM` holds device and inode of the journal's socket; only if
/// stderr is still that one is it ours.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(io::stderr().as_fd())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
