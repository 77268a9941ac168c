//! Handlers, what they return, and what they are not called for.

use crate::apps::{app, until};
use crate::faulty::{Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict, text_of};
use crate::world::{World, id_of, message};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tidings::{
    Event, Failure, Json, Message, Output, Outputs, Publisher, Raw, Retry, Text, To, every, names, on,
};

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "payment.taken", key = "order")]
struct Paid {
    order: String,
}

/// A handler that answers each number with an event.
async fn charge(Text(order): Text) -> Paid {
    Paid { order }
}

pub(crate) async fn every_message_is_handled_once_and_its_position_stored(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    let running = stage.run(&broker, world.subscription().concurrency(4)).await;
    for id in 0..100 {
        running.order(id, &format!("key {}", id % 7)).await;
    }
    running.settled().await;
    let mut handled: Vec<_> = world.handlings().iter().map(|handling| handling.id).collect();
    handled.sort_unstable();
    assert_eq!(
        handled,
        (0..100).collect::<Vec<_>>(),
        "without a fault there are no duplicates"
    );
    assert!(running.0.stop().await.finished_in_time);
    let stored: u64 = broker
        .stored("orders", "billing")
        .await
        .into_iter()
        .flatten()
        .sum();
    assert_eq!(stored, 100, "after quiet everything is committed");
    Ok(())
}

pub(crate) async fn outputs_are_published_before_their_input_is_finished(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let running = stage
        .start(
            &broker,
            app().add(on("orders", charge).group("billing").to("payments")),
        )
        .await;
    faults.publishes("payments", PublishFault::Refused, usize::MAX);
    running.order(1, "a").await;
    tokio::time::sleep(stage.seconds(50.0)).await;
    assert!(faults.tries("payments") > 3, "it is tried again and again");
    let stored: u64 = broker
        .stored("orders", "billing")
        .await
        .into_iter()
        .flatten()
        .sum();
    assert_eq!(stored, 0, "what its handler returned is not kept yet");
    let status = running.status("billing");
    assert_eq!(status.handled, 0);
    assert!(
        status.obstacle.is_some_and(|why| why.contains("payments")),
        "health says what and why"
    );
    faults.heal();
    running.settled().await;
    assert_eq!(
        running.published("payments").await,
        [r#"{"order":"1"}"#],
        "and the handler ran once"
    );
    Ok(())
}

pub(crate) async fn outputs_that_may_have_been_published_come_again_with_the_same_id(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let running = stage
        .start(
            &broker,
            app().add(on("orders", charge).group("billing").to("payments")),
        )
        .await;
    faults.publishes("payments", PublishFault::Doubted, 1);
    faults.publishes("payments", PublishFault::Unanswered, 1);
    running.order(1, "a").await;
    running.settled().await;
    let published = running.0.published("payments").await.expect("they can be read");
    assert_eq!(published.len(), 3, "each doubt is one more");
    let ids: Vec<_> = published
        .iter()
        .map(|one| one.headers().get_str(names::MESSAGE_ID))
        .collect();
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    Ok(())
}

pub(crate) async fn outputs_of_a_message_that_is_handled_again_have_the_same_ids(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let twice = |Text(order): Text| async move {
        let paid = |n: u32| Paid {
            order: format!("{order}-{n}"),
        };
        vec![paid(1), paid(2)]
    };
    let part = || app().add(on("orders", twice).group("billing").to("payments"));
    let running = stage.start(&broker, part()).await;
    // The outputs are kept, that the input is finished is not.
    faults.forget_progress();
    running.order(1, "a").await;
    until("both outputs", || faults.tries("payments") == 2).await;
    broker.sink().flush().await.expect("both are kept");
    running.kill().await;
    faults.heal();
    let running = stage.start(&broker, part()).await;
    running.settled().await;
    let published = running.0.published("payments").await.expect("they can be read");
    let mut ids: Vec<_> = published
        .iter()
        .map(|one| (text_of(one), one.headers().get_str(names::MESSAGE_ID)))
        .collect();
    assert_eq!(ids.len(), 4);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2, "who takes them knows them by their ids: {ids:?}");
    Ok(())
}

pub(crate) async fn several_outputs_keep_their_order_and_go_where_they_say(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let fan_out = |Text(order): Text| async move {
        let numbered = (0..20).map(|n| Output::message(Message::new(format!("{order}-{n}")).with_key("k")));
        let back = Output::message(Message::new("back")).to("refunds");
        numbered.chain([back]).collect::<Outputs>()
    };
    let paid = |Text(_): Text| async {
        To(
            "refunds",
            Paid {
                order: "x".to_owned(),
            },
        )
    };
    let app = app()
        .add(on("orders", fan_out).group("billing").to("payments"))
        .add(on("orders", paid).group("refunding"))
        .publishes("refunds");
    let running = stage.start(&broker, app).await;
    running.order(7, "a").await;
    running.settled().await;
    let all = running.0.published("payments").await.expect("they can be read");
    let texts: Vec<_> = all.iter().map(text_of).collect();
    assert_eq!(texts, (0..20).map(|n| format!("7-{n}")).collect::<Vec<_>>());
    assert_eq!(running.published("refunds").await, ["back", r#"{"order":"x"}"#]);
    Ok(())
}

pub(crate) async fn an_output_that_can_never_be_published_is_a_permanent_failure_of_its_input(
    stage: Stage,
) -> Verdict {
    let (broker, faults) = Faults::over(&stage.open().await);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let charge = move |Text(order): Text| {
        counted.fetch_add(1, SeqCst);
        async move { Paid { order } }
    };
    let running = stage
        .start(
            &broker,
            app().add(on("orders", charge).group("billing").to("payments")),
        )
        .await;
    faults.publishes("payments", PublishFault::Forbidden, usize::MAX);
    running.order(1, "a").await;
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].diagnosis.reason.as_deref(), Some("permanent"));
    assert_eq!(calls.load(SeqCst), 1, "its work is done: it is not run again");
    Ok(())
}

pub(crate) async fn what_the_filter_refuses_is_finished_without_a_call(stage: Stage) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, world) = (stage.open().await, World::default());
    let even = |delivery: &tidings::Delivery| id_of(delivery.payload().unwrap_or_default()).is_multiple_of(2);
    let running = stage.run(&broker, world.subscription().filter(even)).await;
    for id in 0..20 {
        running.order(id, "a").await;
    }
    running.settled().await;
    assert_eq!(world.succeeded(), (0..20).step_by(2).collect::<Vec<_>>());
    assert_eq!(running.status("billing").filtered, 10);
    running.0.stop().await;
    let stored: u64 = broker
        .stored("orders", "billing")
        .await
        .into_iter()
        .flatten()
        .sum();
    assert_eq!(stored, 20);
    Ok(())
}

pub(crate) async fn one_handler_reads_several_channels(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let handler = {
        let world = world.clone();
        move |delivery: tidings::Delivery| world.clone().handle(delivery)
    };
    let running = stage
        .run(
            &broker,
            on(["orders", "payments", "refunds"], handler).group("audit"),
        )
        .await;
    for (id, channel) in (0..).zip(["orders", "payments", "refunds"]) {
        running.send(channel, message(id, None)).await;
    }
    running.settled().await;
    let mut from: Vec<_> = world
        .handlings()
        .iter()
        .map(|handling| (handling.id, handling.position.destination().to_owned()))
        .collect();
    from.sort();
    assert_eq!(
        from,
        [
            (0, "orders".into()),
            (1, "payments".into()),
            (2, "refunds".into())
        ]
    );
    Ok(())
}

pub(crate) async fn a_payload_of_another_type_is_not_decoded(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let handler = async |Json(_): Json<Paid>| {};
    let running = stage.run(&broker, on("orders", handler).group("billing")).await;
    let payload = r#"{"order":"1"}"#;
    let typed = |content_type: &str| {
        let message = Message::new(payload).with_header(names::CONTENT_TYPE, content_type);
        message.expect("a small header")
    };
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/xml",
    ] {
        running.send("orders", typed(content_type)).await;
    }
    running.send("orders", Message::new(payload)).await;
    running.settled().await;
    assert_eq!(running.status("billing").handled, 3);
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    assert_eq!(letters.len(), 1);
    let diagnosis = &letters[0].diagnosis;
    assert_eq!(
        (diagnosis.reason.as_deref(), diagnosis.attempts),
        (Some("undecodable"), Some(1))
    );
    assert!(
        diagnosis
            .error
            .as_ref()
            .is_some_and(|error| error.contains("application/xml"))
    );
    Ok(())
}

pub(crate) async fn every_publish_says_what_it_is_and_what_caused_it(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let by_hand = async |Text(_): Text, publisher: Publisher| -> Result<(), Failure> {
        publisher
            .publish(
                "refunds",
                &Paid {
                    order: "2".to_owned(),
                },
            )
            .await?;
        Ok(())
    };
    let app = app()
        .add(on("orders", charge).group("billing").to("payments"))
        .add(on("orders", by_hand).group("refunding"))
        .publishes("refunds");
    let running = stage.start(&broker, app).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let first = message(1, Some("a"))
        .with_header(names::TRACEPARENT, trace)
        .expect("a small header");
    running.send("orders", first).await;
    running.settled().await;
    let input = running
        .0
        .published("orders")
        .await
        .expect("they can be read")
        .remove(0);
    let id = input
        .headers()
        .get_str(names::MESSAGE_ID)
        .expect("every message has an id");
    assert_eq!(
        input.headers().get_str(names::CORRELATION_ID),
        Some(id),
        "it began something"
    );
    for channel in ["payments", "refunds"] {
        let output = running
            .0
            .published(channel)
            .await
            .expect("they can be read")
            .remove(0);
        let header = |name| output.headers().get_str(name);
        assert!(
            header(names::MESSAGE_ID).is_some_and(|own| own != id),
            "{channel}"
        );
        assert_eq!(header(names::CORRELATION_ID), Some(id), "{channel}");
        assert_eq!(header(names::CAUSATION_ID), Some(id), "{channel}");
        assert_eq!(header(names::TYPE), Some("payment.taken"), "{channel}");
        assert_eq!(header(names::CONTENT_TYPE), Some("application/json"), "{channel}");
        let parent = header(names::TRACEPARENT).expect("the trace goes on");
        assert!(
            parent.starts_with(&trace[..36]) && parent != trace,
            "{channel}: {parent}"
        );
        assert!(
            output.timestamp().is_some_and(|time| time.as_millis() > 0),
            "{channel}"
        );
    }
    Ok(())
}

pub(crate) async fn producers_publish_by_themselves(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let ticks = Arc::new(AtomicU32::new(0));
    let counted = ticks.clone();
    let tick = move || {
        let tick = counted.fetch_add(1, SeqCst);
        async move {
            match tick {
                2 => Err(Failure::transient("not now")),
                _ => Ok(Paid {
                    order: tick.to_string(),
                }),
            }
        }
    };
    let running = stage
        .start(
            &broker,
            app().add(every(Duration::from_secs(60), tick).to("payments")),
        )
        .await;
    faults.publishes("payments", PublishFault::Refused, 2);
    tokio::time::sleep(Duration::from_secs(60 * 5 + 30)).await;
    let called = ticks.load(SeqCst);
    assert!((5..=6).contains(&called), "{called}");
    let published = running.published("payments").await;
    assert_eq!(
        published.len() as u32,
        called - 1,
        "all but the one that failed, and each once: {published:?}"
    );
    Ok(())
}

pub(crate) async fn a_panic_and_a_timeout_are_failures_and_the_subscription_goes_on(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let handler = |Raw(payload): Raw, tidings::Attempt(attempt): tidings::Attempt| async move {
        match (&payload[..], attempt) {
            (b"panic", 1) => panic!("as the case says"),
            (b"hang", 1) => std::future::pending::<()>().await,
            (b"always", _) => panic!("whatever happens"),
            _ => {}
        }
    };
    let subscription = on("orders", handler)
        .group("billing")
        .timeout(stage.seconds(5.0))
        .retry(Retry::fixed(2, Duration::from_millis(100)));
    let running = stage.run(&broker, subscription).await;
    for payload in ["panic", "hang", "always", "fine"] {
        running.send("orders", Message::new(payload).with_key("a")).await;
    }
    running.settled().await;
    let status = running.status("billing");
    assert_eq!((status.handled, status.dead_lettered, status.failed), (3, 1, 4));
    assert_eq!(running.dead().await, ["always"]);
    until("an idle subscription", || running.status("billing").idle).await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let error = letters[0].diagnosis.error.clone().unwrap_or_default();
    assert!(error.contains("whatever happens"), "{error}");
    Ok(())
}
