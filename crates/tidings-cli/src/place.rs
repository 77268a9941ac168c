//! Where in a topic to begin: [`Place`].

use crate::broker::Broker;
use crate::error::CliError;
use crate::time::parse_time;
use std::str::FromStr;
use tidings_core::{PartitionPosition, Timestamp};

/// Where in a topic to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The oldest message that is kept.
    Beginning,
    /// What is published from now on.
    End,
    /// That offset in every partition.
    Offset(u64),
    /// The first message of that time or later.
    Time(Timestamp),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let after = |word: &str| {
            let rest = text.strip_prefix(word)?;
            rest.starts_with([':', ' '])
                .then(|| rest.get(1..).unwrap_or_default().trim())
        };
        let offset = |number: &str| number.parse().ok().map(Self::Offset);
        let place = match text {
            "beginning" | "earliest" => Some(Self::Beginning),
            "end" | "latest" => Some(Self::End),
            _ => match (after("offset"), after("time")) {
                (Some(number), _) => offset(number),
                (_, Some(time)) => return parse_time(time).map(Self::Time),
                _ => offset(text),
            },
        };
        match place {
            Some(place) => Ok(place),
            None => parse_time(text).map(Self::Time).map_err(|_| {
                format!(
                    "{text:?} is no place: write beginning, end, offset:42, a span like 10m (ago), or \
                     2026-11-21T08:00:00Z"
                )
            }),
        }
    }
}

impl Place {
    /// The offset that it means in a partition, within what is kept there.
    pub(crate) async fn offset(
        self,
        broker: &Broker,
        topic: &str,
        at: &PartitionPosition,
    ) -> Result<u64, CliError> {
        let offset = match self {
            Self::Beginning => at.first,
            Self::End => at.end,
            Self::Offset(offset) => offset,
            Self::Time(time) => broker.offset_at(topic, at.partition, time).await?,
        };
        Ok(offset.clamp(at.first, at.end.max(at.first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_in_each_of_its_forms() {
        let time = |text: &str| parse_time(text).map(Place::Time);
        for (text, expected) in [
            ("beginning", Ok(Place::Beginning)),
            ("earliest", Ok(Place::Beginning)),
            ("end", Ok(Place::End)),
            ("latest", Ok(Place::End)),
            ("offset 42", Ok(Place::Offset(42))),
            ("offset:42", Ok(Place::Offset(42))),
            ("42", Ok(Place::Offset(42))),
            ("time 2026-11-21T08:00:00Z", time("2026-11-21T08:00:00Z")),
            ("2026-11-21T08:00:00Z", time("2026-11-21T08:00:00Z")),
        ] {
            assert_eq!(text.parse::<Place>(), expected, "{text}");
        }
        assert!(matches!("10m".parse::<Place>(), Ok(Place::Time(_))));
        for wrong in ["", "begin", "offset:", "offset:-1", "time", "-3"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
