//! What destinations are on the server: exchanges of all types, bindings, arguments of queues, streams.

use crate::world::*;
use brokers::{RabbitApi, VirtualHost};
use serde_json::{Value, json};
use std::time::Duration;
use tidings::{App, Config, Start, on};
use tidings_core::{
    Binder, Create, DestinationSpec, Guarantee, Message, Outgoing, PublishError, Source, SourceEvent,
    SourceInput, SourceSpec,
};
use tidings_rabbitmq::{
    ClientOptions, DestinationOptions, ExchangeType, Overflow, QueueType, RabbitBinder, RoutingKey,
};
use tokio::time::Instant;

fn spec(group: Option<&str>, destination: &str, start: Start) -> SourceSpec {
    SourceSpec {
        subscription: "reads".into(),
        group: group.map(Into::into),
        inputs: vec![SourceInput {
            destination: destination.into(),
            retry: None,
        }],
        partitions: None,
        start,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(10),
        commit_every: 1,
        revoke_timeout: Duration::from_secs(1),
        guarantee: Guarantee::AtLeastOnce,
    }
}

/// A reader that has begun.
async fn reading(binder: &RabbitBinder, spec: SourceSpec) -> impl Source {
    let mut source = Binder::subscribe(binder, spec).await.unwrap();
    let (end, mut last) = (Instant::now() + PATIENCE, None);
    while Instant::now() < end {
        match source.next().await {
            Ok(SourceEvent::Assigned(_)) => return source,
            Ok(event) => panic!("{event:?}"),
            Err(error) if error.is_transient() => last = Some(error),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it does not begin: {last:?}")
}

/// Makes a destination and the queue of the group `g`.
async fn make(binder: &RabbitBinder, destination: &str) {
    Binder::prepare(binder, DestinationSpec::new(destination, 1))
        .await
        .unwrap();
    let mut source = reading(binder, spec(Some("g"), destination, Start::Earliest)).await;
    source.close().await.unwrap();
}

async fn send(
    binder: &RabbitBinder,
    destination: &str,
    headers: &[(&str, &str)],
) -> Result<(), PublishError> {
    let payload: Vec<_> = headers.iter().map(|(_, value)| *value).collect();
    let message = headers
        .iter()
        .fold(Message::new(payload.join(",")), |message, (name, value)| {
            message.with_header(name, value).unwrap()
        });
    Binder::sink(binder)
        .publish(Outgoing::new(destination, message))
        .await
        .map(drop)
}

fn payloads(host: &VirtualHost, queue: &str) -> Vec<String> {
    let all = host.peek(queue, 100).unwrap();
    all.into_iter()
        .map(|one| String::from_utf8(one.payload).unwrap())
        .collect()
}

fn queue_of(host: &VirtualHost, queue: &str) -> Value {
    host.api().get(&host.path("queues", queue)).unwrap()
}

/// One destination with an exchange of each type.
fn with_exchanges(options: ClientOptions) -> ClientOptions {
    let of = DestinationOptions::new;
    let by_region = RoutingKey::parse("{header:region}.{type}").unwrap();
    options
        .with_single_active_consumer(false)
        .with_destination(
            "patterns",
            of(ExchangeType::Topic)
                .binding("eu.#")
                .binding("*.x")
                .routing_key(by_region),
        )
        .with_destination(
            "keys",
            of(ExchangeType::Direct)
                .binding("eu")
                .exchange("by-key")
                .alternate_exchange("rest")
                .routing_key(RoutingKey::by(|message| {
                    message.headers().get_str("region").unwrap_or_default().to_owned()
                })),
        )
        .with_destination("rest", of(ExchangeType::Fanout))
        .with_destination(
            "tiers",
            of(ExchangeType::Headers)
                .binding("region=eu & tier=gold")
                .binding("tier=all"),
        )
        .with_destination("straight", of(ExchangeType::Default).queue("{destination}"))
}

#[tokio::test]
async fn exchanges_of_each_type_choose_the_queues_of_a_message() {
    let test = "exchanges_of_each_type_choose_the_queues_of_a_message";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let binder = binder(&host, with_exchanges);
    for destination in ["rest", "patterns", "keys", "tiers", "straight"] {
        make(&binder, destination).await;
    }
    let sent = [
        ("patterns", vec![("region", "eu"), ("type", "a")], true),
        ("patterns", vec![("region", "us"), ("type", "x")], true),
        ("patterns", vec![("region", "us"), ("type", "b")], false),
        ("keys", vec![("region", "eu")], true),
        ("keys", vec![("region", "us")], true),
        ("tiers", vec![("region", "eu"), ("tier", "gold")], true),
        ("tiers", vec![("tier", "all")], true),
        ("tiers", vec![("region", "eu"), ("tier", "blue")], false),
        ("straight", vec![("type", "s")], true),
        // The server would take it for another queue.
        ("straight", vec![("type", "t"), ("CC", "keys.g")], true),
    ];
    for (destination, headers, kept) in &sent {
        let answer = send(&binder, destination, headers).await;
        assert_eq!(answer.is_ok(), *kept, "{destination} {headers:?}: {answer:?}");
        if let Err(error) = answer {
            let words = error.to_string();
            assert!(words.contains(&format!("exchange \"{destination}\"")), "{words}");
        }
    }
    assert_eq!(payloads(&host, "patterns.g"), ["eu,a", "us,x"]);
    assert_eq!(payloads(&host, "keys.g"), ["eu"]);
    assert_eq!(
        payloads(&host, "rest.g"),
        ["us"],
        "what no queue of the other wants"
    );
    assert_eq!(payloads(&host, "tiers.g"), ["eu,gold", "all"]);
    assert_eq!(payloads(&host, "straight"), ["s", "t,keys.g"]);
    let exchange = host.api().get(&host.path("exchanges", "by-key")).unwrap();
    assert_eq!(
        (&exchange["type"], &exchange["durable"]),
        (&json!("direct"), &json!(true))
    );
}

#[tokio::test]
async fn what_a_queue_gives_up_by_its_limits_is_a_dead_letter_or_told_to_its_publisher() {
    let test = "what_a_queue_gives_up_by_its_limits_is_a_dead_letter_or_told_to_its_publisher";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let options = DestinationOptions::default;
    let binder = binder(&host, |client| {
        client
            .with_single_active_consumer(false)
            .with_destination("old", options().message_ttl(Duration::from_millis(100)))
            .with_destination("few", options().max_length(2, Overflow::DropHead))
            .with_destination(
                "full",
                options()
                    .queue_type(QueueType::Classic)
                    .max_length(1, Overflow::RejectPublish),
            )
    });
    for destination in ["old", "few", "full"] {
        make(&binder, destination).await;
    }
    send(&binder, "old", &[("n", "1")]).await.unwrap();
    for n in ["1", "2", "3"] {
        send(&binder, "few", &[("n", n)]).await.unwrap();
    }
    send(&binder, "full", &[("n", "1")]).await.unwrap();
    let refused = send(&binder, "full", &[("n", "2")]).await.unwrap_err();
    assert!(
        !refused.is_permanent() && refused.to_string().contains("overflow"),
        "{refused}"
    );
    // One that has a time of its own.
    send(&binder, "old", &[("amqp-expiration", "50")]).await.unwrap();
    for (letters, count) in [("old.g.dlq", 2), ("few.g.dlq", 1)] {
        until(letters, || {
            let queue = host.queue(letters).unwrap();
            queue.is_some_and(|queue| queue.ready == Some(count))
        })
        .await;
    }
    assert_eq!(payloads(&host, "few.g.dlq"), ["1"]);
    assert_eq!(payloads(&host, "few.g"), ["2", "3"]);
}

#[tokio::test]
async fn a_queue_that_nobody_reads_goes_after_its_time_and_one_that_is_read_stays() {
    let test = "a_queue_that_nobody_reads_goes_after_its_time_and_one_that_is_read_stays";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let host = host(api);
    let unused = DestinationOptions::default().lose_queue_unused_for(Duration::from_secs(1));
    let binder = binder(&host, |client| client.with_destination("orders", unused));
    Binder::prepare(&*binder, DestinationSpec::new("orders", 1))
        .await
        .unwrap();
    let mut read = reading(&binder, spec(Some("read"), "orders", Start::Earliest)).await;
    make(&binder, "orders").await;
    publish(&binder, 0..1, 1).await;
    let ready = |queue: &str| host.queue(queue).unwrap().map(|queue| queue.ready);
    until("it is gone with what is in it", || ready("orders.g").is_none()).await;
    assert!(ready("orders.read").is_some());
    let kept = read.next().await.unwrap();
    assert!(
        matches!(&kept, SourceEvent::Batch(batch) if batch.records().len() == 1),
        "{kept:?}"
    );
    read.close().await.unwrap();
}

#[tokio::test]
async fn higher_priorities_overtake() {
    let Some(api) = brokers::rabbit_or_skip("higher_priorities_overtake") else {
        return;
    };
    let host = host(api);
    let options = DestinationOptions::default()
        .queue_type(QueueType::Classic)
        .max_priority(5);
    let binder = binder(&host, |client| client.with_destination("orders", options));
    make(&binder, "orders").await;
    for priority in ["1", "5", "3", "5"] {
        send(&binder, "orders", &[("amqp-priority", priority)])
            .await
            .unwrap();
    }
    assert_eq!(payloads(&host, "orders.g"), ["5", "5", "3", "1"]);
}

/// The keys of a configuration reach the server, and what is there already is taken as it is where nothing may be made.
#[tokio::test]
async fn a_configuration_says_what_a_channel_is_and_describe_shows_it() {
    let test = "a_configuration_says_what_a_channel_is_and_describe_shows_it";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let toml = format!(
        "[binder.main]\nurl = {:?}\n[channel.orders.rabbitmq]\nbindings = \"order.#\"\nqueue = \"{{group}}-in\"\n\
         queue_type = \"classic\"\nmessage_ttl = \"1h\"\nqueue_arguments.x-queue-mode = \"lazy\"\n",
        host.url()
    );
    let config = || Config::from_toml(&toml, "service.toml").unwrap();
    let service = || {
        let subscription = world.subscription(1);
        App::new("service").add(subscription).with_state(())
    };
    let described = service().describe(&config()).unwrap().to_string();
    for words in [
        "orders (topic, bound by order.#)",
        "{group}-in",
        "message_ttl 3600s",
        "x-queue-mode lazy",
        "service.toml:4",
    ] {
        assert!(described.contains(words), "{words:?} is not in:\n{described}");
    }
    let running = service().start(config()).await.unwrap();
    has_consumers(&host, "billing-in", 1).await;
    let queue = queue_of(&host, "billing-in");
    let arguments = &queue["arguments"];
    assert_eq!(arguments["x-message-ttl"], 3_600_000);
    assert_eq!(
        (&arguments["x-queue-type"], &arguments["x-queue-mode"]),
        (&json!("classic"), &json!("lazy"))
    );
    assert!(running.drain().await.finished_in_time);

    // Another one takes what is there, which is not as it would make it.
    let segment = RabbitApi::segment;
    let bound = host.path("bindings", "");
    assert!(
        host.api()
            .get(bound.trim_end_matches('/'))
            .unwrap()
            .to_string()
            .contains("order.#")
    );
    let binder = crate::world::binder(&host, |options| {
        options.with_destination("orders", DestinationOptions::default().queue("billing-in"))
    });
    let spec_of = |name: &str| DestinationSpec::new(name, 1).create(Create::Never);
    Binder::prepare(&*binder, spec_of("orders")).await.unwrap();
    let mut source = reading(&binder, spec(Some("billing"), "orders", Start::Earliest)).await;
    source.close().await.unwrap();
    let missing = Binder::prepare(&*binder, spec_of("nothing")).await.unwrap_err();
    assert!(
        missing.to_string().contains("no destination \"nothing\""),
        "{missing}"
    );
    assert!(
        host.api()
            .get(&format!("exchanges/{}/nothing", segment(host.name())))
            .is_err()
    );
}

#[tokio::test]
async fn a_stream_keeps_what_was_published_for_readers_without_a_group() {
    let test = "a_stream_keeps_what_was_published_for_readers_without_a_group";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let (host, world) = (host(api), World::default());
    let stream = DestinationOptions::default().queue_type(QueueType::Stream);
    let binder = binder(&host, |client| {
        client.with_destination("orders", stream).with_prefetch(10)
    });
    Binder::prepare(&*binder, DestinationSpec::new("orders", 1))
        .await
        .unwrap();
    publish(&binder, 0..100, 1).await;
    let reader = |world: &World, member| {
        let world = world.clone();
        on("orders", move |delivery: tidings::Delivery| {
            world.clone().handled(member, delivery)
        })
        .name("view")
    };
    let all = start(&binder, reader(&world, 1).start(Start::Earliest)).await;
    world.until_succeeded(100).await;
    // The channel ends under it: it goes on where it was.
    until("its connection is closed", || {
        close_connections(&host, "consuming") > 0
    })
    .await;
    publish(&binder, 100..200, 1).await;
    world.until_succeeded(200).await;
    assert!(world.succeeded().is_sorted(), "in order");
    assert!(all.drain().await.finished_in_time);
    assert!(
        world.seen().len() < 250,
        "{} handlings: it began anew",
        world.seen().len()
    );
    let late = World::default();
    let new = start(&binder, reader(&late, 2).start(Start::Latest)).await;
    // The server says that a consumer is there before it has looked where the stream ends for it.
    let mut next = 200;
    while late.succeeded().is_empty() {
        assert!(next < 1_000, "it reads nothing");
        publish(&binder, next..next + 1, 1).await;
        next += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    publish(&binder, next..next + 10, 1).await;
    let first = late.succeeded()[0];
    let rest: Vec<_> = (first..next + 10).collect();
    late.until_succeeded(rest.len()).await;
    assert!(first >= 200, "{first} was there before");
    assert_eq!(late.succeeded(), rest);
    assert!(new.drain().await.finished_in_time);
    assert_eq!(queue_of(&host, "orders.stream")["type"], "stream");
}
