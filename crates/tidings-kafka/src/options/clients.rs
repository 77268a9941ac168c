//! The settings of each kind of client, and why they are not librdkafka's.

use super::ClientOptions;
use super::check::{self, Role};
use crate::security::{AWS_MSK_IAM, is_ours};
use rdkafka::ClientConfig;

/// A setting, its value, why.
type Defaults = &'static [(&'static str, &'static str)];

const EVERY: Defaults = &[
    ("client.id", "tidings"),
    // A broker that goes away closes connections; that is no news while others answer.
    ("log.connection.close", "false"),
    // A broker that came back is found within a second, not ten.
    ("reconnect.backoff.max.ms", "1000"),
    // Small requests and acknowledgements go out at once.
    ("socket.nagle.disable", "true"),
    // A connection that a firewall dropped is noticed.
    ("socket.keepalive.enable", "true"),
];

const PRODUCER: Defaults = &[
    ("acks", "all"),
    // Retries neither duplicate nor reorder within a producer's life.
    ("enable.idempotence", "true"),
    // A batch is worth five milliseconds: without it each message is a request of its own.
    ("linger.ms", "5"),
    // A batch is full by its bytes (1 MB) and not by a count of 10,000 messages.
    ("batch.num.messages", "100000"),
    // As much as the Java client's buffer.memory, in place of librdkafka's 1 GiB.
    ("queue.buffering.max.kbytes", "32768"),
    ("queue.buffering.max.messages", "100000"),
    // As the Java client's delivery.timeout.ms; librdkafka waits 5 minutes.
    ("message.timeout.ms", "120000"),
    // A key has the partition that the Java client would choose.
    ("partitioner", "murmur2_random"),
    // Messages without a key are spread by us, where the count of partitions is known; by chance where it is not.
    ("sticky.partitioning.linger.ms", "0"),
    // A topic is made by us, with the partitions that are asked for, or it is an error.
    ("allow.auto.create.topics", "false"),
    // A topic that is missing after this time does not exist. Long enough for a new topic to be known to all brokers.
    ("topic.metadata.propagation.max.ms", "10000"),
];

const CONSUMER: Defaults = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // A group without a position begins where its subscription says; librdkafka must not decide.
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    // Java checks them; it costs one part in a hundred.
    ("check.crcs", "true"),
    // With librdkafka's second a fast consumer stands idle most of the time.
    ("fetch.queue.backoff.ms", "10"),
    // A broker is asked one question at a time: so long a partition that is read on may wait for one about others.
    ("fetch.wait.max.ms", "200"),
    ("fetch.min.bytes", "1"),
    ("max.partition.fetch.bytes", "1048576"),
    // What waits in memory for the handlers, in place of librdkafka's 64 MiB for each partition.
    ("queued.max.messages.kbytes", "16384"),
    ("allow.auto.create.topics", "false"),
    // A topic that was deleted is given up after this time, not after half a minute.
    ("topic.metadata.propagation.max.ms", "10000"),
];

const TRANSACTIONAL_ID: &str = "transactional.id";

impl ClientOptions {
    /// The settings of the client that publishes and asks for topics and groups.
    pub(crate) fn producer(&self) -> ClientConfig {
        self.client(Role::Producer, PRODUCER)
    }

    /// The settings of a consumer, without its group.
    pub(crate) fn consumer(&self) -> ClientConfig {
        self.client(Role::Consumer, CONSUMER)
    }

    /// What the transactional ids of this instance are made of, if it is given: see [`crate::transactions`].
    pub(crate) fn instance(&self) -> Option<&str> {
        self.property(&[TRANSACTIONAL_ID])
            .or_else(|| self.property(&["group.instance.id"]))
    }

    /// The value of a property of producers: what is set, or ours.
    pub(crate) fn producer_number(&self, names: &[&str], otherwise: u64) -> u64 {
        let config = self.producer();
        let mut values = names.iter().filter_map(|name| config.get(name)?.parse().ok());
        values.next().unwrap_or(otherwise)
    }

    fn client(&self, role: Role, defaults: Defaults) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        for (name, value) in EVERY.iter().chain(defaults) {
            if !self.sets_alias_of(name) {
                config.set(*name, *value);
            }
        }
        let written = || {
            self.properties
                .iter()
                .filter(|(name, _)| check::is_for(name, role) && !is_ours(check::role_of(name).1))
        };
        // What is given to this kind of client comes last and wins.
        let (own, common): (Vec<_>, Vec<_>) =
            written().partition(|(name, _)| check::role_of(name).0.is_some());
        for (name, value) in common.into_iter().chain(own) {
            config.set(check::role_of(name).1, value);
        }
        // It is not an ordinary producer's, and each member has its own, made of this one.
        config.remove(TRANSACTIONAL_ID);
        let mechanism = ["sasl.mechanism", "sasl.mechanisms"]
            .iter()
            .find_map(|name| config.get(name));
        let ours = match mechanism {
            Some(name) => name.eq_ignore_ascii_case(AWS_MSK_IAM),
            None => self.token_source.is_some(),
        };
        if ours {
            config.remove("sasl.mechanisms");
            config.set("sasl.mechanism", "OAUTHBEARER");
        }
        config
    }

    /// Whether a property is set by another name of it: both in one configuration would be a matter of luck.
    fn sets_alias_of(&self, name: &str) -> bool {
        const ALIASES: &[(&str, &str)] = &[
            ("linger.ms", "queue.buffering.max.ms"),
            ("message.timeout.ms", "delivery.timeout.ms"),
            ("acks", "request.required.acks"),
            ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
        ];
        let mut others = ALIASES.iter().filter(|(ours, _)| *ours == name);
        others.any(|(_, other)| {
            self.properties
                .keys()
                .any(|written| check::role_of(written).1 == *other)
        })
    }
}
