//! Arms on a real PostgreSQL.

mod inbox;
mod inbox_by_hand;
mod latency;
mod relay;
mod relay_by_hand;
mod relay_to_kafka;
mod replication;
pub(crate) mod server;

use crate::apart::job::{Job, Outcome, SqlArm};
use crate::arms::topic;
use crate::error::BenchError;

/// In words, for the table.
pub(crate) const CONDITIONS: &str = "PostgreSQL of Debian, one server; fsync=on, synchronous_commit=on, full_page_writes=on, shared_buffers=128MB, data on the disk, \
    wal_level=logical, by TCP without TLS; sqlx on both sides, the same pool of 10 connections; server and client on a core each";

/// The table that handlers write to.
pub(crate) const EFFECTS: &str = "CREATE TABLE effects (id text PRIMARY KEY, total bigint NOT NULL)";
/// The channel, and where it leads.
pub(crate) const CHANNEL: &str = topic::ORDERS;

/// Plays the arm of the job.
pub(crate) fn play(arm: SqlArm, job: &Job) -> Result<Outcome, BenchError> {
    let runtime = topic::runtime()?;
    match arm {
        SqlArm::Inbox => runtime.block_on(inbox::app(job)),
        SqlArm::InboxByHand => runtime.block_on(inbox_by_hand::consume(job)),
        SqlArm::Relay => runtime.block_on(relay::ours(job)),
        SqlArm::RelayFenced => runtime.block_on(relay_to_kafka::ours(job, true)),
        SqlArm::RelayUnfenced => runtime.block_on(relay_to_kafka::ours(job, false)),
        SqlArm::RelayByHand => runtime.block_on(relay_by_hand::run(job)),
        SqlArm::Replication => runtime.block_on(replication::ours(job)),
        SqlArm::Write => runtime.block_on(replication::write(job)),
        SqlArm::Latency | SqlArm::LatencyApart => runtime.block_on(latency::relay(arm, job)),
        SqlArm::Load => runtime.block_on(latency::load(job)),
    }
}

fn broken(error: impl std::fmt::Display) -> BenchError {
    BenchError::part("PostgreSQL")(error)
}
