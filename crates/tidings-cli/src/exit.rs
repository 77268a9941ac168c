//! How the program ends: [`Exit`].

use std::process::ExitCode;

/// How the program ends. These numbers are part of what `docs/cli.md` promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked to do; so does a `tail --follow` that is ended by ctrl-C.
    Done = 0,
    /// It failed for a reason that no other number names.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage = 2,
    /// A topic, channel, group, dead letter, partition or directory that does not exist.
    NotFound = 3,
    /// It would lose or disturb something: it needs `--yes`, or something else first. Nothing was changed.
    Refused = 4,
    /// The broker cannot be opened or reached, cannot take messages now, as on a full disk, or somebody else holds it.
    Away = 5,
    /// What is stored is damaged.
    Damaged = 6,
    /// Ended by ctrl-C before it was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
