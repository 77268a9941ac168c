//! Chosen partitions: [`Partitions`].

use std::fmt;

/// At most so many are chosen.
const MOST: usize = 100_000;

/// The numbers of the partitions that a subscription without a group reads, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions(Vec<u32>);

impl Partitions {
    /// Takes `0`, `0, 3` or `0-2, 7`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (
                first.trim().parse::<u32>().ok()?,
                last.trim().parse::<u32>().ok()?,
            );
            let room = MOST.checked_sub(all.len())?;
            if first > last || (last - first) as usize >= room {
                return None;
            }
            all.extend(first..=last);
        }
        all.sort_unstable();
        all.dedup();
        Some(Self(all))
    }

    /// The numbers.
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }
}

impl fmt::Display for Partitions {
    /// As configuration writes it: neighbours as a range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        let mut separator = "";
        while let Some(&first) = rest.first() {
            let run = (first..)
                .zip(rest)
                .take_while(|(expected, found)| expected == *found)
                .count();
            let last = rest.get(run - 1).copied().unwrap_or(first);
            match run {
                1 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            rest = rest.get(run..).unwrap_or_default();
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_read_one_by_one_and_as_ranges_and_written_so() {
        for (text, shown) in [
            ("0", "0"),
            ("7, 0-2", "0-2, 7"),
            ("3,3 , 2-4", "2-4"),
            ("1, 3, 5", "1, 3, 5"),
        ] {
            assert_eq!(
                Partitions::parse(text).map(|all| all.to_string()).as_deref(),
                Some(shown)
            );
        }
        assert_eq!(Partitions::parse("2-4").unwrap().numbers(), [2, 3, 4]);
        for text in [
            "",
            ",",
            "a",
            "-1",
            "1-",
            "4-2",
            "0,,1",
            "0-4294967295",
            "4294967296",
        ] {
            assert_eq!(Partitions::parse(text), None, "{text}");
        }
    }
}
