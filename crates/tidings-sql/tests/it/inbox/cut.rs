//! Connections that are cut between a COMMIT and its answer.

use super::*;
use brokers::{CommitFault, CommitProxy};
use sqlx::Postgres;
use tidings_sql::{RelayMode, SqlOptions};

/// Every third COMMIT gets through, and its answer does not.
const EVERY: u64 = 3;

#[tokio::test]
async fn a_connection_that_is_cut_after_commit_was_sent_leaves_one_effect() {
    let test = "a_connection_that_is_cut_after_commit_was_sent_leaves_one_effect";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    let direct = home.open::<Postgres>().await;
    with_effects(&direct).await;
    let (before, path) = home.url.rsplit_once('/').unwrap();
    let (user, host) = before.rsplit_once('@').unwrap();
    let proxy = CommitProxy::start(host).unwrap();
    proxy.cut_every(EVERY, CommitFault::Answer);
    // What is in the outbox is to stay there.
    let options = SqlOptions::default().relay_mode(RelayMode::Off);
    let store = SqlStore::<Postgres>::open_with(&format!("{user}@{}/{path}", proxy.address()), options)
        .await
        .unwrap();
    async fn work(Raw(payload): Raw, mut tx: Tx<Postgres>) -> Result<Output, Failure> {
        effect(&mut tx, std::str::from_utf8(&payload).unwrap()).await?;
        Ok(Output::message(Message::new(payload)))
    }
    let subscription = on("orders", work).group("stock").to("payments").concurrency(4);
    let running = start(App::new("shop").add(subscription.retry(Retry::none()).inbox(store))).await;
    send(&running, (0..30).map(|id| format!("m-{id}"))).await;
    handled(&running, 30).await;
    let cut = proxy.commits_cut();
    assert!(cut >= 5, "{cut}");
    assert_eq!((effects(&direct).await, claims(&direct).await), ((30, 30), 30));
    assert_eq!(count(&direct, "SELECT count(*) FROM tidings.outbox").await, 30);
    let end = status(&running);
    assert_eq!((end.duplicates, end.failed, end.dead_lettered), (cut, 0, 0));
    running.drain().await;
}
