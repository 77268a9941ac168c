use crate::support::*;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Clock, Source, SourceError, SourceEvent, Start, Timestamp};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};

#[tokio::test]
async fn a_reader_without_a_group_begins_where_it_says() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    for number in 0..10i64 {
        let mut outgoing = to("orders", 0, number.to_string());
        outgoing.message = outgoing
            .message
            .with_timestamp(Timestamp::from_millis(1_000 + number * 10));
        broker.sink().publish(outgoing).await.unwrap();
    }
    let time = |millis| Start::Time(Timestamp::from_millis(millis));
    let cases = [
        (Start::Earliest, 0),
        (Start::Latest, 10),
        (Start::Offset(7), 7),
        (Start::Offset(99), 10),
        (time(0), 0),
        (time(1_041), 5),
        (time(9_999), 10),
    ];
    for (start, expected) in cases {
        let mut wanted = spec(None, "orders");
        wanted.start = start;
        let mut source = broker.subscribe(wanted).await.unwrap();
        let all = drain(&mut source).await;
        assert_eq!(
            all.first().map(String::as_str),
            (expected < 10).then(|| expected.to_string()).as_deref(),
            "{start:?}"
        );
        assert_eq!(all.len(), 10 - expected, "{start:?}");
    }
}

#[tokio::test]
async fn latest_means_from_the_subscription_on_and_not_from_the_first_poll() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "before").await.unwrap();
    for group in [None, Some("billing")] {
        let mut wanted = spec(group, "orders");
        wanted.start = Start::Latest;
        let mut source = broker.subscribe(wanted).await.unwrap();
        publish(&broker, "orders", 0, "after").await.unwrap();
        assert_eq!(drain(&mut source).await, ["after"]);
    }
}

#[tokio::test]
async fn a_message_wakes_a_reader_that_waits() {
    let broker = memory();
    prepare(&broker, "orders", 3).await;
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    assert!(drain(&mut source).await.is_empty());
    let reader = tokio::spawn(async move { texts(&batch(&mut source).await) });
    tokio::task::yield_now().await;
    publish(&broker, "orders", 2, "tea").await.unwrap();
    assert_eq!(reader.await.unwrap(), ["tea"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_partitions_none_is_forgotten_while_a_reader_looks_and_others_write() {
    const PARTITIONS: u32 = 100;
    const EACH: u32 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    for broker in [memory(), disk(directory.path(), Fsync::Os)] {
        prepare(&broker, "orders", PARTITIONS).await;
        let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
        assert!(drain(&mut source).await.is_empty());
        let writers = [7, 31].map(|step| {
            let sink = Binder::sink(&broker);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let partition = number.wrapping_mul(step) % PARTITIONS;
                    sink.publish(to("orders", partition, "x")).await.unwrap();
                    if number % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
        let mut left = EACH as usize * 2;
        while left > 0 {
            let read = tokio::time::timeout(Duration::from_secs(30), batch(&mut source)).await;
            left -= read
                .unwrap_or_else(|_| panic!("{left} messages wait in partitions at which nobody looks"))
                .len();
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_once_each_time_it_is_reached() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    for _ in 0..3 {
        publish(&broker, "orders", 1, "tea").await.unwrap();
        assert_eq!(drain(&mut source).await, ["tea"]);
        let more = tokio::time::timeout(Duration::from_secs(3600), source.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

#[tokio::test]
async fn a_paused_lane_gives_nothing_until_it_is_resumed_and_a_seek_reads_again() {
    let broker = memory();
    prepare(&broker, "orders", 2).await;
    for partition in 0..2 {
        publish(&broker, "orders", partition, partition.to_string())
            .await
            .unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lanes: Vec<_> = assigned(&mut source).await.iter().map(|one| one.lane).collect();
    source.pause(&lanes[..1]);
    assert_eq!(drain(&mut source).await, ["1"]);
    source.resume(&lanes);
    assert_eq!(drain(&mut source).await, ["0"]);
    source.seek(lanes[1], 0);
    assert_eq!(drain(&mut source).await, ["1"]);
}

#[tokio::test]
async fn lanes_take_turns() {
    let broker = memory();
    prepare(&broker, "orders", 3).await;
    for partition in 0..3 {
        for _ in 0..5 {
            publish(&broker, "orders", partition, vec![b'x'; 900])
                .await
                .unwrap();
        }
    }
    let mut wanted = spec(None, "orders");
    wanted.max_batch_bytes = 1000;
    let mut source = broker.subscribe(wanted).await.unwrap();
    let lanes = assigned(&mut source).await;
    let mut turns = Vec::new();
    for _ in 0..15 {
        turns.push(batch(&mut source).await.lane());
    }
    for round in turns.chunks(3) {
        assert!(lanes.iter().all(|one| round.contains(&one.lane)), "{turns:?}");
    }
}

/// Polls `next` once and drops it, again and again: whatever it had begun must come with a later call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_next_at_any_point_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Os);
    prepare(&broker, "orders", 3).await;
    // Enough that reads go to another thread.
    let sent = 20_000;
    let big = "x".repeat(1000);
    for chunk in 0..sent / 500 {
        let all = (0..500)
            .map(|number| to("orders", number % 3, format!("{}:{big}", chunk * 500 + number)))
            .collect();
        for receipt in broker.sink().publish_all(all) {
            receipt.await.unwrap();
        }
    }
    let mut source = join(&broker, "billing", "orders").await;
    let (mut seen, mut dropped) = (vec![0u64; 3], 0u64);
    while seen.iter().sum::<u64>() < u64::from(sent) {
        let polled = {
            let mut next = std::pin::pin!(source.next());
            next.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        match polled {
            Poll::Ready(Ok(SourceEvent::Batch(batch))) => {
                let seen = &mut seen[batch.lane().0 as usize];
                assert_eq!(batch.records()[0].offset, *seen, "nothing missing, nothing twice");
                *seen = batch.next();
            }
            Poll::Ready(event) => drop(event.unwrap()),
            Poll::Pending => {
                dropped += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(dropped > 0, "no call was ever dropped");
}

#[tokio::test]
async fn damage_stops_one_lane_with_its_place_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(options(root.path()).segment_bytes(4096)).unwrap();
    prepare(&broker, "orders", 2).await;
    for number in 0..20 {
        for partition in 0..2 {
            publish(
                &broker,
                "orders",
                partition,
                format!("{number}:{}", "x".repeat(500)),
            )
            .await
            .unwrap();
        }
    }
    broker.close().await.unwrap();
    let segment = root.path().join("topics/orders/1/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[1500] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let broker = disk(root.path(), Fsync::Os);
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let (mut read, mut damage) = ([0, 0], Vec::new());
    loop {
        match next(&mut source).await {
            Ok(SourceEvent::Batch(batch)) => read[batch.lane().0 as usize] += batch.len(),
            Ok(SourceEvent::Idle) => break,
            Ok(_) => {}
            Err(error) => damage.push(error),
        }
    }
    assert_eq!(read[0], 20);
    assert!(read[1] < 20);
    let [
        SourceError::Corrupt {
            partition: 1,
            offset,
            reason,
            ..
        },
    ] = damage.as_slice()
    else {
        panic!("{damage:?}");
    };
    assert!(
        *offset as usize >= read[1] && reason.contains("00000000000000000000.log"),
        "{offset} {reason}"
    );
    let BinderHealth::Down(reason) = broker.health() else {
        panic!("it is up");
    };
    assert!(reason.contains("orders/1"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn timestamps_come_from_the_brokers_clock() {
    let clock = Clock::virtual_from_now();
    let broker = EmbeddedBroker::open(EmbeddedOptions::from_url("memory:").unwrap().clock(clock)).unwrap();
    prepare(&broker, "orders", 1).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    let batch = broker.read("orders", 0, 0, 1).await.unwrap();
    assert_eq!(batch.records()[0].timestamp, clock.now());
}
