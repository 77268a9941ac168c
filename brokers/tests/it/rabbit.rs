//! One plain RabbitMQ: messages, faults, restarts, virtual hosts.

use std::time::Duration;

use brokers::{BrokersError, Rabbit, RabbitListener, RabbitMessage, RabbitOptions, VirtualHost, or_skip};
use serde_json::json;

use crate::amqp::{self, BLOCKED, Client, UNBLOCKED};
use crate::support::{descendants, eventually};

#[test]
fn messages_outlive_a_killed_node_on_the_same_ports_and_nothing_outlives_a_stop() {
    let test = "messages_outlive_a_killed_node_on_the_same_ports_and_nothing_outlives_a_stop";
    let Some(rabbit) = or_skip(test, Rabbit::start(RabbitOptions::plain())) else {
        return;
    };
    let ours = rabbit.virtual_host("orders").unwrap();
    ours.declare(
        "orders",
        &json!({ "x-queue-type": "quorum", "x-delivery-limit": 2 }),
    )
    .unwrap();
    rabbit.settle(1).unwrap();
    for payload in [&b"one"[..], &[0, 255]] {
        let mut message = RabbitMessage::to_queue("orders", payload);
        message.properties =
            json!({ "delivery_mode": 2, "message_id": "7", "headers": { "tenant": "acme" } });
        assert!(ours.publish(&message).unwrap());
    }
    assert!(!ours.publish(&RabbitMessage::to_queue("nobody", "lost")).unwrap());
    eventually("a count of two messages", || holds(&ours, 2));
    let queue = ours.queue("orders").unwrap().unwrap();
    assert_eq!((queue.kind.as_str(), queue.leader), ("quorum", Some(1)));
    assert_eq!(queue.arguments["x-delivery-limit"], "2");
    assert_eq!(ours.queue("nobody").unwrap(), None);

    let (urls, pid) = (rabbit.urls(), rabbit.pid(1).unwrap().unwrap());
    let family = descendants(pid);
    assert!(family.len() > 1, "Erlang has helpers: {family:?}");
    rabbit.kill(1).unwrap();
    assert_eq!(rabbit.pid(1).unwrap(), None);
    eventually("the end of its helpers", || {
        family.iter().all(|process| !process.lives())
    });
    assert!(matches!(
        rabbit.freeze(1),
        Err(BrokersError::NodeStopped { node: 1 })
    ));
    rabbit.start_node(1).unwrap();
    assert_eq!(rabbit.urls(), urls);
    assert_ne!(rabbit.pid(1).unwrap(), Some(pid));

    // A leader that has not been elected yet answers nobody.
    eventually("a count of two messages again", || holds(&ours, 2));
    let found = ours.get("orders", 10).unwrap();
    let payloads: Vec<&[u8]> = found.iter().map(|message| message.payload.as_slice()).collect();
    assert_eq!(payloads, [&b"one"[..], &[0, 255]]);
    let properties = &found[1].properties;
    assert_eq!(properties["message_id"], "7");
    assert_eq!(properties["headers"]["tenant"], "acme");

    assert!(matches!(
        rabbit.kill(2),
        Err(BrokersError::NoNode { node: 2, nodes: 1 })
    ));
    assert!(matches!(
        rabbit.url_of(RabbitListener::Tls, None),
        Err(BrokersError::NoListener { listener: "tls" })
    ));
    drop(ours);
    let directory = rabbit.directory().to_owned();
    let family = descendants(rabbit.pid(1).unwrap().unwrap());
    rabbit.stop().unwrap();
    assert!(!directory.exists());
    eventually("the end of all", || family.iter().all(|process| !process.lives()));
}

#[test]
fn clients_meet_alarms_operators_and_silence() {
    let test = "clients_meet_alarms_operators_and_silence";
    let Some(rabbit) = or_skip(test, Rabbit::start(RabbitOptions::plain())) else {
        return;
    };
    let ours = rabbit.virtual_host("alarms").unwrap();
    ours.declare("orders", &json!({})).unwrap();
    let login = || {
        let secret = amqp::plain("guest", "guest");
        Client::login(amqp::connect(&ours.url()), "PLAIN", &secret, ours.name()).unwrap()
    };
    let mut client = login();
    client.open(1);
    client.publish(1, "orders", b"one");
    eventually("the first message", || holds(&ours, 1));
    rabbit.raise_memory_alarm(1).unwrap();
    client.publish(1, "orders", b"two");
    client.expect(BLOCKED).unwrap();
    rabbit.clear_memory_alarm(1).unwrap();
    client.expect(UNBLOCKED).unwrap();
    eventually("the second message", || holds(&ours, 2));

    let mut other = login();
    let connections = ours.connections().unwrap();
    assert_eq!(connections.len(), 2, "{connections:?}");
    assert_eq!(
        (connections[0].user.as_str(), connections[0].node),
        ("guest", Some(1))
    );
    for connection in &connections {
        ours.close_connection(connection).unwrap();
    }
    for client in [&mut client, &mut other] {
        let said = client.end();
        assert!(said.contains("CONNECTION_FORCED"), "{said}");
    }

    let api = rabbit.api().patience(Duration::from_secs(1));
    rabbit.freeze(1).unwrap();
    let silent = api.get("overview").unwrap_err();
    assert!(
        matches!(silent, BrokersError::Api { status: None, .. }),
        "{silent}"
    );
    rabbit.thaw(1).unwrap();
    eventually("an answer of the thawed node", || api.get("overview").is_ok());
}

#[test]
fn a_node_that_cannot_start_shows_the_end_of_its_log() {
    let test = "a_node_that_cannot_start_shows_the_end_of_its_log";
    let error = Rabbit::start(RabbitOptions::plain().line("no.such.key", "1")).unwrap_err();
    if error.is_missing_program() {
        let _: Option<()> = or_skip(test, Err(error));
        return;
    }
    assert!(matches!(error, BrokersError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no.such.key"), "{error}");
}

#[test]
fn tests_share_a_server_and_do_not_see_each_other() {
    let test = "tests_share_a_server_and_do_not_see_each_other";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    assert_eq!(
        brokers::rabbit_or_skip(test).map(|again| again.url()),
        Some(api.url())
    );
    if let Some(given) = std::env::var("TIDINGS_TEST_RABBITMQ")
        .ok()
        .filter(|given| !given.is_empty())
    {
        assert_eq!(amqp::address(&api.url()), amqp::address(&given));
    }
    let [first, second] = [(), ()].map(|()| api.virtual_host("shared").unwrap());
    assert_ne!(first.name(), second.name());
    first.declare("orders", &json!({})).unwrap();
    assert_eq!(first.queues().unwrap().len(), 1);
    assert_eq!(second.queues().unwrap(), []);
    let secret = amqp::plain("guest", "guest");
    let mut client = Client::login(amqp::connect(&first.url()), "PLAIN", &secret, first.name()).unwrap();

    let path = format!("vhosts/{}", first.name());
    assert!(api.get(&path).is_ok());
    drop(first);
    let gone = api.get(&path).unwrap_err();
    assert!(
        matches!(
            gone,
            BrokersError::Api {
                status: Some(404),
                ..
            }
        ),
        "{gone}"
    );
    let said = client.end();
    assert!(said.contains("CONNECTION_FORCED"), "{said}");
}

/// Whether the queue has so many messages; no, where nobody answers in time.
fn holds(ours: &VirtualHost, messages: u64) -> bool {
    let queue = ours.queue("orders").ok().flatten();
    queue.is_some_and(|queue| queue.ready == Some(messages))
}
