//! Finding dead letters: in which topics they lie, and which are meant.

use super::LetterArgs;
use crate::broker::Broker;
use crate::error::CliError;
use crate::names::unknown;
use crate::verbs::groups::is_recorder;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tidings_core::{BinderError, DestinationInfo, LettersOf, Position, retry_destination};
use tidings_runtime::{DeadLetter, LetterList, look_through};

/// What dead-letter topics end with if nobody says otherwise: ours and Spring's of old, and Spring's of today.
pub(super) const SUFFIXES: [&str; 2] = [".DLT", "-dlt"];

/// Where dead letters are looked for.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Whole topics.
    topics: BTreeSet<String>,
    /// Single letters.
    positions: BTreeSet<Position>,
    /// Whose letters, where a broker has no list of the topics in which they lie.
    of: BTreeSet<LettersOf>,
}

impl Search {
    /// What the arguments name: everything if they name nothing.
    pub(super) async fn new(broker: &Broker, args: &LetterArgs) -> Result<Self, CliError> {
        let from = &args.from;
        if broker.hands_over() {
            return Self::by_name(broker, args).await;
        }
        let topics = broker.topics().await?;
        let mut search = Self::default();
        for name in from {
            match parse_position(name) {
                Some(position) => search.add_position(broker, &topics, position)?,
                None => search.add_topic(broker, &topics, name).await?,
            }
        }
        if from.is_empty() {
            search.topics = all(broker, &topics);
        }
        Ok(search)
    }

    /// Where nothing but a name leads to letters: those of channels and groups that somebody names, here or in the
    /// configuration.
    async fn by_name(broker: &Broker, args: &LetterArgs) -> Result<Self, CliError> {
        let mut search = Self::default();
        let (mut named, mut channels) = (false, Vec::new());
        for name in &args.from {
            match parse_position(name) {
                Some(position) => {
                    named = true;
                    search.positions.insert(position);
                }
                None => {
                    broker.topic(name).await?;
                    channels.push(name.clone());
                }
            }
        }
        if channels.is_empty() && !named {
            channels = broker.known_channels();
        }
        let groups = match &args.group {
            Some(group) => vec![group.clone()],
            None => broker.known_groups().to_vec(),
        };
        if !named && (channels.is_empty() || groups.is_empty()) {
            return Err(CliError::usage(
                format!(
                    "{} has no list of the queues in which dead letters lie",
                    broker.url()
                ),
                "name the channel and the group: tidings dlq ls CHANNEL --group GROUP",
            ));
        }
        for channel in channels {
            let of = |group: &String| LettersOf::group(broker.destination(&channel), group.as_str());
            search.of.extend(groups.iter().map(of));
        }
        Ok(search)
    }

    /// Where to look.
    fn lists(&self) -> Vec<LetterList> {
        let only = self.positions.iter().map(|at| at.destination());
        let topics: BTreeSet<&str> = self.topics.iter().map(String::as_str).chain(only).collect();
        let list = |topic: &str, of: LettersOf| LetterList {
            dead_letter: topic.into(),
            of: vec![of],
        };
        let of = self.of.iter().map(|of| list("", of.clone()));
        let places = topics
            .into_iter()
            .map(|topic| list(topic, LettersOf::Place(topic.into())));
        of.chain(places).collect()
    }

    /// Whether the letter is among those that were named.
    fn names(&self, letter: &DeadLetter) -> bool {
        let lies = letter.position.destination();
        let group = letter.diagnosis.group.as_deref().unwrap_or_default();
        self.topics.contains(lies)
            || self.positions.contains(&letter.position)
            || self.of.iter().any(|of| match of {
                LettersOf::Group {
                    destination,
                    group: of,
                } => &**of == group && is_beside(lies, &retry_destination(destination, of)),
                LettersOf::Place(place) => &**place == lies,
            })
    }

    fn add_position(
        &mut self,
        broker: &Broker,
        topics: &[DestinationInfo],
        at: Position,
    ) -> Result<(), CliError> {
        if !topics.iter().any(|topic| *topic.name == *at.destination()) {
            let known = topics.iter().map(|topic| &*topic.name);
            return Err(unknown(
                "topic",
                at.destination(),
                format!("in {}", broker.url()),
                known,
            ));
        }
        self.positions.insert(at);
        Ok(())
    }

    /// A dead-letter topic itself, or those of a channel or topic.
    async fn add_topic(
        &mut self,
        broker: &Broker,
        topics: &[DestinationInfo],
        name: &str,
    ) -> Result<(), CliError> {
        let letters = all(broker, topics);
        let destination = broker.destination(name);
        if letters.contains(destination) {
            self.topics.insert(destination.to_owned());
            return Ok(());
        }
        if !topics.iter().any(|topic| *topic.name == *destination) {
            if known_groups(broker).await.iter().any(|group| group == name) {
                return Err(CliError::missing(
                    format!("no topic \"{name}\" in {}: that is a group", broker.url()),
                    format!("write --group {name}"),
                ));
            }
            let known = topics.iter().map(|topic| &*topic.name);
            return Err(unknown("topic", name, format!("in {}", broker.url()), known));
        }
        // A topic without any: nobody has failed yet.
        let usual = SUFFIXES.iter().map(|suffix| format!("{destination}{suffix}"));
        let set = broker
            .dead_letter_templates()
            .iter()
            .map(|text| text.replace("{destination}", destination));
        let wanted: Vec<_> = set.chain(usual).collect();
        let found = letters
            .iter()
            .filter(|letters| wanted.iter().any(|wanted| fits(letters, wanted)));
        self.topics.extend(found.cloned());
        Ok(())
    }
}

/// The groups that the broker knows; none where nobody can be asked for them.
async fn known_groups(broker: &Broker) -> Vec<String> {
    let groups = broker.groups().await.unwrap_or_default().into_iter();
    groups
        .map(|group| group.name.to_string())
        .filter(|name| !is_recorder(name))
        .collect()
}

/// Tells a mistyped group from one without dead letters, after none was found. A group that is gone may still have
/// letters, so this is not asked before.
pub(super) async fn check_group(broker: &Broker, args: &LetterArgs) -> Result<(), CliError> {
    let Some(wanted) = &args.group else {
        return Ok(());
    };
    if broker.hands_over() {
        return check_queues(broker, args, wanted).await;
    }
    let known = known_groups(broker).await;
    if known.is_empty() || known.contains(wanted) {
        return Ok(());
    }
    let known = known.iter().map(String::as_str);
    Err(unknown("group", wanted, format!("in {}", broker.url()), known))
}

/// Tells it where only a queue of dead letters says that a group has read a channel.
async fn check_queues(broker: &Broker, args: &LetterArgs, group: &str) -> Result<(), CliError> {
    for name in args.from.iter().filter(|name| parse_position(name).is_none()) {
        let of = LettersOf::group(broker.destination(name), group);
        let Some(mut letters) = broker.binder().hold_letters(&of) else {
            continue;
        };
        let looked = letters.next(1).await;
        let place = letters.place().clone();
        let closed = letters.close().await;
        match looked {
            Err(BinderError::UnknownDestination { .. }) => {
                return Err(CliError::missing(
                    format!(
                        "no group {group} has read \"{name}\" in {}: there is no queue \"{place}\"",
                        broker.url()
                    ),
                    "write the group as the app does, with --group",
                ));
            }
            looked => looked
                .map(drop)
                .and(closed)
                .map_err(|error| broker.failed(error))?,
        }
    }
    Ok(())
}

/// Every topic that holds dead letters, by the usual name or by what the configuration says.
fn all(broker: &Broker, topics: &[DestinationInfo]) -> BTreeSet<String> {
    let is_dead = |name: &str| {
        SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            || broker
                .dead_letter_templates()
                .iter()
                .any(|template| fits(name, template))
    };
    topics
        .iter()
        .map(|topic| topic.name.to_string())
        .filter(|name| is_dead(name))
        .collect()
}

/// Whether a name can be what a template with `{destination}` and `{group}` stands for.
fn fits(name: &str, template: &str) -> bool {
    let Some(start) = template.find('{') else {
        return name == template;
    };
    let end = template.rfind('}').map_or(template.len(), |end| end + 1);
    let (before, after) = (
        template.get(..start).unwrap_or_default(),
        template.get(end..).unwrap_or_default(),
    );
    // A template of nothing but names fits everything, and says nothing.
    !(before.is_empty() && after.is_empty())
        && name.len() > before.len() + after.len()
        && name.starts_with(before)
        && name.ends_with(after)
}

/// Whether letters lie beside the place where messages of the same group and destination wait: both begin alike.
fn is_beside(letters: &str, retry: &str) -> bool {
    let start = |name: &str| name.rsplit_once('.').map(|(start, _)| start.to_owned());
    start(letters) == start(retry)
}

/// Looks at every dead letter that is meant, in the order of their places, until `each` has had enough.
pub(super) async fn each<F>(
    broker: &Broker,
    search: &Search,
    args: &LetterArgs,
    mut each: F,
) -> Result<(), CliError>
where
    F: FnMut(DeadLetter) -> Result<ControlFlow<()>, CliError> + Send,
{
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut ended = Ok(());
    if left == 0 {
        return ended;
    }
    let mut one = |letter: DeadLetter| {
        if !search.names(&letter) || !is_meant(&letter, args) {
            return ControlFlow::Continue(());
        }
        left -= 1;
        match each(letter) {
            Ok(ControlFlow::Continue(())) if left > 0 => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                ended = Err(error);
                ControlFlow::Break(())
            }
        }
    };
    let looked = look_through(&**broker.binder(), &search.lists(), None, &mut one).await;
    looked.map_err(|error| broker.failed(error))?;
    ended
}

fn is_meant(letter: &DeadLetter, args: &LetterArgs) -> bool {
    let diagnosis = &letter.diagnosis;
    let failed = diagnosis.last_failure.or_else(|| letter.message.timestamp());
    let key = letter.message.key();
    args.group
        .as_ref()
        .is_none_or(|group| diagnosis.group.as_ref() == Some(group))
        && args
            .key
            .as_ref()
            .is_none_or(|wanted| key.is_some_and(|key| key[..] == *wanted.as_bytes()))
        && (args.id.is_empty()
            || letter
                .message_id()
                .is_some_and(|id| args.id.iter().any(|wanted| wanted == id)))
        && args.error_contains.as_ref().is_none_or(|text| {
            diagnosis
                .error
                .as_ref()
                .is_some_and(|error| error.contains(text.as_str()))
        })
        && args
            .since
            .is_none_or(|since| failed.is_some_and(|failed| failed >= since))
        && args
            .until
            .is_none_or(|until| failed.is_some_and(|failed| failed < until))
}

/// A position as everything here writes it: `orders.DLT/0@5`.
pub(super) fn parse_position(text: &str) -> Option<Position> {
    let (topic, place) = text.rsplit_once('/')?;
    let (partition, offset) = place.split_once('@')?;
    let position = Position::new(topic, partition.parse().ok()?, offset.parse().ok()?);
    (!topic.is_empty()).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Position::new("orders.DLT", 3, 5);
        assert_eq!(parse_position(&position.to_string()), Some(position));
        for wrong in ["orders", "orders.DLT/0", "/0@1", "a/x@1", "a/0@-1"] {
            assert_eq!(parse_position(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_template_stands_for_the_names_that_it_can_become() {
        for (name, template, expected) in [
            ("orders.DLT", "{destination}.DLT", true),
            ("orders.billing.dead", "{destination}.{group}.dead", true),
            ("dead-orders", "dead-{destination}", true),
            ("graveyard", "graveyard", true),
            ("orders", "{destination}.DLT", false),
            (".DLT", "{destination}.DLT", false),
            ("orders", "{destination}", false),
        ] {
            assert_eq!(fits(name, template), expected, "{name} {template}");
        }
    }
}
