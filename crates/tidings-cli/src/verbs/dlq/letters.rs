//! The dead letters that something is done with: [`Chosen`].

use super::LetterArgs;
use super::find::{SUFFIXES, Search, check_group, each};
use crate::broker::Broker;
use crate::error::CliError;
use crate::out::Out;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tidings_core::{Create, DestinationRole, DestinationSpec, Position, retry_destination};
use tidings_runtime::RedriveInput;

/// The chosen letters of one group.
#[derive(Debug, Default)]
pub(super) struct OfGroup {
    /// Where they lie.
    pub(super) positions: Vec<Position>,
    /// Where they were published first, and where they lie.
    inputs: BTreeSet<(String, String)>,
}

/// The dead letters that something is done with.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// By group.
    pub(super) groups: BTreeMap<String, OfGroup>,
    /// Messages that somebody else put there: no group gave up on them.
    pub(super) without_group: usize,
}

impl Chosen {
    /// Chooses what the arguments name.
    pub(super) async fn new(broker: &Broker, args: &LetterArgs, out: &Out) -> Result<Self, CliError> {
        let search = Search::new(broker, args).await?;
        let mut chosen = Self::default();
        let progress = out.progress("reading dead letters", None);
        each(broker, &search, args, |letter| {
            progress.add(1);
            let Some(group) = letter.diagnosis.group else {
                chosen.without_group += 1;
                return Ok(ControlFlow::Continue(()));
            };
            let lies = letter.position.destination();
            let origin = letter
                .diagnosis
                .position
                .as_ref()
                .map(|origin| origin.destination().to_owned());
            let origin = origin.unwrap_or_else(|| {
                let main = SUFFIXES.iter().find_map(|suffix| lies.strip_suffix(suffix));
                main.unwrap_or(lies).to_owned()
            });
            let of_group = chosen.groups.entry(group).or_default();
            of_group.inputs.insert((origin, lies.to_owned()));
            of_group.positions.push(letter.position);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        if chosen.groups.is_empty() {
            check_group(broker, args).await?;
        }
        Ok(chosen)
    }

    /// How many of them a group gave up on.
    pub(super) fn count(&self) -> usize {
        self.groups
            .values()
            .map(|of_group| of_group.positions.len())
            .sum()
    }

    /// Refuses groups that nothing can be sent back to: anybody may have written a group's name into a header.
    pub(super) async fn check_retry_topics(&self, broker: &Broker) -> Result<(), CliError> {
        if broker.hands_over() {
            return self.prepare_retry(broker).await;
        }
        let topics = broker.topics().await?;
        for (group, of_group) in &self.groups {
            for (origin, _) in &of_group.inputs {
                let retry = retry_destination(origin, group);
                if !topics.iter().any(|topic| *topic.name == *retry) {
                    return Err(CliError::missing(
                        format!("the group {group} has no topic \"{retry}\" that letters go back by"),
                        "start the app once with that group, or choose other letters with --group; nothing was sent",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Says what these destinations are for, to a broker that has no list of them.
    async fn prepare_retry(&self, broker: &Broker) -> Result<(), CliError> {
        for (group, of_group) in &self.groups {
            for input in of_group.inputs(group) {
                let spec = DestinationSpec::new(input.retry, 1)
                    .role(DestinationRole::Retry)
                    .create(Create::Never);
                let prepared = broker.binder().prepare(spec).await;
                prepared.map_err(|error| broker.failed(error))?;
            }
        }
        Ok(())
    }
}

impl OfGroup {
    /// Where the letters come from, where they lie and where they go.
    pub(super) fn inputs(&self, group: &str) -> Vec<RedriveInput> {
        let inputs = self.inputs.iter().map(|(origin, lies)| RedriveInput {
            destination: origin.as_str().into(),
            dead_letter: lies.as_str().into(),
            retry: retry_destination(origin, group).into(),
        });
        inputs.collect()
    }
}
