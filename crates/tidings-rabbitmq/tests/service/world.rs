//! A virtual host, services on it, and what their handlers saw.

use brokers::{RabbitApi, VirtualHost, unique};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidings::{App, Config, Delivery, Failure, FailureKind, Running, Subscription, on};
use tidings_core::{Binder, BinderHealth, Clock, DynBinder, Message, Outgoing, Retry};
use tidings_rabbitmq::{ClientOptions, RabbitBinder};
use tokio::time::{Instant, sleep};

/// More than any of it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One handling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
    pub(crate) member: u32,
    pub(crate) ok: bool,
}

#[derive(Debug, Default)]
struct Notes {
    seen: Vec<Seen>,
    /// How often each message fails yet, and for how long it asks to wait.
    fails: HashMap<u64, (u32, Option<Duration>)>,
    takes: Duration,
}

/// What handlers share.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<Notes>>);

impl World {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    /// That message fails so often; as a failure that passes, which may ask for a wait.
    pub(crate) fn fails(&self, id: u64, times: u32, wait: Option<Duration>) {
        self.notes().fails.insert(id, (times, wait));
    }

    pub(crate) fn takes(&self, time: Duration) {
        self.notes().takes = time;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.notes().seen.clone()
    }

    pub(crate) fn of(&self, id: u64) -> Vec<Seen> {
        self.seen().into_iter().filter(|one| one.id == id).collect()
    }

    /// Ids in the order in which they were handled with success for the first time.
    pub(crate) fn succeeded(&self) -> Vec<u64> {
        let mut all = Vec::new();
        let mut known = std::collections::HashSet::new();
        for one in self.seen().iter().filter(|one| one.ok) {
            if known.insert(one.id) {
                all.push(one.id);
            }
        }
        all
    }

    pub(crate) async fn until_succeeded(&self, count: usize) {
        until(&format!("{count} are handled"), || {
            self.succeeded().len() >= count
        })
        .await;
    }

    pub(crate) async fn handled(self, member: u32, delivery: Delivery) -> Result<(), Failure> {
        let text = std::str::from_utf8(delivery.payload().unwrap_or_default())
            .unwrap()
            .to_owned();
        let id = text.parse().map_err(|_| Failure::permanent("no number"))?;
        let takes = self.notes().takes;
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let mut notes = self.notes();
        let failing = notes.fails.get_mut(&id).filter(|(times, _)| *times > 0);
        let failure = failing.map(|(times, wait)| {
            *times -= 1;
            *wait
        });
        notes.seen.push(Seen {
            id,
            attempt: delivery.attempt(),
            at: Instant::now(),
            member,
            ok: failure.is_none(),
        });
        match failure {
            None => Ok(()),
            Some(None) => Err(Failure::transient("as the test says")),
            Some(Some(wait)) => {
                Err(Failure::transient("as the test says").with_kind(FailureKind::RetryAfter(wait)))
            }
        }
    }

    /// Reads `orders` as the group `billing`.
    pub(crate) fn subscription(&self, member: u32) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |delivery: Delivery| {
            world.clone().handled(member, delivery)
        })
        .group("billing")
        .name("charge")
        .concurrency(16)
        .retry(Retry::fixed(3, Duration::from_millis(5)))
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A virtual host of the test's own.
pub(crate) fn host(api: &RabbitApi) -> VirtualHost {
    api.virtual_host(&unique("service")).unwrap()
}

pub(crate) fn binder(
    host: &VirtualHost,
    change: impl FnOnce(ClientOptions) -> ClientOptions,
) -> Arc<RabbitBinder> {
    let options = ClientOptions::from_url(&host.url()).unwrap();
    Arc::new(RabbitBinder::open(change(options)).unwrap())
}

pub(crate) async fn start(binder: &Arc<RabbitBinder>, subscription: Subscription<()>) -> Running {
    let config = Config::from_toml("[app]\ndrain_timeout = \"5s\"", "service.toml").unwrap();
    let service = App::new("service").add(subscription).with_state(());
    let binder: Arc<dyn DynBinder> = binder.clone();
    service.start_on(config, binder, Clock::System).await.unwrap()
}

/// So many consumers read a queue.
pub(crate) async fn has_consumers(host: &VirtualHost, queue: &str, count: usize) {
    until(&format!("{queue} has {count} consumers"), || {
        consumers(host, queue) >= count
    })
    .await;
}

fn consumers(host: &VirtualHost, queue: &str) -> usize {
    let path = format!("consumers/{}", RabbitApi::segment(host.name()));
    let all = host.api().get(&path).unwrap();
    let of_queue = |one: &&Value| one.pointer("/queue/name").and_then(Value::as_str) == Some(queue);
    all.as_array().unwrap().iter().filter(of_queue).count()
}

/// Closes the connections of that purpose; how many there were.
pub(crate) fn close_connections(host: &VirtualHost, purpose: &str) -> usize {
    let all = host.api().get("connections").unwrap();
    let of_purpose = all.as_array().unwrap().iter().filter(|connection| {
        let name = connection["user_provided_name"].as_str();
        let last = name.and_then(|name| name.rsplit(' ').next());
        connection["vhost"] == host.name() && last == Some(purpose)
    });
    let closed = of_purpose.filter(|connection| {
        let name = RabbitApi::segment(connection["name"].as_str().unwrap());
        host.api().delete(&format!("connections/{name}")).is_ok()
    });
    closed.count()
}

/// Publishes messages with these numbers and keys.
pub(crate) async fn publish(binder: &RabbitBinder, ids: impl IntoIterator<Item = u64>, keys: u64) {
    let sink = Binder::sink(binder);
    let outgoing = ids.into_iter().map(|id| {
        let message = Message::new(id.to_string()).with_key((id % keys).to_string());
        Outgoing::new("orders", message)
    });
    for receipt in sink.publish_all(outgoing.collect()) {
        receipt.await.unwrap();
    }
}

pub(crate) fn is_up(binder: &RabbitBinder) -> bool {
    matches!(Binder::health(binder), BinderHealth::Up)
}
