//! How a [`Link`](super::Link) is: [`LinkState`].

use super::open::Live;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// How a link is.
#[derive(Clone)]
pub(crate) enum LinkState {
    /// Nobody has needed it.
    Idle,
    /// There is a connection.
    Up(Arc<Live>),
    /// There is one, and the server takes no messages on it, in its own words.
    Blocked(Arc<Live>, Arc<str>),
    /// There is none. It is tried on.
    Away { reason: Arc<str>, since: Instant },
    /// There is none because a person must change something. It is tried on, as they may.
    Denied { reason: Arc<str> },
    /// There will be none any more.
    Closed,
}

impl LinkState {
    /// The connection, if there is one.
    pub(crate) fn live(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Up(live) | Self::Blocked(live, _) => Some(live),
            _ => None,
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked(..))
    }

    /// Why it does not take messages; nothing if it does, or nobody has asked it to.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Idle | Self::Up(_) => None,
            Self::Blocked(_, words) => Some(format!(
                "the server takes no messages for now: {words}; free what it is short of"
            )),
            Self::Away { reason, since } => Some(format!("away for {:.1?}: {reason}", since.elapsed())),
            Self::Denied { reason } => Some(reason.to_string()),
            Self::Closed => Some("it is closed".to_owned()),
        }
    }
}

impl fmt::Debug for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("Idle"),
            Self::Up(live) => write!(f, "Up({})", live.generation),
            _ => write!(f, "{}", self.trouble().unwrap_or_default()),
        }
    }
}
