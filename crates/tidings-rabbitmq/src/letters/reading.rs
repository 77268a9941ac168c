//! The channels on which letters are held: [`Reading`].

use crate::connection::{Link, PATIENCE};
use crate::source::Shared;
use crate::trouble::{Kind, Trouble};
use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, HeldLetter, Message, Position, SourceError, amqp};
use tokio::time::{sleep, timeout};

/// After so long without a letter it is asked whether there is none.
const QUIET: Duration = Duration::from_millis(100);
/// How often it is looked whether what was given back is there again. The server says that a channel is closed, and then
/// hands back what it held.
const LOOK: Duration = Duration::from_millis(10);
/// How long that may take. Somebody else may have taken it meanwhile.
const SETTLING: Duration = Duration::from_secs(2);
/// So often it may be that there are some, and that they are handed to nobody here.
const IN_VAIN: u32 = 50;
/// Of so many consumers of a channel a quorum queue keeps the order.
const PAGES: u32 = 32;
/// An offset is exact in every program that reads it as a floating-point number.
const OFFSET_BITS: u32 = 53;

/// Holds letters of a queue. What is not finished is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    shared: Arc<Shared>,
    queue: Arc<str>,
    /// How many there were when it began.
    pub(super) found: u64,
    /// The last one is read, the others only hold.
    channels: Vec<Holding>,
}

/// A channel with the letters that it holds.
#[derive(Debug)]
struct Holding {
    channel: Channel,
    pages: u32,
    held: u64,
}

impl Reading {
    /// Asks how many letters there are.
    pub(super) async fn open(shared: &Arc<Shared>, queue: &Arc<str>) -> Result<Self, BinderError> {
        let (found, _) = shared.topology.counts(queue).await?;
        Ok(Self {
            shared: shared.clone(),
            queue: queue.clone(),
            found: found.into(),
            channels: Vec::new(),
        })
    }

    /// The channel for the next page.
    async fn channel(&mut self) -> Result<&mut Holding, BinderError> {
        let is_full = self.channels.last().is_none_or(|last| last.pages == PAGES);
        if is_full {
            if let Some(empty) = self.channels.pop_if(|last| last.held == 0) {
                let _ = timeout(PATIENCE, empty.channel.close(200, "OK".into())).await;
            }
            let opened = timeout(PATIENCE, async {
                let live = self.shared.link.live().await?;
                let channel = live.connection.create_channel().await;
                channel.map_err(|error| failed(&self.shared, &self.queue, &error))
            });
            let channel = opened.await.unwrap_or_else(|_| Err(silent(&self.shared.link)))?;
            self.channels.push(Holding {
                channel,
                pages: 0,
                held: 0,
            });
        }
        self.channels.last_mut().ok_or(BinderError::Closed)
    }

    /// So many letters, or those that there are.
    pub(super) async fn page(&mut self, count: u16) -> Result<Vec<HeldLetter>, BinderError> {
        let (mut letters, mut in_vain) = (Vec::new(), 0);
        let (channel, mut consumer) = self.consume(count).await?;
        while letters.len() < usize::from(count) {
            match timeout(QUIET, next(&mut consumer)).await {
                Ok(Some(Ok(delivery))) => {
                    in_vain = 0;
                    letters.push(self.letter(delivery));
                }
                Ok(Some(Err(error))) => return Err(self.failed(&error)),
                Ok(None) => return Err(self.lost()),
                Err(_) if self.is_empty().await? => break,
                Err(_) if in_vain == IN_VAIN => return Err(self.kept_away()),
                Err(_) => in_vain += 1,
            }
        }
        let tag = consumer.tag();
        let cancelled = channel.basic_cancel(tag, BasicCancelOptions::default()).await;
        cancelled.map_err(|error| self.failed(&error))?;
        // What was on its way when it was asked.
        while letters.len() < usize::from(count)
            && let Ok(Some(Ok(delivery))) = timeout(Duration::ZERO, next(&mut consumer)).await
        {
            letters.push(self.letter(delivery));
        }
        if let Some(last) = self.channels.last_mut() {
            last.held += letters.len() as u64;
        }
        Ok(letters)
    }

    async fn consume(&mut self, count: u16) -> Result<(Channel, Consumer), BinderError> {
        let (shared, queue) = (self.shared.clone(), self.queue.clone());
        let holding = self.channel().await?;
        let channel = holding.channel.clone();
        // In the order of their tags they give back.
        let tag = format!("letters-{:03}", holding.pages);
        holding.pages += 1;
        let begun = timeout(PATIENCE, async {
            channel.basic_qos(count, BasicQosOptions::default()).await?;
            let consuming = channel.basic_consume(
                ShortString::from(&*queue),
                tag.into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            consuming.await
        });
        match begun.await {
            Ok(begun) => Ok((channel, begun.map_err(|error| failed(&shared, &queue, &error))?)),
            Err(_) => Err(silent(&shared.link)),
        }
    }

    /// Whether nobody waits there any more.
    async fn is_empty(&self) -> Result<bool, BinderError> {
        let (ready, _) = self.shared.topology.counts(&self.queue).await?;
        Ok(ready == 0)
    }

    fn letter(&self, delivery: Delivery) -> HeldLetter {
        let mut message = crate::message::read(&delivery.properties, &delivery.data);
        // How often it was looked at is no part of it.
        message.headers_mut().retain(|name| name != amqp::DELIVERY_COUNT);
        HeldLetter {
            ticket: delivery.delivery_tag,
            position: Position::new(self.queue.clone(), 0, offset(&message)),
            message,
        }
    }

    /// Takes a letter of the last page away.
    pub(super) async fn finish(&mut self, tag: u64) -> Result<(), BinderError> {
        let Some(last) = self.channels.last_mut() else {
            return Ok(());
        };
        last.held = last.held.saturating_sub(1);
        let acked = last.channel.basic_ack(tag, BasicAckOptions::default()).await;
        acked.map_err(|error| self.failed(&error))
    }

    /// Gives the others back, the oldest first. The server has taken all acknowledgements before it answers.
    pub(super) async fn close(mut self) -> Result<(), BinderError> {
        let held: u64 = self.channels.iter().map(|one| one.held).sum();
        let mut there = match held {
            0 => 0,
            _ => self.shared.topology.counts(&self.queue).await?.0.into(),
        };
        for Holding { channel, held, .. } in std::mem::take(&mut self.channels) {
            match timeout(PATIENCE, channel.close(200, "OK".into())).await {
                Ok(closed) => closed.map_err(|error| self.failed(&error))?,
                Err(_) => return Err(silent(&self.shared.link)),
            }
            there += held;
            // Who looks next is to find them, and the next channel is to give back behind them.
            if held > 0 {
                let _ = timeout(SETTLING, self.settle(there)).await;
            }
        }
        Ok(())
    }

    /// Waits until so many are there.
    async fn settle(&self, count: u64) {
        while let Ok((ready, _)) = self.shared.topology.counts(&self.queue).await
            && u64::from(ready) < count
        {
            sleep(LOOK).await;
        }
    }

    fn failed(&self, error: &lapin::Error) -> BinderError {
        failed(&self.shared, &self.queue, error)
    }

    fn kept_away(&self) -> BinderError {
        let reason =
            "the server hands none over; it does so while another client is its single active consumer";
        unavailable(&self.queue, reason)
    }

    fn lost(&self) -> BinderError {
        let reason = "the server has ended the reading: the queue is gone, or the connection";
        unavailable(&self.queue, reason)
    }
}

async fn next(consumer: &mut Consumer) -> Option<Result<Delivery, lapin::Error>> {
    poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await
}

fn silent(link: &Link) -> BinderError {
    link.silent().into()
}

fn unavailable(queue: &str, reason: impl std::fmt::Display) -> BinderError {
    BinderError::Source(SourceError::Unavailable {
        reason: format!(
            "looking at the letters in \"{queue}\": {reason}; what was not finished is back in the queue: try again"
        ),
    })
}

fn failed(shared: &Shared, queue: &str, error: &lapin::Error) -> BinderError {
    let trouble = Trouble::of(error, shared.options.auth());
    match (trouble.code, trouble.kind) {
        (Some(403), _) | (_, Kind::Denied) => BinderError::Source(SourceError::Unauthorized {
            reason: format!("looking at the letters in \"{queue}\": {trouble}"),
        }),
        _ => unavailable(queue, trouble),
    }
}

/// A number that is made of everything in a letter. The order of its headers does not count.
fn offset(message: &Message) -> u64 {
    let body = [message.key(), message.payload()].map(|part| part.map(|bytes| &bytes[..]));
    let headers = message.headers().iter();
    let headers = headers.map(|(name, value)| hash([Some(name.as_bytes()), Some(value)]));
    headers.fold(hash(body), u64::wrapping_add) >> (u64::BITS - OFFSET_BITS)
}

/// FNV-1a: the same in every program and every version of it.
fn hash(parts: [Option<&[u8]>; 2]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        let length = part.map_or(0, |bytes| 1 + bytes.len() as u64);
        length.to_le_bytes().into_iter().for_each(&mut add);
        part.unwrap_or_default().iter().copied().for_each(&mut add);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ_anywhere_lie_elsewhere_and_the_order_of_headers_does_not_count() {
        let with = |message: Message, names: &[&str]| {
            let mut message = message;
            for name in names {
                message = message.with_header(name, "x").unwrap();
            }
            offset(&message)
        };
        let plain = || Message::new("a").with_key("b");
        let all = [
            with(plain(), &[]),
            with(plain(), &["one"]),
            with(plain(), &["two"]),
            with(plain(), &["one", "two"]),
            with(Message::new("ab"), &[]),
            with(Message::new("b").with_key("a"), &[]),
            with(Message::new("").with_key("ab"), &[]),
            with(Message::tombstone("ab"), &[]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert!(all.iter().all(|offset| *offset < 1 << OFFSET_BITS));
        assert_eq!(with(plain(), &["two", "one"]), with(plain(), &["one", "two"]));
    }
}
