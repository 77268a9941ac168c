//! One embedded broker for the relays of several processes: [`Hub`] owns it, [`ToHub`] sends there over TCP.
//!
//! A message is a line, and so is its answer. A connection that is lost takes along the answers to all that was sent on it:
//! what was not answered was published up to some message, and not beyond.

use crate::error::ChaosError;
use crate::history::{Arrival, Event, History, SqlEvent};
use crate::service::Parcel;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tidings::embedded::{EmbeddedBroker, EmbeddedOptions};
use tidings::{Binder, DestinationSpec, DynBinder, Message, Position, PublishError, Receipt, names};
use tidings_core::{BoxFuture, Outgoing, ReceiptSender, Sink};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much of the broker is read at once.
const READ_BYTES: usize = 1 << 20;
const PARTITIONS: u32 = 3;
const TAKEN: &[u8] = b"1";
const REFUSED: &[u8] = b"0";

/// A message on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    key: String,
    payload: String,
    message_id: String,
}

/// How a connection to the broker is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Before the next message is published.
    Message = 1,
    /// After it was, before its answer is sent.
    Answer = 2,
}

/// A broker for the relays of several processes.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) address: SocketAddr,
    broker: Arc<dyn DynBinder>,
    destination: &'static str,
    /// What happens to the next message, as a [`Loss`]; 0 is nothing.
    loss: Arc<AtomicU8>,
    accepting: JoinHandle<()>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Hub {
    /// A broker in memory with one destination.
    pub(super) async fn start(destination: &'static str) -> Result<Self, ChaosError> {
        let options = EmbeddedOptions::from_url("memory:").map_err(ChaosError::service)?;
        let broker = EmbeddedBroker::open(options.retention_bytes(None)).map_err(ChaosError::service)?;
        let prepared = Binder::prepare(&broker, DestinationSpec::new(destination, PARTITIONS)).await;
        prepared.map_err(ChaosError::service)?;
        let broker: Arc<dyn DynBinder> = Arc::new(broker);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(ChaosError::service)?;
        let address = listener.local_addr().map_err(ChaosError::service)?;
        let loss = Arc::new(AtomicU8::default());
        let (sink, losing) = (broker.sink(), loss.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sink, losing) = (sink.clone(), losing.clone());
                tokio::spawn(async move { drop(take(stream, destination, &*sink, &losing).await) });
            }
        });
        Ok(Self {
            address,
            broker,
            destination,
            loss,
            accepting,
        })
    }

    /// The connection that brings the next message is lost.
    pub(super) fn lose(&self, loss: Loss) {
        self.loss.store(loss as u8, Ordering::Release);
    }

    /// Writes down what lies there.
    pub(super) async fn note(&self, history: &History) -> Result<(), ChaosError> {
        for partition in 0..PARTITIONS {
            let mut from = 0;
            loop {
                let read = self
                    .broker
                    .read(self.destination, partition, from, READ_BYTES)
                    .await;
                let batch = read.map_err(ChaosError::service)?;
                let arrivals = batch.records().iter().map(|record| {
                    let parcel = Parcel::read(batch.key(record), batch.payload(record));
                    let id = batch.headers(record).find_str(names::MESSAGE_ID);
                    Event::Sql(SqlEvent::Arrived(Arrival {
                        message_id: id.unwrap_or_default().to_owned(),
                        key: parcel.key,
                        number: parcel.sequence,
                        nonce: parcel.id,
                    }))
                });
                history.write_all(arrivals);
                if batch.next() <= from {
                    break;
                }
                from = batch.next();
            }
        }
        Ok(())
    }
}

/// Publishes what comes and answers, until the connection is lost.
async fn take(
    stream: TcpStream,
    destination: &'static str,
    sink: &dyn Sink,
    losing: &AtomicU8,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut answers = Vec::new();
    while stream.read_line(&mut line).await? > 0 {
        let sent: Sent = serde_json::from_str(&line)?;
        line.clear();
        let loss = losing.swap(0, Ordering::AcqRel);
        if loss == Loss::Message as u8 {
            return Ok(());
        }
        let message = Message::new(sent.payload).with_key(sent.key);
        let message = message.with_header(names::MESSAGE_ID, &sent.message_id);
        let message = message.map_err(std::io::Error::other)?;
        let taken = sink.publish(Outgoing::new(destination, message)).await.is_ok();
        if loss == Loss::Answer as u8 {
            return Ok(());
        }
        answers.extend_from_slice(if taken { TAKEN } else { REFUSED });
        if stream.buffer().is_empty() {
            stream.get_mut().write_all(&answers).await?;
            answers.clear();
        }
    }
    Ok(())
}

/// Sends to a hub. It is as bounded as what a relay has under way.
#[derive(Debug)]
pub(super) struct ToHub {
    sending: mpsc::UnboundedSender<Waiting>,
}

type Waiting = (Outgoing, ReceiptSender);

impl ToHub {
    /// Connects when there is something to send, and again after a loss.
    pub(super) fn new(address: SocketAddr) -> Self {
        let (sending, mut waiting) = mpsc::unbounded_channel::<Waiting>();
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let lost = send(address, first, &mut waiting).await;
                // What follows what was lost must not arrive before it.
                for (outgoing, answer) in lost {
                    refuse(&outgoing, answer);
                }
                while let Ok((outgoing, answer)) = waiting.try_recv() {
                    refuse(&outgoing, answer);
                }
            }
        });
        Self { sending }
    }
}

fn refuse(outgoing: &Outgoing, answer: ReceiptSender) {
    answer.resolve(Err(PublishError::Unavailable {
        destination: outgoing.destination.clone(),
        reason: "the connection was lost".to_owned(),
    }));
}

/// Sends on one connection until it is lost; what has no answer then.
async fn send(
    address: SocketAddr,
    first: Waiting,
    waiting: &mut mpsc::UnboundedReceiver<Waiting>,
) -> Vec<Waiting> {
    let mut batch = vec![first];
    let Ok(mut stream) = TcpStream::connect(address).await else {
        // Asked again at once, it would only be refused again.
        tokio::time::sleep(Duration::from_millis(20)).await;
        return batch;
    };
    loop {
        while let Ok(next) = waiting.try_recv() {
            batch.push(next);
        }
        let mut answers = vec![0; batch.len()];
        let exchanged = async {
            stream.write_all(&lines(&batch)).await?;
            for answer in &mut answers {
                *answer = stream.read_u8().await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let lost = exchanged.await.is_err();
        let answered = answers.iter().take_while(|answer| **answer != 0).count();
        let rest = batch.split_off(answered);
        for ((outgoing, waiting), answer) in batch.into_iter().zip(answers) {
            match [answer] == TAKEN {
                true => waiting.resolve(Ok(Position::new(outgoing.destination, 0, 0))),
                false => refuse(&outgoing, waiting),
            }
        }
        batch = rest;
        if lost {
            return batch;
        }
        match waiting.recv().await {
            Some(next) => batch.push(next),
            None => return batch,
        }
    }
}

fn lines(batch: &[Waiting]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (outgoing, _) in batch {
        let message = &outgoing.message;
        let text = |bytes: Option<&bytes::Bytes>| {
            String::from_utf8_lossy(bytes.map(AsRef::as_ref).unwrap_or_default()).into_owned()
        };
        let id = message.headers().get_str(names::MESSAGE_ID);
        let sent = Sent {
            key: text(message.key()),
            payload: text(message.payload()),
            message_id: id.unwrap_or_default().to_owned(),
        };
        lines.extend(serde_json::to_vec(&sent).expect("a message on its way has only plain fields"));
        lines.push(b'\n');
    }
    lines
}

impl Sink for ToHub {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let (answer, receipt) = Receipt::pair();
        // If nobody sends any more, the receipt says so.
        let _ = self.sending.send((outgoing, answer));
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
