//! Where messages go, and what a receipt means.

use crate::features::Feature;
use crate::stage::{Stage, Verdict, destination, numbers, to};
use tidings_core::{
    BinderError, BinderHealth, Create, Message, Outgoing, PublishError, Timestamp, partition_for_key,
};

pub(crate) async fn a_broker_says_what_it_can(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    assert_eq!(broker.capabilities(), stage.harness.features().capabilities());
    assert_eq!(broker.kind(), stage.harness.name());
    assert_eq!(broker.health(), BinderHealth::Up);
    Ok(())
}

pub(crate) async fn a_destination_is_made_once_and_never_changed(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    let missing = || {
        let mut missing = destination("missing", 2);
        missing.create = Create::Never;
        missing
    };
    let refused = broker.prepare(missing()).await;
    assert!(
        matches!(&refused, Err(BinderError::UnknownDestination { destination }) if &**destination == "missing"),
        "{refused:?}"
    );
    assert_eq!(broker.has("orders", 3).await.partitions, 3);
    assert_eq!(
        broker.has("orders", 7).await.partitions,
        3,
        "an existing one is never changed"
    );
    broker.has("missing", 2).await;
    assert_eq!(
        broker.prepare(missing()).await.map(|info| info.partitions).ok(),
        Some(2)
    );
    let all = broker.destinations().await.expect("they can be listed");
    let all: Vec<_> = all.iter().map(|info| (&*info.name, info.partitions)).collect();
    assert_eq!(all, [("missing", 2), ("orders", 3)], "sorted by name");
    let refused = broker.prepare(destination("", 1)).await;
    assert!(
        matches!(refused, Err(BinderError::InvalidName { .. })),
        "{refused:?}"
    );
    Ok(())
}

pub(crate) async fn a_receipt_resolves_to_the_position_where_the_message_is(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions, Feature::Replay])?;
    let broker = stage.open().await;
    broker.has("orders", 3).await;
    for number in 0..30u32 {
        let payload = format!("message {number}");
        let message = Message::new(payload.clone()).with_key(number.to_string());
        let position = broker
            .send(Outgoing::new("orders", message))
            .await
            .expect("it is kept");
        assert_eq!(position.destination(), "orders");
        let kept = broker.messages("orders", position.partition()).await;
        let (_, found) = kept
            .iter()
            .find(|(offset, _)| *offset == position.offset())
            .expect("it is where the receipt says as soon as it says so");
        assert_eq!(
            found.payload().map(|payload| &payload[..]),
            Some(payload.as_bytes())
        );
    }
    Ok(())
}

pub(crate) async fn a_partition_keeps_the_order_of_the_calls(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", stage.partitions()).await;
    let last = stage.partitions() - 1;
    let mut receipts: Vec<_> = (0..100)
        .map(|number| broker.send(to("orders", last, &number.to_string())))
        .collect();
    let several = (100..200).map(|number: u64| to("orders", last, &number.to_string()));
    receipts.extend(broker.sink().publish_all(several.collect()));
    for (offset, receipt) in (0..).zip(receipts) {
        assert_eq!(receipt.await.expect("it is kept").offset(), offset);
    }
    assert_eq!(broker.payloads("orders", last).await, numbers(0..200));
    if last > 0 {
        assert_eq!(broker.payloads("orders", 0).await, [""; 0]);
    }
    Ok(())
}

pub(crate) async fn a_key_has_the_partition_that_kafkas_java_client_would_choose(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 7).await;
    // murmur2 of these keys is pinned by the vectors of Kafka's own tests, so the places can be named.
    let pinned: [(&str, i32); 3] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("abc", 479_470_107),
    ];
    for (key, hash) in pinned {
        let message = Message::new("x").with_key(key);
        let position = broker
            .send(Outgoing::new("orders", message))
            .await
            .expect("it is kept");
        assert_eq!(
            i64::from(position.partition()),
            i64::from(hash & 0x7fff_ffff) % 7,
            "{key}"
        );
    }
    let keyed =
        (0..50u64).map(|key| Outgoing::new("orders", Message::new("x").with_key(key.to_le_bytes().to_vec())));
    let receipts = broker.sink().publish_all(keyed.collect());
    for (key, receipt) in (0..50u64).zip(receipts) {
        let partition = receipt.await.expect("it is kept").partition();
        assert_eq!(partition, partition_for_key(&key.to_le_bytes(), 7), "{key}");
    }
    Ok(())
}

pub(crate) async fn messages_without_a_key_are_spread(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 3).await;
    let all = (0..1_000).map(|_| Outgoing::new("orders", Message::new("x")));
    for receipt in broker.sink().publish_all(all.collect()) {
        receipt.await.expect("it is kept");
    }
    let held: Vec<_> = broker
        .at("orders", None)
        .await
        .iter()
        .map(|at| at.end - at.first)
        .collect();
    assert_eq!(held.iter().sum::<u64>(), 1_000);
    assert!(held.iter().all(|count| *count > 100), "{held:?}");
    Ok(())
}

pub(crate) async fn what_a_message_carries_arrives_as_it_was(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.knows("orders", &["billing"]).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let full = Message::new(every_byte.clone())
        .with_key(every_byte.clone())
        .with_timestamp(Timestamp::from_millis(1_234_567_890_123))
        .with_header("name", &every_byte)
        .and_then(|message| message.with_header("empty", ""))
        .and_then(|message| message.with_header("tidings-attempts", "7"))
        .expect("the headers are small");
    let sent = [
        full,
        // Not 0, which librdkafka takes for "now".
        Message::tombstone("gone").with_timestamp(Timestamp::from_millis(1)),
        Message::new("").with_timestamp(Timestamp::from_millis(5)),
    ];
    for message in &sent {
        broker
            .send(Outgoing::new("orders", message.clone()))
            .await
            .expect("it is kept");
    }
    let mut member = broker.join("billing", "orders").await;
    let mut arrived = Vec::new();
    while arrived.len() < sent.len() {
        let batch = member.batch().await;
        arrived.extend(batch.records().iter().map(|record| batch.message(record)));
    }
    // Control headers too: whoever uses a sink is the engine, or has removed them.
    assert_eq!(arrived, sent);
    Ok(())
}

pub(crate) async fn a_message_without_a_time_gets_that_of_its_publishing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    tokio::time::advance(std::time::Duration::from_secs(86_400)).await;
    broker.publish("orders", 0, "x").await.expect("it is kept");
    let mut member = broker.join("billing", "orders").await;
    assert_eq!(member.batch().await.records()[0].timestamp, stage.clock.now());
    Ok(())
}

pub(crate) async fn what_has_no_place_is_refused_and_not_published(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", stage.partitions()).await;
    let refused = broker.publish("nowhere", 0, "x").await;
    assert!(
        matches!(&refused, Err(error @ PublishError::UnknownDestination { .. }) if error.is_permanent()),
        "{refused:?}"
    );
    let refused = broker.publish("orders", stage.partitions(), "x").await;
    let Err(PublishError::UnknownPartition {
        partition,
        partitions,
        ..
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((partition, partitions), (stage.partitions(), stage.partitions()));
    // Among others it is refused alone.
    let mixed = vec![to("orders", 0, "a"), to("nowhere", 0, "b"), to("orders", 0, "c")];
    let mut answers = Vec::new();
    for receipt in broker.sink().publish_all(mixed) {
        answers.push(receipt.await.is_ok());
    }
    assert_eq!(answers, [true, false, true]);
    assert_eq!(broker.size("orders").await, 2);
    Ok(())
}

pub(crate) async fn a_message_beyond_the_limit_is_refused_with_both_sizes(stage: Stage) -> Verdict {
    stage.needs(&[Feature::SizeLimit])?;
    let broker = stage
        .open_with(|opening| opening.max_message_bytes = Some(1_000))
        .await;
    broker.has("orders", 1).await;
    broker
        .publish("orders", 0, &"x".repeat(1_000))
        .await
        .expect("it is not too large");
    let refused = broker.publish("orders", 0, &"x".repeat(1_001)).await;
    assert!(
        matches!(&refused, Err(error @ PublishError::TooLarge { size: 1_001, limit: 1_000, .. }) if error.is_permanent()),
        "{refused:?}"
    );
    assert_eq!(broker.size("orders").await, 1);
    Ok(())
}

pub(crate) async fn a_message_is_published_also_when_its_receipt_is_dropped(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    broker.has("orders", 1).await;
    broker.knows("orders", &["billing"]).await;
    for number in 0..20 {
        drop(broker.send(to("orders", 0, &number.to_string())));
    }
    broker.sink().flush().await.expect("everything is kept");
    let mut member = broker.join("billing", "orders").await;
    assert_eq!(member.take(20).await, numbers(0..20));
    Ok(())
}
