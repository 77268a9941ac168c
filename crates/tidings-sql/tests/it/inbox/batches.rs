//! Batch handlers on real databases.

use super::*;
use crate::support::{Home, everywhere};

everywhere! {
    a_batch_with_a_bad_item_keeps_the_others
    a_batch_of_known_and_new_messages_does_the_new_ones
}

fn text(Raw(payload): &Raw) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

/// One statement for all items, which the bad one breaks for everybody.
async fn record<DB: TestDb>(batch: Batch<Raw>, mut tx: Tx<DB>) -> Result<(), Failure> {
    let rows: Vec<_> = batch
        .iter()
        .map(|item| format!("('{}', 1)", text(item)))
        .collect();
    DB::run(
        &mut tx,
        &format!("INSERT INTO effects VALUES {}", rows.join(", ")),
    )
    .await?;
    Ok(())
}

fn recording<DB: TestDb>(store: &SqlStore<DB>) -> App {
    let subscription = on("orders", record::<DB>).group("record").batch(50, millis(100));
    App::new("shop").add(subscription.inbox(store.clone()))
}

async fn a_batch_with_a_bad_item_keeps_the_others<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    let running = start(recording(&store)).await;
    send(
        &running,
        (0..49).map(|id| format!("m-{id}")).chain(["it's bad".to_owned()]),
    )
    .await;
    handled(&running, 50).await;
    assert_eq!((effects(&store).await, claims(&store).await), ((49, 49), 49));
    let letters = running.dead_letters("orders").await.unwrap();
    assert_eq!((letters.len(), status(&running).failed), (1, 1));
}

async fn a_batch_of_known_and_new_messages_does_the_new_ones<DB: TestDb>(home: Home) {
    let store = home.open::<DB>().await;
    with_effects(&store).await;
    let running = start(recording(&store)).await;
    let ids = || (0..120).map(|id| format!("m-{}", id % 60));
    send(&running, ids()).await;
    handled(&running, 120).await;
    send(&running, ids().chain(["new".to_owned()])).await;
    handled(&running, 241).await;
    assert_eq!((effects(&store).await, claims(&store).await), ((61, 61), 61));
    assert_eq!((status(&running).duplicates, status(&running).failed), (180, 0));
}
