//! One plain broker: messages, faults, restarts.

use std::time::{Duration, Instant};

use brokers::{BrokersError, Fault, Kafka, Listener, Options, Tool, or_skip, unique};

const SHORT: Duration = Duration::from_secs(4);

#[test]
fn messages_outlive_a_killed_broker_on_the_same_ports() {
    let test = "messages_outlive_a_killed_broker_on_the_same_ports";
    let Some(kafka) = or_skip(test, Kafka::start(Options::plain())) else {
        return;
    };
    let topic = unique("orders");
    create(&kafka, &topic);
    let produce = kafka.tool(Tool::Producer).args(["--topic", &topic]);
    produce.stdin("one\ntwo\n").run().unwrap();
    let (bootstrap, pid) = (kafka.bootstrap(), kafka.pid(1).unwrap());

    kafka.kill(1).unwrap();
    assert_eq!(kafka.pid(1).unwrap(), None);
    assert!(matches!(
        kafka.pause(1),
        Err(BrokersError::NodeStopped { node: 1 })
    ));
    kafka.start_node(1).unwrap();
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_ne!(kafka.pid(1).unwrap(), pid);

    let consume = kafka.tool(Tool::Consumer);
    let read = consume.args(["--topic", &topic, "--from-beginning", "--max-messages", "2"]);
    let mut lines: Vec<String> = read.run().unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);

    kafka.restart(1).unwrap();
    assert_eq!(kafka.leader(&topic, 0).unwrap(), Some(1));
    assert!(matches!(
        kafka.kill(2),
        Err(BrokersError::NoNode { node: 2, nodes: 1 })
    ));
    let directory = kafka.directory().to_owned();
    kafka.stop().unwrap();
    assert!(!directory.exists());
}

#[test]
fn a_frozen_broker_is_silent_and_no_client_gets_past_its_proxy() {
    let test = "a_frozen_broker_is_silent_and_no_client_gets_past_its_proxy";
    let Some(kafka) = or_skip(test, Kafka::start(Options::plain().with_proxies())) else {
        return;
    };
    let topic = unique("orders");
    create(&kafka, &topic);
    kafka.pause(1).unwrap();
    let silent = kafka.partitions(&topic).unwrap_err();
    assert!(matches!(silent, BrokersError::Io { .. }), "{silent}");
    kafka.resume(1).unwrap();
    assert_eq!(kafka.partitions(&topic).unwrap().len(), 6);

    let proxied = kafka.bootstrap_of(Listener::Proxied).unwrap();
    let send = || {
        let kcat = kafka.tool(Tool::Kcat).bootstrap(&proxied);
        kcat.args(["-P", "-t", &topic, "-X", "message.timeout.ms=3000"])
            .stdin("one\n")
    };
    let Some(_) = or_skip(test, send().run()) else {
        return;
    };
    let proxy = kafka.proxy(1).unwrap();
    proxy.set(Fault::Blackhole);
    let started = Instant::now();
    let lost = send().deadline(SHORT).run().unwrap_err();
    assert!(
        matches!(lost, BrokersError::Failed { .. } | BrokersError::Deadline { .. }),
        "{lost}"
    );
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "it was told of the fault"
    );
    proxy.set(Fault::Pass);
    send().run().unwrap();
    assert!(matches!(
        kafka.bootstrap_of(Listener::Mtls),
        Err(BrokersError::NoListener { listener: "MTLS" })
    ));
}

#[test]
fn a_broker_that_cannot_start_shows_the_end_of_its_log() {
    let test = "a_broker_that_cannot_start_shows_the_end_of_its_log";
    let options = Options::plain().property("log.cleanup.policy", "nonsense");
    // Formatting the storage reads the same file and is the first to refuse it.
    let Err(error) = Kafka::start(options) else {
        panic!("it started with nonsense in its configuration");
    };
    let Some(()) = or_skip(
        test,
        if error.is_missing_program() {
            Err(&error)
        } else {
            Ok(())
        },
    ) else {
        return;
    };
    assert!(error.to_string().contains("nonsense"), "{error}");
    let options = Options::plain().property("authorizer.class.name", "no.such.Class");
    let error = Kafka::start(options).unwrap_err();
    assert!(matches!(error, BrokersError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no.such.Class"), "{error}");
}

#[test]
fn the_shared_broker_serves_every_test_of_the_run() {
    let test = "the_shared_broker_serves_every_test_of_the_run";
    let Some(bootstrap) = brokers::kafka_or_skip(test) else {
        return;
    };
    assert_eq!(brokers::kafka_or_skip(test), Some(bootstrap));
    if let Some(given) = std::env::var("TIDINGS_TEST_KAFKA")
        .ok()
        .filter(|given| !given.is_empty())
    {
        assert_eq!(bootstrap, given);
    }
    let address = bootstrap.split(',').next().unwrap();
    std::net::TcpStream::connect(address).unwrap();
}

fn create(kafka: &Kafka, topic: &str) {
    let topics = kafka.tool(Tool::Topics);
    topics.args(["--create", "--topic", topic]).run().unwrap();
    kafka.wait_in_sync(topic, 1).unwrap();
}
