//! Dead letters: looked at, sent back, and those that the server makes by itself.

use crate::world::*;
use brokers::{RabbitApi, VirtualHost};
use lapin::options::{BasicGetOptions, BasicRejectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tidings::{DeadLetter, Delivery, Failure, Running, Selection, on};
use tidings_core::{Binder, BinderLayer, DynBinder, Layered, Message, Outgoing, Retry, names};
use tidings_rabbitmq::{ClientOptions, QueueType, RabbitBinder};
use tidings_runtime::{RedriveInput, RedriveMode, RedriveSpec, redrive};
use tokio::time::sleep;

const LETTERS: &str = "orders.billing.dlq";
const RETRY: &str = "orders.billing.retry";

fn payload(letter: &DeadLetter) -> u64 {
    let payload = letter.message.payload().unwrap();
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn ready(host: &VirtualHost, queue: &str) -> u64 {
    let queue = host.queue(queue).unwrap();
    queue.and_then(|queue| queue.ready).unwrap_or_default()
}

async fn has_ready(host: &VirtualHost, queue: &str, count: u64) {
    until(&format!("{count} are in {queue}"), || ready(host, queue) == count).await;
}

async fn letters_of(running: &Running) -> Vec<u64> {
    let letters = running.dead_letters("orders").await.unwrap();
    letters.iter().map(payload).collect()
}

/// A service that has read once, so that every queue is there, and reads no more.
async fn left_behind(host: &VirtualHost, binder: &Arc<RabbitBinder>) {
    let running = start(binder, World::default().subscription(1)).await;
    has_consumers(host, "orders.billing", 1).await;
    assert!(running.drain().await.finished_in_time);
}

/// So many letters of the group, as the engine writes them, numbered.
async fn put_letters(binder: &RabbitBinder, count: u64) {
    let sink = Binder::sink(binder);
    let outgoing = (0..count).map(|id| {
        let headers = [
            (names::MESSAGE_ID, format!("m-{id}")),
            (names::ORIGIN_DESTINATION, "orders".to_owned()),
            (names::ORIGIN_PARTITION, "0".to_owned()),
            (names::ORIGIN_OFFSET, id.to_string()),
            (names::GROUP, "billing".to_owned()),
            (names::REASON, "permanent".to_owned()),
        ];
        let message = Message::new(id.to_string());
        let message = headers.into_iter().fold(message, |message, (name, value)| {
            message.with_header(name, value).unwrap()
        });
        Outgoing::new("orders.DLT", message)
    });
    for receipt in sink.publish_all(outgoing.collect()) {
        receipt.await.unwrap();
    }
}

/// Changes nothing.
#[derive(Debug)]
struct Front(Arc<dyn DynBinder>);

impl BinderLayer for Front {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.0
    }
}

fn spec() -> RedriveSpec {
    let input = RedriveInput {
        destination: "orders".into(),
        dead_letter: "orders.DLT".into(),
        retry: RETRY.into(),
    };
    RedriveSpec::new("billing", vec![input])
}

#[tokio::test]
async fn selected_letters_go_back_to_their_group_alone_and_the_others_stay_in_order() {
    let test = "selected_letters_go_back_to_their_group_alone_and_the_others_stay_in_order";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world, other) = (host(api), World::default(), World::default());
    let binder = binder(&host, |options| options);
    (0..6).for_each(|id| world.fails(id, 3, None));
    (4..6).for_each(|id| other.fails(id, 3, None));
    let billing = start(&binder, world.subscription(1)).await;
    let analytics = start(&binder, other.subscription(2).group("analytics").name("count")).await;
    has_consumers(&host, "orders.analytics", 1).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..6, 1).await;
    has_ready(&host, LETTERS, 6).await;
    has_ready(&host, "orders.analytics.dlq", 2).await;
    let all = billing.dead_letters("orders").await.unwrap();
    assert_eq!(all.iter().map(payload).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let page = billing
        .dead_letters_after("orders", Some(&all[1].position), 2)
        .await
        .unwrap();
    assert_eq!(page, all[2..4], "a page behind a letter");
    let diagnosis = &all[0].diagnosis;
    assert_eq!(
        (
            diagnosis.group.as_deref(),
            diagnosis.reason.as_deref(),
            diagnosis.attempts
        ),
        (Some("billing"), Some("exhausted"), Some(3))
    );
    let even = Selection::matching(|letter| payload(letter).is_multiple_of(2));
    let dry = billing
        .redrive_with("billing", even.clone(), 2, RedriveMode::DryRun)
        .await
        .unwrap();
    assert_eq!((dry.pending, dry.selected, dry.redriven), (6, 2, 0));
    let done = billing.redrive("billing", even).await.unwrap();
    assert_eq!((done.pending, done.selected, done.redriven), (6, 3, 3));
    world.until_succeeded(3).await;
    assert_eq!(world.succeeded(), [0, 2, 4]);
    assert_eq!(
        world.of(2).last().map(|one| one.attempt),
        Some(1),
        "it begins anew"
    );
    assert_eq!(letters_of(&billing).await, [1, 3, 5]);
    let discarded = billing
        .redrive_with(
            "billing",
            Selection::positions([all[3].position.clone()]),
            9,
            RedriveMode::Discard,
        )
        .await
        .unwrap();
    assert_eq!(discarded.discarded, 1);
    assert_eq!(letters_of(&billing).await, [1, 5]);
    assert_eq!(
        letters_of(&analytics).await,
        [4, 5],
        "another group's letters are its own"
    );
    assert_eq!(other.seen().len(), 10, "another group gets nothing again");
    for running in [billing, analytics] {
        assert!(running.drain().await.finished_in_time);
    }
}

#[tokio::test]
async fn who_dies_between_sending_and_finishing_sends_the_same_message_twice() {
    let test = "who_dies_between_sending_and_finishing_sends_the_same_message_twice";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    // Else nobody but its consumer may look into the retry queue.
    let binder = binder(&host, |options| options.with_single_active_consumer(false));
    left_behind(&host, &binder).await;
    put_letters(&binder, 1).await;
    let connection = Connection::connect(&host.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let count = async |queue: &str| {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel.queue_declare(queue.into(), options, FieldTable::default());
        asked.await.unwrap().message_count()
    };
    let mut dying = Box::pin(redrive(&*binder, spec()));
    // It does nothing but when it is polled, so there is a moment when the message is kept and the letter not finished.
    while count(RETRY).await == 0 {
        let ended = poll_fn(|context| Poll::Ready(dying.as_mut().poll(context).is_ready())).await;
        assert!(!ended, "it was stopped in time");
        sleep(Duration::from_millis(50)).await;
    }
    drop(dying);
    // By the queue itself: the server's pages may still show the time before it was held.
    while count(LETTERS).await == 0 {
        sleep(Duration::from_millis(50)).await;
    }
    // By way of what stands in front of the broker in an app, such as its claim store.
    let again = redrive(&Layered(Front(binder)), spec()).await.unwrap();
    assert_eq!((again.pending, again.redriven), (1, 1));
    assert_eq!((count(RETRY).await, count(LETTERS).await), (2, 0));
    let sent = host.peek(RETRY, 9).unwrap();
    let ids = sent.iter().map(|message| &message.properties["message_id"]);
    assert_eq!(ids.collect::<Vec<_>>(), ["m-0", "m-0"]);
}

/// Sends back 10 of so many letters: each is looked at once, and the others are there afterwards.
async fn check_many(api: &RabbitApi, count: u64, change: impl FnOnce(ClientOptions) -> ClientOptions) {
    let host = host(api);
    let binder = binder(&host, change);
    left_behind(&host, &binder).await;
    put_letters(&binder, count).await;
    let every = count / 10;
    let selection = Selection::matching(move |letter| payload(letter).is_multiple_of(every));
    let report = redrive(&*binder, RedriveSpec { selection, ..spec() })
        .await
        .unwrap();
    let expected = (count as usize, 10, 10);
    assert_eq!((report.pending, report.selected, report.redriven), expected);
    has_ready(&host, RETRY, 10).await;
    has_ready(&host, LETTERS, count - 10).await;
    let running = start(&binder, World::default().subscription(1)).await;
    let mut left = Vec::new();
    let mut after = None;
    while let page = running
        .dead_letters_after("orders", after.as_ref(), 1_500)
        .await
        .unwrap()
        && let Some(last) = page.last()
    {
        assert!(left.len() as u64 <= count, "it comes to an end");
        after = Some(last.position.clone());
        left.extend(page.iter().map(payload));
    }
    assert_eq!(left.len() as u64, count - 10);
    assert!(left.is_sorted(), "{left:?}");
    assert_eq!(
        left.into_iter().collect::<BTreeSet<_>>().len() as u64,
        count - 10,
        "each once"
    );
    assert!(running.drain().await.finished_in_time);
}

#[tokio::test]
async fn more_letters_than_fit_into_memory_are_each_looked_at_once() {
    let Some(api) = brokers::rabbit_or_skip("more_letters_than_fit_into_memory_are_each_looked_at_once")
    else {
        return;
    };
    check_many(api, 3_000, |options| options).await;
    check_many(api, 1_000, |options| options.with_letter_bytes(4_096)).await;
    check_many(api, 1_000, |options| {
        options
            .with_letter_bytes(4_096)
            .with_queue_type(QueueType::Classic)
    })
    .await;
    // No letter may be held for long: everything is given back again and again, and nothing is looked at twice.
    check_many(api, 300, |options| options.with_longest_hold(Duration::ZERO)).await;
}

#[tokio::test]
async fn letters_that_are_looked_at_thirty_times_are_all_there() {
    let Some(api) = brokers::rabbit_or_skip("letters_that_are_looked_at_thirty_times_are_all_there") else {
        return;
    };
    let host = host(api);
    let binder = binder(&host, |options| options);
    let running = start(&binder, World::default().subscription(1)).await;
    has_consumers(&host, "orders.billing", 1).await;
    put_letters(&binder, 40).await;
    let first = running.dead_letters("orders").await.unwrap();
    assert_eq!(first.len(), 40);
    for _ in 0..30 {
        assert_eq!(
            running.dead_letters("orders").await.unwrap(),
            first,
            "the same, where they were"
        );
    }
    // RabbitMQ 4 has a limit of 20 where none is set.
    let queue = api.get(&host.path("queues", LETTERS)).unwrap();
    assert!(
        queue["arguments"]["x-delivery-limit"].as_u64() > Some(1_000_000),
        "{queue}"
    );
    assert!(running.drain().await.finished_in_time);
}

async fn get(channel: &Channel) -> u64 {
    let options = BasicGetOptions::default();
    loop {
        if let Some(message) = channel.basic_get("orders.billing".into(), options).await.unwrap() {
            return message.delivery_tag;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// One message is too old, one is rejected, and one comes back too often.
async fn given_up_by_the_server(host: &VirtualHost, binder: &RabbitBinder) {
    let old = Message::new("1").with_header("amqp-expiration", "50").unwrap();
    Binder::sink(binder)
        .publish(Outgoing::new("orders", old))
        .await
        .unwrap();
    has_ready(host, LETTERS, 1).await;
    let connection = Connection::connect(&host.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let reject = async |requeue| {
        let tag = get(&channel).await;
        channel
            .basic_reject(tag, BasicRejectOptions { requeue })
            .await
            .unwrap();
    };
    publish(binder, [2], 1).await;
    reject(false).await;
    has_ready(host, LETTERS, 2).await;
    publish(binder, [3], 1).await;
    for _ in 0..3 {
        reject(true).await;
    }
    has_ready(host, LETTERS, 3).await;
}

#[tokio::test]
async fn what_the_server_gives_up_has_a_diagnosis_and_can_be_sent_back() {
    let test = "what_the_server_gives_up_has_a_diagnosis_and_can_be_sent_back";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| {
        // Else nobody but its consumer may take a message from the queue.
        options
            .with_delivery_limit(Some(2))
            .with_single_active_consumer(false)
    });
    left_behind(&host, &binder).await;
    given_up_by_the_server(&host, &binder).await;
    let running = start(&binder, world.subscription(1)).await;
    let letters = running.dead_letters("orders").await.unwrap();
    let expected = [
        (
            1,
            "expired",
            "expired after 50 ms in the queue \"orders.billing\"",
            None,
        ),
        (2, "rejected", "rejected by a client", Some(1)),
        (
            3,
            "delivery-limit",
            "more often than the queue \"orders.billing\" allows",
            Some(1),
        ),
    ];
    assert_eq!(letters.len(), expected.len());
    for (letter, (id, reason, words, tries)) in letters.iter().zip(expected) {
        let diagnosis = &letter.diagnosis;
        assert_eq!((payload(letter), diagnosis.reason.as_deref()), (id, Some(reason)));
        assert!(diagnosis.error.as_ref().unwrap().contains(words), "{diagnosis:?}");
        assert_eq!(
            (diagnosis.group.as_deref(), diagnosis.tries()),
            (Some("billing"), tries)
        );
        let origin = diagnosis.position.as_ref().map(|position| position.destination());
        assert_eq!(origin, Some("orders"));
        assert!(diagnosis.last_failure.is_some());
    }
    let done = running
        .redrive("billing", Selection::ErrorContains("orders.billing".into()))
        .await
        .unwrap();
    assert_eq!(done.redriven, 3);
    world.until_succeeded(3).await;
    assert!(
        world.seen().iter().all(|one| one.attempt == 1),
        "{:?}",
        world.seen()
    );
    assert!(letters_of(&running).await.is_empty());
    assert!(running.drain().await.finished_in_time);
}

#[tokio::test]
async fn letters_of_one_place_for_several_destinations_stay_apart() {
    let Some(api) = brokers::rabbit_or_skip("letters_of_one_place_for_several_destinations_stay_apart")
    else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let binder = binder(&host, |options| options);
    let returns = |delivery: Delivery| async move {
        drop(delivery);
        Err::<(), _>(Failure::permanent("never"))
    };
    let orders = world
        .subscription(1)
        .dead_letter("graveyard")
        .retry(Retry::none());
    world.fails(1, 1, None);
    let returns = on("returns", returns)
        .group("billing")
        .name("refund")
        .dead_letter("graveyard");
    let (orders, returns) = (start(&binder, orders).await, start(&binder, returns).await);
    has_consumers(&host, "orders.billing", 1).await;
    has_consumers(&host, "returns.billing", 1).await;
    publish(&binder, [1], 1).await;
    let returned = Outgoing::new("returns", Message::new("2"));
    Binder::sink(&*binder).publish(returned).await.unwrap();
    has_ready(&host, LETTERS, 1).await;
    has_ready(&host, "returns.billing.dlq", 1).await;
    let done = orders.redrive("billing", Selection::All).await.unwrap();
    assert_eq!((done.pending, done.redriven), (1, 1));
    world.until_succeeded(1).await;
    assert_eq!(ready(&host, "returns.billing.dlq"), 1);
    for running in [orders, returns] {
        assert!(running.drain().await.finished_in_time);
    }
}
