//! Why something could not be measured.

use std::path::PathBuf;

/// Why a run, or a row of it, could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// The command line asks for something that does not exist.
    #[error("{0}; `cargo xtask bench --help` lists the rows")]
    Arguments(String),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Something of the operating system failed.
    #[error("{action}: {source}")]
    System {
        action: &'static str,
        source: std::io::Error,
    },
    /// What is being measured refused to work.
    #[error("{part}: {reason}")]
    Part { part: &'static str, reason: String },
    /// Two arms that read the same bytes did not see the same.
    #[error("{what}: the arms disagree, {ours} and {reference}; their figures cannot be compared")]
    Disagree {
        what: String,
        ours: String,
        reference: String,
    },
}

impl BenchError {
    /// For `map_err`: that part's own error.
    pub(crate) fn part<E: std::fmt::Display>(part: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Part {
            part,
            reason: error.to_string(),
        }
    }

    /// For `map_err`: an error of the operating system.
    pub(crate) fn system(action: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    /// For `map_err`: an error of that file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
