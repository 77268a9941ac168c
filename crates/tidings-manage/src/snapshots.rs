//! Consistent copies of a running broker: [`Snapshots`].

use crate::error::ManageError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use tidings_core::BoxFuture;
use tidings_embedded::{EmbeddedBroker, Sealed, SnapshotOptions};

/// A broker of the running service that can be copied while it works.
pub trait Snapshots: Send + Sync + fmt::Debug + 'static {
    /// Copies all of it. `watch` is told how far that is, from any thread.
    ///
    /// # Errors
    /// The target is not empty or cannot be written, a partition is damaged.
    fn snapshot(
        &self,
        request: SnapshotRequest,
        watch: SnapshotWatch,
    ) -> BoxFuture<'_, Result<SnapshotCounts, ManageError>>;
}

/// Is told how far a copy is.
pub type SnapshotWatch = Box<dyn FnMut(SnapshotBytes) + Send>;

/// Where a copy is made, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// An empty directory, or one that does not exist, by its absolute path: the service runs somewhere else than the
    /// one who asks.
    pub target: PathBuf,
    /// How segments that get no more messages come into the copy.
    #[serde(default)]
    pub sealed: SealedSegments,
}

/// How segments that get no more messages come into a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealedSegments {
    /// They share their blocks with the original where the file system can do that.
    #[default]
    Linked,
    /// Their bytes are copied.
    Copied,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotBytes {
    /// Bytes of segments that are in the copy.
    pub done: u64,
    /// Bytes of all segments.
    pub total: u64,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotCounts {
    /// How many destinations.
    pub destinations: u64,
    /// How many partitions.
    pub partitions: u64,
    /// How many segment files.
    pub segments: u64,
    /// How many of them share their blocks with the original.
    pub linked: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
}

impl Snapshots for EmbeddedBroker {
    fn snapshot(
        &self,
        request: SnapshotRequest,
        mut watch: SnapshotWatch,
    ) -> BoxFuture<'_, Result<SnapshotCounts, ManageError>> {
        Box::pin(async move {
            let SnapshotRequest { target, sealed } = request;
            if !target.is_absolute() {
                return Err(ManageError::failed(format!(
                    "{} is no absolute path: the service runs in another directory than you; write the whole path",
                    target.display()
                )));
            }
            let options = SnapshotOptions::new().sealed(match sealed {
                SealedSegments::Linked => Sealed::Linked,
                SealedSegments::Copied => Sealed::Copied,
            });
            let tell = move |far: tidings_embedded::SnapshotProgress| {
                watch(SnapshotBytes {
                    done: far.bytes_done,
                    total: far.bytes_total,
                });
            };
            let report = self.snapshot_with(&target, options, tell).await?;
            Ok(SnapshotCounts {
                destinations: report.destinations as u64,
                partitions: report.partitions as u64,
                segments: report.segments as u64,
                linked: report.linked as u64,
                bytes: report.bytes,
            })
        })
    }
}
