//! What is read by replication, and brokers that say nothing, or late.

use crate::fake::{Fake, Running, away, eventually, quick, send, send_to, taken, text};
use crate::support::{Home, postgres};
use crate::telling::Telling;
use sqlx::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::{Message, OutboxRelay, Outgoing, PublishError, Receipt, Sink};
use tidings_sql::{
    Outbox, ParkedKeys, Reading, RelayOptions, ReplicationOptions, ReplicationRelay, SqlStore,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);

async fn with_outbox(test: &str) -> Option<(Home, SqlStore<Postgres>, Outbox<Postgres>)> {
    let home = postgres(test)?;
    let store = home.open::<Postgres>().await;
    let outbox = Outbox::to_channels(&store, ["orders", "letters"]);
    Some((home, store, outbox))
}

fn replicating(
    store: &SqlStore<Postgres>,
    sink: Arc<dyn Sink>,
    options: RelayOptions,
    room: usize,
) -> ReplicationRelay {
    let replication = ReplicationOptions::default()
        .lag_interval(Duration::from_millis(50))
        .max_in_flight(room);
    ReplicationRelay::new(store, sink, options, replication).unwrap()
}

/// Takes a message when it is told to.
fn when(mut says: watch::Receiver<bool>, outgoing: &Outgoing) -> Receipt {
    let outgoing = outgoing.clone();
    Receipt::boxed(async move {
        says.wait_for(|says| *says).await.unwrap();
        taken(&outgoing).await
    })
}

#[tokio::test]
async fn a_channel_that_is_not_answered_holds_up_no_other_by_replication() {
    let test = "a_channel_that_is_not_answered_holds_up_no_other_by_replication";
    for sole in [false, true] {
        let Some((_home, store, outbox)) = with_outbox(test).await else {
            return;
        };
        let (say, said) = watch::channel(false);
        let mood = move |outgoing: &Outgoing| match &*outgoing.destination {
            "letters" => when(said.clone(), outgoing),
            _ => taken(outgoing),
        };
        // One takes a few without answers; one is asked for a transaction after the other.
        let (fake, sink): (Arc<Fake>, Arc<dyn Sink>) = match sole {
            false => {
                let fake = Fake::with(mood);
                (fake.clone(), fake)
            }
            true => {
                let telling = Telling::new(mood);
                (telling.fake.clone(), Arc::new(telling))
            }
        };
        let options = quick().publish_timeout(HOUR);
        let (relay, status) = Running::replicating(replicating(&store, sink, options, 4));
        eventually("it replicates", || status.reading() == Reading::Replication).await;
        let mut tx = store.begin().await.unwrap();
        for number in 0..6 {
            let message = |number: i32| Message::new(number.to_string()).with_key("ada");
            outbox.send(&mut tx, "letters", message(number)).await.unwrap();
            outbox.send(&mut tx, "orders", message(number)).await.unwrap();
        }
        tx.commit().await.unwrap();
        eventually("orders are sent", || relay.status.sent() == 6).await;
        assert_eq!(status.reading(), Reading::Polling);
        let obstacle = status.obstacle().unwrap();
        assert!(
            obstacle.contains("letters") && !obstacle.contains("orders"),
            "{obstacle}"
        );
        let mut orders = 6;
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(4) {
            send(&outbox, "ada", &orders.to_string()).await;
            orders += 1;
            eventually("so are others", || relay.status.sent() == orders).await;
        }
        assert_eq!(
            relay.status.failures(),
            1,
            "it was tried again and again, and all waited"
        );
        say.send(true).unwrap();
        eventually("all are sent", || relay.status.sent() == orders + 6).await;
        for (channel, count) in [("letters", 6), ("orders", orders)] {
            let given = fake.given();
            let given = given.iter().filter(|one| &*one.destination == channel);
            let given: Vec<String> = given.map(|one| text(&one.message)).collect();
            let wanted: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            assert_eq!(given, wanted, "{channel}");
        }
        eventually("it replicates again", || status.reading() == Reading::Replication).await;
        relay.stop().await;
    }
}

#[tokio::test]
async fn no_more_is_sent_without_an_answer_than_there_is_room_for() {
    let test = "no_more_is_sent_without_an_answer_than_there_is_room_for";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let (say, said) = watch::channel(false);
    let fake = Fake::with(move |outgoing| when(said.clone(), outgoing));
    let options = quick().publish_timeout(HOUR);
    let (relay, status) = Running::replicating(replicating(&store, fake.clone(), options, 4));
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    for number in 0..10 {
        send(&outbox, "ada", &number.to_string()).await;
    }
    // Who polls leaves the channel alone too, until there is an answer.
    eventually("it polls", || status.reading() == Reading::Polling).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(fake.payloads(), ["0", "1", "2", "3"]);
    say.send(true).unwrap();
    eventually("all are sent", || relay.status.sent() == 10).await;
    let wanted: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(fake.payloads(), wanted);
    relay.stop().await;
}

/// When the relay starts, there is a letter in the table.
#[tokio::test]
async fn what_is_found_at_the_start_and_is_not_answered_holds_up_no_other() {
    let test = "what_is_found_at_the_start_and_is_not_answered_holds_up_no_other";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let (say, said) = watch::channel(false);
    let fake = Fake::with(move |outgoing| match &*outgoing.destination {
        "letters" => when(said.clone(), outgoing),
        _ => taken(outgoing),
    });
    send_to(&outbox, "letters").await;
    let options = quick().publish_timeout(HOUR);
    let (relay, status) = Running::replicating(replicating(&store, fake.clone(), options, 4));
    eventually("it begins", || fake.given().len() == 1).await;
    send(&outbox, "ada", "1").await;
    eventually("it is sent", || relay.status.sent() == 1).await;
    say.send(true).unwrap();
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    assert_eq!(relay.status.sent(), 2);
    relay.stop().await;
}

/// A broker whose answers take longer than anybody waits together.
#[tokio::test]
async fn replication_comes_back_though_there_is_always_something_unanswered() {
    let test = "replication_comes_back_though_there_is_always_something_unanswered";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let failed = AtomicBool::new(false);
    let fake = Fake::with(move |outgoing| {
        if !failed.swap(true, Ordering::AcqRel) {
            return away(outgoing);
        }
        let outgoing = outgoing.clone();
        Receipt::boxed(async move {
            sleep(Duration::from_millis(700)).await;
            taken(&outgoing).await
        })
    });
    let (relay, status) = Running::replicating(replicating(&store, fake, quick(), 1000));
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    let writing = async {
        loop {
            send(&outbox, "ada", "it").await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let comes_back = async {
        eventually("it polls", || status.reading() == Reading::Polling).await;
        eventually("it replicates again", || status.reading() == Reading::Replication).await;
    };
    tokio::select! {
        () = comes_back => {}
        () = writing => {}
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_answers_beyond_its_moment() {
    let test = "a_drain_does_not_wait_for_answers_beyond_its_moment";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let fake = Fake::with(|outgoing| match &*outgoing.destination {
        "letters" => Receipt::boxed(std::future::pending()),
        _ => taken(outgoing),
    });
    let relay = replicating(&store, fake.clone(), quick().publish_timeout(HOUR), 4);
    let status = relay.status();
    let (drain, told) = tokio::sync::oneshot::channel();
    let drained = Box::pin(async move { told.await.unwrap() });
    let running = tokio::spawn(OutboxRelay::run(Box::new(relay), drained));
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    send_to(&outbox, "letters").await;
    eventually("it is sent", || fake.given().len() == 1).await;
    // There is time for this one, which is read when the relay is told already.
    send(&outbox, "ada", "1").await;
    drain.send(Instant::now() + Duration::from_secs(1)).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(50), running).await;
    let left = ended.expect("it ends").unwrap().unwrap_err();
    assert!(left.contains("messages are left in it"), "{left}");
    assert_eq!(status.relay().sent(), 1);
}

#[tokio::test]
async fn what_is_parked_when_replication_begins_keeps_its_key_back() {
    let test = "what_is_parked_when_replication_begins_keeps_its_key_back";
    let Some((_home, store, outbox)) = with_outbox(test).await else {
        return;
    };
    let fake = Fake::with(|outgoing| match text(&outgoing.message).as_str() {
        "bad" => Receipt::failed(PublishError::TooLarge {
            size: 2,
            limit: 1,
            destination: "orders".into(),
        }),
        _ => taken(outgoing),
    });
    send(&outbox, "ada", "bad").await;
    let options = quick().parked_keys(ParkedKeys::Wait);
    let (relay, status) = Running::replicating(replicating(&store, fake.clone(), options, 100));
    eventually("it is parked", || relay.status.parked() == 1).await;
    for (key, payload) in [("ada", "2"), ("bob", "3")] {
        send(&outbox, key, payload).await;
    }
    eventually("what does not wait is sent", || relay.status.sent() == 1).await;
    let parked = outbox.parked(10).await.unwrap();
    outbox.discard_parked(&[parked[0].id]).await.unwrap();
    eventually("it goes on", || relay.status.sent() == 2).await;
    assert_eq!(fake.payloads(), ["bad", "3", "2"]);
    eventually("it replicates", || status.reading() == Reading::Replication).await;
    relay.stop().await;
}
