//! What a fault was, and how long it took until the camera was live again: rows of docs/faults.md.
//!
//! With `STILLWATCH_FAULTS=DIR` (`scripts/faults` sets it) each story leaves its row there, else nothing
//! is written: the numbers are no condition of any test.

use std::path::PathBuf;
use std::time::Duration;

use testbed::machine::Machine;

use crate::journal::{self, line_after, seconds};

/// A row.
#[derive(Debug, Clone, Default)]
pub struct Row<'a> {
    /// Its place in the table, and its file's name.
    pub number: u32,
    /// What was done.
    pub fault: &'a str,
    /// What noticed it.
    pub detected: &'a str,
    /// What was tried, in order; the last one helped.
    pub rungs: &'a str,
    /// Until the camera was live again; zero if it never was anything else.
    pub took: Duration,
    /// From when on, and what was promised.
    pub goal: &'a str,
    /// `QEMU` (real kernel, real drivers), `processes` (the real programs on this machine).
    pub how: &'a str,
    /// A line of the journal.
    pub evidence: &'a str,
}

/// Keeps the row.
///
/// # Panics
/// It can't be written.
pub fn record(row: &Row<'_>) {
    let Row { number, fault, detected, rungs, took, goal, how, evidence } = row;
    let seconds =
        if took.is_zero() { "–".to_owned() } else { format!("{:.1} s", took.as_secs_f64()) };
    let cells = [*fault, detected, rungs, &seconds, goal, how, evidence];
    let line = cells.map(|cell| cell.replace(['\t', '\n', '|'], " ")).join("\t");
    println!("fault {number}: {line}");
    let Some(folder) = std::env::var_os("STILLWATCH_FAULTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("a folder for the rows");
    std::fs::write(folder.join(format!("{number:02}.tsv")), line + "\n").expect("a row");
}

/// Keeps the row of a fault that cost a boot, this one: it was live again with the boot's first upload. `told` is in the
/// line that is the row's evidence.
///
/// # Panics
/// The journal says neither, or the row can't be written.
pub fn record_boot(guest: &Machine, told: &str, row: &Row<'_>) {
    let told = line_after(guest, 0.0, told);
    let well = line_after(guest, 0.0, "uploading over a WebSocket");
    record(&Row { took: seconds(well.at), evidence: journal::said(&told), ..row.clone() });
}

/// What the agent says after the time stamp and level, for a row's evidence.
pub fn said(line: &str) -> &str {
    let text = line.split_once("WARN ").or_else(|| line.split_once("INFO "));
    text.or_else(|| line.split_once("ERROR ")).map_or(line, |(_, text)| text.trim())
}
