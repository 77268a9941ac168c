//! Messages that nobody can handle, and what the server does about those that are held.

use crate::world::*;
use brokers::{Rabbit, RabbitOptions, or_skip};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{Delivery, Json, Text, on};
use tidings_core::{Binder, Message, Outgoing};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn what_no_codec_can_read_is_dead_at_once_and_holds_nothing_up() {
    let test = "what_no_codec_can_read_is_dead_at_once_and_holds_nothing_up";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let binder = binder(&host, |options| options);
    let sum = Arc::new(AtomicUsize::new(0));
    let adding = sum.clone();
    let handler = move |Json(number): Json<usize>| {
        adding.fetch_add(number, Ordering::SeqCst);
        async {}
    };
    let running = start(&binder, on("orders", handler).group("billing").name("charge")).await;
    has_consumers(&host, "orders.billing", 1).await;
    let sink = Binder::sink(&*binder);
    for payload in ["1", "\u{fffd}{", "2"] {
        let message = Message::new(payload).with_key("one");
        sink.publish(Outgoing::new("orders", message)).await.unwrap();
    }
    until("what came behind it is handled", || {
        sum.load(Ordering::SeqCst) == 3
    })
    .await;
    let letters = host.peek("orders.billing.dlq", 2).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].payload, "\u{fffd}{".as_bytes());
    assert!(running.drain().await.finished_in_time);
}

/// A process that dies of a message says nothing of it; the server counts.
#[test]
fn a_message_that_kills_its_process_again_and_again_ends_in_the_dead_letters() {
    let test = "a_message_that_kills_its_process_again_and_again_ends_in_the_dead_letters";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    const LIMIT: usize = 3;
    let (host, begun) = (host(api), Arc::new(AtomicUsize::new(0)));
    let binder = || binder(&host, |options| options.with_delivery_limit(Some(3)));
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    for life in 1..=LIMIT + 1 {
        let dying = runtime();
        let counting = begun.clone();
        let binder = binder();
        dying.block_on(async {
            let deadly = move |_: Text| {
                counting.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>()
            };
            let running = start(&binder, on("orders", deadly).group("billing").name("charge")).await;
            if life == 1 {
                has_consumers(&host, "orders.billing", 1).await;
                publish(&binder, 0..1, 1).await;
            }
            until("it has it", || begun.load(Ordering::SeqCst) == life).await;
            std::mem::forget(running);
        });
        dying.shutdown_background();
    }
    let living = runtime();
    living.block_on(async {
        let (binder, world) = (binder(), World::default());
        let running = start(&binder, world.subscription(1)).await;
        has_consumers(&host, "orders.billing", 1).await;
        publish(&binder, 1..2, 1).await;
        world.until_succeeded(1).await;
        assert_eq!(world.succeeded(), [1], "it does not come any more");
        let letters = host.peek("orders.billing.dlq", 2).unwrap();
        let [letter] = letters.as_slice() else {
            panic!("{letters:?}")
        };
        assert_eq!(letter.payload, b"0");
        let said = letter.properties.to_string();
        assert!(said.contains("delivery_limit"), "{said}");
        assert!(running.drain().await.finished_in_time);
    });
}

/// The server closes the channel of who holds a message for too long. That is told, loses nothing, and is no fast loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_server_closes_is_told_with_its_cure_and_made_again_without_haste() {
    let test = "a_channel_that_the_server_closes_is_told_with_its_cure_and_made_again_without_haste";
    let started = tokio::task::spawn_blocking(|| {
        let rabbit = Rabbit::start(RabbitOptions::plain())?;
        // It looks once a minute at what is held.
        let soon = "application:set_env(rabbit, consumer_timeout, 1500), application:set_env(rabbit, channel_tick_interval, 500).";
        rabbit.control(1, &["eval", soon])?;
        Ok::<_, brokers::BrokersError>(rabbit)
    });
    let Some(rabbit) = or_skip(test, started.await.unwrap()) else {
        return;
    };
    let host = host(rabbit.api());
    let binder = binder(&host, |options| options);
    let seen: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let (noting, held) = (seen.clone(), Arc::new(AtomicUsize::new(2)));
    let handler = move |Text(text): Text, _: Delivery| {
        noting.lock().unwrap().push((text.clone(), Instant::now()));
        let holds = text == "0"
            && held
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        async move {
            if holds {
                sleep(Duration::from_secs(3_600)).await;
            }
        }
    };
    let subscription = on("orders", handler)
        .group("billing")
        .name("charge")
        .concurrency(4);
    let running = start(&binder, subscription).await;
    has_consumers(&host, "orders.billing", 1).await;
    publish(&binder, 0..20, 20).await;
    until("it is told", || {
        let said = format!("{:?}", running.health());
        said.contains("consumer_timeout") && said.contains("shorter timeout")
    })
    .await;
    // Held twice, the third time is the last.
    let of = |id: &str| -> Vec<Instant> {
        let seen = seen.lock().unwrap();
        seen.iter()
            .filter(|(text, _)| text == id)
            .map(|(_, at)| *at)
            .collect()
    };
    until("it is handled", || of("0").len() == 3).await;
    for pair in of("0").windows(2) {
        assert!(
            pair[1] - pair[0] >= Duration::from_secs(1),
            "no sooner than the server allows"
        );
    }
    until("nothing is left to say", || running.health().ready).await;
    for id in 1..20 {
        assert_eq!(of(&id.to_string()).len(), 1, "{id} was finished before");
    }
    assert!(running.drain().await.finished_in_time);
}
