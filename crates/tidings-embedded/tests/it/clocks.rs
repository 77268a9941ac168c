//! Clocks that jump: back, as after a wrong start and a correction, and forward.

use crate::support::*;
use std::path::Path;
use std::time::Duration;
use tidings_core::{Binder, Clock, Message, Outgoing, Source, Start, Timestamp};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);

/// A clock that shows that time now.
fn showing(millis: i64) -> Clock {
    Clock::Virtual {
        start: Timestamp::from_millis(millis),
        origin: Instant::now(),
    }
}

const NOON: i64 = 1_767_225_600_000;

fn jumped(hours: i64) -> Clock {
    showing(NOON + hours * 3_600_000)
}

fn at(root: &Path, clock: Clock) -> EmbeddedOptions {
    options(root).segment_bytes(4096).clock(clock)
}

async fn fill(broker: &EmbeddedBroker, name: &str, count: usize) {
    for number in 0..count {
        publish(
            broker,
            "orders",
            0,
            format!("{name} {number}:{}", "x".repeat(500)),
        )
        .await
        .unwrap();
    }
}

async fn first(broker: &EmbeddedBroker) -> u64 {
    broker.positions("orders", None).await.unwrap()[0].first
}

#[tokio::test(start_paused = true)]
async fn messages_for_later_wait_for_their_time_however_the_clock_jumps() {
    let root = tempfile::tempdir().unwrap();
    let clock = jumped(0);
    let broker = EmbeddedBroker::open(at(root.path(), clock)).unwrap();
    prepare(&broker, "orders", 1).await;
    for (name, delay) in [("soon", HOUR), ("late", HOUR * 20)] {
        let mut outgoing: Outgoing = to("orders", 0, name);
        outgoing.due = Some(clock.now().plus(delay));
        broker.sink().publish(outgoing).await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    // Back by ten hours: eleven more until the first is due.
    let broker = EmbeddedBroker::open(at(root.path(), jumped(-10))).unwrap();
    tokio::time::sleep(HOUR * 10).await;
    assert_eq!(count(&broker, "orders").await, 0);
    tokio::time::sleep(HOUR * 2).await;
    assert_eq!(count(&broker, "orders").await, 1);
    broker.close().await.unwrap();
    drop(broker);
    // Forward by a hundred: the other is due at once, and the first does not come again.
    let broker = EmbeddedBroker::open(at(root.path(), jumped(100))).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    assert_eq!(drain(&mut source).await, ["soon", "late"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_forward_deletes_nothing_that_a_group_has_not_finished() {
    let root = tempfile::tempdir().unwrap();
    let with_age = |clock| at(root.path(), clock).retention_time(Some(HOUR));
    let broker = EmbeddedBroker::open(with_age(jumped(0))).unwrap();
    prepare(&broker, "orders", 1).await;
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    fill(&broker, "old", 40).await;
    done(&mut source, lane.lane, lane.epoch, 10);
    source.commit().await.unwrap();
    drop(source);
    broker.close().await.unwrap();
    drop(broker);
    let broker = EmbeddedBroker::open(with_age(jumped(3_650))).unwrap();
    broker.retain().await.unwrap();
    let kept = first(&broker).await;
    assert!(kept <= 10, "{kept}");
    // Back again: nothing is younger than it was, and nothing goes.
    broker.close().await.unwrap();
    drop(broker);
    let broker = EmbeddedBroker::open(with_age(jumped(-3_650))).unwrap();
    broker.retain().await.unwrap();
    assert_eq!(first(&broker).await, kept);
    let mut source = join(&broker, "billing", "orders").await;
    assert_eq!(drain(&mut source).await.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn timestamps_that_run_backwards_keep_order_offsets_and_lookups_by_time() {
    let root = tempfile::tempdir().unwrap();
    for hours in [0, -10, 20, -30] {
        let broker = EmbeddedBroker::open(at(root.path(), jumped(hours))).unwrap();
        prepare(&broker, "orders", 1).await;
        fill(&broker, &hours.to_string(), 20).await;
        broker.close().await.unwrap();
    }
    let broker = EmbeddedBroker::open(at(root.path(), jumped(0))).unwrap();
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let all = drain(&mut source).await;
    let hours: Vec<_> = all.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(hours, [["0"; 20], ["-10"; 20], ["20"; 20], ["-30"; 20]].concat());
    for (time, expected) in [(-40, 0), (-30, 0), (0, 0), (5, 40), (20, 40), (25, 80)] {
        let mut from = spec(None, "orders");
        from.start = Start::Time(Timestamp::from_millis(NOON + time * 3_600_000));
        let mut source = broker.subscribe(from).await.unwrap();
        assert_eq!(drain(&mut source).await.len(), 80 - expected, "from hour {time}");
    }
}

#[tokio::test(start_paused = true)]
async fn timestamps_at_the_ends_of_time_are_kept_and_delete_nothing_by_accident() {
    let root = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(at(root.path(), jumped(0)).retention_time(Some(HOUR))).unwrap();
    prepare(&broker, "orders", 1).await;
    let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for time in times {
        let message = Message::new(vec![b'x'; 3_000]).with_timestamp(Timestamp::from_millis(time));
        broker
            .sink()
            .publish(Outgoing::new("orders", message))
            .await
            .unwrap();
    }
    broker.retain().await.unwrap();
    let batch = broker.read("orders", 0, 0, 1 << 20).await.unwrap();
    assert!(!batch.is_empty());
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    assert_eq!(
        drain(&mut source).await.len(),
        times.len(),
        "nobody has finished them"
    );
    let mut far: Outgoing = to("orders", 0, "never");
    far.due = Some(Timestamp::from_millis(i64::MAX));
    broker.sink().publish(far).await.unwrap();
    tokio::time::sleep(HOUR * 3).await;
    broker.close().await.unwrap();
}
