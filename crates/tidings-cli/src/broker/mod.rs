//! The broker that a verb works on: [`Broker`].

mod address;
mod open;

pub(crate) use address::Address;

use crate::args::Global;
use crate::configuration::ChannelPlace;
use crate::error::CliError;
use crate::names::unknown;
use crate::out::Out;
use std::sync::Arc;
use tidings_core::{
    BinderError, Create, DestinationInfo, DestinationSpec, DynBinder, GroupInfo, LettersOf,
    PartitionPosition, RecordBatch, Timestamp,
};
use tidings_manage::{Client, Connection, Way};
use tidings_runtime::Pattern;

/// What a verb will do to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Look. Takes nobody's place: an app can start meanwhile.
    Read,
    /// Publish, move groups, send dead letters back.
    Change,
    /// As `Change`, and what is not there yet may be made.
    Create,
}

/// An open broker with the names that the project has for its topics.
#[derive(Debug)]
pub(crate) struct Broker {
    connection: Connection,
    /// Its address without a password.
    url: String,
    channels: Vec<ChannelPlace>,
    dead_letters: Vec<String>,
    groups: Vec<String>,
}

impl Broker {
    /// Opens the broker that the command line or the configuration names. `name` is the channel or topic that it is
    /// opened for.
    pub(crate) async fn open(
        global: &Global,
        intent: Intent,
        name: Option<&str>,
        out: &mut Out,
    ) -> Result<Self, CliError> {
        Self::open_at(Address::find(global, name)?, intent, out).await
    }

    /// Opens the broker that was found.
    pub(crate) async fn open_at(address: Address, intent: Intent, out: &mut Out) -> Result<Self, CliError> {
        let connection = open::open(&address, intent).await?;
        let Address {
            url,
            channels,
            dead_letters,
            groups,
            ..
        } = address;
        if let Way::BesideOwner { reason } = connection.way() {
            out.remark(&format!(
                "the app that owns {url} cannot be asked ({reason}); messages are read beside it, groups are not seen"
            ))?;
        }
        Ok(Self {
            connection,
            url: url.to_string(),
            channels,
            dead_letters,
            groups,
        })
    }

    /// The broker itself.
    pub(crate) fn binder(&self) -> &Arc<dyn DynBinder> {
        self.connection.binder()
    }

    /// The way to it.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The running app, if there is one that can be asked.
    pub(crate) fn service(&self) -> Option<&Client> {
        self.connection.service()
    }

    /// Whether it is a server beside the services that use it.
    pub(crate) fn is_server(&self) -> bool {
        *self.connection.way() == Way::Server
    }

    /// Its address without a password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the project's subscriptions put dead letters, if it says so.
    pub(crate) fn dead_letter_templates(&self) -> &[String] {
        &self.dead_letters
    }

    /// Keeps what was accepted and lets go.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        let Self { connection, url, .. } = self;
        let closed = connection.close().await;
        closed.map_err(|error| CliError::Broker { url, error })
    }

    /// The topics, sorted by name.
    pub(crate) async fn topics(&self) -> Result<Vec<DestinationInfo>, CliError> {
        self.binder()
            .destinations()
            .await
            .map_err(|error| self.failed(error))
    }

    /// The topic that a name means: a channel's destination, or a destination.
    pub(crate) async fn topic(&self, name: &str) -> Result<DestinationInfo, CliError> {
        let wanted = self.destination(name);
        let topics = match self.binder().destinations().await {
            Ok(topics) => topics,
            // It knows one when it is asked for it.
            Err(BinderError::Unsupported { .. }) => return self.named(wanted).await,
            Err(error) => return Err(self.failed(error)),
        };
        if let Ok(pattern) = Pattern::parse(wanted) {
            return Err(several(name, &pattern, &topics));
        }
        match topics.iter().find(|topic| *topic.name == *wanted) {
            Some(topic) => Ok(topic.clone()),
            None => {
                let topics = topics.iter().map(|topic| &*topic.name);
                let known = self
                    .channels
                    .iter()
                    .map(|channel| channel.channel.as_str())
                    .chain(topics);
                Err(unknown(
                    "topic",
                    name,
                    format!("in {}", self.url),
                    known.filter(|known| *known != name),
                ))
            }
        }
    }

    /// The destination of that name, of a broker that has no list of them.
    async fn named(&self, name: &str) -> Result<DestinationInfo, CliError> {
        let spec = DestinationSpec::new(name, 1).create(Create::Never);
        match self.binder().prepare(spec).await {
            Err(BinderError::UnknownDestination { .. }) => Err(CliError::missing(
                format!("no topic \"{name}\" in {}", self.url),
                "name one that is there, or start the app that makes it",
            )),
            found => found.map_err(|error| self.failed(error)),
        }
    }

    /// Whether it shows dead letters only by handing them over, and has no list of where they are.
    pub(crate) fn hands_over(&self) -> bool {
        let anywhere = LettersOf::Place(self.url.as_str().into());
        self.binder().hold_letters(&anywhere).is_some()
    }

    /// The groups that the project's configuration names.
    pub(crate) fn known_groups(&self) -> &[String] {
        &self.groups
    }

    /// The channels that the project's configuration names.
    pub(crate) fn known_channels(&self) -> Vec<String> {
        self.channels
            .iter()
            .map(|channel| channel.channel.clone())
            .collect()
    }

    /// The destination that a name means, whether it exists or not.
    pub(crate) fn destination<'a>(&'a self, name: &'a str) -> &'a str {
        address::destination(&self.channels, name)
    }

    /// The channels that lead to a topic.
    pub(crate) fn channels_of(&self, topic: &str) -> Vec<String> {
        let leading = self
            .channels
            .iter()
            .filter(|channel| channel.destination == topic);
        leading.map(|channel| channel.channel.clone()).collect()
    }

    /// What each partition holds, and how far a group is.
    pub(crate) async fn positions(
        &self,
        topic: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, CliError> {
        self.binder()
            .positions(topic, group)
            .await
            .map_err(|error| self.failed(error))
    }

    /// The first offset of a time.
    pub(crate) async fn offset_at(
        &self,
        topic: &str,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, CliError> {
        let found = self.binder().offset_at(topic, partition, time).await;
        found.map_err(|error| self.failed(error))
    }

    /// The groups, sorted by name.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupInfo>, CliError> {
        self.binder().groups().await.map_err(|error| self.failed(error))
    }

    /// Records of a partition from an offset on.
    pub(crate) async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, CliError> {
        let read = self.binder().read(topic, partition, from, max_bytes).await;
        read.map_err(|error| self.failed(error))
    }

    /// What the broker said, with its address.
    pub(crate) fn failed(&self, error: BinderError) -> CliError {
        CliError::Broker {
            url: self.url.clone(),
            error,
        }
    }
}

/// The most topics that are named for a pattern.
const NAMED: usize = 10;

/// A channel that is a pattern is no topic: one of those that match has to be named.
fn several(name: &str, pattern: &Pattern, topics: &[DestinationInfo]) -> CliError {
    let matching = topics.iter().filter(|topic| pattern.matches(&topic.name));
    let mut named: Vec<_> = matching.map(|topic| &*topic.name).collect();
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let cure = match (named.is_empty(), more) {
        (true, _) => "none matches yet: `tidings topics` lists what there is".to_owned(),
        (false, 0) => format!("name one of them: {}", named.join(", ")),
        (false, more) => format!("name one of them: {} and {more} more", named.join(", ")),
    };
    CliError::missing(
        format!("\"{name}\" is no single topic: it is the pattern {pattern}"),
        cure,
    )
}
