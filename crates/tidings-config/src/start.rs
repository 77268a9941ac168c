//! Where a group starts to read: [`Start`].

use crate::human::{format_time, parse_time};
use std::fmt;
use std::time::SystemTime;

/// Where a subscription begins when no position is stored for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The oldest message that is kept.
    Earliest,
    /// Messages published from now on.
    Latest,
    /// That offset in every partition.
    Offset(u64),
    /// The first message of that time or later.
    Time(SystemTime),
}

impl Start {
    /// Takes `earliest`, `latest`, `offset:42` or `time:2026-11-01T08:00:00Z`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().split_once(':') {
            Some(("offset", offset)) => offset.trim().parse().ok().map(Self::Offset),
            Some(("time", time)) => parse_time(time).map(Self::Time),
            Some(_) => None,
            None if text.trim() == "earliest" => Some(Self::Earliest),
            None if text.trim() == "latest" => Some(Self::Latest),
            None => None,
        }
    }
}

impl fmt::Display for Start {
    /// As configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Time(time) => write!(f, "time:{}", format_time(*time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_read_as_it_is_written() {
        for text in ["earliest", "latest", "offset:42", "time:2026-11-01T08:00:00Z"] {
            assert_eq!(
                Start::parse(text).map(|start| start.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "Earliest",
            "42",
            "offset:",
            "offset:-1",
            "time:2026-11-01",
            "time:08:00:00",
            "a:b",
        ] {
            assert_eq!(Start::parse(text), None, "{text}");
        }
    }
}
