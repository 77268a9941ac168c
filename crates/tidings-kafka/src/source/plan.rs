//! What a source was asked for: [`Plan`].

use crate::source::positions::{Memory, Wanted};
use rdkafka::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Guarantee, LaneRole, SourceInput, SourceSpec, Start};
use tokio::time::Instant;

/// How often a reader without a group looks for partitions that were added; in a group librdkafka does.
pub(crate) const GROWTH_INTERVAL: Duration = Duration::from_secs(30);

/// A member of the newer protocol is told within a few of the broker's heartbeats, which are 5 s by default, what it is
/// to read, and never that it is to read nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A topic that is read.
#[derive(Debug)]
struct Input {
    topic: Arc<str>,
    retry: Option<Arc<str>>,
    /// What is added to a subscription that runs begins at its first message.
    start: Start,
}

impl Input {
    fn new(input: SourceInput, start: Start) -> Self {
        Self {
            topic: input.destination,
            retry: input.retry,
            start,
        }
    }
}

/// A subscription as its source sees it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) subscription: Arc<str>,
    pub(crate) group: Option<Arc<str>>,
    inputs: Vec<Input>,
    start: Start,
    pub(crate) max_batch_bytes: usize,
    /// What librdkafka keeps in its queue.
    pub(crate) queue_bytes: usize,
    pub(crate) commit_interval: Duration,
    pub(crate) commit_every: u64,
    pub(crate) revoke_timeout: Duration,
    pub(crate) request_timeout: Duration,
    is_next_generation: bool,
    /// When a member counts as settled that was told nothing.
    pub(crate) settles_at: Option<Instant>,
    /// The partitions that a reader without a group has chosen; none for all.
    chosen: Option<Arc<[u32]>>,
    /// When a reader without a group looks for more partitions.
    pub(crate) grows_at: Option<Instant>,
}

impl Plan {
    pub(crate) fn new(spec: SourceSpec, config: &ClientConfig, request_timeout: Duration) -> Self {
        // The group takes a member for dead that keeps a partition for longer; it needs a moment to give it back.
        let number = |name: &str| config.get(name).and_then(|value| value.parse::<u64>().ok());
        let patience = Duration::from_millis(number("max.poll.interval.ms").unwrap_or(300_000));
        let queue_kib = number("queued.max.messages.kbytes").unwrap_or(65_536);
        let alone = spec.group.is_none();
        let inputs = spec.inputs.into_iter();
        Self {
            subscription: spec.subscription,
            group: spec.group,
            inputs: inputs.map(|input| Input::new(input, spec.start)).collect(),
            start: spec.start,
            chosen: spec.partitions,
            max_batch_bytes: spec.max_batch_bytes.max(1),
            queue_bytes: usize::try_from(queue_kib.saturating_mul(1_024)).unwrap_or(usize::MAX),
            commit_interval: spec.commit_interval,
            commit_every: spec.commit_every,
            revoke_timeout: spec.revoke_timeout.min(patience / 2),
            request_timeout,
            is_next_generation: is_next_generation(config),
            settles_at: is_next_generation(config).then(|| Instant::now() + SETTLED_AFTER),
            grows_at: alone.then(|| Instant::now() + GROWTH_INTERVAL),
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        match self.group {
            Some(_) => Memory::Group,
            None => Memory::None,
        }
    }

    /// The names of the topics.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| &*input.topic)
    }

    /// The retry topics of a group's subscription.
    pub(crate) fn retry_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.inputs.iter().filter_map(|input| input.retry.as_ref())
    }

    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.inputs.iter().any(|input| &*input.topic == topic)
    }

    /// Whether partitions of that number are read.
    pub(crate) fn is_chosen(&self, partition: u32) -> bool {
        tidings_core::is_chosen(self.chosen.as_deref(), partition)
    }

    /// Partitions that were chosen and are in no topic. They are waited for.
    pub(crate) fn absent(&self, places: &[(String, u32)]) -> Vec<u32> {
        let is_there = |number: u32| places.iter().any(|(_, partition)| *partition == number);
        let chosen = self.chosen.iter().flat_map(|chosen| &**chosen).copied();
        chosen.filter(|number| !is_there(*number)).collect()
    }

    pub(crate) fn reads_nothing(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Reads these from now on: where those that stay begin stays as it was.
    pub(crate) fn change(&mut self, inputs: &[SourceInput]) {
        self.inputs.retain(|input| {
            let is_same =
                |other: &SourceInput| other.destination == input.topic && other.retry == input.retry;
            inputs.iter().any(is_same)
        });
        for input in inputs {
            if !self.reads(&input.destination) {
                self.inputs.push(Input::new(input.clone(), Start::Earliest));
            }
        }
    }

    /// The group is about to answer anew.
    pub(crate) fn settles_anew(&mut self) {
        self.settles_at = self.is_next_generation.then(|| Instant::now() + SETTLED_AFTER);
    }

    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Arc<str>> {
        self.inputs.iter().map(|input| &input.topic)
    }

    /// A partition and the retry partition that goes with it: messages of the one must not overtake parked ones in the
    /// other, so the same member reads both. The group knows of the first only.
    pub(crate) fn wanted(&self, topic: &str, partition: u32, since: Since) -> Vec<Wanted> {
        let input = self.inputs.iter().find(|input| &*input.topic == topic);
        let retry = input.and_then(|input| input.retry.clone());
        let start = input.map_or(self.start, |input| input.start);
        let main = Wanted {
            topic: input.map_or_else(|| topic.into(), |input| input.topic.clone()),
            partition,
            role: LaneRole::Main,
            start: match since {
                Since::Begin => start,
                Since::Growth => Start::Earliest,
            },
        };
        let retry = retry.map(|topic| Wanted {
            topic,
            partition,
            role: LaneRole::Retry,
            // What was parked belongs to the group from the first message on.
            start: Start::Earliest,
        });
        std::iter::once(main).chain(retry).collect()
    }
}

/// Since when a partition is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// From when its topic was first read, or for as long as the group can tell.
    Begin,
    /// It was added to a topic that a reader without a group had begun.
    Growth,
}

fn is_next_generation(config: &ClientConfig) -> bool {
    config.get("group.protocol") == Some("consumer")
}

/// The settings of a subscription's client.
pub(crate) fn configure(mut config: ClientConfig, spec: &SourceSpec) -> ClientConfig {
    let group = match &spec.group {
        Some(group) => group.to_string(),
        // librdkafka wants a name also where there is no group; nothing is stored under it and nobody joins it.
        None => format!("tidings-reader-{}", spec.subscription),
    };
    config.set("group.id", group);
    if spec.guarantee == Guarantee::ExactlyOnce {
        // What is committed is known only to who waits for transactions that are not decided.
        config.set("isolation.level", "read_committed");
    }
    if config
        .get("client.id")
        .is_none_or(|id| id == "tidings" || id == "rdkafka")
    {
        // By it the group's members are told apart in every tool.
        config.set("client.id", &*spec.subscription);
    }
    if let Some(instance) = config.get("group.instance.id").map(str::to_owned) {
        // Each subscription is a member: with one id for all they would put each other out.
        config.set("group.instance.id", format!("{instance}-{}", spec.subscription));
    }
    if !is_next_generation(&config) && config.get("partition.assignment.strategy").is_none() {
        // Only what must move is taken away.
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config
}
