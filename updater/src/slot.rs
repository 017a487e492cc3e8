//! The two places on the card that hold a system each (`image/layout.bash`).

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// As U-Boot's script and RAUC call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    /// The one that runs, by the kernel's command line (`rauc.slot=A`); `None`: no boot loader of ours started it.
    pub(crate) fn booted(cmdline: &str) -> Option<Slot> {
        cmdline.split_whitespace().find_map(|word| match word {
            "rauc.slot=A" => Some(Slot::A),
            "rauc.slot=B" => Some(Slot::B),
            _ => None,
        })
    }

    /// The one that an update is installed into.
    pub(crate) fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "A",
            Slot::B => "B",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_command_line_says_which_one_runs() {
        assert_eq!(
            Slot::booted("stillwatch.slot=PARTUUID=1-02 rauc.slot=A quiet\n"),
            Some(Slot::A)
        );
        assert_eq!(Slot::booted("rauc.slot=B").map(Slot::other), Some(Slot::A));
        assert_eq!(Slot::booted("root=/dev/sda1 rauc.slot=C"), None);
    }
}
