//! Handlers that take messages one by one.

use super::*;
use crate::support::{Home, everywhere};
use std::sync::{Arc, Mutex};

everywhere! {
    a_message_that_comes_again_is_finished_without_its_handler
    a_handling_that_fails_leaves_neither_rows_nor_a_claim
    of_two_instances_with_the_same_messages_each_is_handled_by_one
    an_error_of_a_statement_that_can_never_work_is_permanent_without_a_word
    a_transaction_of_an_inbox_is_ended_by_nobody_else
}

fn text(Raw(payload): &Raw) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

async fn work<DB: TestDb>(payload: Raw, mut tx: Tx<DB>) -> Result<(), Failure> {
    effect(&mut tx, &text(&payload)).await?;
    Ok(())
}

fn working<DB: TestDb>(store: &SqlStore<DB>) -> App {
    App::new("shop").add(
        on("orders", work::<DB>)
            .group("stock")
            .concurrency(4)
            .inbox(store.clone()),
    )
}

async fn a_message_that_comes_again_is_finished_without_its_handler<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    let running = start(working(&store)).await;
    let ids = || (0..50).map(|id| format!("m-{id}"));
    send(&running, ids()).await;
    handled(&running, 50).await;
    // What a key or an id looks like is nobody's business.
    send(
        &running,
        ids().chain(
            ["a'b\"c\\".to_owned(), "ä🦀".to_owned()]
                .into_iter()
                .map(|_| "m-0".to_owned()),
        ),
    )
    .await;
    handled(&running, 102).await;
    assert_eq!(effects(&store).await, (50, 50));
    assert_eq!((status(&running).duplicates, claims(&store).await), (52, 50));
    // Another group has handled none of them.
    let other = App::new("shop").add(on("orders", work::<DB>).group("other").inbox(store.clone()));
    let other = start(other).await;
    send(&other, ["m-0".to_owned()]).await;
    handled(&other, 1).await;
    assert_eq!((effects(&store).await, status(&other).duplicates), ((51, 50), 0));
}

async fn a_handling_that_fails_leaves_neither_rows_nor_a_claim<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    async fn stumble<DB: TestDb>(
        payload: Raw,
        Attempt(attempt): Attempt,
        mut tx: Tx<DB>,
    ) -> Result<(), Failure> {
        effect(&mut tx, &text(&payload)).await?;
        match attempt {
            1 => Err(Failure::transient("as the test says")),
            2 => panic!("as the test says"),
            3 => std::future::pending().await,
            // A statement fails, and nobody says so: on PostgreSQL nothing of such a transaction can be committed.
            4 => {
                let refused = DB::run(&mut tx, "INSERT INTO no_such_table VALUES (1)").await;
                assert!(refused.is_err());
                if is_postgres::<DB>() {
                    Ok(())
                } else {
                    Err(Failure::transient("as the test says"))
                }
            }
            _ => Ok(()),
        }
    }
    let retry = Retry::fixed(9, millis(1));
    let stumbling = on("orders", stumble::<DB>)
        .group("stock")
        .timeout(millis(200))
        .retry(retry);
    let running = start(App::new("shop").add(stumbling.inbox(store.clone()))).await;
    send(&running, ["m-1".to_owned()]).await;
    handled(&running, 1).await;
    assert_eq!((effects(&store).await, claims(&store).await), ((1, 1), 1));
    assert_eq!((status(&running).failed, status(&running).duplicates), (4, 0));
}

/// The claim of one who works is waited for, and its work is there when the other knows of the duplicate.
async fn of_two_instances_with_the_same_messages_each_is_handled_by_one<DB: TestDb>(home: Home) {
    let (one, two) = (home.open::<DB>().await, home.open::<DB>().await);
    with_effects(&one).await;
    async fn slow<DB: TestDb>(payload: Raw, mut tx: Tx<DB>) -> Result<(), Failure> {
        effect(&mut tx, &text(&payload)).await?;
        sleep(millis(2)).await;
        Ok(())
    }
    let app = |store: &SqlStore<DB>| {
        App::new("shop").add(
            on("orders", slow::<DB>)
                .group("stock")
                .concurrency(4)
                .inbox(store.clone()),
        )
    };
    let (first, second) = (start(app(&one)).await, start(app(&two)).await);
    let ids = || (0..100).map(|id| format!("m-{id}"));
    tokio::join!(send(&first, ids()), send(&second, ids()));
    handled(&first, 100).await;
    handled(&second, 100).await;
    assert_eq!(effects(&one).await, (100, 100));
    assert_eq!(status(&first).duplicates + status(&second).duplicates, 100);
    assert_eq!((status(&first).failed, status(&second).failed), (0, 0));
}

async fn an_error_of_a_statement_that_can_never_work_is_permanent_without_a_word<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    async fn broken<DB: TestDb>(mut tx: Tx<DB>) -> Result<(), Failure> {
        DB::run(&mut tx, "INSERT INTO effects VALUES (1, 2, 3)").await?;
        Ok(())
    }
    let subscription = on("orders", broken::<DB>)
        .group("stock")
        .retry(Retry::fixed(5, secs(60)));
    let running = start(App::new("shop").add(subscription.inbox(store.clone()))).await;
    send(&running, ["m-1".to_owned()]).await;
    handled(&running, 1).await;
    let letters = running.dead_letters("orders").await.unwrap();
    assert_eq!(
        (letters.len(), status(&running).failed, claims(&store).await),
        (1, 1, 0)
    );
}

async fn a_transaction_of_an_inbox_is_ended_by_nobody_else<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let seen = said.clone();
    let handler = move |payload: Raw, mut tx: Tx<DB>| {
        let seen = seen.clone();
        async move {
            effect(&mut tx, &text(&payload)).await?;
            if text(&payload) == "m-1" {
                let refused = tx.commit().await.unwrap_err();
                seen.lock().unwrap().push(refused.to_string());
                return Err(Failure::permanent("it tried"));
            }
            // It outlives the handler, which commits nothing therefore.
            tokio::spawn(async move {
                sleep(secs(3_600)).await;
                drop(tx);
            });
            Ok::<_, Failure>(())
        }
    };
    let subscription = on("orders", handler).group("stock").retry(Retry::none());
    let running = start(App::new("shop").add(subscription.inbox(store.clone()))).await;
    send(&running, ["m-1".to_owned()]).await;
    handled(&running, 1).await;
    assert!(
        said.lock().unwrap()[0].contains("belongs to the inbox"),
        "{said:?}"
    );
    assert_eq!((effects(&store).await, claims(&store).await), ((0, 0), 0));
    send(&running, ["m-2".to_owned()]).await;
    handled(&running, 2).await;
    let (_, failure) = status(&running).last_failure.unwrap();
    assert!(failure.contains("is still in use"), "{failure}");
    assert_eq!((effects(&store).await, claims(&store).await), ((0, 0), 0));
}

/// What PostgreSQL gives up in favour of another transaction is tried again, and done once.
#[tokio::test]
async fn deadlocks_and_serialization_failures_are_tried_again() {
    use sqlx::Postgres;
    let test = "deadlocks_and_serialization_failures_are_tried_again";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    let url = format!(
        "{}?options=-c%20deadlock_timeout%3D20ms%20-c%20default_transaction_isolation%3D",
        home.url
    );
    for isolation in ["read%5C%20committed", "serializable"] {
        let store = SqlStore::<Postgres>::open(&format!("{url}{isolation}"))
            .await
            .unwrap();
        with_effects(&store).await;
        let mut tx = store.begin().await.unwrap();
        let stock = "DROP TABLE IF EXISTS stock; CREATE TABLE stock (item INT, pieces INT); INSERT INTO stock VALUES (0, 0), (1, 0)";
        Postgres::run(&mut tx, stock).await.unwrap();
        tx.commit().await.unwrap();
        async fn cross(payload: Raw, mut tx: Tx<Postgres>) -> Result<(), Failure> {
            let id = text(&payload);
            let number: usize = id[2..].parse().unwrap();
            // Even and odd ones take the rows in opposite order.
            for item in [number % 2, 1 - number % 2] {
                Postgres::run(
                    &mut tx,
                    &format!("UPDATE stock SET pieces = pieces + 1 WHERE item = {item}"),
                )
                .await?;
                sleep(millis(2)).await;
            }
            effect(&mut tx, &id).await?;
            Ok(())
        }
        let retry = Retry::fixed(1_000, millis(2)).budget(1e6, 1e6);
        let subscription = on("orders", cross).group(isolation).concurrency(4).retry(retry);
        let running = start(App::new("shop").add(subscription.inbox(store.clone()))).await;
        send(&running, (0..20).map(|id| format!("m-{id}"))).await;
        handled(&running, 20).await;
        let pieces = count(&store, "SELECT pieces::bigint FROM stock WHERE item = 0").await;
        assert_eq!((pieces, status(&running).dead_lettered), (20, 0), "{isolation}");
        assert!(
            status(&running).failed > 0,
            "nothing stood in the way of anything: {isolation}"
        );
        running.drain().await;
    }
}
