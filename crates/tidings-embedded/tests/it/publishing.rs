use crate::support::*;
use std::sync::Arc;
use tidings_core::{
    Binder, BinderError, Create, Message, Outgoing, PublishError, Receipt, partition_for_key,
};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};

#[tokio::test]
async fn a_key_goes_to_the_partition_that_kafka_would_choose_and_keeps_its_order() {
    let broker = memory();
    prepare(&broker, "orders", 5).await;
    let mut sent = vec![Vec::new(); 5];
    for number in 0..200 {
        let key = format!("key-{}", number % 17);
        let payload = format!("{key}/{number}");
        let message = Message::new(payload.clone()).with_key(key.clone());
        let position = broker
            .sink()
            .publish(Outgoing::new("orders", message))
            .await
            .unwrap();
        assert_eq!(position.partition(), partition_for_key(key.as_bytes(), 5));
        sent[position.partition() as usize].push(payload);
    }
    for (partition, sent) in (0..).zip(sent) {
        let batch = broker.read("orders", partition, 0, 1 << 20).await.unwrap();
        assert_eq!(texts(&batch), sent);
    }
}

#[tokio::test]
async fn a_message_comes_back_as_it_was() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    let message = Message::tombstone("ada").with_header("trace", [0, 255]).unwrap();
    let timestamp = tidings_core::Timestamp::from_millis(-5);
    broker
        .sink()
        .publish(Outgoing::new("orders", message.clone().with_timestamp(timestamp)))
        .await
        .unwrap();
    let batch = broker.read("orders", 0, 0, 1).await.unwrap();
    assert_eq!(
        batch.message(&batch.records()[0]),
        message.with_timestamp(timestamp)
    );
}

#[tokio::test]
async fn several_messages_get_consecutive_offsets_and_their_own_receipts() {
    let broker = memory();
    prepare(&broker, "a", 2).await;
    prepare(&broker, "b", 1).await;
    let mixed = (0..100).map(|number| match number % 4 {
        0 => to("a", 0, format!("{number}")),
        1 => to("a", 1, format!("{number}")),
        2 => to("b", 0, format!("{number}")),
        _ => to("missing", 0, format!("{number}")),
    });
    let receipts = broker.sink().publish_all(mixed.collect());
    assert_eq!(receipts.len(), 100);
    for (number, receipt) in (0..).zip(receipts) {
        match receipt.await {
            Ok(position) => {
                assert_eq!(position.offset(), number / 4);
                let batch = broker
                    .read(position.destination(), position.partition(), position.offset(), 1)
                    .await
                    .unwrap();
                assert_eq!(texts(&batch)[0], number.to_string());
            }
            Err(error) => {
                assert!(number % 4 == 3 && matches!(error, PublishError::UnknownDestination { .. }))
            }
        }
    }
}

#[tokio::test]
async fn messages_without_a_key_use_every_partition() {
    let broker = memory();
    prepare(&broker, "orders", 4).await;
    for _ in 0..8 {
        broker
            .sink()
            .publish(Outgoing::new("orders", Message::new("x")))
            .await
            .unwrap();
    }
    let many = (0..1024)
        .map(|_| Outgoing::new("orders", Message::new("x")))
        .collect();
    for receipt in broker.sink().publish_all(many) {
        receipt.await.unwrap();
    }
    let positions = broker.positions("orders", None).await.unwrap();
    let counts: Vec<_> = positions.iter().map(|one| one.end).collect();
    assert_eq!(counts, [258; 4]);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_by_name() {
    let options = EmbeddedOptions::from_url("memory:")
        .unwrap()
        .max_message_bytes(100);
    let broker = EmbeddedBroker::open(options).unwrap();
    prepare(&broker, "orders", 2).await;
    let refused = publish(&broker, "nowhere", 0, "x").await.unwrap_err();
    assert!(matches!(refused, PublishError::UnknownDestination { .. }));
    let refused = publish(&broker, "orders", 2, "x").await.unwrap_err();
    assert!(matches!(
        refused,
        PublishError::UnknownPartition {
            partition: 2,
            partitions: 2,
            ..
        }
    ));
    let refused = publish(&broker, "orders", 0, vec![0; 101]).await.unwrap_err();
    assert!(matches!(
        refused,
        PublishError::TooLarge {
            size: 101,
            limit: 100,
            ..
        }
    ));
    publish(&broker, "orders", 0, vec![0; 100]).await.unwrap();
    assert_eq!(count(&broker, "orders").await, 1);
}

#[tokio::test]
async fn names_that_no_destination_may_have_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("broker");
    let broker = disk(&inside, Fsync::Os);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0", "a\n", &long] {
        let refused = broker.prepare(destination(name, 1)).await.unwrap_err();
        assert!(matches!(refused, BinderError::InvalidName { .. }), "{name:?}");
    }
    prepare(&broker, "Orders", 1).await;
    prepare(&broker, "orders", 2).await;
    let names: Vec<_> = broker
        .destinations()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["Orders".into(), Arc::<str>::from("orders")]);
    assert_eq!(
        std::fs::read_dir(root.path()).unwrap().count(),
        1,
        "nothing was made outside"
    );
    broker.close().await.unwrap();
}

#[tokio::test]
async fn a_destination_is_created_only_where_that_is_allowed_and_never_changed() {
    let broker = memory();
    let mut wanted = destination("orders", 3);
    wanted.create = Create::Never;
    let refused = broker.prepare(wanted.clone()).await.unwrap_err();
    assert!(matches!(refused, BinderError::UnknownDestination { .. }));
    prepare(&broker, "orders", 2).await;
    assert_eq!(broker.prepare(wanted).await.unwrap().partitions, 2);
    assert_eq!(
        broker
            .prepare(destination("default", 0))
            .await
            .unwrap()
            .partitions,
        4
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_thread_keeps_its_order_when_many_publish_to_one_partition() {
    let root = tempfile::tempdir().unwrap();
    for fsync in [Fsync::Os, Fsync::Always] {
        let broker = disk(&root.path().join(format!("{fsync:?}")), fsync);
        prepare(&broker, "orders", 1).await;
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let broker = broker.clone();
                tokio::spawn(async move {
                    let receipts: Vec<Receipt> = (0..300)
                        .map(|number| send(&broker, "orders", 0, format!("{thread}:{number}")))
                        .collect();
                    let mut last = None;
                    for receipt in receipts {
                        let offset = receipt.await.unwrap().offset();
                        assert!(last < Some(offset));
                        last = Some(offset);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.await.unwrap();
        }
        let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
        let all = drain(&mut source).await;
        assert_eq!(all.len(), 1200);
        for thread in 0..4 {
            let own: Vec<_> = all
                .iter()
                .filter_map(|text| text.strip_prefix(&format!("{thread}:")))
                .collect();
            assert_eq!(own, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
        }
        broker.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_broker_takes_and_gives_nothing() {
    let broker = memory();
    prepare(&broker, "orders", 1).await;
    let sink = broker.sink();
    let mut source = join(&broker, "billing", "orders").await;
    broker.close().await.unwrap();
    broker.close().await.unwrap();
    assert!(matches!(
        sink.publish(to("orders", 0, "x")).await,
        Err(PublishError::Closed)
    ));
    assert!(matches!(
        next(&mut source).await,
        Err(tidings_core::SourceError::Closed)
    ));
    assert!(matches!(
        broker.positions("orders", None).await,
        Err(BinderError::Closed)
    ));
}
