//! Rows of the outbox that are sent as they are committed.

use crate::fake::{Fake, Running, eventually, quick, send, taken, waiting};
use crate::support::{Home, TestDb, postgres};
use sqlx::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Message, PublishError, Receipt, Sink};
use tidings_sql::{
    BehindLimit, Outbox, ParkedKeys, Reading, RelayOptions, ReplicationError, ReplicationOptions,
    ReplicationRelay, ReplicationStatus, SqlStore,
};

async fn with_outbox(test: &str) -> Option<(Home, SqlStore<Postgres>, Outbox<Postgres>)> {
    let home = postgres(test)?;
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders", "letters"]);
    Some((home, store, outbox))
}

/// It looks so seldom that what is sent soon was not found by looking.
fn seldom() -> RelayOptions {
    quick().poll_interval(Duration::from_secs(30))
}

fn often() -> ReplicationOptions {
    ReplicationOptions::default()
        .lag_interval(Duration::from_millis(50))
        .status_interval(Duration::from_millis(50))
}

fn start(
    store: &SqlStore<Postgres>,
    sink: Arc<dyn Sink>,
    relay: RelayOptions,
    options: ReplicationOptions,
) -> (Running, Arc<ReplicationStatus>) {
    Running::replicating(ReplicationRelay::new(store, sink, relay, options).unwrap())
}

async fn is_replicating(status: &ReplicationStatus) {
    eventually("it replicates", || status.reading() == Reading::Replication).await;
}

async fn slots(store: &SqlStore<Postgres>) -> i64 {
    let mut connection = store.pool().acquire().await.unwrap();
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    Postgres::number(&mut connection, slots).await
}

/// How far the slot of this database is.
async fn confirmed(store: &SqlStore<Postgres>) -> i64 {
    let mut connection = store.pool().acquire().await.unwrap();
    let confirmed = "SELECT coalesce(max(confirmed_flush_lsn - '0/0'), 0)::bigint FROM pg_replication_slots WHERE database = \
                     current_database()";
    Postgres::number(&mut connection, confirmed).await
}

#[tokio::test]
async fn messages_come_as_they_were_in_the_order_of_the_commits_and_those_rolled_back_never() {
    let test = "messages_come_as_they_were_in_the_order_of_the_commits_and_those_rolled_back_never";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    send(&outbox, "key", "before there was a slot").await;
    let fake = Fake::new();
    let (relay, status) = start(&store, fake.clone(), seldom(), often());
    is_replicating(&status).await;
    // Nobody can look at the table, so what comes has come by replication.
    let mut late = store.begin().await.unwrap();
    let message = |text: &'static str| Message::new(text).with_key("key");
    outbox
        .send(&mut late, "orders", message("written first"))
        .await
        .unwrap();
    let mut dropped = store.begin().await.unwrap();
    outbox
        .send(&mut dropped, "orders", message("dropped"))
        .await
        .unwrap();
    dropped.rollback().await.unwrap();
    let mut early = store.begin().await.unwrap();
    let mut undone = early.savepoint().await.unwrap();
    outbox
        .send(&mut undone, "orders", message("undone"))
        .await
        .unwrap();
    undone.rollback().await.unwrap();
    let done = outbox.publishing(&mut early, async |publisher| {
        let special = publisher
            .to("letters")
            .partition(2)
            .key("k")
            .header("tenant", "acme");
        let due = tidings_core::Timestamp::from_millis(7);
        special.at(due).message(Message::new("special")).await?;
        drop(publisher.send("orders", Message::tombstone("gone")));
        Ok::<_, tidings_sql::OutboxError>(())
    });
    done.await.unwrap();
    early.commit().await.unwrap();
    late.commit().await.unwrap();
    for number in 0..50 {
        send(&outbox, "key", &number.to_string()).await;
    }
    eventually("all are sent", || relay.status.sent() == 54).await;
    relay.stop().await;
    let payloads = fake.payloads();
    assert_eq!(
        payloads[..4],
        ["before there was a slot", "special", "", "written first"]
    );
    let numbers: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(payloads[4..], numbers);
    let special = &fake.given()[1];
    assert_eq!((&*special.destination, special.partition), ("letters", Some(2)));
    assert_eq!(special.due.unwrap().as_millis(), 7);
    assert_eq!(special.message.headers().get_str("tenant"), Some("acme"));
    assert_eq!(special.message.key().map(AsRef::as_ref), Some(&b"k"[..]));
    assert!(special.message.timestamp().is_some() && fake.given()[2].message.payload().is_none());
    assert_eq!(waiting(&outbox).await, 0);
    // What was confirmed is not sent again, and what the table and the slot both have is sent once.
    send(&outbox, "key", "while nobody ran").await;
    let again = Fake::new();
    let (relay, status) = start(&store, again.clone(), seldom(), often());
    is_replicating(&status).await;
    send(&outbox, "key", "the next").await;
    eventually("the next is sent", || relay.status.sent() == 2).await;
    relay.stop().await;
    assert_eq!(again.payloads(), ["while nobody ran", "the next"]);
}

#[tokio::test]
async fn one_of_two_replicates_and_what_it_sent_without_an_answer_is_sent_by_the_other() {
    let test = "one_of_two_replicates_and_what_it_sent_without_an_answer_is_sent_by_the_other";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    // What is longer than a digit is never answered.
    let silent = Fake::with(|outgoing| match outgoing.message.payload() {
        Some(payload) if payload.len() > 1 => Receipt::boxed(std::future::pending()),
        _ => taken(outgoing),
    });
    let (dying, status) = start(&store, silent.clone(), seldom(), often());
    is_replicating(&status).await;
    let fake = Fake::new();
    let (heir, of_heir) = start(&store, fake.clone(), seldom(), often());
    for number in 8..13 {
        send(&outbox, "key", &number.to_string()).await;
        let (given, sent) = (number - 7, 2.min(number - 7));
        eventually("the broker has it", || silent.given().len() == given).await;
        eventually("it is taken out", || dying.status.sent() == sent as u64).await;
    }
    assert_eq!((of_heir.reading(), heir.status.sent()), (Reading::Waiting, 0));
    dying.task.abort();
    eventually("the other one sends", || heir.status.sent() == 3).await;
    is_replicating(&of_heir).await;
    send(&outbox, "key", "13").await;
    eventually("and goes on", || heir.status.sent() == 4).await;
    assert_eq!(fake.payloads(), ["10", "11", "12", "13"]);
    assert_eq!(fake.ids()[..3], silent.ids()[2..]);
    heir.stop().await;
}

/// A lease is renewed while rows are taken out by transactions that check it.
#[tokio::test]
async fn a_relay_that_takes_out_slowly_keeps_its_lease() {
    let Some((_home, store, outbox)) = with_outbox("a_relay_that_takes_out_slowly_keeps_its_lease").await
    else {
        return;
    };
    let slowly = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.8); RETURN NULL; END';
                  CREATE TRIGGER slowly AFTER DELETE ON tidings.outbox FOR EACH STATEMENT EXECUTE FUNCTION slowly()";
    let mut connection = store.pool().acquire().await.unwrap();
    Postgres::run(&mut connection, slowly).await.unwrap();
    let fake = Fake::new();
    let options = seldom().lease(Duration::from_millis(1_500));
    let (relay, status) = start(&store, fake.clone(), options, often());
    is_replicating(&status).await;
    for number in 1..=3 {
        send(&outbox, "key", "slowly").await;
        eventually("it is sent", || relay.status.sent() == number).await;
    }
    assert_eq!((relay.status.failures(), status.obstacle()), (0, None));
    assert_eq!(fake.given().len(), 3);
    relay.stop().await;
}

#[tokio::test]
async fn a_slot_that_is_too_far_behind_is_dropped_and_no_message_is_missing() {
    let test = "a_slot_that_is_too_far_behind_is_dropped_and_no_message_is_missing";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    // A broker that takes its time.
    let slow = Fake::with(move |outgoing| {
        let outgoing = outgoing.clone();
        Receipt::boxed(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            taken(&outgoing).await
        })
    });
    let options = often()
        .lag_limit(200_000)
        .behind_limit(BehindLimit::Poll)
        .max_in_flight(10);
    let (relay, status) = start(&store, slow.clone(), quick(), options);
    is_replicating(&status).await;
    for number in 0..300 {
        send(&outbox, "key", &format!("{number:01000}")).await;
    }
    eventually("it polls", || status.reading() == Reading::Polling).await;
    let obstacle = status.obstacle().unwrap();
    assert!(obstacle.contains("too far behind"), "{obstacle}");
    eventually("all are sent", || relay.status.sent() == 300).await;
    assert_eq!((status.reading(), slots(&store).await), (Reading::Polling, 0));
    let wanted: Vec<String> = (0..300).map(|number| format!("{number:01000}")).collect();
    assert_eq!(slow.payloads(), wanted);
    relay.stop().await;
}

#[tokio::test]
async fn what_a_broker_does_not_take_waits_in_the_table_and_what_it_refuses_is_parked() {
    let test = "what_a_broker_does_not_take_waits_in_the_table_and_what_it_refuses_is_parked";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let is_away = Arc::new(AtomicBool::new(false));
    let away = is_away.clone();
    let fake = Fake::with(move |outgoing| {
        let payload = outgoing.message.payload().map(AsRef::as_ref);
        match payload {
            Some(b"too large") => Receipt::failed(PublishError::TooLarge {
                destination: outgoing.destination.clone(),
                size: 2,
                limit: 1,
            }),
            Some(b"not now") if away.load(Ordering::Acquire) => crate::fake::away(outgoing),
            _ => taken(outgoing),
        }
    });
    let options = quick()
        .parked_keys(ParkedKeys::Wait)
        .longest_backoff(Duration::from_millis(200));
    let (relay, status) = start(&store, fake.clone(), options, often());
    is_replicating(&status).await;
    is_away.store(true, Ordering::Release);
    for payload in ["one", "not now", "two"] {
        send(&outbox, "key", payload).await;
    }
    eventually("it polls", || status.reading() == Reading::Polling).await;
    let problem = status.obstacle().unwrap();
    assert!(problem.contains("orders"), "{problem}");
    assert_eq!((relay.status.sent(), waiting(&outbox).await), (1, 2));
    // The server need not keep its log for as long as the broker is away.
    let before = confirmed(&store).await;
    send(&outbox, "key", "three").await;
    let moved = async {
        while confirmed(&store).await <= before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), moved)
        .await
        .expect("the slot moves on while the table is polled");
    is_away.store(false, Ordering::Release);
    is_replicating(&status).await;
    eventually("the others follow", || relay.status.sent() == 4).await;

    // One commit, so that they are sent together: the one behind was taken, and is taken back.
    let mut tx = store.begin().await.unwrap();
    for (key, payload) in [("key", "too large"), ("key", "behind"), ("other", "beside")] {
        let message = Message::new(payload).with_key(key);
        outbox.send(&mut tx, "orders", message).await.unwrap();
    }
    Postgres::run(
        &mut tx,
        r"INSERT INTO tidings.outbox (channel, headers, written_at) VALUES ('orders', '\xff', 0)",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    eventually("they are parked", || relay.status.parked() == 2).await;
    assert_eq!((relay.status.sent(), waiting(&outbox).await), (5, 1));
    let parked = outbox.parked(10).await.unwrap();
    assert!(parked[0].reason.contains("limit is 1") && parked[1].reason.contains("holds no message"));
    let ids: Vec<i64> = parked.iter().map(|parked| parked.id).collect();
    outbox.discard_parked(&ids).await.unwrap();
    eventually("its key goes on", || relay.status.sent() == 6).await;
    is_replicating(&status).await;
    assert_eq!(waiting(&outbox).await, 0);
    relay.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_behind_a_message_of_which_it_is_known_that_it_was_not_taken() {
    let test = "nothing_is_sent_behind_a_message_of_which_it_is_known_that_it_was_not_taken";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let is_away = AtomicBool::new(true);
    let fake = Fake::with(move |outgoing| match is_away.swap(false, Ordering::AcqRel) {
        true => crate::fake::away(outgoing),
        false => taken(outgoing),
    });
    // Each is a batch of its own, and they are committed together.
    let (relay, status) = start(&store, fake.clone(), seldom().batch(1), often());
    is_replicating(&status).await;
    let mut tx = store.begin().await.unwrap();
    for payload in ["one", "two", "three"] {
        let message = Message::new(payload).with_key("key");
        outbox.send(&mut tx, "orders", message).await.unwrap();
    }
    tx.commit().await.unwrap();
    eventually("all are sent", || relay.status.sent() == 3).await;
    assert_eq!(fake.payloads(), ["one", "one", "two", "three"]);
    relay.stop().await;
}

#[tokio::test]
async fn what_replication_lacks_is_said_with_its_cure_and_messages_are_sent_all_the_same() {
    let test = "what_replication_lacks_is_said_with_its_cure_and_messages_are_sent_all_the_same";
    let options = brokers::PostgresOptions::plain().setting("wal_level", "replica");
    let Some(server) = brokers::or_skip(test, brokers::Postgres::start(options)) else {
        return;
    };
    let home = Home::on(server.database("tidings").unwrap());
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let fake = Fake::new();
    let relay = ReplicationRelay::new(&store, fake.clone(), quick(), often()).unwrap();
    let lacks = relay.prepare().await.unwrap_err();
    assert!(matches!(lacks, ReplicationError::NotLogical { .. }), "{lacks}");
    let (relay, status) = Running::replicating(relay);
    send(&outbox, "key", "all the same").await;
    eventually("it is sent", || relay.status.sent() == 1).await;
    assert_eq!(status.reading(), Reading::Polling);
    let problem = status.obstacle().unwrap();
    assert!(problem.contains("wal_level = logical"), "{problem}");
    relay.stop().await;

    let bad = ReplicationOptions::default().slot("a\"b");
    let refused = ReplicationRelay::new(&store, fake, quick(), bad).unwrap_err();
    assert!(matches!(refused, ReplicationError::Name { .. }), "{refused}");
}

#[tokio::test]
async fn a_role_that_may_not_replicate_is_told_so() {
    let Some((_home, store, _)) = with_outbox("a_role_that_may_not_replicate_is_told_so").await else {
        return;
    };
    let mut connection = store.pool().acquire().await.unwrap();
    let role = format!("reader_{}", std::process::id());
    let make = format!("CREATE ROLE {role} LOGIN");
    Postgres::run(&mut connection, &make).await.unwrap();
    let connect = store.pool().connect_options().as_ref().clone().username(&role);
    let options = often().connect(connect);
    let relay = ReplicationRelay::new(&store, Fake::new(), quick(), options).unwrap();
    let refused = relay.prepare().await.unwrap_err().to_string();
    Postgres::run(&mut connection, &format!("DROP ROLE {role}"))
        .await
        .unwrap();
    assert!(refused.contains("REPLICATION"), "{refused}");
}
