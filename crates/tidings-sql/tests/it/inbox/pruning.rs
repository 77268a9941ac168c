//! Claims go when they are old. That they cost no scan is tested beside their statements.

use super::*;
use crate::support::{Home, everywhere};
use tidings_sql::SqlOptions;

everywhere! {
    claims_are_forgotten_when_they_are_old_and_a_few_at_a_time
}

async fn old_claims<DB: TestDb>(store: &SqlStore<DB>, number: u32, at: &str) {
    let mut tx = store.begin().await.unwrap();
    let table = table::<DB>();
    let numbers =
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})");
    let cast = if is_postgres::<DB>() {
        "i::text"
    } else {
        "CAST(i AS TEXT)"
    };
    DB::run(
        &mut tx,
        &format!("{numbers} INSERT INTO {table} SELECT 'stock', 'm-' || {cast}, {at} FROM n"),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn nothing<DB: TestDb>(_: Raw, _: Tx<DB>) {}

async fn claims_are_forgotten_when_they_are_old_and_a_few_at_a_time<DB: TestDb>(home: Home) {
    let options = SqlOptions::default()
        .inbox_retention(secs(3_600))
        .inbox_prune_rows(400);
    let store = home
        .open_with::<DB>(options.inbox_prune_interval(millis(50)))
        .await;
    old_claims(&store, 1_000, "1").await;
    assert_eq!(store.forget_handled().await.unwrap(), 400);
    assert_eq!(claims(&store).await, 600);
    let app = App::new("shop").add(on("orders", nothing::<DB>).group("stock").inbox(store.clone()));
    let running = start(app).await;
    send(&running, ["new".to_owned()]).await;
    handled(&running, 1).await;
    let deadline = Instant::now() + secs(20);
    while claims(&store).await > 1 {
        assert!(
            Instant::now() < deadline,
            "{} claims are left",
            claims(&store).await
        );
        sleep(millis(10)).await;
    }
    // The new one stays.
    send(&running, ["new".to_owned()]).await;
    handled(&running, 2).await;
    assert_eq!(status(&running).duplicates, 1);
}
