//! Several partitions as one stream: [`Merge`].

use super::cursor::{Cursor, Found};
use crate::broker::Broker;
use crate::error::CliError;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Several partitions as one stream, the oldest message first as far as times tell. A partition keeps its own order.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    broker: &'a Broker,
    topic: &'a str,
    cursors: Vec<Cursor>,
    ends: Vec<u64>,
    /// The partitions that have a message, by its time.
    waiting: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<'a> Merge<'a> {
    /// Begins in each partition at that offset. Nothing is found before the first [`look`](Self::look).
    pub(crate) fn new(broker: &'a Broker, topic: &'a str, starts: &BTreeMap<u32, u64>) -> Self {
        Self {
            broker,
            topic,
            cursors: starts
                .iter()
                .map(|(partition, next)| Cursor::new(*partition, *next))
                .collect(),
            ends: vec![0; starts.len()],
            waiting: BinaryHeap::new(),
        }
    }

    /// Looks where the partitions end now; whether there is anything to take.
    pub(crate) async fn look(&mut self) -> Result<bool, CliError> {
        let positions = self.broker.positions(self.topic, None).await?;
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            let at = positions.iter().find(|at| at.partition == cursor.partition);
            if let (Some(at), Some(end)) = (at, self.ends.get_mut(index)) {
                *end = at.end;
            }
        }
        self.waiting.clear();
        for index in 0..self.cursors.len() {
            self.queue(index).await?;
        }
        Ok(!self.waiting.is_empty())
    }

    /// The next message; none where the partitions ended at the last look.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, CliError> {
        let Some(Reverse((_, index))) = self.waiting.pop() else {
            return Ok(None);
        };
        let found = self.cursors.get_mut(index).and_then(Cursor::take);
        self.queue(index).await?;
        Ok(found)
    }

    async fn queue(&mut self, index: usize) -> Result<(), CliError> {
        let end = self.ends.get(index).copied().unwrap_or(0);
        if let Some(cursor) = self.cursors.get_mut(index)
            && let Some(time) = cursor.peek(self.broker, self.topic, end).await?
        {
            self.waiting.push(Reverse((time, index)));
        }
        Ok(())
    }
}
