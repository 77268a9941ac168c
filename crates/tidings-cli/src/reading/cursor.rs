//! One partition while it is read: [`Cursor`].

use crate::broker::Broker;
use crate::error::CliError;
use std::collections::VecDeque;
use tidings_core::{Message, Position};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// A message and where it lies.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where.
    pub(crate) position: Position,
    /// The message.
    pub(crate) message: Message,
}

/// One partition while it is read.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) partition: u32,
    next: u64,
    ahead: VecDeque<Found>,
}

impl Cursor {
    /// Begins there.
    pub(super) fn new(partition: u32, next: u64) -> Self {
        Self {
            partition,
            next,
            ahead: VecDeque::new(),
        }
    }

    /// The time of the next message in milliseconds; none at the end.
    pub(super) async fn peek(
        &mut self,
        broker: &Broker,
        topic: &str,
        end: u64,
    ) -> Result<Option<i64>, CliError> {
        while self.ahead.is_empty() && self.next < end {
            let batch = broker.read(topic, self.partition, self.next, READ_BYTES).await?;
            let from = self.next;
            // Nothing more can be read below the end: it moved, or what was there is gone.
            if batch.next() <= from {
                break;
            }
            self.next = batch.next();
            let fresh = batch.records().iter().filter(|record| record.offset >= from);
            self.ahead.extend(fresh.map(|record| Found {
                position: Position::new(topic, self.partition, record.offset),
                message: batch.message(record),
            }));
        }
        let next = self.ahead.front();
        Ok(next.map(|found| found.message.timestamp().unwrap_or_default().as_millis()))
    }

    /// Takes the next message, if one was found.
    pub(super) fn take(&mut self) -> Option<Found> {
        self.ahead.pop_front()
    }
}
