//! Relays: one of many, deaths, pauses, channels that are stuck.

use crate::fake::{Fake, Running, SHORT_LEASE, away, eventually, quick, send, send_to, taken, text, waiting};
use crate::support::{Home, TestDb, everywhere};
use sqlx::Sqlite;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::{Message, PublishError, Receipt};
use tidings_sql::{Outbox, OutboxError, Relay, RelayOptions, SqlStore};
use tokio::sync::oneshot;

everywhere! {
    one_of_two_relays_sends_and_the_other_takes_over
    a_relay_that_dies_before_it_takes_out_is_followed_by_one_that_sends_the_same_ids_again
    a_relay_that_wakes_after_its_lease_takes_nothing_out
    a_channel_that_is_stuck_keeps_its_order_and_stops_no_other
    a_channel_that_is_not_answered_keeps_its_order_and_holds_up_no_other
    a_channel_of_which_something_is_taken_begins_to_wait_anew
    large_messages_come_one_by_one
    a_call_wakes_the_relay_before_it_looks
}

async fn one_of_two_relays_sends_and_the_other_takes_over<DB: TestDb>(home: Home) {
    let (store, other) = (home.open::<DB>().await, home.open::<DB>().await);
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let fake = Fake::new();
    let relays = [&store, &other].map(|store| Running::start(store, fake.clone(), quick()));
    for number in 0..100 {
        send(&outbox, "key", &number.to_string()).await;
    }
    let [one, two] = relays;
    eventually("all are sent", || one.status.sent() + two.status.sent() == 100).await;
    let wanted: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(fake.payloads(), wanted);
    assert!(one.status.leads() ^ two.status.leads());
    let (leader, heir) = if one.status.leads() {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!(heir.status.sent(), 0);
    leader.stop().await;
    send(&outbox, "key", "100").await;
    eventually("the other one sends", || heir.status.sent() == 1).await;
    assert_eq!(fake.payloads().len(), 101);
    heir.stop().await;
}

async fn a_relay_that_dies_before_it_takes_out_is_followed_by_one_that_sends_the_same_ids_again<
    DB: TestDb,
>(
    home: Home,
) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    for payload in ["one", "two"] {
        send(&outbox, "key", payload).await;
    }
    // It has the messages, and its answer is on the way for ever.
    let silent = Fake::with(|_| Receipt::boxed(std::future::pending()));
    let dying = Running::start(&store, silent.clone(), quick().lease(SHORT_LEASE));
    eventually("the broker has them", || silent.given().len() == 2).await;
    dying.task.abort();
    assert_eq!(waiting(&outbox).await, 2);
    let fake = Fake::new();
    let heir = Running::start(&store, fake.clone(), quick());
    eventually("they are sent again", || heir.status.sent() == 2).await;
    assert_eq!(fake.payloads(), ["one", "two"]);
    assert_eq!(fake.ids(), silent.ids());
    heir.stop().await;
    assert_eq!(waiting(&outbox).await, 0);
}

async fn a_relay_that_wakes_after_its_lease_takes_nothing_out<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    send(&outbox, "key", "one").await;
    let paused = Arc::new(AtomicBool::new(true));
    let stands = paused.clone();
    // A whole thread stands still, as a process does that was stopped: nothing is renewed.
    let sleeper = Fake::with(move |outgoing| {
        while stands.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        taken(outgoing)
    });
    let (url, sink) = (home.url.clone(), sleeper.clone());
    let (told, asked) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = SqlStore::<DB>::open(&url).await.unwrap();
            let relay = Relay::new(&store, sink, quick().lease(SHORT_LEASE));
            told.send(relay.status()).unwrap();
            relay.run(async move { drop(stopped.await) }).await;
        });
    });
    let its_status = asked.await.unwrap();
    eventually("it stands still", || sleeper.given().len() == 1).await;
    let broker = Fake::with(away);
    let heir = Running::start(&store, broker.clone(), quick());
    eventually("the other one leads", || {
        heir.status.leads() && !broker.given().is_empty()
    })
    .await;
    paused.store(false, Ordering::Release);
    eventually("it knows that it has lost", || !its_status.leads()).await;
    eventually("it says so", || its_status.failures() > 0).await;
    assert_eq!((its_status.sent(), waiting(&outbox).await), (0, 1));
    drop(stop);
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
    heir.stop().await;
}

async fn a_channel_that_is_stuck_keeps_its_order_and_stops_no_other<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders", "letters"]);
    let is_away = Arc::new(AtomicBool::new(true));
    let stuck = is_away.clone();
    let fake = Fake::with(move |outgoing| match &*outgoing.destination {
        "orders" if stuck.load(Ordering::Acquire) => away(outgoing),
        _ => taken(outgoing),
    });
    // A batch is full of what is stuck.
    let options = quick().batch(5).longest_backoff(Duration::from_millis(200));
    let relay = Running::start(&store, fake.clone(), options);
    for number in 0..10 {
        send(&outbox, "key", &number.to_string()).await;
    }
    let mut tx = store.begin().await.unwrap();
    outbox
        .send(&mut tx, "letters", Message::new("letter"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    eventually("the letter is sent", || relay.status.sent() == 1).await;
    eventually("it says why", || {
        relay.status.problem().is_some_and(|why| why.contains("orders"))
    })
    .await;
    is_away.store(false, Ordering::Release);
    let before = fake.given().len();
    eventually("all are sent", || relay.status.sent() == 11).await;
    let payloads = fake.payloads().split_off(before);
    let mut rest: Vec<&str> = payloads.iter().map(String::as_str).collect();
    // What was under way while it came back may have been refused once more.
    rest.drain(..rest.iter().rposition(|payload| *payload == "0").unwrap());
    assert_eq!(rest, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    eventually("nothing is in its way", || relay.status.problem().is_none()).await;
    relay.stop().await;
}

async fn a_channel_that_is_not_answered_keeps_its_order_and_holds_up_no_other<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders", "letters"]);
    // A partition without a leader: nobody says anything, for a while.
    let (says, said) = tokio::sync::watch::channel(false);
    let fake = Fake::with(move |outgoing| match &*outgoing.destination {
        "orders" => {
            let (mut said, outgoing) = (said.clone(), outgoing.clone());
            Receipt::boxed(async move {
                said.wait_for(|said| *said).await.unwrap();
                taken(&outgoing).await
            })
        }
        _ => taken(outgoing),
    });
    let an_hour = Duration::from_secs(3600);
    let relay = Running::start(&store, fake.clone(), quick().batch(4).publish_timeout(an_hour));
    for number in 0..6 {
        send(&outbox, "key", &number.to_string()).await;
        send_to(&outbox, "letters").await;
    }
    eventually("the letters are sent", || relay.status.sent() == 6).await;
    for _ in 0..6 {
        send_to(&outbox, "letters").await;
    }
    eventually("so are others", || relay.status.sent() == 12).await;
    says.send(true).unwrap();
    eventually("all are sent", || relay.status.sent() == 18).await;
    let orders = fake.given();
    let orders = orders.iter().filter(|one| &*one.destination == "orders");
    let orders: Vec<String> = orders.map(|one| text(&one.message)).collect();
    assert_eq!(orders, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(relay.status.failures(), 0);
    relay.stop().await;
}

async fn a_channel_of_which_something_is_taken_begins_to_wait_anew<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    // One more is taken each time.
    let times: Mutex<HashMap<String, u64>> = Mutex::default();
    let fake = Fake::with(move |outgoing| {
        let payload = text(&outgoing.message);
        let number: u64 = payload.parse().unwrap();
        let mut times = times.lock().unwrap();
        let times = times.entry(payload).or_default();
        *times += 1;
        match *times > number {
            true => taken(outgoing),
            false => away(outgoing),
        }
    });
    for number in 0..20 {
        send(&outbox, "key", &number.to_string()).await;
    }
    // If it waited for longer each time, it would wait for days.
    let relay = Running::start(&store, fake, quick().longest_backoff(Duration::from_secs(3600)));
    eventually("all are sent", || relay.status.sent() == 20).await;
    relay.stop().await;
}

async fn large_messages_come_one_by_one<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    let outbox = Outbox::to_channels(&store, ["orders"]);
    let refused = outbox.clone().max_bytes(10);
    let mut tx = store.begin().await.unwrap();
    let error = refused
        .send(&mut tx, "orders", Message::new("x".repeat(100)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, OutboxError::Publish(PublishError::TooLarge { .. })),
        "{error}"
    );
    drop(tx);
    for number in 0..3 {
        send(&outbox, "key", &format!("{number}{}", "x".repeat(1000))).await;
    }
    let fake = Fake::new();
    let relay = Running::start(&store, fake.clone(), quick().batch_bytes(1));
    eventually("all are sent", || relay.status.sent() == 3).await;
    let firsts: Vec<String> = fake
        .payloads()
        .iter()
        .map(|payload| payload[..1].to_owned())
        .collect();
    assert_eq!(firsts, ["0", "1", "2"]);
    relay.stop().await;
}

async fn a_call_wakes_the_relay_before_it_looks<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    // On PostgreSQL the one who writes is another process; SQLite has no way to call one.
    let writer = if DB::NAME == <Sqlite as sqlx::Database>::NAME {
        store.clone()
    } else {
        home.open::<DB>().await
    };
    let outbox = Outbox::to_channels(&writer, ["orders"]);
    let fake = Fake::new();
    let an_hour = Duration::from_secs(3600);
    let relay = Running::start(
        &store,
        fake.clone(),
        RelayOptions::default().lease(an_hour).poll_interval(an_hour),
    );
    for round in 1..=2 {
        // It has looked after 2.05 s for the last time, and would do so again after 4.1 s.
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let mut tx = writer.begin().await.unwrap();
        outbox
            .send(&mut tx, "orders", Message::new("7 teapots"))
            .await
            .unwrap();
        // The call is heard before the transaction is committed.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let written = std::time::Instant::now();
        tx.commit().await.unwrap();
        eventually("it is sent", || relay.status.sent() == round).await;
        assert!(
            written.elapsed() < Duration::from_millis(1500),
            "{:?}",
            written.elapsed()
        );
    }
    relay.stop().await;
}
