//! Requests and their replies.

use crate::apps::{Running, app, retry, until};
use crate::stage::{Broker, Stage, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tidings::{App, Event, Failure, Json, Message, Publisher, Reply, RequestError, names, on};
use tidings_core::Outgoing;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Longer than any broker takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Event, Serialize, Deserialize)]
#[event(name = "price.asked", key = "item")]
struct Ask {
    item: u64,
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "price")]
struct Price {
    cents: u64,
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "stock")]
struct Stock {
    left: u64,
}

/// Ten times the number of the item; nobody has the item 13, and 99 needs a moment that never comes.
async fn price(Json(ask): Json<Ask>) -> Result<Reply<Price>, Failure> {
    match ask.item {
        13 => Err(Failure::permanent("no such item")),
        99 => Err(Failure::transient("ask again")),
        item => Ok(Reply(Price { cents: 10 * item })),
    }
}

/// An app that answers, and asks.
fn shop(stage: &Stage) -> App {
    let answering = on("orders", price)
        .group("prices")
        .concurrency(8)
        .retry(retry(2, stage.seconds(1.0)));
    app().publishes("orders").add(answering)
}

async fn ask(running: &Running, item: u64) -> Result<Price, RequestError> {
    let publisher = running.0.running().publisher();
    publisher.request("orders", &Ask { item }, PATIENCE).await
}

pub(crate) async fn each_of_many_requests_gets_its_own_reply(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let running = stage.start(&broker, shop(&stage)).await;
    let asked = (100..200).map(|item| {
        let publisher = running.0.running().publisher().clone();
        tokio::spawn(async move {
            let asked = publisher.to("orders").header("tenant", "acme");
            (item, asked.request::<Price>(&Ask { item }, PATIENCE).await)
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        let (item, price) = asked.await.expect("it does not panic");
        assert_eq!(price.expect("it is answered").cents, 10 * item);
    }
    let status = running.0.running().status();
    let requests = &status.requests["main"];
    assert_eq!(
        (
            requests.open,
            requests.answered,
            requests.unanswered,
            requests.late
        ),
        (0, 100, 0, 0)
    );
    // Each was kept before its message was finished.
    until("all are handled", || running.status("prices").handled == 100).await;
    assert_eq!(running.status("prices").replies.sent, 100);
    Ok(())
}

pub(crate) async fn instances_of_an_app_each_get_their_own_replies(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let answering = stage.start(&broker, shop(&stage)).await;
    let asking = || stage.start(&broker, app().publishes("orders"));
    let (one, other) = (asking().await, asking().await);
    for item in 0..10 {
        let (one, other) = tokio::join!(ask(&one, item), ask(&other, 100 + item));
        assert_eq!(one.expect("it is answered").cents, 10 * item);
        assert_eq!(other.expect("it is answered").cents, 10 * (100 + item));
    }
    for running in [&one, &other] {
        let requests = &running.0.running().status().requests["main"];
        assert_eq!((requests.answered, requests.late), (10, 0));
    }
    drop(answering);
    Ok(())
}

/// One with a gate in front of its handler.
fn gated(gate: &Arc<Semaphore>) -> App {
    let gate = gate.clone();
    let handler = move |Json(ask): Json<Ask>| {
        let gate = gate.clone();
        async move {
            let passed = gate.acquire().await;
            passed.expect("it is never closed").forget();
            Ok::<_, Failure>(Reply(Price { cents: ask.item }))
        }
    };
    app().add(on("orders", handler).group("prices").concurrency(8))
}

pub(crate) async fn a_reply_that_comes_too_late_is_counted_and_thrown_away(stage: Stage) -> Verdict {
    let (broker, gate) = (stage.open().await, Arc::new(Semaphore::new(0)));
    let running = stage.start(&broker, gated(&gate)).await;
    let publisher = running.0.running().publisher();
    let wait = Duration::from_secs(2);
    let asked = publisher.request::<Price>("orders", &Ask { item: 1 }, wait).await;
    let Err(RequestError::TimedOut { channel, after, .. }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!((channel.as_str(), after), ("orders", wait));
    gate.add_permits(2);
    let requests = || running.0.running().status().requests["main"].clone();
    until("the late reply", || requests().late == 1).await;
    // The next one gets its own, and not the one before.
    assert_eq!(ask(&running, 2).await.expect("it is answered").cents, 2);
    let requests = requests();
    assert_eq!((requests.open, requests.answered, requests.unanswered), (0, 1, 1));
    Ok(())
}

pub(crate) async fn who_asks_is_told_at_once_when_the_request_is_given_up(stage: Stage) -> Verdict {
    for config in ["", "[subscription.prices]\nlose_exhausted_messages = true\n"] {
        let stage = stage.anew();
        let broker = stage.open().await;
        // Another group that fails has nothing to say to who asks.
        let failing =
            async |_: tidings::Raw| -> Result<(), Failure> { Err(Failure::permanent("not for me")) };
        let app = shop(&stage).add(on("orders", failing).group("audit"));
        let running = stage.start_with(&broker, app, config).await;
        for (item, expected, words) in [(13, "permanent", "no such item"), (99, "exhausted", "ask again")] {
            let begun = Instant::now();
            let asked = ask(&running, item).await;
            let Err(RequestError::Failed {
                subscription,
                reason,
                error,
            }) = asked
            else {
                panic!("{asked:?}")
            };
            assert_eq!((subscription.as_str(), reason.as_str()), ("prices", expected));
            assert!(error.contains(words), "{error}");
            assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        }
        until("both are told", || running.status("prices").replies.sent == 2).await;
        assert_eq!(running.status("audit").replies, tidings::ReplyStatus::default());
        assert_eq!(ask(&running, 1).await.expect("it goes on").cents, 10);
    }
    Ok(())
}

async fn send(broker: &Broker, item: u64, reply_to: Option<&str>) {
    let message = Message::new(format!("{{\"item\":{item}}}"));
    let message = match reply_to {
        Some(address) => message
            .with_header(names::REPLY_TO, address)
            .expect("a small header"),
        None => message,
    };
    let sent = broker.send(Outgoing::new("orders", message)).await;
    sent.expect("it is kept");
}

pub(crate) async fn a_reply_that_reaches_nobody_holds_up_nothing(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let running = stage.start(&broker, shop(&stage)).await;
    // Who asks wants no reply, has died, or would have it written into somebody else's messages.
    send(&broker, 1, None).await;
    send(&broker, 2, Some("long-gone.replies")).await;
    send(&broker, 3, Some("payments")).await;
    send(&broker, 13, Some("payments")).await;
    until("all are handled", || {
        let status = running.status("prices");
        (status.handled, status.dead_lettered) == (3, 1)
    })
    .await;
    assert_eq!(ask(&running, 4).await.expect("it goes on").cents, 40);
    // A broker may need longer than a lane waits to say that there is no such destination.
    until("what became of the replies is known", || {
        let replies = running.status("prices").replies;
        (replies.sent, replies.orphaned) == (1, 1)
    })
    .await;
    let replies = running.status("prices").replies;
    assert_eq!(
        (
            replies.unaddressed,
            replies.orphaned,
            replies.refused,
            replies.not_taken
        ),
        (1, 1, 2, 0)
    );
    Ok(())
}

pub(crate) async fn a_reply_of_another_shape_is_an_error_that_names_it(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let running = stage.start(&broker, shop(&stage)).await;
    let publisher = running.0.running().publisher();
    let asked = publisher
        .request::<Stock>("orders", &Ask { item: 1 }, PATIENCE)
        .await;
    let Err(error @ RequestError::Undecodable { .. }) = asked else {
        panic!("{asked:?}")
    };
    assert!(error.to_string().contains("a \"price\""), "{error}");
    Ok(())
}

pub(crate) async fn open_requests_are_bounded_and_end_with_the_service(stage: Stage) -> Verdict {
    let (broker, gate) = (stage.open().await, Arc::new(Semaphore::new(0)));
    let config = "[app]\nmax_open_requests = 2\ndrain_timeout = \"1s\"\n";
    let asking = app().publishes("orders");
    let running = stage.start_with(&broker, asking, config).await;
    let answering = stage.start(&broker, gated(&gate)).await;
    let publisher = running.0.running().publisher().clone();
    let asked: Vec<_> = (0..2)
        .map(|item| tokio::spawn(ask_by(publisher.clone(), item)))
        .collect();
    let requests = || running.0.running().status().requests["main"].open;
    until("both are open", || requests() == 2).await;
    let third = ask_by(publisher, 3).await;
    assert!(
        matches!(third, Err(RequestError::TooMany { limit: 2 })),
        "{third:?}"
    );
    running.0.running().drain().await;
    for asked in asked {
        let asked = asked.await.expect("it does not panic");
        assert!(matches!(asked, Err(RequestError::Closed)), "{asked:?}");
    }
    drop(answering);
    Ok(())
}

async fn ask_by(publisher: Publisher, item: u64) -> Result<Price, RequestError> {
    publisher.request("orders", &Ask { item }, PATIENCE).await
}
