//! Our own arms that publish, on any broker.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_core::{Clock, Encode, JsonCodec, Message, Outgoing, Publisher, Receipt, Route, Routes, Sink};

use super::job::{Job, Outcome, gauge};
use super::made::{Made, One};
use crate::arms::gauge::Gauge;
use crate::error::BenchError;

/// Messages of one call where they are sent together.
pub(crate) const TOGETHER: u64 = 500;

/// Whether messages have keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Given,
    None,
}

/// Receipts that are open, as many as the job says.
struct Open {
    receipts: VecDeque<Receipt>,
    limit: usize,
}

impl Open {
    fn new(job: &Job) -> Self {
        Self {
            receipts: VecDeque::with_capacity(job.open),
            limit: job.open,
        }
    }

    async fn make_room(&mut self, messages: u64) -> Result<(), BenchError> {
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        while self.receipts.len().saturating_add(messages) > self.limit {
            let Some(oldest) = self.receipts.pop_front() else {
                break;
            };
            oldest.await.map_err(BenchError::part("a receipt"))?;
        }
        Ok(())
    }

    async fn close(self) -> Result<(), BenchError> {
        for receipt in self.receipts {
            receipt.await.map_err(BenchError::part("a receipt"))?;
        }
        Ok(())
    }
}

/// The driver: so many messages a call.
pub(crate) async fn receipts(
    job: &Job,
    sink: &dyn Sink,
    together: u64,
    keys: Keys,
) -> Result<Outcome, BenchError> {
    let (made, gauge) = (Made::new(), gauge(job));
    let topic: Arc<str> = job.topic.as_str().into();
    let mut open = Open::new(job);
    let mut number = 0;
    while number < job.total {
        let end = (number + together).min(job.total);
        open.make_room(end - number).await?;
        let outgoing = |number| {
            Ok(Outgoing::new(
                topic.clone(),
                message(made.get(number), gauge, keys)?,
            ))
        };
        match together {
            1 => open.receipts.push_back(sink.publish(outgoing(number)?)),
            _ => {
                let all = (number..end).map(outgoing).collect::<Result<_, _>>()?;
                open.receipts.extend(sink.publish_all(all));
            }
        }
        number = end;
    }
    open.close().await?;
    Outcome::of(&gauge.reading_now()?)
}

/// What an app does: its publisher gives every message an id, a correlation and a trace.
pub(crate) async fn publisher(job: &Job, sink: Arc<dyn Sink>, keys: Keys) -> Result<Outcome, BenchError> {
    let publisher = publisher_to(sink, &job.topic);
    let (made, gauge) = (Made::new(), gauge(job));
    let mut open = Open::new(job);
    for number in 0..job.total {
        open.make_room(1).await?;
        let receipt = publisher.send(&job.topic, message(made.get(number), gauge, keys)?);
        open.receipts.push_back(receipt);
    }
    open.close().await?;
    Outcome::of(&gauge.reading_now()?)
}

fn publisher_to(sink: Arc<dyn Sink>, topic: &str) -> Publisher {
    let mut routes = Routes::default();
    let route = Route {
        sink,
        destination: topic.into(),
    };
    routes.insert(topic, route);
    Publisher::new(routes.into(), Clock::System)
}

/// Encodes an order and counts it.
fn message(one: &One, gauge: &Gauge, keys: Keys) -> Result<Message, BenchError> {
    let json = JsonCodec::encode(&one.order).map_err(BenchError::part("encoding"))?;
    gauge.hit(one.sum);
    let message = Message::new(json);
    Ok(match keys {
        Keys::Given => message.with_key(one.key.clone()),
        Keys::None => message,
    })
}
