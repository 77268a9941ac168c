//! What can go wrong between a tool and a running service: [`ManageError`].

use std::io;
use std::path::PathBuf;
use tidings_core::BinderError;

/// Why a service cannot be managed, or could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// The address may not be listened on.
    #[error(
        "the management address \"{address}\" is refused: {reason}; write manage.address = \"127.0.0.1:0\", or with a port of your choice"
    )]
    Address {
        /// The address as it was configured.
        address: String,
        /// Why.
        reason: &'static str,
    },
    /// Nothing can listen there.
    #[error(
        "cannot listen at {address}: {source}; choose another port in manage.address, 0 takes a free one"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file that tells tools where to ask cannot be written or read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The service does not answer.
    #[error("the service at {address} cannot be asked: {reason}")]
    Unreachable {
        /// Its management address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The service refuses the request.
    #[error("the service at {address} refuses: {reason}")]
    Refused {
        /// Its management address.
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The service answers in a way that this version does not understand.
    #[error(
        "the service at {address} answers in a way that this version does not understand: {reason}; use the version of the tool that belongs to the service"
    )]
    Protocol {
        /// Its management address.
        address: String,
        /// What is not understood.
        reason: String,
    },
    /// There is no such binder, group or subscription.
    #[error("there is no {kind} {name:?}{}", hint(.known))]
    Unknown {
        /// `binder`, `group`, `subscription`.
        kind: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The broker said no.
    #[error(transparent)]
    Broker(#[from] BinderError),
    /// The service could not do it.
    #[error("{reason}")]
    Failed {
        /// Where, why, and what to do.
        reason: String,
    },
}

impl ManageError {
    /// Something that failed, in words that name place, cause and cure.
    pub fn failed(reason: impl ToString) -> Self {
        Self::Failed {
            reason: reason.to_string(),
        }
    }

    /// A name that is not there.
    pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Unknown {
            kind: kind.to_owned(),
            name: name.to_owned(),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }

    /// As a broker would say it: for the binder that asks a running service.
    pub(crate) fn into_binder_error(self, doing: &str) -> BinderError {
        match self {
            Self::Broker(error) => error,
            error => BinderError::Failed {
                doing: doing.to_owned(),
                reason: error.to_string(),
            },
        }
    }
}

fn hint(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!("; there is {}", known.join(", ")),
    }
}
