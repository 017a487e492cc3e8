//! What the uploads know of the link, for whoever wants to use what they leave of it.

use std::sync::{Mutex, PoisonError};

use ladder::Mono;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<Seen>);

/// How pictures of the present get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// The relay in use: its place in the order of preference.
    pub relay: usize,
    /// The oldest picture that is on its way was sent then.
    pub under_way: Option<Mono>,
    /// The last one that got through was sent then, and answered then.
    pub through: Option<(Mono, Mono)>,
}

impl Traffic {
    /// As it is now.
    pub(crate) fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn at(&self, relay: usize) {
        self.change(|seen| seen.relay = relay);
    }

    pub(super) fn under_way(&self, oldest: Option<Mono>) {
        self.change(|seen| seen.under_way = oldest);
    }

    pub(super) fn through(&self, sent: Mono, answered: Mono) {
        self.change(|seen| seen.through = Some((sent, answered)));
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
