//! A process under attack: a service with an inbox, writers with an outbox, and a relay.

use super::database::TestDb;
use super::handlers::{self, groups, service};
use super::hub::ToHub;
use super::place::Place;
use super::plant::SqlPlant;
use super::relaying;
use super::relays::Relaying;
pub use super::scene::Act;
use super::scene::{Scene, Steps};
use super::sending::Sending;
use super::writing::{self, WRITERS};
pub use crate::child::Ending;
use crate::error::ChaosError;
use crate::history::{Event, History, Lifecycle, SqlEvent, Store};
use crate::service::{self as shared, Parcel};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidings::embedded::{EmbeddedBroker, EmbeddedOptions, Location};
use tidings::{Clock, Config, DynBinder, Message, Running, names};
use tidings_sql::sqlx::{Postgres, Sqlite};
use tidings_sql::{Outbox, RelayMode, SqlOptions, SqlStore};
use tokio::sync::oneshot;

/// What is handled.
pub(super) const INPUTS: &str = "inputs";
/// What is published.
pub(super) const PAYMENTS: &str = "payments";
/// How many keys there are.
pub(super) const KEYS: u64 = 120;
/// So many messages wait at the most before the producer goes on.
const AHEAD: u64 = 300;
/// Messages come out of order within so many.
const SHUFFLED: usize = 40;

/// What a process is told to do: one argument of its command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The directory of its broker.
    pub directory: PathBuf,
    /// Where it writes what it does.
    pub history: PathBuf,
    /// Which incarnation it is, counted over all services.
    pub incarnation: u32,
    /// The seed of the campaign.
    pub seed: u64,
    /// What keeps effects and events.
    pub store: Store,
    /// Where that is.
    pub url: String,
    /// By which way its relay sends.
    pub relaying: Relaying,
    /// Where its relay sends to.
    pub hub: SocketAddr,
    /// The messages that are published for the first time, by number.
    pub new: (u64, u64),
    /// Those of the other service, half of which are published here too.
    pub others: (u64, u64),
    /// Whether it works until it is ended, or ends by itself.
    pub ending: Ending,
    /// Where something happens to it, at which time it passes there.
    pub at: Option<(String, u64, Act)>,
    /// The bug.
    pub plant: Option<String>,
}

/// Lives one life.
///
/// # Errors
/// What the service could not do, which is a finding of its own.
pub fn run(order: &Order) -> Result<(), ChaosError> {
    crate::child::abort_on_panic();
    let runtime = crate::child::runtime()?;
    match order.store {
        Store::Postgres => runtime.block_on(live::<Postgres>(order)),
        Store::Sqlite => runtime.block_on(live::<Sqlite>(order)),
    }
}

async fn live<DB: TestDb>(order: &Order) -> Result<(), ChaosError> {
    let scene = scene::<DB>(order).await?;
    let location = Location::Directory(order.directory.clone());
    let fsync = tidings::embedded::Fsync::Interval(Duration::from_millis(10));
    let options = EmbeddedOptions::new(location).fsync(fsync);
    let broker = EmbeddedBroker::open(options).map_err(ChaosError::service)?;
    let broker: Arc<dyn DynBinder> = Arc::new(broker);
    let config = Config::from_toml("app.drain_timeout = \"5s\"\n", "chaos").map_err(ChaosError::service)?;
    let started = service(scene.clone())
        .start_on(config, broker.clone(), Clock::System)
        .await;
    let running = started.map_err(ChaosError::service)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let relaying = relaying::start(order, &scene, stopped).await?;
    work(order, &scene, &*broker, &running).await?;
    running.drain().await;
    drop(stop);
    relaying.await.map_err(ChaosError::service)?;
    broker.close().await.map_err(ChaosError::service)?;
    scene.history.write(Event::Lifecycle(Lifecycle::Ended));
    Ok(())
}

async fn scene<DB: TestDb>(order: &Order) -> Result<Scene<DB>, ChaosError> {
    let history = Arc::new(History::open(&order.history, order.incarnation)?);
    let unknown = |name: &str| ChaosError::Usage(format!("there is no \"{name}\" here"));
    let armed = match &order.at {
        Some((name, nth, act)) => Some((Place::named(name).ok_or_else(|| unknown(name))?, *nth, *act)),
        None => None,
    };
    let plant = match &order.plant {
        Some(name) => Some(SqlPlant::named(name).ok_or_else(|| unknown(name))?),
        None => None,
    };
    let steps = Steps::new(armed, history.clone());
    let sink = Sending {
        inner: Arc::new(ToHub::new(order.hub)),
        steps: steps.clone(),
        plant,
    };
    Ok(Scene {
        history,
        steps,
        plant,
        store: open(&order.url).await?,
        sink: Arc::new(sink),
    })
}

/// Opens the store, also while the database is away.
async fn open<DB: TestDb>(url: &str) -> Result<SqlStore<DB>, ChaosError> {
    // The relays of a scene are started by its plan.
    let options = SqlOptions::default()
        .relay_mode(RelayMode::Off)
        .max_connections(12)
        .timeout(Duration::from_secs(4));
    loop {
        match SqlStore::open_with(url, options.clone()).await {
            Ok(store) => return Ok(store),
            Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(ChaosError::service(error)),
        }
    }
}

async fn work<DB: TestDb>(
    order: &Order,
    scene: &Scene<DB>,
    broker: &dyn DynBinder,
    running: &Running,
) -> Result<(), ChaosError> {
    let publishing = publish(order, scene, running);
    let life = async {
        match order.ending {
            Ending::Work => {
                publishing.await?;
                std::future::pending().await
            }
            Ending::Stop { after_ms } => {
                let stopped = tokio::time::timeout(Duration::from_millis(after_ms), publishing).await;
                stopped.unwrap_or(Ok(()))
            }
            Ending::Settle { .. } => publishing.await,
        }
    };
    // Writers write as long as there is something to publish.
    tokio::select! {
        ended = life => ended?,
        () = writing::write(scene, order, 0) => {}
        () = writing::write(scene, order, WRITERS - 1) => {}
    }
    match order.ending {
        Ending::Settle { patience_ms } => settle(scene, broker, Duration::from_millis(patience_ms)).await,
        Ending::Work | Ending::Stop { .. } => Ok(()),
    }
}

/// Waits until nothing is left to do, here and in the outbox, and writes down what was given up.
async fn settle<DB: TestDb>(
    scene: &Scene<DB>,
    broker: &dyn DynBinder,
    patience: Duration,
) -> Result<(), ChaosError> {
    let history = &scene.history;
    shared::settle(broker, &groups(), history, patience).await?;
    let outbox = Outbox::to_channels(&scene.store, [PAYMENTS]);
    let emptied = tokio::time::timeout(patience, async {
        while outbox
            .backlog()
            .await
            .map_or(true, |backlog| backlog.messages > 0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if emptied.await.is_err() {
        let reason = "the outbox does not become empty".to_owned();
        history.write(Event::Lifecycle(Lifecycle::Restless { reason }));
    }
    shared::letters(broker, &groups(), history).await
}

/// Publishes the messages of the order, out of order and some of them several times, as fast as they are handled.
async fn publish<DB: TestDb>(order: &Order, scene: &Scene<DB>, running: &Running) -> Result<(), ChaosError> {
    let history = &scene.history;
    for (sent, number) in (0..).zip(numbers(order)) {
        while sent > handled(running) + AHEAD {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let id = format!("i-{number}");
        let parcel = Parcel {
            id: id.clone(),
            key: format!("k{}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS),
            sequence: number,
        };
        let message: Message = parcel.message(30);
        let message = message
            .with_header(names::MESSAGE_ID, &id)
            .map_err(ChaosError::service)?;
        history.write(Event::Sql(SqlEvent::Sent { id: id.clone() }));
        let receipt = running.publisher().send(INPUTS, message);
        let history = history.clone();
        tokio::spawn(async move {
            // What was not accepted is not owed.
            if receipt.await.is_ok() {
                history.write(Event::Sql(SqlEvent::Accepted { id }));
            }
        });
    }
    Ok(())
}

/// Which messages are published, in which order: new ones, some of them twice; those that the other service has at the same
/// time; and some of any age.
fn numbers(order: &Order) -> Vec<u64> {
    let mut dice = fastrand::Rng::with_seed(order.seed ^ u64::from(order.incarnation) << 20);
    let mut numbers = Vec::new();
    let mut others: Vec<u64> = (order.others.0..order.others.1).collect();
    for number in order.new.0..order.new.1 {
        numbers.push(number);
        let sent = numbers.len();
        if dice.u8(..100) < 12 {
            numbers.push(numbers.get(dice.usize(..sent)).copied().unwrap_or(number));
        }
        if dice.u8(..100) < 4 {
            numbers.push(dice.u64(..=number));
        }
        if dice.bool() {
            numbers.extend(others.pop());
        }
    }
    for window in numbers.chunks_mut(SHUFFLED) {
        dice.shuffle(window);
    }
    numbers
}

/// How many messages were handled or given up, by the group that each belongs to.
fn handled(running: &Running) -> u64 {
    let status = running.status();
    let of = |group: &str| {
        let one = status.subscriptions.get(group);
        one.map_or(0, |one| one.handled + one.dead_lettered)
    };
    of(handlers::SINGLES) + of(handlers::BATCHES)
}
