//! Why something that a relay does was not finished: [`Broken`].

use crate::error::SqlError;
use tidings_core::LockError;

/// Why a round was not finished.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The lease is lost: somebody else sends now.
    Lost(LockError),
    /// The database is away; it is tried again.
    Away(String),
}

impl From<SqlError> for Broken {
    fn from(error: SqlError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<LockError> for Broken {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Lost { .. } => Self::Lost(error),
            _ => Self::Away(error.to_string()),
        }
    }
}
