//! A broker that is asked is as one that is here.

use crate::support::{Owner, has, messages, publish};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    BinderError, BinderHealth, Create, DestinationSpec, DynBinder, Guarantee, Message, Outgoing, Progress,
    PublishError, SourceSpec, Start, Timestamp,
};
use tidings_manage::{ServerOptions, Way};

fn watermark(watermark: u64) -> Progress {
    Progress {
        watermark,
        ..Progress::default()
    }
}

fn spec(name: &str) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "charge".into(),
        group: Some("billing".into()),
        inputs: vec![tidings_core::SourceInput {
            destination: name.into(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(100),
        commit_every: 1_000,
        revoke_timeout: Duration::from_secs(1),
        guarantee: Guarantee::AtLeastOnce,
    }
}

#[tokio::test]
async fn every_question_has_the_same_answer_as_in_the_process_itself() {
    let owner = Owner::plain();
    let connection = owner.connect().await;
    let (here, there) = (&owner.broker, connection.binder());
    assert!(
        matches!(connection.way(), Way::Running { app, pid } if app == "shop" && *pid == std::process::id())
    );
    assert!(connection.service().is_none(), "this process has no app");
    assert_eq!(
        (there.kind(), there.capabilities()),
        (here.kind(), here.capabilities())
    );
    assert_eq!(there.health(), BinderHealth::Up);

    has(&**there, "orders", 2).await;
    for number in 0..10 {
        let message =
            Message::new(format!("{number}")).with_timestamp(Timestamp::from_millis(number * 1_000));
        let at = publish(&**there, "orders", 1, message).await;
        assert_eq!((at.partition(), at.offset()), (1, number as u64));
    }
    there.sink().flush().await.unwrap();
    assert_eq!(
        messages(&**there, "orders", 1).await,
        messages(&**here, "orders", 1).await
    );
    assert_eq!(messages(&**there, "orders", 1).await.len(), 10);
    assert_eq!(
        there.destinations().await.unwrap(),
        here.destinations().await.unwrap()
    );
    assert_eq!(
        there
            .offset_at("orders", 1, Timestamp::from_millis(3_500))
            .await
            .unwrap(),
        4
    );

    let progress = Progress {
        watermark: 3,
        finished: vec![5..6, 8..10],
        attempts: vec![(4, 2)],
    };
    there
        .store_progress("orders", 1, "billing", progress.clone())
        .await
        .unwrap();
    let positions = there.positions("orders", Some("billing")).await.unwrap();
    assert_eq!(
        positions,
        here.positions("orders", Some("billing")).await.unwrap()
    );
    assert_eq!(positions[1].progress, Some(progress));
    assert_eq!(there.groups().await.unwrap(), here.groups().await.unwrap());
    let source = here.subscribe(spec("orders")).await.unwrap();
    let groups = there.groups().await.unwrap();
    assert_eq!(groups, here.groups().await.unwrap());
    assert_eq!(groups[0].positions[1].member.as_deref(), Some("charge"));
    let refused = there.delete_progress("orders", "billing").await;
    assert!(matches!(refused, Err(BinderError::Failed { .. })), "{refused:?}");
    drop(source);
    there.delete_progress("orders", "billing").await.unwrap();
    assert_eq!(here.groups().await.unwrap(), []);
    connection.close().await.unwrap();
    assert_eq!(
        owner.broker.health(),
        BinderHealth::Up,
        "the broker is the owner's to close"
    );
}

#[tokio::test]
async fn refusals_are_the_same_as_in_the_process_itself() {
    let owner = Owner::plain();
    let connection = owner.connect().await;
    let (here, there) = (&owner.broker, connection.binder());
    has(&**here, "orders", 1).await;
    let never = |name: &str| DestinationSpec::new(name, 1).create(Create::Never);
    let same = |one: BinderError, other: BinderError| assert_eq!(format!("{one:?}"), format!("{other:?}"));
    same(
        there.prepare(never("none")).await.unwrap_err(),
        here.prepare(never("none")).await.unwrap_err(),
    );
    let mut wrong = never("..");
    wrong.create = Create::IfMissing;
    same(
        there.prepare(wrong.clone()).await.unwrap_err(),
        here.prepare(wrong).await.unwrap_err(),
    );
    same(
        there.read("none", 0, 0, 1).await.unwrap_err(),
        here.read("none", 0, 0, 1).await.unwrap_err(),
    );
    same(
        there.positions("none", None).await.unwrap_err(),
        here.positions("none", None).await.unwrap_err(),
    );
    same(
        there
            .store_progress("orders", 0, "g", watermark(9))
            .await
            .unwrap_err(),
        here.store_progress("orders", 0, "g", watermark(9))
            .await
            .unwrap_err(),
    );
    let outgoing = || {
        let mut outgoing = Outgoing::new("orders", Message::new("x"));
        outgoing.partition = Some(7);
        outgoing
    };
    let (one, other) = (
        there.sink().publish(outgoing()).await.unwrap_err(),
        here.sink().publish(outgoing()).await.unwrap_err(),
    );
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let large = Message::new(vec![0; 2 << 20]);
    let refused = there.sink().publish(Outgoing::new("orders", large)).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(matches!(
        there.subscribe(spec("orders")).await,
        Err(BinderError::Unsupported { .. })
    ));
}

#[tokio::test]
async fn keys_payloads_and_headers_of_any_bytes_arrive_as_they_were() {
    let owner = Owner::plain();
    let connection = owner.connect().await;
    has(&*owner.broker, "orders", 1).await;
    let all: Vec<u8> = (0..=255).collect();
    let sent = [
        Message::new(all.clone())
            .with_key(all.clone())
            .with_header("all", &all)
            .unwrap(),
        Message::new(Vec::new())
            .with_key(Vec::new())
            .with_header("", [])
            .unwrap(),
        Message::tombstone(all.clone()),
        Message::default()
            .with_header("naïve \u{0}\r\n", b"\r\n\r\n")
            .unwrap(),
    ];
    for message in &sent {
        publish(&**connection.binder(), "orders", 0, message.clone()).await;
    }
    let here = messages(&*owner.broker, "orders", 0).await;
    assert_eq!(messages(&**connection.binder(), "orders", 0).await, here);
    for ((_, found), sent) in here.iter().zip(&sent) {
        assert_eq!((found.key(), found.payload()), (sent.key(), sent.payload()));
        for (name, value) in sent.headers() {
            assert_eq!(found.headers().get(name), Some(value), "{name:?}");
        }
    }
    assert_eq!(here.len(), sent.len());
}

#[tokio::test]
async fn ten_thousand_groups_and_destinations_come_page_by_page_and_whole() {
    let owner = Owner::start(ServerOptions::default().page_size(700), None);
    has(&*owner.broker, "orders", 2).await;
    for number in 0..500 {
        has(&*owner.broker, &format!("topic-{number}"), 1).await;
    }
    let stores = (0..10_000).map(|number| {
        let (broker, group) = (owner.broker.clone(), format!("group-{number}"));
        async move { broker.store_progress("orders", 0, &group, watermark(0)).await }
    });
    let stores: Vec<_> = stores.map(tokio::spawn).collect();
    for stored in stores {
        stored.await.unwrap().unwrap();
    }
    let connection = owner.connect().await;
    let groups = connection.binder().groups().await.unwrap();
    assert_eq!(groups.len(), 10_000);
    assert_eq!(groups, owner.broker.groups().await.unwrap());
    assert_eq!(connection.binder().destinations().await.unwrap().len(), 501);
}

#[tokio::test]
async fn many_messages_keep_their_order_and_each_has_its_receipt() {
    let owner = Owner::start(ServerOptions::default().read_bytes(4 << 10), None);
    has(&*owner.broker, "orders", 1).await;
    let connection = owner.connect().await;
    let sink = connection.binder().sink();
    let receipts: Vec<_> = (0..5_000u64)
        .map(|number| sink.publish(Outgoing::new("orders", Message::new(number.to_string()))))
        .collect();
    sink.flush().await.unwrap();
    for (number, receipt) in (0..).zip(receipts) {
        assert_eq!(receipt.await.unwrap().offset(), number);
    }
    let read = messages(&**connection.binder(), "orders", 0).await;
    let numbers = read.iter().map(|(_, message)| message.payload().unwrap().clone());
    assert!(numbers.eq((0..5_000).map(|number| number.to_string())));
}

#[tokio::test]
async fn a_service_that_has_gone_is_said_to_be_down() {
    let owner = Owner::plain();
    has(&*owner.broker, "orders", 1).await;
    let connection = owner.connect().await;
    let binder: Arc<dyn DynBinder> = connection.binder().clone();
    owner.server.close().await;
    let refused = binder.destinations().await.unwrap_err().to_string();
    assert!(refused.contains(&owner.address().to_string()), "{refused}");
    assert!(matches!(binder.health(), BinderHealth::Down(_)));
    let refused = binder
        .sink()
        .publish(Outgoing::new("orders", Message::new("x")))
        .await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(binder.sink().flush().await.is_err());
}
