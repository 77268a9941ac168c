//! Where replies are published: [`ReplySink`].

use super::is_given_out;
use crate::connection::{Link, PATIENCE};
use crate::sink::RabbitSink;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Error, ErrorKind};
use std::fmt;
use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;

const NOT_FOUND: u16 = 404;

/// Publishes to queues by their names, and to addresses that the server gave out.
///
/// A reply to such an address is never returned as unroutable in a way that tells anything: the server returns it also
/// when it was delivered. So the address is asked for before.
pub(super) struct ReplySink {
    runtime: Handle,
    sink: Arc<RabbitSink>,
    addresses: Arc<Addresses>,
}

impl ReplySink {
    pub(super) fn new(runtime: Handle, link: Arc<Link>, sink: Arc<RabbitSink>) -> Self {
        Self {
            runtime,
            sink,
            addresses: Arc::new(Addresses {
                link,
                channel: Mutex::default(),
            }),
        }
    }
}

impl Sink for ReplySink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        // There is one place with that name, whatever the request says.
        let outgoing = Outgoing {
            partition: None,
            ..outgoing
        };
        if !is_given_out(&outgoing.destination) {
            return self.sink.publish_to_queue(outgoing);
        }
        let (sender, receipt) = Receipt::pair();
        let (sink, addresses) = (self.sink.clone(), self.addresses.clone());
        // At once and beside each other: receipts are awaited one after the other.
        self.runtime.spawn(async move {
            let published = match addresses.is_there(&outgoing.destination).await {
                Ok(true) => sink.publish_to_queue(outgoing).await,
                Ok(false) => Err(PublishError::UnknownDestination {
                    destination: outgoing.destination,
                }),
                Err(error) => Err(error),
            };
            sender.resolve(published);
        });
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.sink.flush()
    }
}

impl fmt::Debug for ReplySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplySink")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// Knows whether somebody still has an address.
struct Addresses {
    link: Arc<Link>,
    /// An answer in the negative closes it.
    channel: Mutex<Option<(u64, Channel)>>,
}

impl Addresses {
    async fn is_there(&self, address: &Arc<str>) -> Result<bool, PublishError> {
        let unavailable = |reason: String| PublishError::Unavailable {
            destination: address.clone(),
            reason,
        };
        let asked = timeout(PATIENCE, async {
            let mut kept = self.channel.lock().await;
            let live = self.link.live().await;
            let live = live.map_err(|error| unavailable(error.to_string()))?;
            let known = kept.take();
            let known = known.filter(|(of, channel)| *of == live.generation && channel.status().connected());
            let asked = async {
                let channel = match known {
                    Some((_, channel)) => channel,
                    None => live.connection.create_channel().await?,
                };
                ask(&channel, address).await?;
                Ok(channel)
            };
            match asked.await {
                Ok(channel) => {
                    *kept = Some((live.generation, channel));
                    Ok(true)
                }
                Err(error) if code(&error) == Some(NOT_FOUND) => Ok(false),
                Err(error) => Err(unavailable(error.to_string())),
            }
        });
        asked
            .await
            .unwrap_or_else(|_| Err(unavailable(self.link.silent().to_string())))
    }
}

async fn ask(channel: &Channel, address: &str) -> Result<(), Error> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let name = ShortString::try_new(address).unwrap_or_default();
    channel
        .queue_declare(name, options, FieldTable::default())
        .await?;
    Ok(())
}

fn code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}
