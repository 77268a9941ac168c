//! What can go wrong with a service as a whole: [`Error`], and mistakes in its wiring: [`WiringMistake`].

use std::fmt;
use std::io;
use tidings_config::ConfigError;
use tidings_core::{BinderError, CodecError, PublishError};
use tidings_runtime::RedriveError;

/// Why a service cannot start, or cannot do what it was asked for.
///
/// `Debug` prints the same text as `Display`, so that a `main` that returns it shows what a person needs.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Parts of the app do not fit together, or do not fit the configuration: all mistakes at once.
    #[error("{}", wiring(.0))]
    Wiring(Vec<WiringMistake>),
    /// Both of the above: every mistake in the configuration and in the wiring.
    #[error("{}", both(.configuration, .wiring))]
    Mistakes {
        /// What is wrong with the configuration.
        configuration: Box<ConfigError>,
        /// What is wrong with the app, as far as the rest of the configuration tells.
        wiring: Vec<WiringMistake>,
    },
    /// A broker cannot be opened or does not do what is needed.
    #[error("binder {binder}: {error}")]
    Binder {
        /// The binder's name, as in `[binder.NAME]`.
        binder: String,
        /// What it said.
        #[source]
        error: BinderError,
    },
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A message could not be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Dead letters could not be sent back.
    #[error(transparent)]
    Redrive(#[from] RedriveError),
    /// The app has no such channel, subscription or group.
    #[error("this app has no {kind} {name:?}{}", hint(.known))]
    Unknown {
        /// `channel`, `subscription`, `group`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The management address cannot be used.
    #[error("{reason} (manage.enabled = false starts without it)")]
    Manage {
        /// Where, why, and what to do.
        reason: String,
    },
    /// The operating system does not let this process wait for signals.
    #[error("cannot wait for signals: {0}")]
    Signal(#[source] io::Error),
    /// The service ended, but gave something up at the deadline of its drain: it is delivered again at the next start.
    #[error("the drain did not finish everything: {}; it comes again at the next start (app.drain_timeout gives it longer)", .given_up.join("; "))]
    Unfinished {
        /// What was given up, and what could not be flushed or closed.
        given_up: Vec<String>,
    },
    /// A subscription ended, by a drain or because its broker refuses it, before it had seen what was waited for.
    #[error("the subscription {subscription:?} ended before it had caught up; its status and health say why")]
    Ended {
        /// Which one.
        subscription: String,
    },
    /// A test app did not come to rest in time.
    #[error("not settled after {after:?}:{}", lines(.waiting))]
    NotSettled {
        /// How long it was waited for, in the test's time.
        after: std::time::Duration,
        /// What is not settled, one line each.
        waiting: Vec<String>,
    },
}

impl Error {
    /// What a binder said.
    pub(crate) fn binder(name: &str, error: BinderError) -> Self {
        Self::Binder {
            binder: name.to_owned(),
            error,
        }
    }

    pub(crate) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut known: Vec<_> = known.into_iter().map(str::to_owned).collect();
        known.sort();
        known.dedup();
        Self::Unknown {
            kind,
            name: name.to_owned(),
            known,
        }
    }

    /// The mistakes in the wiring, if it is about those.
    pub fn wiring_mistakes(&self) -> &[WiringMistake] {
        match self {
            Self::Wiring(mistakes) | Self::Mistakes { wiring: mistakes, .. } => mistakes,
            _ => &[],
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn wiring(mistakes: &[WiringMistake]) -> String {
    match mistakes {
        [one] => one.to_string(),
        several => format!("{} mistakes in the wiring:{}", several.len(), lines(several)),
    }
}

fn both(configuration: &ConfigError, wiring: &[WiringMistake]) -> String {
    let configuration = configuration.each();
    format!(
        "{} mistakes in the configuration:{}\n{} in the wiring:{}",
        configuration.len(),
        lines(configuration),
        wiring.len(),
        lines(wiring)
    )
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

fn hint(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; it has {}", names.join(", "))
    }
}

/// Something in an app, or in its configuration, that cannot work: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiringMistake {
    place: String,
    problem: String,
    cure: String,
}

impl WiringMistake {
    pub(crate) fn new(place: impl fmt::Display, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            problem: problem.into(),
            cure: cure.into(),
        }
    }

    /// The place in the code or in the configuration: `src/main.rs:12`, `tidings.toml:7`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What cannot work.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do.
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

impl fmt::Display for WiringMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.cure)
    }
}
