//! What of all destinations is read: a pure function.

use super::{Discovery, PatternInput, PatternReads};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::DestinationInfo;

/// What retry destinations end with, and dead letters where nobody says otherwise.
const RETRY: &str = ".retry";
const LETTERS: &str = ".DLT";
/// What the brokers' own topics begin with.
const INTERNAL: &str = "__";
/// Where the name of a destination stands in that of its dead letters.
const PLACE: &str = "{destination}";

/// How dead letters are called after the destination that they come from: `{destination}.DLT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterName(String);

impl LetterName {
    /// A policy's template, for that group.
    pub fn new(template: &str, group: Option<&str>) -> Self {
        Self(template.replace("{group}", group.unwrap_or("anonymous")))
    }

    /// Where the dead letters of a destination are.
    pub fn of(&self, destination: &str) -> String {
        self.0.replace(PLACE, destination)
    }

    /// The template, with the group's name in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The destination whose dead letters have this name.
    fn origin<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (before, after) = self.0.split_once(PLACE)?;
        let origin = name.strip_prefix(before)?;
        // A name that stands twice in it is compared as a whole.
        let origin = match after.split_once(PLACE) {
            Some((between, _)) => origin.split_once(between).map(|(origin, _)| origin)?,
            None => origin.strip_suffix(after)?,
        };
        (!origin.is_empty() && self.of(origin) == name).then_some(origin)
    }
}

/// A destination that is to be read, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) partitions: u32,
    /// Which of the patterns takes it: the first that does.
    pub(crate) pattern: usize,
}

impl Discovery {
    /// Which of these destinations a pattern takes. Never those that belong to others: retry destinations, dead
    /// letters, and topics of the broker itself.
    pub fn matching<'a>(
        &'a self,
        input: &'a PatternInput,
        all: &'a [DestinationInfo],
    ) -> impl Iterator<Item = &'a DestinationInfo> {
        all.iter()
            .filter(|info| input.pattern.matches(&info.name) && !self.is_apart(input, &info.name, all))
    }

    fn is_apart(&self, input: &PatternInput, name: &str, all: &[DestinationInfo]) -> bool {
        let is_letter = |letters: &LetterName| {
            letters.as_str() == name
                || letters.origin(name).is_some_and(|origin| {
                    input.pattern.matches(origin) || all.iter().any(|info| &*info.name == origin)
                })
        };
        name.starts_with(INTERNAL)
            || name.ends_with(RETRY)
            || name.ends_with(LETTERS)
            || self.letters.iter().any(is_letter)
    }

    /// What is to be read of these destinations, besides what is read by name.
    pub(crate) fn choose(
        &self,
        all: &[DestinationInfo],
        is_named: impl Fn(&str) -> bool,
    ) -> BTreeMap<Arc<str>, Choice> {
        let mut chosen = BTreeMap::new();
        let mut take = |info: &DestinationInfo, pattern: usize| {
            if !is_named(&info.name) {
                let partitions = info.partitions;
                chosen
                    .entry(info.name.clone())
                    .or_insert(Choice { partitions, pattern });
            }
        };
        for (pattern, input) in self.patterns.iter().enumerate() {
            for info in self.matching(input, all) {
                match &input.reads {
                    PatternReads::Messages => take(info, pattern),
                    PatternReads::DeadLetters(names) => {
                        let names = names.iter().map(|letters| letters.of(&info.name));
                        // Those that are not there yet are empty.
                        let there = names.filter_map(|name| all.iter().find(|info| *info.name == name));
                        there.for_each(|letters| take(letters, pattern));
                    }
                }
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;
    use tidings_core::Create;

    fn all(names: &[&str]) -> Vec<DestinationInfo> {
        let info = |name: &&str| DestinationInfo {
            name: (*name).into(),
            partitions: 2,
        };
        names.iter().map(info).collect()
    }

    fn discovery(pattern: &str, reads: PatternReads, letters: &[&str]) -> Discovery {
        Discovery {
            patterns: vec![PatternInput {
                pattern: Pattern::parse(pattern).unwrap(),
                reads,
                create: Create::IfMissing,
            }],
            letters: letters
                .iter()
                .map(|name| LetterName::new(name, Some("billing")))
                .collect(),
            ..Discovery::default()
        }
    }

    fn chosen(discovery: &Discovery, names: &[&str]) -> Vec<String> {
        let chosen = discovery.choose(&all(names), |name| name == "orders.named");
        chosen.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pattern_takes_what_matches_and_never_what_belongs_to_a_group() {
        let by_default = discovery(r"^orders\..*", PatternReads::Messages, &["{destination}.DLT"]);
        let names = [
            "__consumer_offsets",
            "orders",
            "orders.eu",
            "orders.eu.DLT",
            "orders.eu.billing.retry",
            "orders.eu.DLT.rescue.retry",
            "orders.gone.billing.retry",
            "orders.named",
            "orders.us",
        ];
        assert_eq!(chosen(&by_default, &names), ["orders.eu", "orders.us"]);
        let everything = discovery("^", PatternReads::Messages, &["{destination}.DLT"]);
        assert_eq!(chosen(&everything, &names), ["orders", "orders.eu", "orders.us"]);
    }

    #[test]
    fn dead_letters_are_known_by_the_names_that_the_app_gives_them() {
        for (template, letters) in [
            ("{destination}.{group}.dead", "orders.eu.billing.dead"),
            ("orders.dead.{destination}", "orders.dead.orders.eu"),
            ("{destination}.x.{destination}", "orders.eu.x.orders.eu"),
            ("orders.graveyard", "orders.graveyard"),
            // Of a channel that no pattern matches.
            ("{destination}.lost", "orders.lost"),
        ] {
            let discovery = discovery(r"^orders\..*", PatternReads::Messages, &[template]);
            assert_eq!(
                chosen(&discovery, &["orders", "orders.eu", letters]),
                ["orders.eu"],
                "{template}"
            );
        }
        let unrelated = discovery(r"^orders\..*", PatternReads::Messages, &["orders.{destination}"]);
        assert_eq!(chosen(&unrelated, &["orders.eu"]), ["orders.eu"]);
    }

    #[test]
    fn readers_of_dead_letters_get_those_that_are_there() {
        let names = [LetterName::new("{destination}.DLT", None)];
        let reads = PatternReads::DeadLetters(names.to_vec());
        let discovery = discovery(r"^orders\..*", reads, &["{destination}.DLT"]);
        let there = [
            "orders.eu",
            "orders.eu.DLT",
            "orders.us",
            "payments",
            "payments.DLT",
        ];
        assert_eq!(chosen(&discovery, &there), ["orders.eu.DLT"]);
    }
}
