//! Where a group stands on brokers that give each group queues of its own: [`GroupQueue`].

use crate::binder::DestinationRole;
use std::sync::Arc;

/// A queue of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupQueue {
    /// Its name on the broker.
    pub name: Arc<str>,
    /// What lies in it: messages, those that wait for their next attempt, or dead letters.
    pub role: DestinationRole,
    /// How many messages lie in it. What is with a reader, and not finished yet, is not among them.
    pub waiting: u64,
    /// How many readers it has. Where one instance reads at a time the others count too.
    pub readers: u32,
}
