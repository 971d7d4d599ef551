//! The option about pinned versions that have left the mirror.

use clap::Args;
use harness_builder::pins::Pins;

/// What to do about pinned versions that have left the mirror.
#[derive(Clone, Copy, Debug, Args)]
pub struct PinOptions {
    /// Fail if a pinned version has left the mirror, instead of taking the newest one of the same series
    #[arg(long)]
    locked: bool,
}

impl PinOptions {
    /// Returns what to do.
    pub fn pins(self) -> Pins {
        if self.locked { Pins::Locked } else { Pins::Replaceable }
    }
}
