//! The embedded durable broker of Tidings, and its twin in memory.
//!
//! One code base over two storages: segment files in a directory for `embedded:DIRECTORY`, the same files in memory for
//! `memory:` and `memory:NAME`. It runs within the process that uses it; there is no server.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidings_core::{Binder, DestinationSpec, Message, Outgoing};
//! use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};
//!
//! let broker = EmbeddedBroker::open(EmbeddedOptions::from_url("memory:")?)?;
//! let orders = DestinationSpec::new("orders", 4);
//! broker.prepare(orders).await?;
//! let message = Message::new("tea").with_key("ada");
//! let position = broker.sink().publish(Outgoing::new("orders", message)).await?;
//! let batch = broker.read("orders", position.partition(), 0, 1 << 20).await?;
//! assert_eq!(batch.payload(&batch.records()[0]), Some(b"tea".as_slice()));
//! broker.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! - A receipt resolves after what [`Fsync`] says. A crash of the process never loses an acknowledged message.
//! - Messages of one partition have the order in which they were published; a key has one partition, the one that
//!   Kafka's Java client would choose.
//! - A group's partitions move one by one between its members, and never before the old member has let go or its
//!   deadline has passed.
//! - After a failed fsync nothing more is acknowledged for that partition until what is in doubt was verified, written
//!   again and synced, which is tried a second later and then ever less often. A full disk refuses clearly, publishing as
//!   well as positions and messages for later, and all go on by themselves when there is room.
//! - Before a group's position is stored, everything that was acknowledged until then is on the disk, in every
//!   partition: what a message was turned into is never lost while the message counts as finished. So after a failed
//!   fsync no position is stored either, until that partition is whole again.
//! - A message for later is stored before its receipt resolves, to a [`Position`](tidings_core::Position) whose
//!   offset is `u64::MAX`: it gets its offset when it is due. After a crash at that very moment it may come twice.
//! - Whatever ends the process, the next one knows which messages of groups were being handled, and counts a death for
//!   each; not in memory, and not for more than 16,384 messages at a time.
//!
//! # What it is not
//! It is not a cluster, and no other process can publish to it: one process owns a directory, others may read it.
//!
//! # The directory
//! `LOCK` (held by the owner, with its pid), `format` (version of the layout), `catalog/` (a file for each
//! destination), `topics/NAME/PARTITION/` (segments), `state.redb` (positions of groups, deaths of messages, messages
//! for later), `running.marks` (what is being handled). `docs/log-format.md` describes each.

mod balance;
mod broker;
mod changing;
mod compaction;
mod deaths;
mod delayed;
mod directory;
mod frames;
mod group;
mod guard;
mod health;
mod held;
mod keeper;
mod lane;
mod lock;
mod mapped;
mod marks;
mod names;
mod opening;
mod operate;
mod options;
mod overlay;
mod partition;
mod progress;
mod queue;
mod repair;
mod retention;
mod shared;
mod signal;
mod sink;
mod snapshot;
mod source;
mod state;
mod state_check;
mod state_copy;
mod subscribing;
mod syncer;
mod tail;
mod timer;
mod topics;
mod trouble;
mod verify;
mod writing;

pub use broker::{EmbeddedBroker, is_owned};
pub use options::{Access, EmbeddedOptions, Fsync, Location, Unread};
pub use repair::{PartitionRepair, RepairMode, RepairReport, repair_directory};
pub use snapshot::{Sealed, SnapshotOptions, SnapshotProgress, SnapshotReport};
pub use source::EmbeddedSource;
pub use tidings_log::{Loss, Problem, RepairStep, Severity};
pub use verify::{
    DirectoryReport, PartitionReport, StateReport, VerifyProgress, verify_destination, verify_directory,
};
