//! Messages that are published for later: [`Delays`].
//!
//! A queue looks at its first message only, so that messages with different delays need different queues; and a queue for
//! each delay that anybody ever asks for is too many. So a delay is counted in tenths of a second and spent bit by bit: for
//! each bit there is a queue `tidings.delay.{n}`, in which a message lies for 2^n of them (`x-message-ttl`), and an exchange of
//! the same name, which looks at a header of the message: it leads into the queue if the bit is set, and to the next lower
//! exchange if not. From a queue the server hands on to that one too (`x-dead-letter-exchange`). The last one,
//! `tidings.delay.due`, leads to the exchange of the message's destination by another header. The routing key stays what it
//! was all the way, and no process of ours is needed for any of it.
//!
//! The queues are quorum queues that let go of a message only when the next has it (`x-dead-letter-strategy`). The same way
//! of counting is known from NServiceBus, whose exchanges look at the routing key instead.

use crate::layout::Layout;
use crate::message::{DELAY, DELAY_QUEUE};
use crate::options::ExchangeType;
use crate::sink::RabbitSink;
use crate::topology::{Binding, ExchangeSpec, QueueSpec, Topology, text};
use lapin::types::{AMQPValue, FieldTable};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_core::headers::HeaderWriter;
use tidings_core::{BinderError, Clock, Create, Outgoing, PublishError, Receipt, Sink, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The length of the shortest wait.
const UNIT: Duration = Duration::from_millis(100);
/// How many bits a delay has. The server counts no longer time than the highest of 26 stands for (38 days).
const BITS: u32 = 26;
/// The exchange that a message is for when it is due.
const TO: &str = "tidings-delay-to";
/// The last exchange.
const DUE: &str = "tidings.delay.due";

/// The exchange and the queue of a bit.
fn name(bit: u32) -> Arc<str> {
    format!("{DELAY_QUEUE}{bit}").into()
}

fn header(bit: u32) -> String {
    format!("{DELAY}{bit}")
}

/// How many units a message waits, so that it is never early; none if it is due, or later than can be counted.
fn units(wait: Duration) -> Result<Option<u32>, ()> {
    let units = wait.as_millis().div_ceil(UNIT.as_millis());
    match u32::try_from(units) {
        Ok(0) => Ok(None),
        Ok(units) if units < 1 << BITS => Ok(Some(units)),
        _ => Err(()),
    }
}

/// Publishes for later.
#[derive(Debug)]
pub(crate) struct Delays {
    sink: Arc<RabbitSink>,
    topology: Arc<Topology>,
    runtime: Handle,
    made: Mutex<Made>,
    /// One makes at a time, and who comes later publishes later.
    making: Arc<tokio::sync::Mutex<()>>,
    /// How many messages wait until everything is made.
    waiting: watch::Sender<usize>,
}

/// What is known to be there.
#[derive(Debug, Default)]
struct Made {
    bits: u32,
    destinations: HashSet<Arc<str>>,
}

impl Delays {
    pub(crate) fn new(sink: Arc<RabbitSink>, topology: Arc<Topology>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            sink,
            topology,
            runtime,
            made: Mutex::default(),
            making: Arc::default(),
            waiting: watch::Sender::new(0),
        })
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message on its way to be there when it is due.
    pub(crate) fn publish(
        self: &Arc<Self>,
        outgoing: Outgoing,
        due: Timestamp,
        layout: &Arc<Layout>,
    ) -> Receipt {
        let units = match units(due.since(Clock::System.now())) {
            Ok(Some(units)) => units,
            Ok(None) => {
                return self.sink.publish(Outgoing {
                    due: None,
                    ..outgoing
                });
            }
            Err(()) => {
                return Receipt::failed(PublishError::Unsupported {
                    broker: "rabbitmq",
                    feature: "delays of more than 77 days",
                    cure: "store it, and publish it when that time has come",
                });
            }
        };
        let Some(exchange) = layout.exchange() else {
            return Receipt::failed(PublishError::Unsupported {
                broker: "rabbitmq",
                feature: "delays where messages go straight to a queue",
                cure: "give the channel an exchange (rabbitmq.exchange_type)",
            });
        };
        let bits = u32::BITS - units.leading_zeros();
        let outgoing = match marked(outgoing, units, bits, &exchange.name) {
            Ok(outgoing) => outgoing,
            Err(error) => return Receipt::failed(error),
        };
        let through = name(bits - 1);
        if self.is_made(bits, &layout.destination) {
            return self.sink.publish_through(outgoing, through);
        }
        // It is on its way from here on, whether anybody waits for the receipt or not.
        let (answer, receipt) = Receipt::pair();
        let delays = self.clone();
        self.waiting.send_modify(|waiting| *waiting += 1);
        self.runtime.spawn(async move {
            let published = {
                let making = delays.making.clone();
                let _turn = making.lock().await;
                let made = delays.make(bits, &outgoing.destination, &exchange).await;
                made.map(|()| delays.sink.publish_through(outgoing, through))
            };
            delays.waiting.send_modify(|waiting| *waiting -= 1);
            answer.resolve(match published {
                Ok(receipt) => receipt.await,
                Err(error) => Err(error),
            });
        });
        receipt
    }

    /// Resolves when everything that was given so far is on its way.
    pub(crate) async fn under_way(&self) {
        let mut waiting = self.waiting.subscribe();
        // The sender is ours: it does not go before this.
        let _ = waiting.wait_for(|waiting| *waiting == 0).await;
    }

    fn is_made(&self, bits: u32, destination: &Arc<str>) -> bool {
        let made = self.made();
        made.bits >= bits && made.destinations.contains(destination)
    }

    /// Makes exchanges and queues, the last one first: what arrives finds its way on.
    async fn make(
        &self,
        bits: u32,
        destination: &Arc<str>,
        exchange: &ExchangeSpec,
    ) -> Result<(), PublishError> {
        let failed = |error: BinderError| PublishError::Unavailable {
            destination: destination.clone(),
            reason: format!("making the queues of delays: {error}"),
        };
        if self.is_made(bits, destination) {
            return Ok(());
        }
        let due = by_header(DUE.into());
        self.topology.exchange(&due).await.map_err(failed)?;
        let leading = self
            .topology
            .lead(&due.name, exchange, matching(TO, &exchange.name));
        leading.await.map_err(failed)?;
        let from = self.made().bits;
        for bit in from..bits {
            self.make_bit(bit).await.map_err(failed)?;
            self.made().bits = bit + 1;
        }
        self.made().destinations.insert(destination.clone());
        Ok(())
    }

    async fn make_bit(&self, bit: u32) -> Result<(), BinderError> {
        let next = match bit.checked_sub(1) {
            Some(lower) => name(lower),
            None => DUE.into(),
        };
        let exchange = by_header(name(bit));
        let mut arguments = FieldTable::default();
        let millis = UNIT.as_millis() << bit;
        for (name, value) in [
            ("x-queue-type", text("quorum")),
            (
                "x-message-ttl",
                AMQPValue::LongLongInt(i64::try_from(millis).unwrap_or(i64::MAX)),
            ),
            ("x-dead-letter-exchange", text(&next)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ] {
            arguments.insert(name.into(), value);
        }
        let queue = QueueSpec {
            arguments,
            bound_to: vec![Binding {
                exchange: Arc::new(exchange.clone()),
                pattern: "".into(),
                arguments: matching(&header(bit), "1"),
            }],
            ..self.topology.lying(name(bit), Create::IfMissing)
        };
        self.topology.exchange(&exchange).await?;
        let lower = by_header(next);
        let lead = self
            .topology
            .lead(&exchange.name, &lower, matching(&header(bit), "0"));
        lead.await?;
        self.topology.queue(&queue).await
    }
}

fn by_header(name: Arc<str>) -> ExchangeSpec {
    ExchangeSpec {
        exchange_type: ExchangeType::Headers,
        ..ExchangeSpec::topic(&name, Create::IfMissing)
    }
}

fn matching(name: &str, value: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-match".into(), text("all"));
    table.insert(name.into(), text(value));
    table
}

/// The message with what the exchanges look at.
fn marked(outgoing: Outgoing, units: u32, bits: u32, exchange: &str) -> Result<Outgoing, PublishError> {
    let mut message = outgoing.message;
    message.headers_mut().edit(|writer| {
        let writer = writer.set(TO, exchange);
        (0..bits).fold(writer, |writer: HeaderWriter, bit| {
            writer.set(&header(bit), if units >> bit & 1 == 1 { "1" } else { "0" })
        })
    })?;
    Ok(Outgoing {
        message,
        due: None,
        ..outgoing
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_than_it_is_asked_for() {
        for (millis, expected) in [
            (0, Ok(None)),
            (1, Ok(Some(1))),
            (100, Ok(Some(1))),
            (101, Ok(Some(2))),
            (3_600_000, Ok(Some(36_000))),
            (((1 << 26) - 1) * 100, Ok(Some((1 << 26) - 1))),
            ((1 << 26) * 100, Err(())),
        ] {
            assert_eq!(units(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn each_bit_that_is_set_is_a_queue_on_the_way() {
        let outgoing = Outgoing::new("orders", tidings_core::Message::new("x"));
        let marked = marked(outgoing, 0b101, 3, "orders").unwrap();
        let headers: Vec<_> = marked.message.headers().iter().collect();
        let expected: [(&str, &[u8]); 4] = [
            (TO, b"orders"),
            ("tidings-delay-0", b"1"),
            ("tidings-delay-1", b"0"),
            ("tidings-delay-2", b"1"),
        ];
        assert_eq!(headers, expected);
    }
}
