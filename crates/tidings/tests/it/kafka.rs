//! The same app on Apache Kafka.

use crate::events::{Placed, Seen, placed};
use brokers::{Kafka, Options, kafka_or_skip, or_skip, unique};
use std::time::Duration;
use tidings::prelude::*;
use tidings::{Condition, Error, PublishError, Running};

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(40);

async fn note(Json(order): Json<Placed>, State(seen): State<Seen>) {
    seen.note(order.order);
}

fn app(seen: &Seen) -> tidings::Service {
    let app = App::new("shop").add(on("orders", note).group("billing"));
    app.publishes("orders").with_state(seen.clone())
}

/// Where messages go, by configuration alone; nobody else has these names.
fn config(bootstrap: &str, more: &str) -> Config {
    let (orders, billing) = (unique("orders"), unique("billing"));
    let text = format!(
        "[binder.main]\nurl = \"kafka://{bootstrap}\"\n{more}\n[channel.orders]\ndestination = \"{orders}\"\n\
         [subscription.billing]\ngroup = \"{billing}\"\n"
    );
    Config::from_toml(&text, "tidings.toml").expect("it is right but for its properties")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect(what);
}

async fn publish(running: &Running, order: &str) {
    running
        .publisher()
        .publish("orders", &placed(order))
        .await
        .expect("kafka takes it");
}

#[tokio::test]
async fn an_app_moves_to_kafka_by_its_address_and_goes_on_where_it_was() -> Result<(), Error> {
    let Some(bootstrap) = kafka_or_skip("an_app_moves_to_kafka_by_its_address_and_goes_on_where_it_was")
    else {
        return Ok(());
    };
    let (seen, config) = (Seen::default(), config(bootstrap, "replication = 1"));
    let running = app(&seen).start(config.clone()).await?;
    publish(&running, "1").await;
    until("the first order", || seen.all() == ["1"]).await;
    assert!(running.health().ready, "{}", running.health());
    assert!(running.drain().await.is_clean());
    let running = app(&seen).start(config).await?;
    publish(&running, "2").await;
    until("the second order", || seen.all().len() == 2).await;
    assert!(running.drain().await.is_clean());
    assert_eq!(seen.all(), ["1", "2"], "the group went on where it was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_is_away_at_the_start_is_named_and_waited_for() -> Result<(), Error> {
    let name = "a_kafka_that_is_away_at_the_start_is_named_and_waited_for";
    let Some(kafka) = or_skip(name, Kafka::start(Options::plain())) else {
        return Ok(());
    };
    kafka.kill(1).unwrap();
    let seen = Seen::default();
    let running = app(&seen).start(config(&kafka.bootstrap(), "")).await?;
    let health = running.health();
    assert!(health.live && !health.ready, "{health}");
    let binder = health.parts.iter().find(|part| part.kind == "binder").unwrap();
    assert_eq!(binder.condition, Condition::Down);
    let reason = binder.reason.clone().unwrap_or_default();
    assert!(reason.contains("start the broker"), "{reason}");
    until("the subscription says why it waits", || {
        let obstacle = running.subscription("billing").unwrap().status().obstacle;
        obstacle.is_some_and(|obstacle| obstacle.contains("start the broker"))
    })
    .await;
    tokio::task::block_in_place(|| kafka.start_node(1)).unwrap();
    until("it is ready", || running.health().ready).await;
    publish(&running, "1").await;
    until("the order", || seen.all() == ["1"]).await;
    assert!(running.drain().await.is_clean());
    Ok(())
}

#[tokio::test]
async fn a_kafka_that_never_comes_does_not_keep_a_service_from_ending() -> Result<(), Error> {
    // Nothing listens there.
    let running = app(&Seen::default()).start(config("127.0.0.1:1", "")).await?;
    assert!(!running.health().ready);
    let drained = tokio::time::timeout(Duration::from_secs(20), running.drain()).await;
    assert!(drained.expect("it ends").finished_in_time);
    Ok(())
}

#[tokio::test]
async fn a_property_that_is_wrong_ends_the_start_with_its_line() {
    let config = config("127.0.0.1:1", "kafka.\"sasl.pasword\" = \"hunter2\"");
    let error = app(&Seen::default()).start(config).await.unwrap_err().to_string();
    for part in ["binder main", "\"sasl.password\"?", "tidings.toml:3"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

/// The mark of a transaction takes the last offset of a partition, and no handler ever sees it.
#[tokio::test]
async fn a_view_has_caught_up_behind_a_transaction() -> Result<(), Error> {
    let Some(bootstrap) = kafka_or_skip("a_view_has_caught_up_behind_a_transaction") else {
        return Ok(());
    };
    let seen = Seen::default();
    let text = format!(
        "[binder.main]\nurl = \"kafka://{bootstrap}\"\nreplication = 1\n[channel.orders]\ndestination = \"{}\"\n",
        unique("orders")
    );
    let config = Config::from_toml(&text, "tidings.toml")?;
    let app = || App::<Seen>::new("shop").publishes("orders");
    let running = app().with_state(Seen::default()).start(config.clone()).await?;
    let publisher = running.publisher();
    let sent: Result<(), PublishError> = publisher
        .transaction("orders", async |tx: Publisher| {
            tx.publish("orders", &placed("1")).await?;
            Ok(())
        })
        .await;
    sent?;
    assert!(running.drain().await.is_clean());

    let view = on("orders", note).name("view").start(Start::Earliest);
    let view = app().add(view.lose_exhausted_messages()).with_state(seen.clone());
    let running = view.start(config).await?;
    let caught_up = tokio::time::timeout(PATIENCE, running.caught_up("view")).await;
    caught_up.expect("it comes to the end")?;
    assert_eq!(seen.all(), ["1"]);
    assert!(running.drain().await.is_clean());
    Ok(())
}
