//! Relays that send as the only one: on a real Kafka, one that stands still beyond its lease and wakes; and before a broker of
//! the test's own, what fails and what is given up.

use crate::fake::{Fake, Running, SHORT_LEASE, away, eventually, quick, send, send_to, taken, text, waiting};
use crate::support::{postgres, sqlite};
use sqlx::{Postgres, Sqlite};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::kafka::{ClientOptions, KafkaAdmin, KafkaBinder};
use tidings_core::{
    Binder, BoxFuture, DestinationSpec, Message, Outgoing, PublishError, Receipt, Sink, SinkTransaction,
    SoleSink,
};
use tidings_sql::{Outbox, Reading, Relay, ReplicationOptions, ReplicationRelay, SqlStore};
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

fn kafka(servers: &str) -> KafkaBinder {
    KafkaBinder::open(ClientOptions::from_url(&format!("kafka://{servers}")).unwrap()).unwrap()
}

/// All payloads of a topic in their order, for readers of everything or of what is committed.
async fn payloads(servers: &str, topic: &str, isolation: &str) -> Vec<String> {
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

type OnCommit = dyn Fn(&[Outgoing]) -> Result<(), PublishError> + Send + Sync;
type OnTake = dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync;

/// A broker that tells publishers apart. What is in a transaction is [given](Fake::given) with the commit.
#[derive(Clone)]
struct Telling {
    fake: Arc<Fake>,
    takes: Arc<AtomicU64>,
    given_up: Arc<AtomicU64>,
    mood: Arc<dyn Fn(&Outgoing) -> Receipt + Send + Sync>,
    on_take: Arc<OnTake>,
    /// What a commit of these is answered with.
    on_commit: Arc<OnCommit>,
}

impl Telling {
    fn new(mood: impl Fn(&Outgoing) -> Receipt + Send + Sync + 'static) -> Self {
        Self {
            fake: Fake::new(),
            takes: Arc::default(),
            given_up: Arc::default(),
            mood: Arc::new(mood),
            on_take: Arc::new(|_| Box::pin(std::future::ready(()))),
            on_commit: Arc::new(|_| Ok(())),
        }
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

impl Sink for Telling {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        panic!("outside of a transaction: {outgoing:?}");
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.fake.flush()
    }

    fn can_be_sole(&self) -> bool {
        true
    }

    fn sole(&self, _name: &str) -> BoxFuture<'static, Result<Box<dyn SoleSink>, PublishError>> {
        let (this, take) = (self.clone(), self.takes.fetch_add(1, Ordering::AcqRel) + 1);
        Box::pin(async move {
            (this.on_take)(take).await;
            Ok(Box::new(this) as Box<dyn SoleSink>)
        })
    }
}

impl SoleSink for Telling {
    fn begin(&mut self) -> Result<Box<dyn SinkTransaction>, PublishError> {
        Ok(Box::new(Open {
            of: self.clone(),
            within: Arc::default(),
            committed: false,
        }))
    }
}

#[derive(Debug)]
struct Open {
    of: Telling,
    within: Arc<Within>,
    committed: bool,
}

/// What was taken into a transaction, and the mood.
#[derive(Debug, Default)]
struct Within(Mutex<Vec<Outgoing>>, Mutex<Option<Telling>>);

impl Sink for Within {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let receipt = self.1.lock().unwrap().as_ref().map(|of| (of.mood)(&outgoing));
        self.0.lock().unwrap().push(outgoing);
        receipt.unwrap()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl SinkTransaction for Open {
    fn sink(&self) -> Arc<dyn Sink> {
        *self.within.1.lock().unwrap() = Some(self.of.clone());
        self.within.clone()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), PublishError>> {
        let within = std::mem::take(&mut *self.within.0.lock().unwrap());
        if let Err(error) = (self.of.on_commit)(&within) {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.committed = true;
        for outgoing in within {
            drop(self.of.fake.publish(outgoing));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.committed {
            self.of.given_up.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[tokio::test]
async fn a_destination_that_takes_nothing_holds_up_no_other_and_arrives_later() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["letters", "orders"]);
    for channel in ["letters", "orders", "letters", "orders"] {
        send_to(&outbox, channel).await;
    }
    let is_away = Arc::new(AtomicBool::new(true));
    let stuck = is_away.clone();
    let broker = Telling::new(move |outgoing| match &*outgoing.destination {
        "letters" if stuck.load(Ordering::Acquire) => away(outgoing),
        _ => taken(outgoing),
    });
    let fake = broker.fake.clone();
    let options = quick().longest_backoff(Duration::from_millis(100));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    // They are in one batch with the letters, and never in trouble themselves.
    eventually("orders are sent", || {
        let problem = relay.status.problem().unwrap_or_default();
        assert!(!problem.contains("orders"), "{problem}");
        relay.status.sent() == 2
    })
    .await;
    let channels = || -> Vec<String> {
        let given = fake.given();
        given.iter().map(|one| one.destination.to_string()).collect()
    };
    assert_eq!(channels(), ["orders"; 2]);
    is_away.store(false, Ordering::Release);
    eventually("letters are sent", || relay.status.sent() == 4).await;
    assert_eq!(channels(), ["orders", "orders", "letters", "letters"]);
    // As long as nothing fails the right is taken once.
    let before = broker.takes.load(Ordering::Acquire);
    for _ in 0..3 {
        send_to(&outbox, "orders").await;
    }
    eventually("they are sent", || relay.status.sent() == 7).await;
    assert_eq!(broker.takes.load(Ordering::Acquire), before);
    relay.stop().await;
}

/// Kafka gives up a transaction with a message that its brokers refuse.
#[tokio::test]
async fn a_refused_message_is_parked_alone_though_the_whole_transaction_fails_with_it() {
    let too_large = || PublishError::TooLarge {
        size: 2,
        limit: 1,
        destination: "orders".into(),
    };
    let away = || PublishError::Unavailable {
        destination: "orders".into(),
        reason: "given up".into(),
    };
    let errors: [fn() -> PublishError; 2] = [too_large, away];
    for of_commit in errors {
        let home = sqlite();
        let store = home.open::<Sqlite>().await;
        let outbox = Outbox::to_channels(&store, ["orders"]);
        let is_bad = |outgoing: &Outgoing| text(&outgoing.message) == "bad";
        let broker = Telling {
            on_commit: Arc::new(move |all| match all.iter().any(is_bad) {
                true => Err(of_commit()),
                false => Ok(()),
            }),
            ..Telling::new(move |outgoing| match is_bad(outgoing) {
                true => Receipt::failed(too_large()),
                false => taken(outgoing),
            })
        };
        let mut tx = store.begin().await.unwrap();
        for (key, payload) in [("ada", "1"), ("ada", "bad"), ("bob", "2"), ("ada", "3")] {
            let message = Message::new(payload).with_key(key);
            outbox.send(&mut tx, "orders", message).await.unwrap();
        }
        tx.commit().await.unwrap();
        let relay = Running::start(&store, Arc::new(broker.clone()), quick());
        eventually("the others are sent", || relay.status.sent() == 3).await;
        assert_eq!(broker.fake.payloads(), ["1", "2", "3"]);
        assert_eq!(relay.status.parked(), 1);
        assert_eq!(relay.status.failures(), 0);
        relay.stop().await;
    }
}

#[tokio::test]
async fn who_has_taken_the_right_and_lost_the_lease_meanwhile_sends_nothing() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    send_to(&outbox, "orders").await;
    // Somebody else gets the lease while the right is taken for the first time, and gives it back a while later.
    let thief = store.clone();
    let broker = Telling {
        on_take: Arc::new(move |take| {
            let thief = thief.clone();
            Box::pin(async move {
                if take == 1 {
                    let mut tx = thief.begin().await.unwrap();
                    let steal = "UPDATE tidings_locks SET token = token + 1";
                    sqlx::query(steal).execute(&mut *tx).await.unwrap();
                    tx.commit().await.unwrap();
                }
            })
        }),
        ..Telling::new(taken)
    };
    let relay = Running::start(&store, Arc::new(broker.clone()), quick().lease(SHORT_LEASE));
    eventually("it does not send", || relay.status.failures() > 0).await;
    assert!(broker.fake.given().is_empty());
    // The other one's lease is over, and it has the lease again.
    eventually("it sends", || relay.status.sent() == 1).await;
    assert_eq!(broker.fake.given().len(), 1);
    assert!(broker.takes.load(Ordering::Acquire) > 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_transaction_that_is_not_answered_is_given_up_and_sent_again() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let silent = Arc::new(AtomicBool::new(true));
    let says_nothing = silent.clone();
    let broker = Telling::new(move |outgoing| match says_nothing.load(Ordering::Acquire) {
        true => Receipt::boxed(std::future::pending()),
        false => taken(outgoing),
    });
    let options = quick()
        .publish_timeout(Duration::from_millis(50))
        .longest_backoff(Duration::from_millis(100));
    let relay = Running::start(&store, Arc::new(broker.clone()), options);
    send_to(&outbox, "orders").await;
    eventually("it is given up", || broker.given_up.load(Ordering::Acquire) >= 2).await;
    assert_eq!(waiting(&outbox).await, 1);
    silent.store(false, Ordering::Release);
    eventually("it is sent", || relay.status.sent() == 1).await;
    assert_eq!(broker.fake.given().len(), 1);
    relay.stop().await;
}

#[tokio::test]
async fn what_is_read_by_replication_goes_one_transaction_after_the_other_and_never_past_one_that_failed() {
    let test =
        "what_is_read_by_replication_goes_one_transaction_after_the_other_and_never_past_one_that_failed";
    let Some(home) = postgres(test) else { return };
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    // Answers take a while, so that more is read meanwhile; the fortieth message fails once.
    let (given, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let broker = Telling::new(move |outgoing| {
        let number = given.fetch_add(1, Ordering::AcqRel);
        if number >= 40 && !failed.swap(true, Ordering::AcqRel) {
            return away(outgoing);
        }
        let outgoing = outgoing.clone();
        Receipt::boxed(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            taken(&outgoing).await
        })
    });
    let options = quick().longest_backoff(Duration::from_millis(100));
    let relay = ReplicationRelay::new(
        &store,
        Arc::new(broker.clone()),
        options,
        ReplicationOptions::default(),
    );
    let (relay, status) = Running::replicating(relay.unwrap());
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    for number in 0..100 {
        send(&outbox, "ada", &number.to_string()).await;
    }
    eventually("all are sent", || relay.status.sent() >= 100).await;
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(broker.fake.payloads(), numbers);
    assert_eq!(
        broker.takes.load(Ordering::Acquire),
        2,
        "anew after the one that failed"
    );
    relay.stop().await;
}
