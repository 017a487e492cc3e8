//! Updates of the machine's whole system: what the relay offers is fetched in the background, and handed to
//! the updater, the program that may install it.
//!
//! ```text
//! plan: when ─► fetch: the relay is asked ─► permit: is it taken, and now? ─► pace: how much, when
//!                                                        ├─► blocks: what the running system has
//!                                                        └─► files: part ─► bundle ─► handed over
//! ```
//!
//! Whether a bundle is good, when it is installed and whether it is kept is the updater's affair; what it says
//! (`runtime::update::State`) decides what is of use here. Without an updater nothing happens.

mod blocks;
mod bundle;
mod fetch;
mod files;
mod pace;
mod permit;
mod plan;
mod task;
#[cfg(test)]
mod tests;
mod told;

use std::sync::{Mutex, PoisonError};

pub(crate) use permit::Surroundings;
pub(crate) use task::{Updater, run};
pub(crate) use told::Told;

/// What the task tells others, and what it is told.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    told: Mutex<Told>,
    around: Mutex<Surroundings>,
}

impl Updates {
    /// What is to be told of updates now.
    pub(crate) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What else goes on here.
    pub(crate) fn surrounded_by(&self, around: Surroundings) {
        *self.around.lock().unwrap_or_else(PoisonError::into_inner) = around;
    }

    fn tell(&self, told: Told) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    fn around(&self) -> Surroundings {
        *self.around.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
