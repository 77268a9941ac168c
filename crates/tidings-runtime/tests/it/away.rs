//! Waits on a broker that takes messages back which are held for too long: what must wait longer leaves its queue and
//! comes back to its end.

use crate::broker::Broker;
use crate::world::*;
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::start;
use tokio::time::{Instant, sleep};

const HOLD: Duration = Duration::from_secs(900);

fn broker() -> Broker {
    let broker = Broker::new(1);
    broker.holds_no_longer_than(HOLD);
    broker
}

fn failing(fails: u32, wait: Duration) -> Script {
    Script {
        fails,
        how: How::RetryAfter(wait),
        ..Script::default()
    }
}

fn two_of_a_key(broker: &Broker) {
    broker.put("orders", 0, message(0, Some("a")));
    broker.put("orders", 0, message(1, Some("a")));
}

fn times(world: &World, id: u64, began: Instant) -> Vec<u64> {
    let of = world.handlings().into_iter().filter(|one| one.id == id);
    of.map(|one| (one.began - began).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_may_be_held_keeps_its_place_and_the_order_of_its_key() {
    let (world, broker) = (World::default(), broker());
    world.script(0, failing(2, Duration::from_secs(600)));
    two_of_a_key(&broker);
    let began = Instant::now();
    let subscription = world
        .subscription()
        .retry(quiet_retry(5, Duration::from_millis(1)));
    let handle = start(spec(&broker, subscription, 1));
    finished(&broker, &handle).await;
    assert_eq!(broker.messages("orders.g.retry"), []);
    assert_eq!(world.succeeded(), [0, 1]);
    assert_eq!(times(&world, 0, began), [0, 600, 1_200]);
}

#[tokio::test(start_paused = true)]
async fn where_order_does_not_count_each_wait_leaves_the_queue_and_is_overtaken() {
    let (world, broker) = (World::default(), broker());
    world.script(0, failing(2, Duration::from_secs(60)));
    two_of_a_key(&broker);
    let began = Instant::now();
    let subscription = world
        .subscription()
        .retry_order(RetryOrder::Relaxed)
        .retry(quiet_retry(5, Duration::from_millis(1)));
    let handle = start(spec(&broker, subscription, 1));
    sleep(Duration::from_secs(200)).await;
    finished(&broker, &handle).await;
    assert_eq!(world.succeeded(), [1, 0]);
    assert_eq!(times(&world, 0, began), [0, 60, 120]);
    let attempts: Vec<_> = world
        .handlings()
        .iter()
        .filter(|one| one.id == 0)
        .map(|one| one.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(broker.messages("orders.g.retry").len(), 2, "once for each wait");
    assert_eq!(handle.status().parked, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_back_long_before_its_time_leaves_again_and_is_not_handled_early() {
    let (world, broker) = (World::default(), broker());
    world.script(0, failing(1, Duration::from_secs(7_200)));
    two_of_a_key(&broker);
    let began = Instant::now();
    let subscription = world
        .subscription()
        .retry(quiet_retry(5, Duration::from_millis(1)));
    let handle = start(spec(&broker, subscription, 1));
    sleep(Duration::from_secs(7_300)).await;
    finished(&broker, &handle).await;
    assert_eq!(
        world.succeeded(),
        [1, 0],
        "longer than it may be held: it is overtaken"
    );
    assert_eq!(times(&world, 0, began), [0, 7_200]);
    // Back after 3,600 s, 5,400 s and 6,300 s; the last 900 s it may be held.
    assert_eq!(broker.messages("orders.g.retry").len(), 3);
}
