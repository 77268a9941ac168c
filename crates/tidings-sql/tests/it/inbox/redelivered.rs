//! Brokers that deliver again what was committed: processes are killed between the commit and the acknowledgement.

use super::deaths::{Dying, SCENE, Step, played};
use super::*;
use sqlx::Sqlite;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use tidings_core::{Route, Routes};
use tidings_sql::{Outbox, Relay, RelayOptions};

const MESSAGES: i64 = 20;
/// Where the first process is killed.
const LAST: &str = "m-11";

#[tokio::test]
async fn what_kafka_delivers_again_after_a_kill_has_its_effects_and_events_once() {
    let test = "what_kafka_delivers_again_after_a_kill_has_its_effects_and_events_once";
    let Some(servers) = brokers::kafka_or_skip(test) else {
        return;
    };
    // The member that was killed is waited for so long.
    let quick = "kafka.\"session.timeout.ms\" = \"3000\"\nkafka.\"heartbeat.interval.ms\" = \"300\"";
    is_done_once(&format!("url = \"kafka://{servers}\"\n{quick}")).await;
}

#[tokio::test]
async fn what_rabbitmq_delivers_again_after_a_kill_has_its_effects_and_events_once() {
    let test = "what_rabbitmq_delivers_again_after_a_kill_has_its_effects_and_events_once";
    let Some(server) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = server.virtual_host(&brokers::unique("inbox")).unwrap();
    is_done_once(&format!("url = \"{}\"", host.url())).await;
}

async fn is_done_once(binder: &str) {
    let home = crate::support::sqlite();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tidings.toml");
    let [orders, payments, stock, ledger] = ["orders", "payments", "stock", "ledger"].map(brokers::unique);
    let text = format!(
        "[binder.main]\n{binder}\n[channel.orders]\ndestination = \"{orders}\"\npartitions = 1\n[channel.payments]\n\
         destination = \"{payments}\"\npartitions = 1\n[subscription.stock]\ngroup = \"{stock}\"\n[subscription.ledger]\n\
         group = \"{ledger}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let play = |step: &str| {
        let scene = format!("{}|{}|{payments}|{step}", home.url, config.display());
        played("inbox::redelivered::plays_on_a_broker", &scene)
    };
    let killed = play("committed");
    assert_eq!(killed.signal(), Some(9), "{killed:?}");
    let ended = play("never");
    assert!(ended.success(), "{ended:?}");

    let store = home.open::<Sqlite>().await;
    assert_eq!(
        (effects(&store).await, claims(&store).await),
        ((MESSAGES, MESSAGES), MESSAGES)
    );
    // What was sent by hand and what was returned, each under one message id however often it came.
    let ids = count(&store, "SELECT count(DISTINCT message_id) FROM received").await;
    let events = "SELECT count(*) FROM (SELECT DISTINCT event, message_id FROM received)";
    assert_eq!((ids, count(&store, events).await), (2 * MESSAGES, 2 * MESSAGES));
}

#[tokio::test]
async fn plays_on_a_broker() {
    // Nothing to play is no mistake: it is one of the tests.
    let Ok(scene) = std::env::var(SCENE) else { return };
    let words: Vec<_> = scene.split('|').collect();
    let [url, config, payments, step] = words[..] else {
        panic!("{scene}")
    };
    let step = if step == "committed" {
        Step::Committed
    } else {
        Step::Never
    };
    let store = SqlStore::<Sqlite>::open(url).await.unwrap();
    with_effects(&store).await;
    let mut tx = store.begin().await.unwrap();
    let received = "CREATE TABLE IF NOT EXISTS received (event TEXT, message_id TEXT)";
    Sqlite::run(&mut tx, received).await.unwrap();
    tx.commit().await.unwrap();

    let config = std::fs::read_to_string(config).unwrap();
    let running = service(&store, step, &config).await;
    let mut routes = Routes::default();
    let sink = running.publisher().routes().sinks().remove(0);
    // The relay sends as the only one where it can.
    assert_eq!(sink.can_be_sole(), config.contains("kafka://"));
    let route = Route {
        sink,
        destination: payments.into(),
    };
    routes.insert("payments", route);
    let relay = Relay::by_routes(&store, Arc::new(routes), RelayOptions::default().lease(secs(2)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relaying = tokio::spawn(relay.run(async move { drop(stopped.await) }));
    if step == Step::Committed {
        // On RabbitMQ a group is there when its reader is.
        while !running.status().subscriptions.values().all(|one| one.idle) {
            sleep(millis(10)).await;
        }
        send(&running, (0..MESSAGES).map(|id| format!("m-{id}"))).await;
    }
    let outbox = Outbox::to_channels(&store, ["payments"]);
    let duplicates = || running.status().subscriptions["stock"].duplicates;
    let deadline = Instant::now() + secs(180);
    while effects(&store).await.1 < MESSAGES
        || duplicates() == 0
        || outbox.backlog().await.unwrap().messages > 0
        || count(&store, "SELECT count(DISTINCT message_id) FROM received").await < 2 * MESSAGES
    {
        assert!(Instant::now() < deadline, "{:#?}", running.status());
        sleep(millis(20)).await;
    }
    assert!(running.drain().await.is_clean());
    drop(stop);
    relaying.await.unwrap();
}

/// One handler publishes by hand and by what it returns, the other one takes notes.
async fn service(store: &SqlStore<Sqlite>, step: Step, config: &str) -> Running {
    async fn pay(payload: Raw, mut tx: Tx<Sqlite>, publisher: Publisher) -> Result<Output, Failure> {
        effect(&mut tx, std::str::from_utf8(&payload.0).unwrap()).await?;
        let by_hand = Message::new([b"by hand ", &payload.0[..]].concat());
        publisher.send("payments", by_hand).await?;
        Ok(Output::message(Message::new(payload.0)))
    }
    let notes = store.clone();
    let receive = move |delivery: Delivery| {
        let notes = notes.clone();
        async move {
            let event = std::str::from_utf8(delivery.payload().unwrap())
                .unwrap()
                .to_owned();
            let id = delivery.message_id().unwrap().to_owned();
            let mut tx = notes.begin().await?;
            let note = format!("INSERT INTO received VALUES ('{event}', '{id}')");
            Sqlite::run(&mut tx, &note).await?;
            tx.commit().await?;
            Ok::<_, Failure>(())
        }
    };
    let dying = Dying {
        store: store.clone(),
        step,
        id: LAST,
    };
    let app = App::new("shop")
        .add(on("orders", pay).group("stock").to("payments").inbox(dying))
        .add(on("payments", receive).group("ledger"));
    let config = Config::from_toml(config, "tidings.toml").unwrap();
    app.start(config).await.unwrap()
}
