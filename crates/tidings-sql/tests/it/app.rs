//! Apps that send what is in their outboxes by themselves.

use crate::fake::eventually;
use crate::support::{Home, TestDb, everywhere, postgres, sqlite};
use sqlx::{Postgres, Sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings::prelude::*;
use tidings::test::{TestApp, in_real_time};
use tidings::{RelayRole, Running};
use tidings_core::{LockRequest, LockStore};
use tidings_sql::{Outbox, RelayMode, RelayOptions, ReplicationOptions, SqlError, SqlOptions, SqlStore};
use tokio::sync::Notify;

everywhere! {
    what_handlers_and_the_program_commit_is_sent_by_the_app_itself
    an_app_under_test_settles_with_its_outbox_in_virtual_time
}

const CONFIG: &str = "[binder.main]\nurl = \"memory:\"\n[app]\ndrain_timeout = \"60s\"\n";

async fn start<S: Send + Sync + 'static>(app: App<S>, state: S, config: &str) -> Running {
    let config = Config::from_toml(config, "tidings.toml").unwrap();
    app.with_state(state).start(config).await.unwrap()
}

fn payment(order: &[u8]) -> Output {
    Output::message(Message::new(order.to_vec()).with_key("one"))
}

async fn waiting<DB: TestDb>(store: &SqlStore<DB>) -> u64 {
    let outbox = Outbox::to_channels(store, ["orders"]);
    outbox.backlog().await.unwrap().messages
}

/// Counts payments.
async fn count(Raw(_): Raw, State(paid): State<Arc<AtomicU64>>) {
    paid.fetch_add(1, Ordering::Relaxed);
}

async fn pay(Raw(order): Raw) -> Output {
    payment(&order)
}

async fn what_handlers_and_the_program_commit_is_sent_by_the_app_itself<DB: TestDb>(home: Home) {
    // Two stores on the same tables are one outbox.
    let (store, same) = (home.open::<DB>().await, home.open::<DB>().await);
    let paid = Arc::new(AtomicU64::new(0));
    let app = App::new("shop")
        .outbox(same)
        .outbox(store.clone())
        .add(
            on("orders", pay)
                .group("payment")
                .to("payments")
                .inbox(store.clone()),
        )
        .add(on("payments", count).group("counting"));
    let running = start(app, paid.clone(), CONFIG).await;
    assert!(
        running.describe().to_string().contains("sent by polling"),
        "{}",
        running.describe()
    );
    let outbox = Outbox::new(&store, running.publisher());
    for order in 0..20 {
        let mut tx = store.begin().await.unwrap();
        let message = Message::new(format!("o-{order}"));
        outbox.send(&mut tx, "orders", message).await.unwrap();
        tx.commit().await.unwrap();
    }
    eventually("all are paid", || paid.load(Ordering::Relaxed) == 20).await;
    let status = running.status().outboxes;
    assert_eq!(status.len(), 1, "{status:#?}");
    let status = status.into_values().next().unwrap();
    assert_eq!(
        (status.role, status.failures),
        (RelayRole::Leads, 0),
        "{status:#?}"
    );
    let health = running.health();
    assert!(health.ready && health.to_string().contains("outbox "), "{health}");
    assert!(running.drain().await.is_clean());
}

async fn an_app_under_test_settles_with_its_outbox_in_virtual_time<DB: TestDb>(home: Home) {
    async fn pay_later(Raw(order): Raw, Attempt(attempt): Attempt) -> Result<Output, Failure> {
        match attempt {
            1 => Err(Failure::transient("the bank is closed")),
            _ => Ok(payment(&order)),
        }
    }
    let store = home.open::<DB>().await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let paid = Arc::new(AtomicU64::new(0));
    let paying = on("orders", pay_later).retry(Retry::fixed(2, mins(10)));
    let counting = on("payments", count).group("counting").inbox(store.clone());
    // The inbox under which something is published brings its outbox.
    let app = App::new("shop")
        .add(paying.group("payment").to("payments").inbox(store.clone()))
        .add(counting);
    let test = TestApp::start(app.with_state(paid.clone())).await.unwrap();
    let outbox = Outbox::new(&store, test.running().publisher());
    for _ in 0..10 {
        crate::fake::send_to(&outbox, "orders").await;
    }
    test.settled().await.unwrap();
    assert_eq!((paid.load(Ordering::Relaxed), waiting(&store).await), (10, 0));
    assert!(
        begun.elapsed() >= mins(10) && begun.elapsed() < mins(20),
        "{:?}",
        begun.elapsed()
    );
    // Nobody knows where that goes.
    crate::fake::send_to(&Outbox::to_channels(&store, ["elsewhere"]), "elsewhere").await;
    let unsettled = test.settled_within(secs(30)).await.unwrap_err().to_string();
    assert!(
        unsettled.contains("1 unsent (channel \"elsewhere\""),
        "{unsettled}"
    );
}

/// A handler says when it runs, waits for a word, and publishes where the relay does not hear of it.
#[derive(Debug, Clone)]
struct Slow {
    runs: Arc<Notify>,
    go_on: Arc<Notify>,
    outbox: Outbox<Sqlite>,
}

async fn pay_slowly(Raw(_): Raw, State(slow): State<Slow>) {
    slow.runs.notify_one();
    slow.go_on.notified().await;
    in_real_time(crate::fake::send_to(&slow.outbox, "payments")).await;
}

#[tokio::test]
async fn a_drain_sends_what_its_handlers_commit_and_lets_another_send() {
    let home = sqlite();
    // It looks so seldom that only the drain can send what is committed at the end.
    let options = RelayOptions::default().poll_interval(hours(1)).lease(hours(1));
    let store = home
        .open_with::<Sqlite>(SqlOptions::default().relay(options))
        .await;
    let other = home.open::<Sqlite>().await;
    let slow = Slow {
        runs: Arc::default(),
        go_on: Arc::default(),
        outbox: Outbox::to_channels(&other, ["payments"]),
    };
    let app = App::new("shop").publishes("payments").outbox(store.clone());
    let app = app.add(on("orders", pay_slowly).group("payment"));
    tokio::time::pause();
    let test = TestApp::start(app.with_state(slow.clone())).await.unwrap();
    // After its start it looks often.
    test.pass(hours(10)).await;
    let running = test.running().clone();
    let publisher = running.publisher();
    publisher.send("orders", Message::new("o-1")).await.unwrap();
    slow.runs.notified().await;
    let draining = tokio::spawn(async move { running.drain().await });
    // A relay that ended with the beginning of the drain would be gone.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    slow.go_on.notify_one();
    let drained = draining.await.unwrap();
    assert!(drained.is_clean(), "{drained:#?}");
    assert_eq!(waiting(&store).await, 0);
    let request = LockRequest::new("tidings.outbox", secs(1)).unwrap();
    assert!(store.locks().acquire(&request).await.unwrap().is_some());
}

#[tokio::test]
async fn what_cannot_be_sent_until_the_drain_ends_is_said_and_stays() {
    let home = sqlite();
    let store = home.open::<Sqlite>().await;
    let elsewhere = Outbox::to_channels(&store, ["elsewhere"]);
    crate::fake::send_to(&elsewhere, "elsewhere").await;
    let config = CONFIG.replace("60s", "100ms");
    let running = start(
        App::new("shop").publishes("orders").outbox(store.clone()),
        (),
        &config,
    )
    .await;
    eventually("it is said", || {
        running.health().to_string().contains("\"elsewhere\"")
    })
    .await;
    assert!(running.health().ready, "{}", running.health());
    let drained = running.drain().await;
    assert!(!drained.finished_in_time);
    assert!(
        drained.given_up[0].contains("messages are left in it: channel \"elsewhere\""),
        "{drained:#?}"
    );
    assert_eq!(waiting(&store).await, 1);
}

#[tokio::test]
async fn an_outbox_that_another_process_sends_is_left_alone() {
    let home = sqlite();
    let store = home
        .open_with::<Sqlite>(SqlOptions::default().relay_mode(RelayMode::Off))
        .await;
    let app = App::new("shop").publishes("orders").outbox(store.clone());
    let running = start(app, (), CONFIG).await;
    assert!(running.describe().to_string().contains("sent by another process"));
    assert!(running.status().outboxes.is_empty());
    crate::fake::send_to(&Outbox::new(&store, running.publisher()), "orders").await;
    assert!(running.drain().await.is_clean());
    assert_eq!(waiting(&store).await, 1);
}

#[tokio::test]
async fn an_app_sends_by_replication_where_it_is_told_to() {
    let replicating = || {
        let relay = RelayOptions::default().poll_interval(hours(1));
        let options = SqlOptions::default()
            .relay(relay)
            .relay_mode(RelayMode::Replication);
        options.replication(ReplicationOptions::default().lag_interval(millis(50)))
    };
    let file = sqlite();
    let refused = SqlStore::<Sqlite>::open_with(&file.url, replicating()).await;
    assert!(matches!(refused, Err(SqlError::Relay { .. })), "{refused:?}");
    let Some(home) = postgres("an_app_sends_by_replication_where_it_is_told_to") else {
        return;
    };
    let store = home.open_with::<Postgres>(replicating()).await;
    let app = App::new("shop").publishes("orders").outbox(store.clone());
    let running = start(app, (), CONFIG).await;
    let status = || running.status().outboxes.into_values().next().unwrap();
    eventually("it replicates", || status().replicates).await;
    crate::fake::send_to(&Outbox::new(&store, running.publisher()), "orders").await;
    eventually("it is sent", || status().sent == 1 && status().slot_lag.is_some()).await;
    assert!(running.drain().await.is_clean());
    let relay = tidings_sql::ReplicationRelay::new(
        &store,
        crate::fake::Fake::new(),
        RelayOptions::default(),
        ReplicationOptions::default(),
    );
    relay.unwrap().drop_slot().await.unwrap();
}
