//! What a history says: one [`Line`] for each thing that happened.

use super::sql::SqlEvent;
use serde::{Deserialize, Serialize};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, in nanoseconds of the machine's monotonic clock: the same clock for all processes.
    pub t: u64,
    /// Which incarnation of the process wrote it, or whom it concerns.
    pub n: u32,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A process began, was ready, drained, ended.
    Lifecycle(Lifecycle),
    /// A message is about to be handed to the broker.
    Send(Send),
    /// The broker promised to keep it.
    Acked(Acked),
    /// A handler began or ended.
    Handle(Handle),
    /// A position of a group was reported, or was seen in the store.
    Commit(Commit),
    /// A dead letter was acknowledged, or was found in the log at the end.
    DeadLetter(DeadLetter),
    /// A process was killed.
    Fault(Fault),
    /// Resident memory.
    Rss {
        /// In bytes.
        bytes: u64,
    },
    /// What only campaigns on databases write.
    Sql(SqlEvent),
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// It began, with these settings.
    Started(Settings),
    /// Everything is wired; resident memory at that moment is the base.
    Ready {
        /// In bytes.
        rss: u64,
    },
    /// An interval has passed in which the process could work: it has slept for that long, and then written this where
    /// it may block, just as it syncs. A process that a busy machine lets wait has no beats, and no syncs.
    Beat,
    /// It was told to end.
    Draining {
        /// How long it may take, in milliseconds.
        deadline_ms: u64,
    },
    /// It has ended its work.
    Drained {
        /// Messages that were given up.
        abandoned: u64,
        /// What went wrong.
        problems: Vec<String>,
    },
    /// Without faults, every group has finished everything.
    Quiet,
    /// Without faults, a group did not come to the end in time.
    Restless {
        /// Which, and where it stands.
        reason: String,
    },
    /// The process is about to exit by itself.
    Ended,
}

/// What the checker must know to judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The seed of the campaign.
    pub seed: u64,
    /// When an acknowledged message is on the disk.
    pub fsync: Fsync,
    /// What a kill takes away.
    pub disk: Disk,
    /// With [`Fsync::Interval`] on a disk that loses: what was acknowledged within so many beats before a kill may be
    /// lost.
    pub window_beats: usize,
    /// How much later than its deadline a drain may end.
    pub grace_ms: u64,
    /// How much memory the configured buffers may take beside the base.
    pub rss_budget: u64,
    /// The groups, and what they owe.
    pub groups: Vec<GroupFacts>,
}

impl Settings {
    /// Whether a kill may take acknowledged messages away.
    pub fn may_lose(&self) -> bool {
        self.disk != Disk::Kept && self.fsync != Fsync::Always
    }
}

/// When an acknowledged message is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// Before it is acknowledged.
    Always,
    /// Within an interval.
    Interval,
}

/// What a kill takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// Nothing: the process dies, the machine lives on.
    Kept,
    /// All that was not synced: the power is cut.
    PowerLoss,
    /// Some of what was not synced, in any order: the power is cut while the system writes.
    Torn,
}

/// A group and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// Its name.
    pub group: String,
    /// What it reads.
    pub topic: String,
    /// How often a message is delivered at the most.
    pub attempts: u32,
    /// Where it publishes for each message that it has handled, if it does.
    pub output: Option<String>,
}

impl GroupFacts {
    /// The destination of its retry lane.
    pub fn retry(&self) -> String {
        format!("{}.{}.retry", self.topic, self.group)
    }

    /// The destination of its dead letters.
    pub fn letters(&self) -> String {
        format!("{}.DLT", self.topic)
    }

    /// The id of what it publishes for a message.
    pub fn output_id(id: &str) -> String {
        format!("p{id}")
    }
}

/// A message on its way to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The destination.
    pub topic: String,
    /// The message.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its place among the messages of its key.
    pub sequence: u64,
    /// Checksum of key and payload.
    pub digest: u32,
    /// The group that gives it up, of a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A message that the broker has promised to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// The destination.
    pub topic: String,
    /// The message.
    pub id: String,
    /// Where it is.
    pub partition: u32,
    /// Where it is.
    pub offset: u64,
}

/// A handling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// How far it is.
    pub phase: Phase,
    /// Whose handler.
    pub group: String,
    /// The destination to which the message was first published.
    pub topic: String,
    /// The destination that it came from: the same, or the group's retry lane.
    pub lane: String,
    /// Its place there.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// The assignment that it belongs to.
    pub epoch: u64,
    /// The message.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its place among the messages of its key.
    pub sequence: u64,
    /// Checksum of key and payload as they arrived.
    pub digest: u32,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Which call of a handler: the messages of a batch share one.
    pub call: u64,
}

/// How far a handling is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It begins.
    Start,
    /// It succeeded.
    Ok,
    /// It failed, and trying again may help.
    Transient,
    /// It failed for good.
    Permanent,
    /// It was given up before it ended.
    Dropped,
}

/// A position of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Reported, or seen in the store.
    pub stage: Stage,
    /// The group.
    pub group: String,
    /// The destination, or the retry lane.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The assignment; 0 where it is not known.
    pub epoch: u64,
    /// Everything below is finished.
    pub watermark: u64,
    /// Finished ranges above it.
    pub finished: Vec<(u64, u64)>,
}

/// How far a position has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The engine has told the source.
    Reported,
    /// The broker says that it is stored.
    Stored,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Acknowledged, or found in the log at the end.
    pub seen: Seen,
    /// The group that gave up; empty if the letter does not say.
    pub group: String,
    /// The destination to which the message was first published, as the letter says.
    pub topic: String,
    /// The partition there, as the letter says.
    pub partition: u32,
    /// The offset there, as the letter says.
    pub offset: u64,
    /// The message.
    pub id: String,
    /// Checksum of key and payload.
    pub digest: u32,
    /// Why: `permanent`, `exhausted`, `killed`; empty if the letter does not say.
    pub reason: String,
    /// How often it was delivered; 0 if the letter does not say.
    pub attempts: u32,
    /// How many bytes of explanation there are.
    pub error_bytes: usize,
}

/// How a dead letter came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The broker acknowledged it.
    Written,
    /// It is in the log.
    InLog,
}

/// A process was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The place in the code, or none for any time.
    pub point: Option<String>,
    /// The call of a handler in which that place is, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
}
