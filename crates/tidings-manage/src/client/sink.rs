//! Publishing through a running service: [`RemoteSink`]. One request after another, as many messages in each as wait.

use super::binder::flush_request;
use super::http::{Client, Sent};
use crate::error::ManageError;
use crate::wire::FRAMES;
use crate::wire::error::WirePublishError;
use crate::wire::frame::{begin_publish, encode_outgoing, outgoing_bytes};
use crate::wire::json::Published;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, ReceiptSender, Sink};
use tokio::sync::oneshot;

/// How many bytes of messages may wait; a message that is alone is taken however large it is.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How many bytes a request has, unless one message has more.
const REQUEST_BYTES: usize = 4 << 20;
/// How many messages a request has.
const REQUEST_MESSAGES: usize = 10_000;

#[derive(Debug)]
pub(super) struct RemoteSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    binder: String,
    /// The largest request that the service takes.
    request_bytes: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// A task sends what waits.
    sending: bool,
}

#[derive(Debug)]
enum Waiting {
    Message(Outgoing, ReceiptSender),
    Flush(oneshot::Sender<Result<(), PublishError>>),
}

impl RemoteSink {
    pub(super) fn new(client: Client, binder: &str, request_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                binder: binder.to_owned(),
                request_bytes,
                queue: Mutex::default(),
            }),
        }
    }
}

impl Sink for RemoteSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let size = outgoing_bytes(&outgoing);
        let destination = outgoing.destination.clone();
        if size + self.shared.binder.len() > self.shared.request_bytes {
            return Receipt::failed(PublishError::TooLarge {
                destination,
                size: outgoing.message.size(),
                limit: self.shared.request_bytes,
            });
        }
        let mut queue = self.shared.queue();
        if queue.bytes > 0 && queue.bytes.saturating_add(size) > MAX_WAITING_BYTES {
            let reason = "64 MiB wait to be sent to the service: await their receipts before publishing more";
            return Receipt::failed(PublishError::Unavailable {
                destination,
                reason: reason.to_owned(),
            });
        }
        let (sender, receipt) = Receipt::pair();
        queue.bytes += size;
        queue.waiting.push_back(Waiting::Message(outgoing, sender));
        self.shared.start(queue);
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let (sender, flushed) = oneshot::channel();
        let mut queue = self.shared.queue();
        queue.waiting.push_back(Waiting::Flush(sender));
        self.shared.start(queue);
        Box::pin(async move { flushed.await.unwrap_or(Err(PublishError::Closed)) })
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits, unless that is under way.
    fn start(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        if !std::mem::replace(&mut queue.sending, true) {
            tokio::spawn(self.clone().run());
        }
    }

    async fn run(self: Arc<Self>) {
        loop {
            let (messages, flush) = {
                let mut queue = self.queue();
                let messages = queue.take_messages();
                let flush = match queue.waiting.front() {
                    Some(Waiting::Flush(_)) if messages.is_empty() => queue.waiting.pop_front(),
                    _ => None,
                };
                queue.sending = !messages.is_empty() || flush.is_some();
                if !queue.sending {
                    return;
                }
                (messages, flush)
            };
            if let Some(Waiting::Flush(sender)) = flush {
                // Whoever waited may have gone.
                let _ = sender.send(self.flush().await);
            }
            self.send(messages).await;
        }
    }

    async fn send(&self, messages: Vec<(Outgoing, ReceiptSender)>) {
        if messages.is_empty() {
            return;
        }
        let mut body = begin_publish(&self.binder);
        for (outgoing, _) in &messages {
            encode_outgoing(&mut body, outgoing);
        }
        let answer = self
            .client
            .exchange("binder/publish", Sent(FRAMES), Some(body))
            .await;
        let results = answer.and_then(|answer| self.client.parse::<Vec<Published>>(&answer));
        let sent: usize = messages
            .iter()
            .map(|(outgoing, _)| outgoing_bytes(outgoing))
            .sum();
        self.queue().bytes -= sent;
        let mut results = match results {
            Ok(results) => results.into_iter(),
            Err(error) => {
                for (outgoing, sender) in messages {
                    sender.resolve(Err(unavailable(&outgoing, &error)));
                }
                return;
            }
        };
        for (outgoing, sender) in messages {
            sender.resolve(match results.next() {
                Some(Published::At(position)) => Ok(position.into()),
                Some(Published::Refused(error)) => Err(error.into()),
                None => Err(unavailable(
                    &outgoing,
                    &self.client.protocol("it answered for fewer messages"),
                )),
            });
        }
    }

    async fn flush(&self) -> Result<(), PublishError> {
        let request = flush_request(&self.binder);
        let flushed: Result<Option<WirePublishError>, _> =
            self.client.ask("binder/flush", Some(&request)).await;
        match flushed {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error.into()),
            Err(error) => Err(PublishError::Unavailable {
                destination: self.binder.as_str().into(),
                reason: error.to_string(),
            }),
        }
    }
}

impl Queue {
    /// The messages of the next request: those before the next flush, as many as fit into one.
    fn take_messages(&mut self) -> Vec<(Outgoing, ReceiptSender)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(Waiting::Message(outgoing, _)) = self.waiting.front() {
            bytes += outgoing_bytes(outgoing);
            if !taken.is_empty() && (bytes > REQUEST_BYTES || taken.len() >= REQUEST_MESSAGES) {
                break;
            }
            if let Some(Waiting::Message(outgoing, sender)) = self.waiting.pop_front() {
                taken.push((outgoing, sender));
            }
        }
        taken
    }
}

fn unavailable(outgoing: &Outgoing, error: &ManageError) -> PublishError {
    PublishError::Unavailable {
        destination: outgoing.destination.clone(),
        reason: format!("{error}; the message may have been published"),
    }
}
