//! Three brokers: leaders and coordinators move.

use brokers::{Kafka, Options, Tool, or_skip, unique};

use crate::support::eventually;

#[test]
fn leaders_and_coordinators_move_away_from_a_killed_node_and_it_catches_up() {
    let test = "leaders_and_coordinators_move_away_from_a_killed_node_and_it_catches_up";
    let Some(kafka) = or_skip(test, Kafka::start(Options::cluster())) else {
        return;
    };
    assert_eq!(kafka.nodes().collect::<Vec<_>>(), [1, 2, 3]);
    let topic = unique("orders");
    kafka
        .tool(Tool::Topics)
        .args(["--create", "--topic", &topic])
        .run()
        .unwrap();
    kafka.wait_in_sync(&topic, 3).unwrap();
    let group = unique("billing");
    let coordinator = kafka.group_coordinator(&group).unwrap();
    let led = |node| {
        kafka
            .partitions(&topic)
            .unwrap()
            .iter()
            .filter(|state| state.leader == Some(node))
            .count()
    };
    assert!(led(coordinator) > 0, "six partitions on three nodes");

    kafka.kill(coordinator).unwrap();
    eventually("another leader of every partition", || {
        let partitions = kafka.partitions(&topic).unwrap();
        partitions
            .iter()
            .all(|state| state.leader.is_some_and(|leader| leader != coordinator))
    });
    eventually("another coordinator", || {
        kafka.group_coordinator(&group).unwrap() != coordinator
    });
    // Two of three are in sync, which `min.insync.replicas` asks for.
    let produce = kafka.tool(Tool::Producer).args(["--topic", &topic]);
    produce
        .args(["--producer-property", "acks=all"])
        .stdin("one\n")
        .run()
        .unwrap();

    kafka.start_node(coordinator).unwrap();
    kafka.wait_in_sync(&topic, 3).unwrap();
    kafka.stop().unwrap();
}
