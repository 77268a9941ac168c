//! Messages that handlers acknowledge by themselves.

use crate::world::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Ack, Attempt, Text, on};
use tidings_core::Retry;
use tokio::time::Instant;

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_after_its_back_off_and_never_at_full_speed() {
    let test = "what_is_not_acknowledged_comes_again_after_its_back_off_and_never_at_full_speed";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let binder = binder(&host, |options| options);
    let seen: Arc<Mutex<Vec<(String, u32, Instant)>>> = Arc::default();
    let noting = seen.clone();
    let handler = move |Text(text): Text, Attempt(attempt): Attempt, ack: Ack| {
        noting
            .lock()
            .unwrap()
            .push((text.clone(), attempt, Instant::now()));
        async move {
            match (text.as_str(), attempt) {
                ("0", _) => ack.nack(),
                ("1", 1) => drop(ack),
                ("2", _) => ack.reject("no such customer"),
                ("3", 1) => ack.nack_after(Duration::from_millis(700)),
                _ => ack.ack(),
            }
        }
    };
    let wait = Duration::from_millis(300);
    let subscription = on("orders", handler).group("billing").name("charge");
    let running = start(&binder, subscription.retry(Retry::fixed(4, wait))).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..5, 5).await;
    until("two are dead", || {
        let letters = host.queue("orders.billing.dlq").unwrap();
        letters.is_some_and(|letters| letters.ready == Some(2))
    })
    .await;
    assert!(running.drain().await.finished_in_time);
    let seen = seen.lock().unwrap().clone();
    let of = |id: &str| -> Vec<_> { seen.iter().filter(|(text, _, _)| text == id).collect() };
    let attempts = |id: &str| -> Vec<u32> { of(id).iter().map(|(_, attempt, _)| *attempt).collect() };
    assert_eq!(attempts("0"), [1, 2, 3, 4], "and not once more");
    assert_eq!(attempts("1"), [1, 2], "dropped is failed");
    assert_eq!(attempts("2"), [1], "rejected is dead at once");
    assert_eq!(attempts("3"), [1, 2]);
    assert_eq!(attempts("4"), [1]);
    for pair in of("0").windows(2) {
        let waited = pair[1].2 - pair[0].2;
        assert!(waited >= wait * 8 / 10, "{waited:?}");
    }
    let asked = of("3")[1].2 - of("3")[0].2;
    assert!(asked >= Duration::from_millis(700), "{asked:?}");
    // Everything is off the queue.
    let again = start(
        &crate::world::binder(&host, |options| options),
        World::default().subscription(1),
    )
    .await;
    assert!(again.drain().await.finished_in_time);
}
