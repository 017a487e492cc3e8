//! What everybody may know of the healer: `healer.json` in the run directory.

use std::fs;

use ladder::Budget;
use runtime::files::{Survives, publish};
use runtime::heal::State;
use runtime::update;

use crate::site::Site;

const FILE: &str = "healer.json";

/// What is published.
pub(crate) fn read(site: &Site) -> State {
    let content = fs::read(site.run(FILE)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// The budget has changed.
pub(crate) fn budget(site: &Site, budget: &Budget) {
    let before = read(site);
    let state =
        State { reboots_left: budget.left(), reboots_spent: budget.spent(), ..before.clone() };
    if state != before || !site.run(FILE).exists() {
        write(site, &state);
    }
}

/// Why the machine was started is known.
pub(crate) fn booted(site: &Site, sentence: &str) {
    write(site, &State { booted: Some(sentence.to_owned()), ..read(site) });
}

/// A reboot was asked for, while the system that runs has to prove itself.
pub(crate) fn reboot_wanted(site: &Site, reason: &str) {
    write(site, &State { reboot_wanted: Some(reason.to_owned()), ..read(site) });
}

/// Whether it has, by what the updater says.
pub(crate) fn is_on_trial(site: &Site) -> bool {
    let state = fs::read(site.below(update::STATE)).unwrap_or_default();
    let state: Option<update::State> = serde_json::from_slice(&state).ok();
    state.is_some_and(|state| state.phase == update::Phase::Trial)
}

fn write(site: &Site, state: &State) {
    let written = serde_json::to_vec(state)
        .map_err(Into::into)
        .and_then(|content| publish(&site.run(FILE), &content, Survives::Exit));
    if let Err(error) = written {
        tracing::warn!("{} could not be written: {error}", site.run(FILE).display());
    }
}
