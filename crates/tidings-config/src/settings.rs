//! Checked values under typed names, one field per record: [`SubscriptionConfig`], [`ChannelConfig`],
//! [`BinderConfig`], [`AppConfig`], [`ManageConfig`],
//! [`SqlConfig`].

use crate::choice::{
    Cleanup, Create, DeadLetterHeaders, Existing, Fsync, Order, Ordering, RabbitmqAuth, RabbitmqExchangeType,
    RabbitmqOverflow, RabbitmqQueueType, SqlBehindLimit, SqlParkedKeys, SqlRelayMode, WhenFull,
};
use crate::key::KeyPath;
use crate::origin::{Origin, Setting};
use crate::partitions::Partitions;
use crate::redact::Secret;
use crate::start::Start;
use crate::store::Store;
use crate::url::BinderUrl;
use crate::value::{FromValue, Value};
use std::collections::BTreeMap;
use std::time::Duration;

macro_rules! settings {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal,)* }
        $({ $($(#[$rest_doc:meta])* $rest:ident: $rest_type:ty = $read:expr,)* })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Option<Setting<$type>>,)*
            $($($(#[$rest_doc])* pub $rest: $rest_type,)*)?
        }

        impl $name {
            pub(crate) fn read(store: &Store, table: &KeyPath) -> Self {
                Self {
                    $($field: setting(store, table, $key),)*
                    $($($rest: ($read)(store, table),)*)?
                }
            }

            /// Where the first of its keys is set that is; none if none is.
            pub fn first_origin(&self) -> Option<&Origin> {
                let origins = [$(self.$field.as_ref().map(|set| &set.origin)),*];
                origins.into_iter().flatten().next()
            }

            /// The keys and whether they are set.
            #[cfg(test)]
            pub(crate) fn fields(&self) -> Vec<(&'static str, bool)> {
                vec![$(($key, self.$field.is_some())),*]
            }
        }
    };
}

/// The record of a key says which values pass, the field which type it gives; a test tries every key.
fn setting<T: FromValue>(store: &Store, table: &KeyPath, key: &str) -> Option<Setting<T>> {
    let path = key
        .split('.')
        .fold(table.clone(), |path, segment| path.child(segment));
    let found = store.get(&path)?;
    let value = T::from_value(&found.value).expect("the kind of each record fits the type of its field");
    Some(Setting::new(value, found.origin.clone()))
}

/// Properties of a client, by name. They are all treated as secrets: nobody here knows which of them are.
pub type Properties = BTreeMap<String, Setting<Secret>>;

fn properties(store: &Store, table: &KeyPath, key: &str) -> Properties {
    let found = store.properties_of(&table.child(key));
    found
        .into_iter()
        .filter_map(|(name, found)| match &found.value {
            Value::Property(value) => Some((name, Setting::new(value.clone(), found.origin.clone()))),
            _ => None,
        })
        .collect()
}

settings! {
    /// What configuration says about the whole program.
    AppConfig {
        /// How long a stopping app waits for running work.
        drain_timeout: Duration = "drain_timeout",
        /// How long a publish may wait for its acknowledgement.
        publish_timeout: Duration = "publish_timeout",
        /// The largest payload that is published.
        max_payload_bytes: usize = "max_payload_bytes",
        /// How many requests may wait for their reply.
        max_open_requests: usize = "max_open_requests",
        /// Where replies come to.
        reply_destination: String = "reply_destination",
        /// Where else replies may go.
        reply_addresses: String = "reply_addresses",
    }
    {
        /// The name of the app: the key `name`.
        name: Option<Setting<String>> = |store: &Store, _: &KeyPath| setting(store, &KeyPath::default(), "name"),
    }
}

settings! {
    /// What configuration says about the management address.
    ManageConfig {
        /// Whether there is one.
        enabled: bool = "enabled",
        /// Where it listens.
        address: String = "address",
        /// How many connections there may be at once.
        connections: usize = "connections",
        /// The largest request.
        request_bytes: usize = "request_bytes",
        /// How many bytes of messages one answer holds.
        read_bytes: usize = "read_bytes",
        /// How many entries of a list one answer holds.
        page_size: usize = "page_size",
        /// How long a request may take.
        request_timeout: Duration = "request_timeout",
    }
}

settings! {
    /// What configuration says about databases.
    SqlConfig {
        /// What the tables of Tidings are in, or what their names begin with.
        schema: String = "schema",
        /// Whether tables that are lacking are made.
        migrate: bool = "migrate",
        /// The most connections at a time.
        max_connections: u32 = "max_connections",
        /// How long it is waited for connections and answers.
        timeout: Duration = "timeout",
        /// How long SQLite waits for another process.
        busy_timeout: Duration = "busy_timeout",
        /// How long handled messages are known.
        inbox_retention: Duration = "inbox_retention",
        /// How often those are looked for that may be forgotten.
        inbox_prune_interval: Duration = "inbox_prune_interval",
        /// How many are forgotten at a time.
        inbox_prune_rows: u32 = "inbox_prune_rows",
    }
    {
        /// Who sends what is in the outbox, and how.
        relay: SqlRelayConfig = SqlRelayConfig::read,
        /// How rows of the outbox are read as they are committed.
        replication: SqlReplicationConfig = SqlReplicationConfig::read,
    }
}

settings! {
    /// What configuration says about what sends from an outbox.
    SqlRelayConfig {
        /// Who sends.
        mode: SqlRelayMode = "relay.mode",
        /// The most messages at once.
        batch: usize = "relay.batch",
        /// The most bytes at once.
        batch_bytes: usize = "relay.batch_bytes",
        /// How long after a death another process takes over.
        lease: Duration = "relay.lease",
        /// How often it looks by itself.
        poll_interval: Duration = "relay.poll_interval",
        /// How long it waits for the broker's answers.
        publish_timeout: Duration = "relay.publish_timeout",
        /// The longest wait for what is away.
        longest_backoff: Duration = "relay.longest_backoff",
        /// How often it measures how much waits.
        backlog_interval: Duration = "relay.backlog_interval",
        /// What later messages of a parked key do.
        parked_keys: SqlParkedKeys = "relay.parked_keys",
        /// Whether the right to send is taken from the one before.
        fence: bool = "relay.fence",
        /// How long it is kept without use.
        fence_idle: Duration = "relay.fence_idle",
        /// Who sends, for people.
        holder: String = "relay.holder",
    }
}

settings! {
    /// What configuration says about reading an outbox by replication.
    SqlReplicationConfig {
        /// The slot.
        slot: String = "replication.slot",
        /// The publication.
        publication: String = "replication.publication",
        /// Another way to the database.
        url: BinderUrl = "replication.url",
        /// The most messages that are sent and not taken out.
        max_in_flight: usize = "replication.max_in_flight",
        /// The most bytes of them.
        max_in_flight_bytes: usize = "replication.max_in_flight_bytes",
        /// How often the server is told.
        status_interval: Duration = "replication.status_interval",
        /// How often the slot is measured.
        lag_interval: Duration = "replication.lag_interval",
        /// How far it may be behind.
        lag_limit: u64 = "replication.lag_limit",
        /// What is done beyond that.
        behind_limit: SqlBehindLimit = "replication.behind_limit",
    }
}

settings! {
    /// What configuration says about a binder.
    BinderConfig {
        /// The address of the broker.
        url: BinderUrl = "url",
        /// How long the work of a revoked partition may finish.
        session_drain: Duration = "session_drain",
        /// How often it is asked which destinations there are.
        discovery_interval: Duration = "discovery_interval",
        /// What an acknowledged publish survives.
        fsync: Fsync = "fsync",
        /// How often files are synced when `fsync` is `interval`.
        fsync_interval: Duration = "fsync_interval",
        /// How large a segment file grows.
        segment_bytes: u64 = "segment_bytes",
        /// The largest message.
        max_message_bytes: usize = "max_message_bytes",
        /// How many bytes of messages for later may wait to be stored.
        max_delayed_pending_bytes: usize = "max_delayed_pending_bytes",
        /// How many segment files are open at once.
        max_open_files: u32 = "max_open_files",
        /// How many messages can be marked as being handled.
        max_marks: usize = "max_marks",
        /// How long messages are kept; `None` for ever.
        retention_time: Option<Duration> = "retention_time",
        /// How much of a partition is kept; `None` for all.
        retention_bytes: Option<u64> = "retention_bytes",
        /// Whether retention removes what a group has not finished.
        lose_unread_messages: bool = "lose_unread_messages",
        /// Whether a power cut may take more than the usual 10 ms of acknowledged messages.
        lose_on_power_cut: bool = "lose_on_power_cut",
        /// How much memory compaction takes for the keys of a partition.
        compaction_memory: usize = "compaction_memory",
        /// How many bytes a second compaction reads and writes; `None` for no limit.
        compaction_rate: Option<u64> = "compaction_rate",
        /// How often compaction looks.
        compaction_interval: Duration = "compaction_interval",
        /// How often progress is stored.
        commit_interval: Duration = "commit_interval",
        /// How long a question to the brokers may take.
        request_timeout: Duration = "request_timeout",
        /// How often what is finished is deleted from retry topics.
        retry_trim_interval: Duration = "retry_trim_interval",
        /// What a publish does while the buffer for the brokers is full.
        when_full: WhenFull = "when_full",
        /// How many bytes may wait for room in it.
        max_waiting_bytes: usize = "max_waiting_bytes",
        /// What is checked of a topic that is there already.
        existing: Existing = "existing",
        /// How many replicas a topic has that is created.
        replication: u32 = "replication",
    }
    {
        /// Settings of topics that are created.
        topic: Properties = |store: &Store, table: &KeyPath| properties(store, table, "topic"),
        /// Properties of the Kafka client.
        kafka: Properties = |store: &Store, table: &KeyPath| properties(store, table, "kafka"),
        /// What only a RabbitMQ has.
        rabbitmq: RabbitmqConfig = RabbitmqConfig::read,
    }
}

settings! {
    /// What configuration says about a binder that is a RabbitMQ.
    RabbitmqConfig {
        /// How often both sides of a silent connection say that they are there.
        heartbeat: Duration = "rabbitmq.heartbeat",
        /// How long a connection to one server may take to come about.
        connect_timeout: Duration = "rabbitmq.connect_timeout",
        /// How long closing waits for confirmations.
        close_timeout: Duration = "rabbitmq.close_timeout",
        /// After which time a message is sent again.
        confirm_timeout: Duration = "rabbitmq.confirm_timeout",
        /// After which time a message is given up.
        message_timeout: Duration = "rabbitmq.message_timeout",
        /// How many messages may be sent and not confirmed.
        max_in_flight: usize = "rabbitmq.max_in_flight",
        /// How many bytes of them.
        max_in_flight_bytes: usize = "rabbitmq.max_in_flight_bytes",
        /// Whether messages that no queue wants are dropped.
        lose_unroutable_messages: bool = "rabbitmq.lose_unroutable_messages",
        /// How the server learns who comes.
        auth: RabbitmqAuth = "rabbitmq.auth",
        /// The certificate authority that vouches for the servers.
        tls_ca: String = "rabbitmq.tls_ca",
        /// The certificate that the client shows.
        tls_certificate: String = "rabbitmq.tls_certificate",
        /// Its key.
        tls_key: String = "rabbitmq.tls_key",
        /// How many messages a queue hands over at once.
        prefetch: usize = "rabbitmq.prefetch",
        /// What kind of queues is declared.
        queue_type: RabbitmqQueueType = "rabbitmq.queue_type",
        /// Whether one instance reads a queue at a time.
        single_active_consumer: bool = "rabbitmq.single_active_consumer",
        /// After how many deliveries a message is a dead letter.
        delivery_limit: usize = "rabbitmq.delivery_limit",
        /// For how long a message is held at the most.
        longest_hold: Duration = "rabbitmq.longest_hold",
        /// How many bytes of dead letters are in memory while they are gone through.
        letter_bytes: usize = "rabbitmq.letter_bytes",
    }
}

settings! {
    /// What configuration says about a channel.
    ChannelConfig {
        /// The binder that it lives on.
        binder: String = "binder",
        /// The topic, exchange or queue.
        destination: String = "destination",
        /// How many partitions it is created with.
        partitions: u32 = "partitions",
        /// Whether it is created if missing.
        create: Create = "create",
        /// How long messages are kept; `None` for ever.
        retention_time: Option<Duration> = "retention_time",
        /// How much of a partition is kept; `None` for all.
        retention_bytes: Option<u64> = "retention_bytes",
        /// What goes besides.
        cleanup: Cleanup = "cleanup",
        /// How long a deletion stays in a destination that is compacted.
        tombstone_retention: Duration = "tombstone_retention",
        /// Payloads larger than this go to the claim store; `None` for none.
        claim_check: Option<usize> = "claim_check",
        /// The directory of the claim store.
        claim_store: String = "claim_store",
        /// The largest payload in a claim store.
        claim_max_bytes: u64 = "claim_max_bytes",
    }
    {
        /// What only a RabbitMQ has.
        rabbitmq: RabbitmqChannelConfig = RabbitmqChannelConfig::read,
    }
}

settings! {
    /// What configuration says about a channel that lives on a RabbitMQ.
    RabbitmqChannelConfig {
        /// The exchange that is published to.
        exchange: String = "rabbitmq.exchange",
        /// How it chooses queues.
        exchange_type: RabbitmqExchangeType = "rabbitmq.exchange_type",
        /// The exchange that gets what no queue wants.
        alternate_exchange: String = "rabbitmq.alternate_exchange",
        /// What the routing key of a message is made of.
        routing_key: String = "rabbitmq.routing_key",
        /// What the queues of groups get, separated by commas.
        bindings: String = "rabbitmq.bindings",
        /// The name of a group's queue.
        queue: String = "rabbitmq.queue",
        /// What kind of queues is declared.
        queue_type: RabbitmqQueueType = "rabbitmq.queue_type",
        /// How many messages a queue hands over at once.
        prefetch: usize = "rabbitmq.prefetch",
        /// Whether one instance reads a queue at a time.
        single_active_consumer: bool = "rabbitmq.single_active_consumer",
        /// After how many deliveries a message is a dead letter.
        delivery_limit: usize = "rabbitmq.delivery_limit",
        /// After which time in its queue a message is a dead letter.
        message_ttl: Duration = "rabbitmq.message_ttl",
        /// How many messages a queue holds.
        max_length: u64 = "rabbitmq.max_length",
        /// How many bytes of them.
        max_length_bytes: u64 = "rabbitmq.max_length_bytes",
        /// What happens beyond that.
        overflow: RabbitmqOverflow = "rabbitmq.overflow",
        /// The highest priority.
        max_priority: usize = "rabbitmq.max_priority",
        /// After which time a queue that nobody reads goes.
        queue_expires: Duration = "rabbitmq.queue_expires",
        /// Whether it may.
        lose_unused_queues: bool = "rabbitmq.lose_unused_queues",
    }
    {
        /// More arguments of the exchange.
        exchange_arguments: Properties = |store: &Store, table: &KeyPath| properties(store, &table.child("rabbitmq"), "exchange_arguments"),
        /// More arguments of queues.
        queue_arguments: Properties = |store: &Store, table: &KeyPath| properties(store, &table.child("rabbitmq"), "queue_arguments"),
    }
}

settings! {
    /// What configuration says about a subscription.
    SubscriptionConfig {
        /// The group.
        group: String = "group",
        /// Where to begin without a stored position.
        start: Start = "start",
        /// Which partitions it reads, without a group.
        partitions: Partitions = "partitions",
        /// What keeps its order.
        ordering: Ordering = "ordering",
        /// How many messages are handled at once.
        concurrency: usize = "concurrency",
        /// How many messages of a partition may be received and not finished.
        max_in_flight: usize = "max_in_flight",
        /// How many bytes of messages of a partition may be received and not finished.
        max_in_flight_bytes: usize = "max_in_flight_bytes",
        /// The most messages of a batch.
        batch_size: usize = "batch_size",
        /// How long the first message of a batch waits for others.
        batch_linger: Duration = "batch_linger",
        /// How long a handling may take; `None` as long as it likes.
        timeout: Option<Duration> = "timeout",
        /// When a handling that is not finished is named in health; `None` for never.
        stuck_after: Option<Duration> = "stuck_after",
        /// How long a suspect waits for others to finish.
        alone_wait: Duration = "alone_wait",
        /// How long it is alone at its first time.
        alone_time: Duration = "alone_time",
        /// How long at the most.
        alone_time_max: Duration = "alone_time_max",
        /// How many deliveries may start per second; `None` for any number.
        rate: Option<f64> = "rate",
        /// Whether later messages of a key overtake one that waits for long.
        order: Order = "order",
        /// How many messages of a partition may wait durably.
        max_parked: usize = "max_parked",
        /// The destination of dead letters; `{destination}` and `{group}` stand for those names.
        dead_letter: String = "dead_letter",
        /// Whose words dead letters are described in.
        headers: DeadLetterHeaders = "headers",
        /// Whether what cannot be handled is thrown away.
        lose_exhausted_messages: bool = "lose_exhausted_messages",
        /// Whether it starts paused.
        paused: bool = "paused",
        /// Whether each handling is a task of its own.
        spawn: bool = "spawn",
        /// Whether outputs and progress are one transaction.
        exactly_once: bool = "exactly_once",
        /// How often progress is stored.
        commit_interval: Duration = "commit_interval",
        /// After how many finished messages progress is stored.
        commit_every: u64 = "commit_every",
    }
    {
        /// When a failed message is tried again.
        retry: RetryConfig = RetryConfig::read,
    }
}

settings! {
    /// What configuration says about the retries of a subscription.
    RetryConfig {
        /// How often a message is delivered at the most, the first time included.
        attempts: u32 = "retry.attempts",
        /// The wait before the second delivery.
        initial: Duration = "retry.initial",
        /// Each wait is the one before times this.
        multiplier: f64 = "retry.multiplier",
        /// The longest wait.
        max: Duration = "retry.max",
        /// By which fraction each wait varies at random.
        jitter: f64 = "retry.jitter",
        /// Waits longer than this are durable.
        durable_after: Duration = "retry.durable_after",
        /// Retries per first delivery.
        budget: f64 = "retry.budget",
        /// Retries per second that are always allowed; `None` for none.
        budget_floor: Option<f64> = "retry.budget_floor",
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::error::ConfigError;
    use crate::record::{KeyRecord, Kind};
    use crate::records::records;

    /// The record's key in a section named `x`, set to that value.
    fn load(record: &KeyRecord, value: &str) -> Config {
        let key = record.path.replace("<name>", "x");
        let builder = Config::builder().toml("t.toml", format!("{key} = {value}\n"));
        match builder.env::<&str, &str>([]).load_partly() {
            // Which values need a `lose_…` key beside them is not a question of types.
            (config, Ok(()) | Err(ConfigError::MayLoseMessages { .. })) => config,
            (_, Err(error)) => panic!("{}: {error}", record.path),
        }
    }

    fn fields(config: &Config, record: &KeyRecord) -> Vec<(&'static str, bool)> {
        match record.segments().next() {
            Some("app") => config.app().fields(),
            Some("manage") => config.manage().fields(),
            Some("sql") => {
                let sql = config.sql();
                [sql.fields(), sql.relay.fields(), sql.replication.fields()].concat()
            }
            Some("binder") => {
                let binder = config.binder("x");
                [binder.fields(), binder.rabbitmq.fields()].concat()
            }
            Some("channel") => {
                let channel = config.channel("x");
                [channel.fields(), channel.rabbitmq.fields()].concat()
            }
            Some("subscription") => {
                let subscription = config.subscription("x");
                [subscription.fields(), subscription.retry.fields()].concat()
            }
            _ => vec![("name", config.app().name.is_some())],
        }
    }

    /// Values at the ends of what the record allows: each must fit the type of its field.
    fn values(kind: &Kind) -> Vec<String> {
        match kind {
            Kind::Choice(words) => words.iter().map(|word| format!("{word:?}")).collect(),
            Kind::Switch => vec!["true".to_owned(), "false".to_owned()],
            // TOML's integers end at 63 bits.
            Kind::Integer { min, max } => vec![min.to_string(), (*max).min(i64::MAX as u64).to_string()],
            Kind::Bytes { min, max } => vec![min.to_string(), format!("\"{max}\"")],
            Kind::Number { min, max } => vec![format!("{min:?}"), format!("{max:?}")],
            Kind::Duration { min, max } => {
                vec![
                    format!("\"{}ms\"", min.as_millis()),
                    format!("\"{}ms\"", max.as_millis()),
                ]
            }
            Kind::Partitions => vec!["0".to_owned(), "\"0, 2-4\"".to_owned()],
            Kind::Start => vec!["\"latest\"".to_owned(), "{ offset = 1 }".to_owned()],
            Kind::OrNone(kind) => [values(kind), vec!["\"none\"".to_owned()]].concat(),
            Kind::Rate => vec!["5".to_owned(), "0.5".to_owned(), "\"5/m\"".to_owned()],
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_record_has_a_field_that_takes_its_example_and_its_limits() {
        for record in records()
            .iter()
            .filter(|record| !matches!(record.kind, Kind::Properties))
        {
            let key = record.path.split_once('.').map_or(record.path, |(_, key)| key);
            let key = key.strip_prefix("<name>.").unwrap_or(key);
            for value in [vec![record.example.to_owned()], values(&record.kind)].concat() {
                let set: Vec<_> = fields(&load(record, &value), record)
                    .into_iter()
                    .filter(|(_, set)| *set)
                    .collect();
                assert_eq!(set, [(key, true)], "{} = {value}", record.path);
            }
        }
    }

    #[test]
    fn no_field_is_without_a_record() {
        let config = Config::default();
        let subscription = config.subscription("x");
        for (section, fields) in [
            ("app", config.app().fields()),
            ("manage", config.manage().fields()),
            ("sql", config.sql().fields()),
            ("sql", config.sql().relay.fields()),
            ("sql", config.sql().replication.fields()),
            ("binder.<name>", config.binder("x").fields()),
            ("binder.<name>", config.binder("x").rabbitmq.fields()),
            ("channel.<name>", config.channel("x").fields()),
            ("channel.<name>", config.channel("x").rabbitmq.fields()),
            ("subscription.<name>", subscription.fields()),
            ("subscription.<name>", subscription.retry.fields()),
        ] {
            for (key, _) in fields {
                let path = format!("{section}.{key}");
                assert!(records().iter().any(|record| record.path == path), "{path}");
            }
        }
    }

    #[test]
    fn every_default_that_is_a_value_would_be_accepted() {
        for record in records() {
            let plain = !record.default.contains(' ') && !matches!(record.kind, Kind::Properties);
            if plain {
                let quoted = format!("{:?}", record.default);
                let bare = matches!(
                    record.kind,
                    Kind::Integer { .. } | Kind::Number { .. } | Kind::Switch
                );
                load(record, if bare { record.default } else { &quoted });
            }
        }
    }
}
