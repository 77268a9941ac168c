//! Relays that send to a real Kafka as the only one: one stands still beyond its lease and wakes.

use crate::fake::{Running, SHORT_LEASE, eventually, quick};
use crate::support::sqlite;
use sqlx::Sqlite;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings::kafka::{ClientOptions, KafkaAdmin, KafkaBinder};
use tidings_core::{
    Binder, BoxFuture, DestinationSpec, Message, Outgoing, PublishError, Receipt, Sink, SinkTransaction,
    SoleSink,
};
use tidings_sql::{Outbox, Relay, SqlStore};
use tokio::sync::oneshot;

/// Where somebody stands still, thread and all, as a process does that was stopped.
#[derive(Debug, Default)]
struct Halt {
    reached: AtomicBool,
    over: AtomicBool,
}

impl Halt {
    fn here(&self) {
        self.reached.store(true, Ordering::Release);
        while !self.over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Publish,
    Commit,
}

/// A broker to which it is a long way.
#[derive(Debug, Clone)]
struct Slow {
    inner: Arc<dyn Sink>,
    at: At,
    halt: Arc<Halt>,
}

impl Sink for Slow {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.inner.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        if self.at == At::Publish {
            self.halt.here();
        }
        self.inner.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }

    fn can_be_sole(&self) -> bool {
        self.inner.can_be_sole()
    }

    fn sole(&self, name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        let (taking, slow) = (self.inner.sole(name), self.clone());
        Box::pin(async move { Ok(Box::new(SlowSole(taking.await?, slow)) as Box<dyn SoleSink>) })
    }
}

#[derive(Debug)]
struct SlowSole(Box<dyn SoleSink>, Slow);

impl SoleSink for SlowSole {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        Ok(Box::new(SlowTransaction(self.0.begin()?, self.1.clone())))
    }
}

#[derive(Debug)]
struct SlowTransaction(Box<dyn SinkTransaction>, Slow);

impl SinkTransaction for SlowTransaction {
    fn sink(&self) -> Arc<dyn Sink> {
        let inner = self.0.sink();
        Arc::new(Slow {
            inner,
            ..self.1.clone()
        })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        if self.1.at == At::Commit {
            self.1.halt.here();
        }
        self.0.commit()
    }
}

pub(crate) fn kafka(servers: &str) -> KafkaBinder {
    KafkaBinder::open(ClientOptions::from_url(&format!("kafka://{servers}")).unwrap()).unwrap()
}

/// All payloads of a topic in their order, for readers of everything or of what is committed.
pub(crate) async fn payloads(servers: &str, topic: &str, isolation: &str) -> Vec<String> {
    let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options.with_properties([("isolation.level", isolation)]).unwrap();
    let admin = KafkaAdmin::open(options).unwrap();
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let batch = admin.read(topic, 0, from, 1 << 20).await.unwrap();
        if batch.next() <= from {
            return all;
        }
        let payloads = batch.records().iter().map(|record| batch.payload(record));
        all.extend(payloads.map(|payload| String::from_utf8_lossy(payload.unwrap_or_default()).into_owned()));
        from = batch.next();
    }
}

/// A relay stands still with "1", "2", "3" on their way, and wakes when another one has sent "1" to "5". What is in the topic then:
/// for readers of everything, and of what is committed.
async fn woken(servers: &str, at: At, fence: bool) -> [Vec<String>; 2] {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let (topic, heirs) = (brokers::unique("fence"), kafka(servers));
    heirs
        .prepare(DestinationSpec::new(topic.as_str(), 1))
        .await
        .unwrap();
    let outbox = Outbox::to_channels(&store, [topic.as_str()]);
    let write = async |number: u32| {
        let mut tx = store.begin().await.unwrap();
        let message = Message::new(number.to_string()).with_key("ada");
        outbox.send(&mut tx, topic.as_str(), message).await.unwrap();
        tx.commit().await.unwrap();
    };
    for number in 1..=3 {
        write(number).await;
    }
    let halt = Arc::new(Halt::default());
    let (url, halts, address) = (home.url.clone(), halt.clone(), servers.to_owned());
    let (told, asked) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let (store, kafka) = (SqlStore::<Sqlite>::open(&url).await.unwrap(), kafka(&address));
            let (inner, halt) = (kafka.sink(), halts);
            let slow = Arc::new(Slow { inner, at, halt });
            let relay = Relay::new(&store, slow, quick().lease(SHORT_LEASE).fence(fence));
            told.send(relay.status()).unwrap();
            relay.run(async move { drop(stopped.await) }).await;
            kafka.close().await.unwrap();
        });
    });
    let its_status = asked.await.unwrap();
    eventually("it stands still", || halt.reached.load(Ordering::Acquire)).await;
    let heir = Running::start(&store, heirs.sink(), quick().fence(fence));
    eventually("the other one sends", || heir.status.sent() == 3).await;
    write(4).await;
    write(5).await;
    eventually("the other one goes on", || heir.status.sent() == 5).await;
    halt.over.store(true, Ordering::Release);
    eventually("it knows that it has lost", || !its_status.leads()).await;
    drop(stop);
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
    heir.stop().await;
    heirs.close().await.unwrap();
    [
        payloads(servers, &topic, "read_uncommitted").await,
        payloads(servers, &topic, "read_committed").await,
    ]
}

#[tokio::test]
async fn a_relay_that_wakes_after_its_lease_brings_nothing_to_kafka() {
    let test = "a_relay_that_wakes_after_its_lease_brings_nothing_to_kafka";
    let Some(servers) = brokers::kafka_or_skip(test) else {
        return;
    };
    let (once, twice) = (
        ["1", "2", "3", "4", "5"],
        ["1", "2", "3", "1", "2", "3", "4", "5"],
    );
    let [all, committed] = woken(servers, At::Publish, true).await;
    assert_eq!(
        (all, committed),
        (once.map(String::from).to_vec(), once.map(String::from).to_vec())
    );
    // What was open is seen by those only who want to see such things, and nothing is out of turn.
    let [all, committed] = woken(servers, At::Commit, true).await;
    assert_eq!(
        (all, committed),
        (twice.map(String::from).to_vec(), once.map(String::from).to_vec())
    );
    // What would be without a fence.
    let [all, _] = woken(servers, At::Publish, false).await;
    assert_eq!(all, ["1", "2", "3", "4", "5", "1", "2", "3"]);
}
