//! Connections that are cut between a COMMIT and its answer.

use super::*;
use sqlx::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_sql::{RelayMode, SqlOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Every third COMMIT gets through, and its answer does not.
const EVERY: u64 = 3;

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    cut: AtomicU64,
}

/// Passes everything on until it cuts.
async fn pass(mut client: TcpStream, to: String, counts: Arc<Counts>) {
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                if server.write_all(&asked[..bytes]).await.is_err() {
                    return;
                }
                let commits = asked[..bytes].windows(6).any(|window| window == b"COMMIT");
                if commits && counts.commits.fetch_add(1, Ordering::SeqCst) % EVERY == EVERY - 1 {
                    // It is done, and nobody is told.
                    drop(server.read(&mut answered).await);
                    counts.cut.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(bytes @ 1..) = read else { return };
                if client.write_all(&answered[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

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
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let (counts, to) = (Arc::new(Counts::default()), host.to_owned());
    let counted = counts.clone();
    let passing = tokio::spawn(async move {
        while let Ok((client, _)) = proxy.accept().await {
            tokio::spawn(pass(client, to.clone(), counted.clone()));
        }
    });
    // What is in the outbox is to stay there.
    let options = SqlOptions::default().relay_mode(RelayMode::Off);
    let store = SqlStore::<Postgres>::open_with(&format!("{user}@127.0.0.1:{port}/{path}"), options)
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
    let cut = counts.cut.load(Ordering::SeqCst);
    assert!(cut >= 5, "{counts:?}");
    assert_eq!((effects(&direct).await, claims(&direct).await), ((30, 30), 30));
    assert_eq!(count(&direct, "SELECT count(*) FROM tidings.outbox").await, 30);
    let end = status(&running);
    assert_eq!((end.duplicates, end.failed, end.dead_lettered), (cut, 0, 0));
    running.drain().await;
    passing.abort();
}
