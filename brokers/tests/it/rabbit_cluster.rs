//! Three nodes of RabbitMQ: quorum queues keep what they confirmed.

use brokers::{Rabbit, RabbitMessage, RabbitOptions, RabbitQueue, VirtualHost, or_skip};
use serde_json::json;

use crate::support::{descendants, eventually};

#[test]
fn a_quorum_queue_keeps_what_it_confirmed_when_its_leader_is_killed() {
    let test = "a_quorum_queue_keeps_what_it_confirmed_when_its_leader_is_killed";
    let Some(rabbit) = or_skip(test, Rabbit::start(RabbitOptions::cluster())) else {
        return;
    };
    assert_eq!(rabbit.nodes().collect::<Vec<_>>(), [1, 2, 3]);
    let urls: std::collections::BTreeSet<String> = rabbit.urls().into_iter().collect();
    assert_eq!(urls.len(), 3);
    let ours = rabbit.virtual_host("quorum").unwrap();
    ours.declare("orders", &json!({ "x-queue-type": "quorum" }))
        .unwrap();
    eventually("three members", || online(&ours) == 3);
    let leader = leader_of(&ours).unwrap();
    let publish = |number: u32| ours.publish(&RabbitMessage::to_queue("orders", number.to_string()));
    let mut confirmed = Vec::new();
    for number in 0..20 {
        assert!(publish(number).unwrap());
        confirmed.push(number);
    }
    rabbit.kill(leader).unwrap();
    let mut moved = None;
    eventually("another leader", || {
        moved = leader_of(&ours).filter(|now| *now != leader);
        moved.is_some()
    });
    let moved = moved.unwrap();
    for number in 20..40 {
        // What was not confirmed may be there or not.
        if publish(number).is_ok_and(|routed| routed) {
            confirmed.push(number);
        }
    }
    assert!(
        confirmed.len() > 20,
        "nothing was confirmed by the two that were left"
    );

    rabbit.start_node(leader).unwrap();
    eventually("three members again", || online(&ours) == 3);
    // The one that leads now goes too, and comes back.
    rabbit.kill(moved).unwrap();
    rabbit.start_nodes().unwrap();
    eventually("a leader of three", || {
        leader_of(&ours).is_some() && online(&ours) == 3
    });
    // Whoever asks before the leader is ready gets no answer, so it is asked again.
    eventually("every confirmed message", || {
        let messages = ours.peek("orders", 100).unwrap_or_default();
        let text = |message: RabbitMessage| String::from_utf8(message.payload).unwrap();
        let found: Vec<u32> = messages
            .into_iter()
            .map(|message| text(message).parse().unwrap())
            .collect();
        confirmed.iter().all(|number| found.contains(number))
    });

    drop(ours);
    let nodes = rabbit.nodes().filter_map(|node| rabbit.pid(node).unwrap());
    let family: Vec<_> = nodes.flat_map(descendants).collect();
    rabbit.stop().unwrap();
    eventually("the end of all", || family.iter().all(|process| !process.lives()));
}

/// The queue, as a node sees it that answers in time: one that has just lost another may not.
fn queue(ours: &VirtualHost) -> Option<RabbitQueue> {
    ours.queue("orders").ok().flatten()
}

fn leader_of(ours: &VirtualHost) -> Option<u32> {
    queue(ours)?.leader
}

fn online(ours: &VirtualHost) -> usize {
    queue(ours).map_or(0, |queue| queue.online.len())
}
