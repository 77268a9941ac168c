//! What is published in transactions, and what is sent of it.

use crate::fake::{Fake, Running, eventually, quick, send, taken, text};
use crate::support::{Home, TestDb, everywhere};
use sqlx::{Postgres, Sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Binder, DestinationSpec, Message, Outgoing, PublishError, Receipt, names};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};
use tidings_sql::{Outbox, OutboxError, ParkedKeys, Relay, SqlStore};
use tokio::sync::oneshot;

everywhere! {
    what_is_committed_is_sent_as_it_was
    what_is_not_committed_is_never_sent
    a_message_that_is_refused_for_good_is_parked_and_its_key_goes_on_or_waits
    a_row_that_holds_no_message_is_parked
}

async fn what_is_not_committed_is_never_sent<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let mut dropped = store.begin().await.unwrap();
    outbox
        .send(&mut dropped, "orders", Message::new("dropped"))
        .await
        .unwrap();
    drop(dropped);
    let mut tx = store.begin().await.unwrap();
    let mut undone = tx.savepoint().await.unwrap();
    outbox
        .send(&mut undone, "orders", Message::new("undone"))
        .await
        .unwrap();
    undone.rollback().await.unwrap();
    let refused = outbox
        .send(&mut tx, "nowhere", Message::new("lost"))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, OutboxError::Publish(PublishError::UnknownChannel { .. })),
        "{refused}"
    );
    let given_up = outbox.publishing(&mut tx, async |publisher| {
        publisher
            .send("orders", Message::new("given up"))
            .await
            .map_err(OutboxError::from)?;
        Err::<(), _>(OutboxError::from(PublishError::Closed))
    });
    given_up.await.unwrap_err();
    outbox
        .send(&mut tx, "orders", Message::new("kept"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let fake = Fake::new();
    let relay = Running::start(&store, fake.clone(), quick());
    eventually("one is sent", || relay.status.sent() == 1).await;
    send(&outbox, "key", "the last").await;
    eventually("another one is sent", || relay.status.sent() == 2).await;
    relay.stop().await;
    assert_eq!(fake.payloads(), ["kept", "the last"]);
}

async fn what_is_committed_is_sent_as_it_was<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders", "letters"]);
    send(&outbox, "o-1", "committed").await;
    let mut tx = store.begin().await.unwrap();
    let done = outbox.publishing(&mut tx, async |publisher| {
        // With the two below every size of a statement is used once.
        for number in 0..125 {
            drop(publisher.send("letters", Message::new(format!("letter {number}"))));
        }
        let special = publisher
            .to("orders")
            .partition(2)
            .key("k")
            .header("tenant", "acme");
        special
            .at(tidings_core::Timestamp::from_millis(7))
            .message(Message::new("special"))
            .await?;
        drop(publisher.send("orders", Message::tombstone("gone")));
        Ok::<_, OutboxError>(())
    });
    done.await.unwrap();
    tx.commit().await.unwrap();
    let backlog = outbox.backlog().await.unwrap();
    assert_eq!((backlog.messages, backlog.parked), (128, 0));
    assert!(backlog.age.unwrap() < Duration::from_secs(60));

    let fake = Fake::new();
    let relay = Running::start(&store, fake.clone(), quick());
    eventually("all are sent", || relay.status.sent() == 128).await;
    relay.stop().await;
    let payloads = fake.payloads();
    assert_eq!(payloads[0], "committed");
    let letters: Vec<_> = (0..125).map(|number| format!("letter {number}")).collect();
    assert_eq!(payloads[1..126], letters);
    let given = fake.given();
    let special = &given[126];
    assert_eq!(
        (text(&special.message).as_str(), special.partition),
        ("special", Some(2))
    );
    assert_eq!(special.due.unwrap().as_millis(), 7);
    assert_eq!(special.message.headers().get_str("tenant"), Some("acme"));
    assert!(
        special.message.timestamp().is_some() && special.message.headers().get(names::TRACEPARENT).is_some()
    );
    let tombstone = &given[127].message;
    assert_eq!(
        (tombstone.key().map(AsRef::as_ref), tombstone.payload()),
        (Some(&b"gone"[..]), None)
    );
    let mut ids = fake.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 128);
    assert_eq!(outbox.backlog().await.unwrap().age, None);
}

fn too_large(outgoing: &Outgoing) -> Receipt {
    Receipt::failed(PublishError::TooLarge {
        destination: outgoing.destination.clone(),
        size: 2,
        limit: 1,
    })
}

async fn a_message_that_is_refused_for_good_is_parked_and_its_key_goes_on_or_waits<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let is_heavy = Arc::new(AtomicBool::new(true));
    for (keys, sent_first) in [(ParkedKeys::GoOn, 3), (ParkedKeys::Wait, 1)] {
        is_heavy.store(true, Ordering::Release);
        let heavy = is_heavy.clone();
        let fake = Fake::with(move |outgoing| match text(&outgoing.message).as_str() {
            "heavy" if heavy.load(Ordering::Acquire) => too_large(outgoing),
            _ => taken(outgoing),
        });
        for (key, payload) in [("ada", "heavy"), ("ada", "behind"), ("bob", "light")] {
            send(&outbox, key, payload).await;
        }
        let relay = Running::start(&store, fake.clone(), quick().parked_keys(keys));
        eventually("one is parked", || relay.status.parked() == 1).await;
        send(
            &outbox,
            if keys == ParkedKeys::Wait { "ada" } else { "bob" },
            "later",
        )
        .await;
        eventually("what may go has gone", || relay.status.sent() == sent_first).await;
        let parked = outbox.parked(10).await.unwrap();
        assert_eq!(parked.len(), 1);
        assert!(parked[0].reason.contains("the limit is 1"), "{parked:?}");
        assert_eq!(text(parked[0].message.as_ref().unwrap()), "heavy");
        assert_eq!(outbox.backlog().await.unwrap().parked, 1);

        is_heavy.store(false, Ordering::Release);
        assert_eq!(outbox.retry_parked(&[parked[0].id]).await.unwrap(), 1);
        eventually("all are sent", || relay.status.sent() == 4).await;
        let of_ada: Vec<String> = fake
            .given()
            .iter()
            .filter(|given| given.message.key().is_some_and(|key| key == "ada"))
            .map(|given| text(&given.message))
            .collect();
        match keys {
            ParkedKeys::Wait => assert_eq!(of_ada[of_ada.len() - 3..], ["heavy", "behind", "later"]),
            _ => assert_eq!(of_ada, ["heavy", "behind", "heavy"]),
        }
        relay.stop().await;
    }
}

async fn a_row_that_holds_no_message_is_parked<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let mut tx = store.begin().await.unwrap();
    let table = crate::support::table::<DB>("outbox");
    let torn = DB::BYTES_OF_ONE;
    DB::run(
        &mut tx,
        &format!("INSERT INTO {table} (channel, headers, written_at) VALUES ('orders', {torn}, 0)"),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let relay = Running::start(&store, Fake::new(), quick());
    eventually("it is parked", || relay.status.parked() == 1).await;
    relay.stop().await;
    let parked = outbox.parked(10).await.unwrap();
    assert!(
        parked[0].message.is_none() && parked[0].reason.contains("malformed"),
        "{parked:?}"
    );
    assert_eq!(outbox.discard_parked(&[parked[0].id]).await.unwrap(), 1);
    assert_eq!(outbox.backlog().await.unwrap().parked, 0);
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_sent_and_sqlx_transactions_will_do() {
    let Some(home) =
        crate::support::postgres("a_transaction_that_commits_late_is_sent_and_sqlx_transactions_will_do")
    else {
        return;
    };
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let fake = Fake::new();
    let relay = Running::start(&store, fake.clone(), quick());
    let mut late = store.pool().begin().await.unwrap();
    outbox
        .send(&mut late, "orders", Message::new("first id").with_key("key"))
        .await
        .unwrap();
    for number in 1..=20 {
        send(&outbox, "key", &number.to_string()).await;
    }
    eventually("the later ones are sent", || relay.status.sent() == 20).await;
    late.commit().await.unwrap();
    eventually("the late one is sent", || relay.status.sent() == 21).await;
    assert_eq!(fake.payloads().last().unwrap(), "first id");
    relay.stop().await;
}

#[tokio::test]
async fn what_is_sent_reaches_a_real_broker_by_the_routes_of_an_app() {
    let broker = EmbeddedBroker::open(EmbeddedOptions::from_url("memory:").unwrap()).unwrap();
    broker
        .prepare(DestinationSpec::new("order-events", 3))
        .await
        .unwrap();
    let mut routes = tidings_core::Routes::default();
    let route = tidings_core::Route {
        sink: broker.sink(),
        destination: "order-events".into(),
    };
    routes.insert("orders", route);
    let routes = Arc::new(routes);
    let publisher = tidings_core::Publisher::new(routes.clone(), tidings_core::Clock::System);
    let store = SqlStore::<Sqlite>::open("sqlite::memory:").await.unwrap();
    let outbox = Outbox::new(&store, &publisher);
    send(&outbox, "o-1", "tea").await;
    let relay = Relay::by_routes(&store, routes, quick());
    let status = relay.status();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(relay.run(async move { drop(stopped.await) }));
    eventually("it is sent", || status.sent() == 1).await;
    drop(stop);
    task.await.unwrap();
    let partition = tidings_core::partition_for_key(b"o-1", 3);
    let batch = broker.read("order-events", partition, 0, 1 << 20).await.unwrap();
    assert_eq!(batch.payload(&batch.records()[0]), Some(b"tea".as_slice()));
    broker.close().await.unwrap();
}
