//! A whole app in a test: [`TestApp`], on a broker in memory with real semantics and, if tokio's clock is paused,
//! virtual time.

mod real;
mod settle;
mod watched;

pub use real::in_real_time;
use watched::Watch;

use crate::binders::{Brokers, Ground, Wrap};
use crate::error::Error;
use crate::plan::{Knowledge, Plan};
use crate::running::{Drained, Running};
use crate::service::Service;
use crate::start::start;
use std::sync::Arc;
use std::time::Duration;
use tidings_config::Config;
use tidings_core::{BinderError, Clock, Decode, DynBinder, Encode, Event, Message, Position};
use tidings_runtime::{DeadLetter, RedriveReport, Selection};

/// How long [`TestApp::settled`] waits, in the test's time.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// An app under test.
///
/// Every broker of the configuration is replaced by one in memory that only this app has; an address `memory:NAME`
/// is kept, so that two apps can be tested together. Under `#[tokio::test(start_paused = true)]` time is virtual: a
/// back-off of ten minutes takes no time.
///
/// With a database (`App::outbox`, an inbox) time is virtual but for the database's work: it is as long as it takes, and
/// so is the time within a transaction. Statements outside of the app's own and outside of transactions, such as opening
/// the store, go into [`in_real_time`].
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings::prelude::*;
/// use tidings::test::TestApp;
///
/// #[derive(Debug, Event, Serialize, Deserialize)]
/// #[event(name = "order.placed", key = "id")]
/// struct OrderPlaced {
///     id: String,
/// }
///
/// #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
/// #[event(name = "payment.taken", key = "order")]
/// struct PaymentTaken {
///     order: String,
/// }
///
/// async fn charge(Json(placed): Json<OrderPlaced>) -> PaymentTaken {
///     PaymentTaken { order: placed.id }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tidings::Error> {
/// let app = App::new("shop").add(on("orders", charge).group("billing").to("payments"));
/// let test = TestApp::start(app.with_state(())).await?;
/// test.publish("orders", &OrderPlaced { id: "1".to_owned() }).await?;
/// test.settled().await?;
/// assert_eq!(test.events::<PaymentTaken>("payments").await?, [PaymentTaken { order: "1".to_owned() }]);
/// assert!(test.dead_letters("orders").await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestApp {
    running: Running,
    watch: Watch,
}

impl TestApp {
    /// Starts the app without any configuration, and waits until its subscriptions are connected.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start(service: Service) -> Result<Self, Error> {
        Self::start_with(service, Config::default()).await
    }

    /// Starts the app with a configuration, for example [`Config::from_toml`].
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_with(service: Service, config: Config) -> Result<Self, Error> {
        Self::launch(service, config, Brokers::InMemory, Clock::virtual_from_now()).await
    }

    /// Starts the app on a broker that the test has opened and will close, in place of every one of the
    /// configuration; `clock` must be the broker's own. Several apps may share one broker.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_on(
        service: Service,
        config: Config,
        broker: Arc<dyn DynBinder>,
        clock: Clock,
    ) -> Result<Self, Error> {
        Self::launch(service, config, Brokers::Given(broker), clock).await
    }

    async fn launch(service: Service, config: Config, brokers: Brokers, clock: Clock) -> Result<Self, Error> {
        let watch = Watch::default();
        let over = watch.clone();
        let wrap: Box<Wrap> = Box::new(move |broker| over.over(broker));
        let ground = Ground {
            brokers,
            clock,
            wrap: Some(wrap),
        };
        for store in crate::plan::outboxes::stores(&service) {
            store.tell(Arc::new(real::RealTime));
        }
        let plan = Plan::new(&service, &config, Knowledge::Whole)?;
        let running = start(service, plan, ground).await?;
        settle::connected(&running).await;
        Ok(Self { running, watch })
    }

    /// The running service: its controls, status and health.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Publishes an event and waits until it is kept.
    ///
    /// # Errors
    /// [`Error::Publish`].
    pub async fn publish<E>(&self, channel: &str, event: &E) -> Result<Position, Error>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        Ok(self.running.publisher().publish(channel, event).await?)
    }

    /// Publishes a message and waits until it is kept.
    ///
    /// # Errors
    /// [`Error::Publish`].
    pub async fn send(&self, channel: &str, message: Message) -> Result<Position, Error> {
        Ok(self.running.publisher().send(channel, message).await?)
    }

    /// Waits until everything that was published has come to rest: every message and everything that its handling
    /// published is handled or dead-lettered by every group, retries and delayed messages included. At most one hour
    /// of the test's time. What was committed to an outbox that the app sends from is sent and handled, too.
    ///
    /// Subscriptions that are paused are not waited for, and neither are producers: they may go on for ever.
    ///
    /// # Errors
    /// [`Error::NotSettled`] with what is not settled.
    pub async fn settled(&self) -> Result<(), Error> {
        self.settled_within(SETTLE_TIMEOUT).await
    }

    /// As [`settled`](Self::settled), with another limit.
    ///
    /// # Errors
    /// As [`settled`](Self::settled).
    pub async fn settled_within(&self, limit: Duration) -> Result<(), Error> {
        settle::settled(&self.running, &self.watch, limit).await
    }

    /// The dead letters of a channel that were not sent back.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such channel.
    pub async fn dead_letters(&self, channel: &str) -> Result<Vec<DeadLetter>, Error> {
        self.running.dead_letters_after(channel, None, usize::MAX).await
    }

    /// Sends dead letters back: see [`Running::redrive`].
    ///
    /// # Errors
    /// As [`Running::redrive`].
    pub async fn redrive(&self, group: &str, selection: Selection) -> Result<RedriveReport, Error> {
        self.running.redrive(group, selection).await
    }

    /// Every message of a channel, handled or not, in the order of publishing as far as partitions have one.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such channel.
    pub async fn published(&self, channel: &str) -> Result<Vec<Message>, Error> {
        let (binder, destination) = self.running.channel(channel)?;
        let refused = |error: BinderError| Error::binder(channel, error);
        let destinations = match &self.running.inner.channel(channel)?.pattern {
            Some(pattern) => pattern.destinations(&**binder).await.map_err(refused)?,
            None => vec![destination.clone()],
        };
        let mut found = Vec::new();
        for destination in &destinations {
            found.extend(messages_of(&**binder, destination).await.map_err(refused)?);
        }
        // Stable: messages of one partition and one millisecond keep their order.
        found.sort_by_key(Message::timestamp);
        Ok(found)
    }

    /// The events of that type in a channel: messages whose `type` header names it.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is no such channel, [`Error::Codec`] if one cannot be decoded.
    pub async fn events<E>(&self, channel: &str) -> Result<Vec<E>, Error>
    where
        E: Event,
        E::Codec: Decode<E>,
    {
        let published = self.published(channel).await?;
        let named = published.iter().filter(|message| {
            message
                .headers()
                .get_str(tidings_core::names::TYPE)
                .is_some_and(E::has_name)
        });
        let payloads = named.filter_map(Message::payload);
        payloads
            .map(|payload| Ok(<E::Codec as Decode<E>>::decode(payload)?))
            .collect()
    }

    /// Lets time pass: virtual time at once, real time by waiting.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Ends the app as SIGTERM does.
    pub async fn stop(self) -> Drained {
        self.running.drain().await
    }
}

/// All messages of a destination, partition by partition.
async fn messages_of(binder: &dyn DynBinder, destination: &str) -> Result<Vec<Message>, BinderError> {
    let mut found = Vec::new();
    for at in binder.positions(destination, None).await? {
        let mut next = at.first;
        while next < at.end {
            let batch = binder.read(destination, at.partition, next, 1 << 20).await?;
            if batch.next() <= next {
                break;
            }
            found.extend(batch.records().iter().map(|record| batch.message(record)));
            next = batch.next();
        }
    }
    Ok(found)
}
