//! What is rebuilt from events is complete when its subscription has caught up.

use crate::events::{Placed, Seen, placed};
use std::sync::Arc;
use tidings::embedded::{EmbeddedBroker, EmbeddedOptions};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Clock, DynBinder, Error, Running};
use tokio::time::Instant;

async fn slowly(Json(order): Json<Placed>, State(seen): State<Seen>) -> Result<(), Failure> {
    tokio::time::sleep(secs(10)).await;
    seen.note(&order.order);
    if order.order == "2" {
        return Err(Failure::permanent("not this one"));
    }
    Ok(())
}

fn view() -> App<Seen> {
    let view = on("orders", slowly).name("view").start(Start::Earliest);
    let group = on("orders", slowly)
        .group("billing")
        .ordering(Ordering::Partition);
    App::new("shop")
        .channel("orders", |channel| channel.partitions(1))
        .add(view.ordering(Ordering::Partition).lose_exhausted_messages())
        .add(group)
        .publishes("orders")
}

async fn publish(running: &Running, orders: std::ops::Range<u32>) -> Result<(), Error> {
    for order in orders {
        running
            .publisher()
            .publish("orders", &placed(&order.to_string()))
            .await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_subscription_has_caught_up_when_it_has_finished_what_was_there_then() -> Result<(), Error> {
    let seen = Seen::default();
    let test = TestApp::start(view().with_state(seen.clone())).await?;
    let running = test.running();
    for subscription in ["view", "billing"] {
        running.caught_up(subscription).await?;
    }
    assert_eq!(seen.all(), [""; 0], "there was nothing");
    publish(running, 1..4).await?;
    let before = Instant::now();
    let later = async {
        tokio::time::sleep(secs(1)).await;
        publish(running, 4..8).await
    };
    let (caught_up, later) = tokio::join!(running.caught_up("view"), later);
    later.and(caught_up)?;
    let took = before.elapsed().as_secs_f64();
    assert!(
        (30.0..31.0).contains(&took),
        "{took} s for three orders, a failed one among them"
    );
    running.caught_up("billing").await?;
    assert!(
        (70.0..71.0).contains(&before.elapsed().as_secs_f64()),
        "by then there were seven"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_ends_before_it_has_caught_up_or_was_never_there_is_told() -> Result<(), Error> {
    let test = TestApp::start(view().with_state(Seen::default())).await?;
    let running = test.running().clone();
    publish(&running, 0..9).await?;
    let waiting = {
        let running = running.clone();
        tokio::spawn(async move { running.caught_up("view").await })
    };
    test.pass(secs(1)).await;
    running.drain().await;
    let ended = waiting.await.expect("no panic").unwrap_err().to_string();
    assert!(
        ended.starts_with("the subscription \"view\" ended before it had caught up"),
        "{ended}"
    );
    let unknown = running.caught_up("shipping").await.unwrap_err().to_string();
    assert_eq!(
        unknown,
        "this app has no subscription \"shipping\"; it has billing, view"
    );
    Ok(())
}

/// Another member has the partition: what it has stored counts.
#[tokio::test(start_paused = true)]
async fn a_group_has_caught_up_by_what_all_its_members_have_finished() -> Result<(), Error> {
    let clock = Clock::virtual_from_now();
    let options =
        EmbeddedOptions::from_url("memory:").and_then(|options| EmbeddedBroker::open(options.clock(clock)));
    let broker: Arc<dyn DynBinder> = Arc::new(options.expect("a private broker in memory"));
    let start = || {
        TestApp::start_on(
            view().with_state(Seen::default()),
            Config::default(),
            broker.clone(),
            clock,
        )
    };
    let (one, two) = (start().await?, start().await?);
    publish(one.running(), 0..3).await?;
    let (first, second) = tokio::join!(
        one.running().caught_up("billing"),
        two.running().caught_up("billing")
    );
    first.and(second)?;
    let handled = |test: &TestApp| test.running().status().subscriptions["billing"].handled;
    let mut handled = [handled(&one), handled(&two)];
    handled.sort_unstable();
    assert_eq!(handled, [0, 2], "one of them has the partition");
    Ok(())
}
