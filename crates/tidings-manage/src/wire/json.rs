//! Requests and answers of the interface as JSON, and how they become what the seam to a broker uses.

use super::error::WireError;
use crate::error::ManageError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    BinderHealth, Capabilities, Cleanup, Create, DestinationInfo, DestinationSpec, GroupInfo, GroupPosition,
    PartitionPosition, Position, Progress,
};

/// A request that concerns a binder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct To<T> {
    pub(crate) binder: String,
    #[serde(flatten)]
    pub(crate) request: T,
}

/// A list that is asked for page by page: what comes behind this name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PageRequest {
    pub(crate) after: Option<String>,
}

/// A page, and whether there are more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) entries: Vec<T>,
    pub(crate) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PositionsRequest {
    pub(crate) destination: String,
    pub(crate) group: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreRequest {
    pub(crate) destination: String,
    pub(crate) partition: u32,
    pub(crate) group: String,
    pub(crate) progress: WireProgress,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteRequest {
    pub(crate) destination: String,
    pub(crate) group: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadRequest {
    pub(crate) destination: String,
    pub(crate) partition: u32,
    pub(crate) from: u64,
    pub(crate) max_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OffsetRequest {
    pub(crate) destination: String,
    pub(crate) partition: u32,
    pub(crate) time_ms: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PrepareRequest {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) create: bool,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) retention_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cleanup: Option<WireCleanup>,
}

/// See [`Cleanup`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireCleanup {
    Delete,
    Compact { tombstone_retention_ms: Option<u64> },
}

/// What a message that is published came to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Published {
    At(WirePosition),
    Refused(super::error::WirePublishError),
}

/// A line of a long answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line<P, D> {
    Progress(P),
    Done(D),
    Failed(WireError),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireAbout {
    pub(crate) app: String,
    pub(crate) pid: u32,
    pub(crate) has_app: bool,
    pub(crate) request_bytes: usize,
    pub(crate) read_bytes: usize,
    pub(crate) binders: Vec<WireBinder>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireBinder {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) capabilities: WireCapabilities,
    pub(crate) down: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct WireCapabilities {
    partitions: bool,
    replay: bool,
    stored_positions: bool,
    durable: bool,
    delayed: bool,
    retry_lane: bool,
    transactions: bool,
    priorities: bool,
    #[serde(default)]
    patterns: bool,
    #[serde(default)]
    longest_hold_millis: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WirePosition {
    destination: String,
    partition: u32,
    offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireProgress {
    watermark: u64,
    finished: Vec<(u64, u64)>,
    attempts: Vec<(u64, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WirePartition {
    partition: u32,
    first: u64,
    end: u64,
    progress: Option<WireProgress>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireDestination {
    pub(crate) name: String,
    partitions: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireGroup {
    pub(crate) name: String,
    pub(crate) positions: Vec<WireGroupPosition>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireGroupPosition {
    destination: String,
    partition: u32,
    progress: Option<WireProgress>,
    member: Option<String>,
}

impl From<Capabilities> for WireCapabilities {
    fn from(can: Capabilities) -> Self {
        Self {
            partitions: can.partitions,
            replay: can.replay,
            stored_positions: can.stored_positions,
            durable: can.durable,
            delayed: can.delayed,
            retry_lane: can.retry_lane,
            transactions: can.transactions,
            priorities: can.priorities,
            patterns: can.patterns,
            longest_hold_millis: can
                .longest_hold
                .map(|hold| u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<WireCapabilities> for Capabilities {
    fn from(can: WireCapabilities) -> Self {
        let mut capabilities = Self::NONE;
        capabilities.partitions = can.partitions;
        capabilities.replay = can.replay;
        capabilities.stored_positions = can.stored_positions;
        capabilities.durable = can.durable;
        capabilities.delayed = can.delayed;
        capabilities.retry_lane = can.retry_lane;
        capabilities.transactions = can.transactions;
        capabilities.priorities = can.priorities;
        capabilities.patterns = can.patterns;
        capabilities.longest_hold = can.longest_hold_millis.map(Duration::from_millis);
        capabilities
    }
}

impl From<Position> for WirePosition {
    fn from(at: Position) -> Self {
        Self {
            destination: at.destination().to_owned(),
            partition: at.partition(),
            offset: at.offset(),
        }
    }
}

impl From<WirePosition> for Position {
    fn from(at: WirePosition) -> Self {
        Self::new(at.destination, at.partition, at.offset)
    }
}

impl From<Progress> for WireProgress {
    fn from(progress: Progress) -> Self {
        let finished = progress.finished.into_iter();
        Self {
            watermark: progress.watermark,
            finished: finished.map(|range| (range.start, range.end)).collect(),
            attempts: progress.attempts,
        }
    }
}

impl From<WireProgress> for Progress {
    fn from(progress: WireProgress) -> Self {
        let finished = progress.finished.into_iter();
        Self {
            watermark: progress.watermark,
            finished: finished.map(|(start, end)| start..end).collect(),
            attempts: progress.attempts,
        }
    }
}

impl From<PartitionPosition> for WirePartition {
    fn from(at: PartitionPosition) -> Self {
        Self {
            partition: at.partition,
            first: at.first,
            end: at.end,
            progress: at.progress.map(Into::into),
        }
    }
}

impl From<WirePartition> for PartitionPosition {
    fn from(at: WirePartition) -> Self {
        Self {
            partition: at.partition,
            first: at.first,
            end: at.end,
            progress: at.progress.map(Into::into),
        }
    }
}

impl From<DestinationInfo> for WireDestination {
    fn from(info: DestinationInfo) -> Self {
        Self {
            name: info.name.to_string(),
            partitions: info.partitions,
        }
    }
}

impl From<WireDestination> for DestinationInfo {
    fn from(info: WireDestination) -> Self {
        Self {
            name: info.name.into(),
            partitions: info.partitions,
        }
    }
}

impl From<GroupInfo> for WireGroup {
    fn from(group: GroupInfo) -> Self {
        let positions = group.positions.into_iter().map(|at| WireGroupPosition {
            destination: at.destination.to_string(),
            partition: at.partition,
            progress: at.progress.map(Into::into),
            member: at.member.map(|member| member.to_string()),
        });
        Self {
            name: group.name.to_string(),
            positions: positions.collect(),
        }
    }
}

impl From<WireGroup> for GroupInfo {
    fn from(group: WireGroup) -> Self {
        let positions = group.positions.into_iter().map(|at| GroupPosition {
            destination: at.destination.into(),
            partition: at.partition,
            progress: at.progress.map(Into::into),
            member: at.member.map(Arc::from),
        });
        Self {
            name: group.name.into(),
            positions: positions.collect(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One that this version does not know is left to the binder.
fn cleanup(cleanup: Cleanup) -> Option<WireCleanup> {
    match cleanup {
        Cleanup::Delete => Some(WireCleanup::Delete),
        Cleanup::Compact { tombstone_retention } => Some(WireCleanup::Compact {
            tombstone_retention_ms: tombstone_retention.map(millis),
        }),
        _ => None,
    }
}

impl From<WireCleanup> for Cleanup {
    fn from(cleanup: WireCleanup) -> Self {
        match cleanup {
            WireCleanup::Delete => Self::Delete,
            WireCleanup::Compact {
                tombstone_retention_ms,
            } => Self::Compact {
                tombstone_retention: tombstone_retention_ms.map(Duration::from_millis),
            },
        }
    }
}

impl From<DestinationSpec> for PrepareRequest {
    fn from(spec: DestinationSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            partitions: spec.partitions,
            create: spec.create == Create::IfMissing,
            retention_ms: spec.retention_time.map(millis),
            retention_bytes: spec.retention_bytes,
            cleanup: spec.cleanup.and_then(cleanup),
        }
    }
}

impl From<PrepareRequest> for DestinationSpec {
    fn from(request: PrepareRequest) -> Self {
        Self {
            create: match request.create {
                true => Create::IfMissing,
                false => Create::Never,
            },
            retention_time: request.retention_ms.map(Duration::from_millis),
            retention_bytes: request.retention_bytes,
            cleanup: request.cleanup.map(Into::into),
            ..Self::new(request.name, request.partitions)
        }
    }
}

/// Why a broker does not work; none if it does.
pub(crate) fn down(health: BinderHealth) -> Option<String> {
    match health {
        BinderHealth::Up => None,
        BinderHealth::Down(reason) => Some(reason),
    }
}

/// A value as JSON.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, ManageError> {
    serde_json::to_vec(value).map_err(|error| ManageError::failed(format!("cannot write JSON: {error}")))
}
