//! Where RabbitMQ takes messages: [`RabbitSink`].

mod bell;
mod confirms;
mod entry;
mod exchanges;
mod intake;
mod parcel;
mod refusal;
mod refusing;
mod route;
mod window;
mod writer;

use crate::background::Worker;
use crate::connection::{Link, LinkState};
use crate::error::RabbitError;
use crate::options::ClientOptions;
pub(crate) use exchanges::exchange_is_there;
use intake::Intake;
pub(crate) use refusal::{nack, properties_too_large, unroutable};
pub use route::Route;
pub(crate) use route::Target;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tidings_core::{BinderHealth, BoxFuture, Outgoing, PublishError, Receipt, ReceiptBlock, Sink};
use tokio::sync::watch;
pub(crate) use writer::FRAME;
use writer::Writer;

const BROKER: &str = "rabbitmq";

/// Publishes to one RabbitMQ: a queue has a message when its receipt resolves.
///
/// Messages of a destination keep the order of the calls, also over a connection that is made anew; then a message may be
/// there twice. Nothing connects before the first message. When it is dropped, what is under way is given up; see its
/// `close`.
pub struct RabbitSink {
    options: Arc<ClientOptions>,
    intake: Arc<Intake>,
    link: Arc<Link>,
    state: watch::Receiver<LinkState>,
    closing: watch::Sender<Option<Instant>>,
    /// Closed when the writer has ended.
    ended: watch::Receiver<()>,
    _worker: Worker,
}

impl RabbitSink {
    /// Sets it up. It connects by itself: a RabbitMQ that is away is no error here.
    ///
    /// # Errors
    /// Options that do not go together, files that cannot be used, no thread.
    pub fn open(options: ClientOptions) -> Result<Self, RabbitError> {
        options.check()?;
        if options.is_tls() {
            options.tls().connector()?;
        }
        let worker = Worker::start()?;
        let options = Arc::new(options);
        let link = Arc::new(Link::start(worker.handle(), None, options.clone(), "publishing"));
        let intake = Arc::new(Intake::new(*options.publishing()));
        let (closing, is_closing) = watch::channel(None);
        let (end, ended) = watch::channel(());
        let writer = Writer::new(options.clone(), intake.clone(), link.clone(), is_closing);
        let state = link.state();
        worker.handle().spawn(async move {
            writer.run().await;
            drop(end);
        });
        Ok(Self {
            options,
            intake,
            link,
            state,
            closing,
            ended,
            _worker: worker,
        })
    }

    /// Says where a destination is, for what is published from now on. Without it, that is the exchange with its name.
    pub fn route(&self, destination: impl Into<Arc<str>>, route: Route) {
        self.intake.route(destination.into(), route);
    }

    /// As [`publish`](Sink::publish), to the queue with the destination's name.
    pub(crate) fn publish_to_queue(&self, outgoing: Outgoing) -> Receipt {
        self.intake.publish_to_queue(outgoing)
    }

    /// As [`publish`](Sink::publish), by that exchange in place of the destination's own.
    pub(crate) fn publish_through(&self, outgoing: Outgoing, exchange: Arc<str>) -> Receipt {
        self.intake.publish_through(outgoing, exchange)
    }

    /// Where a message goes that is published by other means, if it can be published at all.
    pub(crate) fn target_of(&self, outgoing: &Outgoing) -> Result<Arc<Target>, PublishError> {
        self.intake.target_of(outgoing)
    }

    /// Whether messages get through, and if not, why.
    pub fn health(&self) -> BinderHealth {
        match self.state.borrow().trouble() {
            None => BinderHealth::Up,
            Some(trouble) => BinderHealth::Down(format!("{}: {trouble}", self.options.shown())),
        }
    }

    /// Takes nothing more, waits until everything that was accepted is kept or refused, and takes leave of the server. What
    /// is undecided after the options' time for closing is given up; it takes 3 s more than that at the most.
    ///
    /// # Errors
    /// The first refusal since this was called.
    pub async fn close(&self) -> Result<(), PublishError> {
        self.intake.refuse_more();
        let flushed = self.flush();
        let by = Instant::now() + self.options.close_timeout();
        self.closing.send_replace(Some(by));
        let mut ended = self.ended.clone();
        // The writer answers everything before it ends.
        while ended.changed().await.is_ok() {}
        self.link.close().await;
        flushed.await
    }
}

impl Sink for RabbitSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.intake.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        self.intake.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let under_way = self.intake.under_way();
        // All begin to look for refusals now, also those that are waited for last.
        let under_way: Vec<_> = under_way.iter().map(ReceiptBlock::all_known).collect();
        Box::pin(async move {
            let mut first = Ok(());
            for block in under_way {
                let known = block.await;
                first = first.and(known);
            }
            first
        })
    }
}

impl Drop for RabbitSink {
    fn drop(&mut self) {
        self.intake.refuse_more();
    }
}

impl fmt::Debug for RabbitSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitSink")
            .field("servers", &self.options.shown())
            .field("connection", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
