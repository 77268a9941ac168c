//! How a source comes to be: what it asks for is checked, where it begins is found out, then it joins.

use crate::broker::Handle;
use crate::group::{Command, Grant, Member, Unit};
use crate::keeper::Concern;
use crate::opening;
use crate::partition::Partition;
use crate::progress::Entry;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::source::{EmbeddedSource, Input};
use crate::topics::Topic;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tidings_core::{BinderError, Guarantee, SourceInput, SourceSpec, Start};
use tidings_log::LogError;

/// Joins the group, or begins to read without one.
pub(crate) async fn subscribe(handle: &Arc<Handle>, spec: SourceSpec) -> Result<EmbeddedSource, BinderError> {
    let shared = &handle.shared;
    if spec.group.is_some() && shared.is_read_only() {
        return Err(BinderError::Unsupported {
            broker: "embedded, opened read-only,",
            feature: "groups",
            cure: "read without a group, or stop the process that owns the directory and open for writing",
        });
    }
    if spec.guarantee == Guarantee::ExactlyOnce {
        return Err(BinderError::Unsupported {
            broker: "embedded",
            feature: "transactions",
            cure: "remove exactly_once: what handlers return has ids that are the same each time",
        });
    }
    let inputs = inputs(shared, &spec)?;
    let topics = inputs.iter().map(Input::topics).collect();
    let starts = begin(shared, spec.start, spec.group.clone(), topics)
        .await
        .map_err(|reason| BinderError::Failed {
            doing: format!("subscribe \"{}\"", spec.subscription),
            reason,
        })?;
    let signal = Arc::new(Signal::default());
    handle.watch(&signal);
    let member = Arc::new(Member {
        subscription: spec.subscription.clone(),
        signal,
        inbox: Mutex::new(VecDeque::new()),
        revoke_timeout: spec.revoke_timeout,
    });
    for (place, input) in inputs.iter().enumerate() {
        if let Some(share) = &input.share {
            let retry = input.retry.as_ref().map(|topic| topic.name.clone());
            shared
                .groups
                .join(shared, share, input.topic.count(), &member, place, retry);
        }
    }
    if spec.group.is_none() {
        let each = (0..).zip(&starts);
        let all = each.flat_map(|(input, starts)| grants(shared, input, starts));
        let all = all.filter(|grant| spec.reads(grant.unit.partition));
        member.tell(Command::Assign(all.collect()));
    }
    Ok(EmbeddedSource::new(handle.clone(), &spec, inputs, member))
}

/// What is to be read, checked.
fn inputs(shared: &Shared, spec: &SourceSpec) -> Result<Vec<Input>, BinderError> {
    let mut inputs: Vec<Input> = Vec::with_capacity(spec.inputs.len());
    for input in &spec.inputs {
        let topic = find(shared, &input.destination)?;
        if inputs.iter().any(|other| other.topic.name == topic.name) {
            return Err(BinderError::Failed {
                doing: format!("subscribe \"{}\"", spec.subscription),
                reason: format!("\"{}\" is there twice: name it once", topic.name),
            });
        }
        check_chosen(spec, &topic)?;
        inputs.push(Input::new(topic, shared, input, spec.group.as_ref())?);
    }
    Ok(inputs)
}

/// Partitions that were chosen are there, and nobody shares them.
fn check_chosen(spec: &SourceSpec, topic: &Topic) -> Result<(), BinderError> {
    let Some(chosen) = &spec.partitions else {
        return Ok(());
    };
    let failed = |reason: String| BinderError::Failed {
        doing: format!("subscribe \"{}\"", spec.subscription),
        reason,
    };
    if spec.group.is_some() {
        let reason = "partitions are chosen only without a group: a group shares out all of them";
        return Err(failed(reason.to_owned()));
    }
    match chosen.iter().find(|partition| **partition >= topic.count()) {
        Some(partition) => Err(failed(format!(
            "no partition {partition} in \"{}\": it has {}",
            topic.name,
            topic.count()
        ))),
        None => Ok(()),
    }
}

/// What is to be read, checked.
pub(crate) fn input(
    shared: &Shared,
    input: &SourceInput,
    group: Option<&Arc<str>>,
) -> Result<Input, BinderError> {
    Input::new(find(shared, &input.destination)?, shared, input, group)
}

impl Input {
    fn new(
        topic: Arc<Topic>,
        shared: &Shared,
        input: &SourceInput,
        group: Option<&Arc<str>>,
    ) -> Result<Self, BinderError> {
        let retry = match group {
            Some(_) => retry_of(shared, input, &topic)?,
            None => None,
        };
        let share = group.map(|group| (group.clone(), topic.name.clone()));
        Ok(Self {
            topic,
            retry,
            share,
            is_read: true,
        })
    }

    /// The destination and its retry destination.
    pub(crate) fn topics(&self) -> Topics {
        (self.topic.clone(), self.retry.clone())
    }
}

fn find(shared: &Shared, destination: &Arc<str>) -> Result<Arc<Topic>, BinderError> {
    shared
        .topic(destination)
        .ok_or_else(|| BinderError::UnknownDestination {
            destination: destination.clone(),
        })
}

fn retry_of(shared: &Shared, input: &SourceInput, topic: &Topic) -> Result<Option<Arc<Topic>>, BinderError> {
    let Some(name) = &input.retry else { return Ok(None) };
    let retry = find(shared, name)?;
    if retry.count() != topic.count() {
        return Err(BinderError::Failed {
            doing: format!("use \"{name}\" as the retry destination of \"{}\"", topic.name),
            reason: format!(
                "it has {} partitions and the other has {}: remove it when it is empty, it is made again with the right number",
                retry.count(),
                topic.count()
            ),
        });
    }
    Ok(Some(retry))
}

/// A destination and its retry destination.
pub(crate) type Topics = (Arc<Topic>, Option<Arc<Topic>>);

/// Opens the logs and fixes where to begin: a group without a position gets one, so that what is published from now
/// on counts for it whenever it reads. That is durable before anybody joins: a killed process must not make a group
/// begin a second time, behind what was published after the first. Without a group: the start of each partition, by
/// input.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    start: Start,
    group: Option<Arc<str>>,
    topics: Vec<Topics>,
) -> Result<Vec<Vec<u64>>, String> {
    let Some(group) = group else {
        let starts = shared.blocking(move |shared| {
            for (topic, _) in &topics {
                opening::open_all(shared, &topic.partitions);
            }
            let starts = topics.iter().map(|(topic, _)| starts_of(shared, topic, start));
            starts.collect()
        });
        return starts.await;
    };
    let begun = shared.blocking(move |shared| {
        let mut begun = Vec::new();
        for (topic, retry) in &topics {
            for topic in std::iter::once(topic).chain(retry) {
                opening::open_all(shared, &topic.partitions);
            }
            begin_topic(shared, topic, &group, start, &mut begun)?;
            if let Some(retry) = retry {
                // What was parked belongs to the group from the first message on.
                begin_topic(shared, retry, &group, Start::Earliest, &mut begun)?;
            }
        }
        Ok(begun)
    });
    store(shared, begun.await?).await?;
    Ok(Vec::new())
}

fn starts_of(shared: &Shared, topic: &Topic, start: Start) -> Result<Vec<u64>, String> {
    let starts = topic
        .partitions
        .iter()
        .map(|partition| Ok(offset(shared, partition, start)?.unwrap_or(0)));
    starts.collect()
}

/// Notes where a group begins that has no position, and collects what is not stored yet.
fn begin_topic(
    shared: &Shared,
    topic: &Topic,
    group: &Arc<str>,
    start: Start,
    begun: &mut Vec<Arc<Entry>>,
) -> Result<(), String> {
    for partition in &topic.partitions {
        let entry = shared.progress.entry(&topic.name, group, partition.index);
        // Opened here in any case, where it may block.
        let offset = offset(shared, partition, start);
        if entry.reported().is_none() {
            let offset = offset?;
            shared.keeper.note(&entry, entry.begin(|| offset));
        }
        if entry.stored().is_none() && entry.reported().is_some() {
            begun.push(entry);
        }
    }
    Ok(())
}

/// Waits until the positions are stored. Subscriptions that begin at the same time share a transaction.
async fn store(shared: &Arc<Shared>, begun: Vec<Arc<Entry>>) -> Result<(), String> {
    if begun.is_empty() {
        return Ok(());
    }
    shared.keeper.commit(shared, Concern::Entries(begun)).await
}

/// Where to begin. None when the log is damaged, which the lane will tell. A log that cannot be opened at the moment
/// leaves open where its end is: whoever wants to begin there has to ask again.
fn offset(shared: &Shared, partition: &Partition, start: Start) -> Result<Option<u64>, String> {
    partition.refresh(shared);
    let unknown = |error: &LogError| {
        let error = partition.unreadable(shared, error, 0);
        match (start, error.is_transient()) {
            // The oldest record that is left is found from there.
            (Start::Earliest, _) => Ok(Some(0)),
            (_, true) => Err(error.to_string()),
            (_, false) => Ok(None),
        }
    };
    let log = match partition.log(shared) {
        Ok(log) => log,
        Err(error) => return unknown(&error),
    };
    let (first, end) = (log.first_offset(), partition.end(shared, log));
    Ok(match start {
        Start::Latest => Some(end),
        Start::Offset(offset) => Some(offset.clamp(first, end.max(first))),
        Start::Time(time) => match log.offset_for_time(time.as_millis()) {
            Ok(offset) => Some(offset.min(end)),
            Err(error) => return unknown(&error),
        },
        _ => Some(first),
    })
}

/// All partitions of an input, for a reader without a group.
pub(crate) fn grants(shared: &Shared, input: usize, starts: &[u64]) -> Vec<Grant> {
    let grant = |(partition, start): (u32, &u64)| Grant {
        unit: Unit {
            input,
            partition,
            epoch: shared.next_epoch(),
        },
        main: None,
        retry: None,
        start: *start,
    };
    (0..).zip(starts).map(grant).collect()
}
