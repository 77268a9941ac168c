//! A broker that dies, freezes, comes back, or does not.

use crate::load::{Load, PATIENCE, Verdict};
use crate::own::{blocking, own, topic};
use brokers::{Kafka, Options};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{Binder, BinderHealth};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes and handles for some seconds while something is done to the broker; when the fault began and was over.
async fn under_load(
    test: &str,
    options: Options,
    fault: impl FnOnce(Arc<Kafka>) + Send + 'static,
) -> Option<(Verdict, Instant, Instant)> {
    let own = own(test, options).await?;
    let (publisher, member) = (own.binder(&[]), own.binder(&[("session.timeout.ms", "6000")]));
    let orders = topic(&publisher, "orders", 6).await;
    let load = Load::default();
    let service = load.member(1, member, &orders, "billing").await;
    service.has_lanes().await;
    let publishing = load.publish(&publisher, &orders, 20);
    tokio::time::sleep(2 * SECOND).await;
    let began = Instant::now();
    let kafka = own.kafka.clone();
    blocking(move || fault(kafka)).await;
    let over = Instant::now();
    let before = load.acked();
    tokio::time::sleep(2 * SECOND).await;
    publishing.end().await;
    let verdict = load.judge().await;
    assert!(load.acked() > before, "it goes on after the fault");
    let healthy = |_: &_| matches!(service.binder.health(), BinderHealth::Up);
    service.until("health", healthy).await;
    service.stop().await;
    let _ = publisher.close().await;
    Some((verdict, began, over))
}

/// Duplicates come only of what was handled within the fault, or so shortly before that it was not committed yet.
fn duplicates_are_of_the_fault(verdict: &Verdict, began: Instant, over: Instant) {
    // Progress is stored each 100 ms; a busy machine may take its time, and a member joins again after the fault.
    let window = began - 3 * SECOND..over + PATIENCE;
    let outside = verdict
        .duplicates
        .iter()
        .filter(|at| !window.contains(*at))
        .count();
    assert_eq!(outside, 0, "handled twice although nothing was wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing_and_keeps_the_order_of_keys() {
    let test = "a_broker_that_is_killed_and_comes_back_loses_nothing_and_keeps_the_order_of_keys";
    let faulted = under_load(test, Options::plain(), |kafka| {
        for _ in 0..2 {
            kafka.kill(1).unwrap();
            std::thread::sleep(SECOND);
            kafka.start_node(1).unwrap();
            std::thread::sleep(SECOND);
        }
    });
    let Some((verdict, began, over)) = faulted.await else {
        return;
    };
    verdict.is_good("killed twice");
    duplicates_are_of_the_fault(&verdict, began, over);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_freezes_beyond_the_session_loses_nothing_and_keeps_the_order_of_keys() {
    let test = "a_broker_that_freezes_beyond_the_session_loses_nothing_and_keeps_the_order_of_keys";
    let faulted = under_load(test, Options::plain(), |kafka| {
        kafka.pause(1).unwrap();
        std::thread::sleep(9 * SECOND);
        kafka.resume(1).unwrap();
    });
    let Some((verdict, began, over)) = faulted.await else {
        return;
    };
    verdict.is_good("frozen for 9 s");
    duplicates_are_of_the_fault(&verdict, began, over);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_stops_within_its_deadline_also_when_its_broker_is_gone() {
    let test = "a_service_stops_within_its_deadline_also_when_its_broker_is_gone";
    let Some(own) = own(test, Options::plain()).await else {
        return;
    };
    // Dead, and frozen: the one refuses connections, the other says nothing.
    for frozen in [true, false] {
        let (publisher, member) = (own.binder(&[]), own.binder(&[]));
        let orders = topic(&publisher, "orders", 2).await;
        let load = Load::default();
        let service = load.member(1, member, &orders, "billing").await;
        service.has_lanes().await;
        let publishing = load.publish(&publisher, &orders, 4);
        service.until("handlings", |_| load.handled() > 100).await;
        let kafka = own.kafka.clone();
        blocking(move || if frozen { kafka.pause(1) } else { kafka.kill(1) }.unwrap()).await;
        tokio::time::sleep(SECOND / 2).await;
        let began = Instant::now();
        let drained = service.running.drain().await;
        let took = began.elapsed();
        // The service's deadline is 5 s, with a second for what the program itself has published, and as much again for
        // a machine that is busy. Without a deadline it would be the two minutes of a message.
        assert!(took < 15 * SECOND, "frozen: {frozen}: {took:?}, {drained:?}");
        let began = Instant::now();
        let _ = service.binder.close().await;
        drop(service);
        let took = began.elapsed();
        assert!(took < 25 * SECOND, "closing, frozen: {frozen}: {took:?}");
        let kafka = own.kafka.clone();
        blocking(move || {
            if frozen {
                kafka.resume(1)
            } else {
                kafka.start_node(1)
            }
            .unwrap()
        })
        .await;
        publishing.end().await;
        // What was not finished is there for the next one.
        let service = load.member(2, own.binder(&[]), &orders, "billing").await;
        load.judge().await.is_good("stopped without a broker");
        service.stop().await;
        let _ = publisher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_to_a_broker_that_is_gone_is_an_error_to_its_caller_and_closing_does_not_hang() {
    let test = "a_publish_to_a_broker_that_is_gone_is_an_error_to_its_caller_and_closing_does_not_hang";
    let Some(own) = own(test, Options::plain()).await else {
        return;
    };
    let binder = own.binder(&[("message.timeout.ms", "3000")]);
    let orders = topic(&binder, "orders", 1).await;
    let sink = binder.sink();
    sink.publish(crate::shapes::to(&orders, 0, "before"))
        .await
        .expect("it is kept");
    let kafka = own.kafka.clone();
    blocking(move || kafka.kill(1).unwrap()).await;
    let began = Instant::now();
    let error = sink
        .publish(crate::shapes::to(&orders, 0, "after"))
        .await
        .expect_err("nobody is there");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(error.to_string().contains(&*orders), "{error}");
    let began = Instant::now();
    let _ = binder.close().await;
    drop(binder);
    assert!(began.elapsed() < 25 * SECOND, "{:?}", began.elapsed());
}
