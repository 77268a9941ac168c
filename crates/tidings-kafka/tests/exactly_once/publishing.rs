//! Transactions outside of a subscription: all of it is seen, or nothing.

use crate::ledger::Ledger;
use crate::support::{PATIENCE, binder, blocking, shared, topic};
use std::sync::Arc;
use std::time::Duration;
use tidings::{App, Clock, Config, DynBinder, Message, PublishError, Publisher, Running};
use tidings_core::Outgoing;

async fn bank(servers: &str, debits: &str, credits: &str) -> Running {
    let options = tidings_kafka::ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    let options = options.with_properties([("message.max.bytes", "1000"), ("linger.ms", "1")]);
    let binder = tidings_kafka::KafkaBinder::open(options.unwrap()).unwrap();
    let app = App::new("bank")
        .channel("debits", |channel| channel.destination(debits))
        .channel("credits", |channel| channel.destination(credits))
        .publishes("debits")
        .publishes("credits");
    let binder: Arc<dyn DynBinder> = Arc::new(binder);
    let config = Config::from_toml("", "bank.toml").unwrap();
    app.with_state(())
        .start_on(config, binder, Clock::System)
        .await
        .unwrap()
}

fn number(number: u64) -> Message {
    Message::new(number.to_string())
}

/// Transactions of which nothing may be seen.
async fn go_wrong(publisher: &Publisher) {
    let failed: Result<(), PublishError> = publisher
        .transaction("debits", async |tx: Publisher| {
            tx.send("debits", number(3)).await?;
            Err(PublishError::NoChannel)
        })
        .await;
    assert!(matches!(failed, Err(PublishError::NoChannel)), "{failed:?}");

    let refused: Result<(), PublishError> = publisher
        .transaction("debits", async |tx: Publisher| {
            drop(tx.send("debits", number(4)));
            drop(tx.send("credits", Message::new(vec![b'4'; 5_000])));
            Ok(())
        })
        .await;
    assert!(refused.is_err(), "a message of it was refused");

    let abandoned = publisher.transaction("debits", async |tx: Publisher| {
        tx.send("debits", number(5)).await?;
        std::future::pending::<Result<(), PublishError>>().await
    });
    assert!(
        tokio::time::timeout(Duration::from_secs(3), abandoned)
            .await
            .is_err()
    );

    let nested: Result<(), PublishError> = publisher
        .transaction("debits", async |tx: Publisher| {
            tx.transaction("debits", async |_| Ok(())).await
        })
        .await;
    assert!(
        matches!(nested, Err(PublishError::NoTransaction { .. })),
        "{nested:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_in_a_transaction_is_seen_as_a_whole_or_not_at_all() {
    let test = "what_is_published_in_a_transaction_is_seen_as_a_whole_or_not_at_all";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let (debits, credits) = (
        topic(&kafka, "debits", 1).await,
        topic(&kafka, "credits", 1).await,
    );
    let bank = bank(servers, &debits, &credits).await;
    let publisher = bank.publisher();
    let mut left = None;
    let booked: Result<&str, PublishError> = publisher
        .transaction("debits", async |tx: Publisher| {
            tx.send("debits", number(1)).await?;
            // Not awaited: part of it all the same.
            drop(tx.send("credits", number(1)));
            left = Some(tx);
            Ok("booked")
        })
        .await;
    assert_eq!(booked.unwrap(), "booked");
    let late = left.unwrap().send("debits", number(2)).await;
    assert!(late.is_err(), "its transaction has ended");

    go_wrong(publisher).await;
    // Several at the same time, and after all that went wrong.
    let all = (10..20).map(|one| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let booked = publisher.transaction("debits", async |tx: Publisher| {
                tx.send("debits", number(one)).await?;
                tx.send("credits", number(one)).await
            });
            booked.await.unwrap();
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    blocking(move || {
        let mut ledger = Ledger::open(servers, &[(&debits, 1), (&credits, 1)]);
        let expected = || std::iter::once(1).chain(10..20);
        ledger.read_until(PATIENCE, |ledger| {
            ledger.has_all(&debits, expected()) && ledger.has_all(&credits, expected())
        });
        ledger.read_for(Duration::from_secs(1));
        ledger.judge("debits", &debits, expected());
        ledger.judge("credits", &credits, expected());
    })
    .await;
    bank.drain().await;
}

/// Publishes one by one, in turn, by rights that two binders of one program took, each for something of an outbox; whether all
/// was committed.
async fn in_turn(servers: &str, topic: &str, rights_of: [(&str, &str); 2]) -> bool {
    let url = format!("kafka://{servers}");
    let outbox = brokers::unique("outbox");
    let mut rights = Vec::new();
    for (right_to, binder) in rights_of {
        let name = format!("{outbox}:{right_to}");
        let options = tidings_kafka::ClientOptions::from_url(&url).unwrap();
        let kafka = tidings_kafka::KafkaBinder::open(options.with_binder(binder)).unwrap();
        let right = tidings_core::Binder::sink(&kafka).sole(&name).await.unwrap();
        rights.push((kafka, right));
    }
    let mut all = true;
    for _ in 0..3 {
        for (_, right) in &mut rights {
            let Ok(transaction) = right.begin() else {
                all = false;
                continue;
            };
            let receipt = transaction.sink().publish(Outgoing::new(topic, number(1)));
            all &= receipt.await.is_ok() && transaction.commit().await.is_ok();
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_binders_of_one_program_do_not_take_the_right_to_send_from_each_other() {
    let test = "two_binders_of_one_program_do_not_take_the_right_to_send_from_each_other";
    let Some(servers) = shared(test).await else { return };
    let topic = topic(&binder(servers, &[]), "orders", 1).await;
    assert!(in_turn(servers, &topic, [("orders", "main"), ("orders", "audit")]).await);
    assert!(in_turn(servers, &topic, [("orders", "eu-main"), ("orders-eu", "main")]).await);
    assert!(
        !in_turn(servers, &topic, [("orders", "main"), ("orders", "main")]).await,
        "the same binder in two processes"
    );
}

/// What the one that lost its right is told, so that a person finds the other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_right_to_send_is_told_that_somebody_else_has_it() {
    let test = "who_has_lost_the_right_to_send_is_told_that_somebody_else_has_it";
    let Some(servers) = shared(test).await else { return };
    let kafka = binder(servers, &[]);
    let topic = topic(&kafka, "orders", 1).await;
    let name = brokers::unique("outbox");
    let sink = tidings_core::Binder::sink(&kafka);
    // One sends nothing before it is put out, the other one did.
    for sends_before in [false, true] {
        let mut lost = sink.sole(&name).await.unwrap();
        if sends_before {
            let transaction = lost.begin().unwrap();
            let receipt = transaction.sink().publish(Outgoing::new(&*topic, number(1)));
            receipt.await.unwrap();
            transaction.commit().await.unwrap();
        }
        let _holder = sink.sole(&name).await.unwrap();
        let transaction = lost.begin().unwrap();
        let receipt = transaction.sink().publish(Outgoing::new(&*topic, number(2)));
        let told = receipt.await.unwrap_err().to_string();
        assert!(
            told.contains("another producer has the transactional id"),
            "{told}"
        );
        transaction.commit().await.unwrap_err();
    }
}
