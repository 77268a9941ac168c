//! A request whose order and event are in one commit.

use crate::fake::eventually;
use crate::support::{Home, TestDb, everywhere};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings::prelude::*;
use tidings_sql::http::{Answered, InTx, Problem};
use tidings_sql::{Outbox, SqlStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

everywhere! {
    a_request_is_answered_when_its_order_and_its_event_are_kept_together
}

/// The body is the id of the order.
async fn place<DB: TestDb>(
    InTx(mut work, id): InTx<DB, String>,
) -> Result<Answered<(StatusCode, String)>, Problem> {
    work.send("orders", Message::new(id.clone())).await?;
    let insert = format!("INSERT INTO orders VALUES ('{id}')");
    if id == "twice" {
        let mut part = work.tx().savepoint().await?;
        assert!(DB::run(&mut part, &insert).await.is_err());
        part.rollback().await?;
        return Ok(work.give_up((StatusCode::OK, "it is there".to_owned())).await);
    }
    DB::run(&mut work, &insert).await?;
    if id == "refused" {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "there are no teapots left",
        ));
    }
    work.commit((StatusCode::CREATED, id)).await
}

/// Asks, and takes the whole answer as text.
async fn ask(address: std::net::SocketAddr, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn orders<DB: TestDb>(store: &SqlStore<DB>) -> i64 {
    let mut connection = store.pool().acquire().await.unwrap();
    DB::number(&mut connection, "SELECT count(*) FROM orders").await
}

async fn a_request_is_answered_when_its_order_and_its_event_are_kept_together<DB: TestDb>(home: Home) {
    async fn count(Raw(_): Raw, State(seen): State<Arc<AtomicU64>>) {
        seen.fetch_add(1, Ordering::Relaxed);
    }
    let store = home.open::<DB>().await;
    let mut tx = store.begin().await.unwrap();
    DB::run(&mut tx, "CREATE TABLE orders (id TEXT PRIMARY KEY)")
        .await
        .unwrap();
    DB::run(&mut tx, "INSERT INTO orders VALUES ('twice')")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let app = App::new("shop")
        .outbox(store.clone())
        .add(on("orders", count).group("counting"));
    let config = Config::from_toml("[binder.main]\nurl = \"memory:\"", "tidings.toml").unwrap();
    let running = app.with_state(seen.clone()).start(config).await.unwrap();
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.local_addr().unwrap();
    let outbox = Outbox::new(&store, running.publisher());
    let router = Router::new()
        .route("/orders", post(place::<DB>))
        .with_state(outbox);
    let serving = tokio::spawn(async move { axum::serve(door, router).await });

    let answer = ask(address, b"o-1").await;
    // What was answered is kept: nothing is waited for.
    assert_eq!(orders(&store).await, 2, "{answer}");
    assert!(
        answer.starts_with("HTTP/1.1 201") && answer.ends_with("o-1"),
        "{answer}"
    );
    for (body, status, words) in [
        (&b"refused"[..], "HTTP/1.1 422", "no teapots"),
        (b"twice", "HTTP/1.1 200", "it is there"),
        // Not even read as text.
        (b"\xff", "HTTP/1.1 400", ""),
        // A statement that can never work: the id is there.
        (b"o-1", "HTTP/1.1 500", "\"detail\":\"nothing was done\""),
    ] {
        let answer = ask(address, body).await;
        assert!(answer.starts_with(status) && answer.contains(words), "{answer}");
        assert_eq!(orders(&store).await, 2, "{answer}");
    }
    eventually("the event of the one that was kept", || {
        seen.load(Ordering::Relaxed) == 1
    })
    .await;
    assert!(running.drain().await.is_clean());
    assert_eq!(seen.load(Ordering::Relaxed), 1);

    store.close().await;
    let answer = ask(address, b"o-2").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let said = answer.to_ascii_lowercase();
    assert!(
        said.contains("retry-after: 1") && said.contains("application/problem+json"),
        "{answer}"
    );
    assert!(!answer.contains(store.place()), "{answer}");
    serving.abort();
}
