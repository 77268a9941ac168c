//! Asking before something is lost: [`confirm`].

use crate::error::CliError;
use std::io::{self, BufRead, IsTerminal, Write};

/// Whether somebody has said yes beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beforehand {
    /// With `--yes`.
    Yes,
    /// Nobody has.
    No,
}

impl From<bool> for Beforehand {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What happens where nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unattended {
    /// It goes on: nothing is lost.
    GoesOn,
    /// It is refused.
    Refused,
}

/// Goes on if somebody says yes, or has; where nobody can be asked, as `unattended` says.
///
/// # Errors
/// [`CliError::Refused`] with what would have been done.
pub(crate) fn ask(beforehand: Beforehand, unattended: Unattended, what: &str) -> Result<(), CliError> {
    match unattended {
        Unattended::GoesOn if !can_ask() => Ok(()),
        _ => confirm(beforehand, what),
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Goes on if somebody says yes, or has. Where nobody can be asked the answer is no.
///
/// # Errors
/// [`CliError::Refused`] with what would have been done.
pub(crate) fn confirm(beforehand: Beforehand, what: &str) -> Result<(), CliError> {
    if beforehand == Beforehand::Yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(CliError::refused(
            format!("this would {what}; nothing was changed"),
            "say --yes to do it, or --dry-run to see it",
        ));
    }
    let mut stderr = io::stderr();
    let asked = write!(stderr, "This will {what}. Go on? [y/N] ").and_then(|()| stderr.flush());
    asked.map_err(|error| CliError::io("ask", error))?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::io("read the answer", error))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::refused(
        "you said no; nothing was changed",
        "say yes to go on",
    ))
}
