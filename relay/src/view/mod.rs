//! What viewers get. Everything here reads the board and changes nothing.

pub(crate) mod caching;
pub(crate) mod history;
pub(crate) mod mjpeg;
pub(crate) mod owner;
mod pace;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod push;
pub(crate) mod still;
mod window;
