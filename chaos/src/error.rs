//! Why a campaign could not be run or judged: [`ChaosError`].

use std::path::{Path, PathBuf};

/// Why a campaign could not be run or judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChaosError {
    /// The call was not understood.
    #[error("{0}")]
    Usage(String),
    /// A file or process could not be used.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A history is none.
    #[error("{path}:{line} is not a line of a history: {reason}")]
    History {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The process under attack could not work.
    #[error("{0}")]
    Service(String),
}

impl ChaosError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path: path.clone(),
            source,
        }
    }

    pub(crate) fn service(error: impl std::fmt::Display) -> Self {
        Self::Service(error.to_string())
    }
}
