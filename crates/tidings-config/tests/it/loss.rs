//! No configuration loses messages without a key that says so in its name.

use crate::with_env;
use tidings_config::{Config, ConfigError, records};

/// Every key that there is, and whether it can lose messages. A new key is put into one of the two lists by somebody
/// who has thought about it; one that can lose messages is called `lose_…`.
const LOSES: &[&str] = &[
    "binder.<name>.lose_unread_messages",
    "binder.<name>.lose_on_power_cut",
    "binder.<name>.rabbitmq.lose_unroutable_messages",
    "channel.<name>.rabbitmq.lose_unused_queues",
    "subscription.<name>.lose_exhausted_messages",
];

const KEEPS: &[&str] = &[
    "name",
    // Work that is cut off is delivered again; what is refused fails at its publisher.
    "app.drain_timeout",
    "app.publish_timeout",
    "app.max_payload_bytes",
    // A request that gets no reply is told so; the request itself is a message like any other.
    "app.max_open_requests",
    "app.reply_destination",
    "app.reply_addresses",
    "binder.<name>.max_message_bytes",
    // What waits is refused at its publisher beyond it; files that are closed are opened again.
    "binder.<name>.max_delayed_pending_bytes",
    "binder.<name>.max_open_files",
    "binder.<name>.max_marks",
    "binder.<name>.session_drain",
    // What is found late is read from its first message on.
    "binder.<name>.discovery_interval",
    // An address. That `memory:` is forgotten with the process is what the word says.
    "binder.<name>.url",
    // Both need `lose_on_power_cut` where they lose more than what is usual.
    "binder.<name>.fsync",
    "binder.<name>.fsync_interval",
    "binder.<name>.segment_bytes",
    // Retention leaves what a group has not finished. A binder's leaves all of a destination that no group reads, as
    // dead letters; a channel's own is said of that channel alone, whoever reads it.
    "binder.<name>.retention_time",
    "binder.<name>.retention_bytes",
    "channel.<name>.retention_time",
    "channel.<name>.retention_bytes",
    // A compacted channel keeps the last message of each key: that is what is asked for with the word, as in Kafka.
    "channel.<name>.cleanup",
    "channel.<name>.tombstone_retention",
    "binder.<name>.compaction_memory",
    "binder.<name>.compaction_rate",
    "binder.<name>.compaction_interval",
    // How often progress is stored: what is not stored is delivered again.
    "binder.<name>.commit_interval",
    "subscription.<name>.commit_interval",
    "subscription.<name>.commit_every",
    // Only more is kept together than without.
    "subscription.<name>.exactly_once",
    // What waits is refused at its publisher beyond it.
    "binder.<name>.request_timeout",
    // Only what a group has finished goes.
    "binder.<name>.retry_trim_interval",
    "binder.<name>.when_full",
    "binder.<name>.max_waiting_bytes",
    // A topic that exists is never changed; how often a new one is kept is a promise of the brokers.
    "binder.<name>.existing",
    "binder.<name>.replication",
    // Properties that would lose messages are refused.
    "binder.<name>.topic",
    "binder.<name>.kafka",
    // What is not confirmed in its time is told to its publisher.
    "binder.<name>.rabbitmq.heartbeat",
    "binder.<name>.rabbitmq.connect_timeout",
    "binder.<name>.rabbitmq.close_timeout",
    "binder.<name>.rabbitmq.confirm_timeout",
    "binder.<name>.rabbitmq.message_timeout",
    "binder.<name>.rabbitmq.max_in_flight",
    "binder.<name>.rabbitmq.max_in_flight_bytes",
    "binder.<name>.rabbitmq.auth",
    "binder.<name>.rabbitmq.tls_ca",
    "binder.<name>.rabbitmq.tls_certificate",
    "binder.<name>.rabbitmq.tls_key",
    "binder.<name>.rabbitmq.prefetch",
    // Either is durable, and what is given up after so many deliveries is a dead letter.
    "binder.<name>.rabbitmq.queue_type",
    "binder.<name>.rabbitmq.single_active_consumer",
    "binder.<name>.rabbitmq.delivery_limit",
    "binder.<name>.rabbitmq.longest_hold",
    "binder.<name>.rabbitmq.letter_bytes",
    // What a group's queue gives up is a dead letter, and what it refuses is published again.
    "channel.<name>.rabbitmq.message_ttl",
    "channel.<name>.rabbitmq.max_length",
    "channel.<name>.rabbitmq.max_length_bytes",
    "channel.<name>.rabbitmq.overflow",
    "channel.<name>.rabbitmq.max_priority",
    "channel.<name>.rabbitmq.delivery_limit",
    "channel.<name>.rabbitmq.prefetch",
    "channel.<name>.rabbitmq.single_active_consumer",
    "channel.<name>.rabbitmq.queue",
    "channel.<name>.rabbitmq.queue_type",
    // It needs `lose_unused_queues`.
    "channel.<name>.rabbitmq.queue_expires",
    // Who gets which messages. What nobody is to get is refused at its publisher.
    "channel.<name>.rabbitmq.exchange",
    "channel.<name>.rabbitmq.exchange_type",
    "channel.<name>.rabbitmq.alternate_exchange",
    "channel.<name>.rabbitmq.routing_key",
    "channel.<name>.rabbitmq.bindings",
    // Arguments that would lose messages are refused.
    "channel.<name>.rabbitmq.exchange_arguments",
    "channel.<name>.rabbitmq.queue_arguments",
    "channel.<name>.binder",
    "channel.<name>.destination",
    "channel.<name>.partitions",
    "channel.<name>.create",
    "subscription.<name>.group",
    // Where a new group begins. Its place is stored before the first message, so a later start skips nothing; what
    // lies before it stays in the log.
    "subscription.<name>.start",
    // Only without a group, where nothing is promised of what is not read.
    "subscription.<name>.partitions",
    "subscription.<name>.ordering",
    "subscription.<name>.concurrency",
    "subscription.<name>.max_in_flight",
    "subscription.<name>.max_in_flight_bytes",
    "subscription.<name>.batch_size",
    "subscription.<name>.batch_linger",
    "subscription.<name>.timeout",
    "subscription.<name>.stuck_after",
    "subscription.<name>.alone_wait",
    "subscription.<name>.alone_time",
    "subscription.<name>.alone_time_max",
    "subscription.<name>.rate",
    // What has no attempts left goes to the dead letters, and those cannot be switched off.
    "subscription.<name>.retry.attempts",
    "subscription.<name>.retry.initial",
    "subscription.<name>.retry.multiplier",
    "subscription.<name>.retry.max",
    "subscription.<name>.retry.jitter",
    "subscription.<name>.retry.durable_after",
    "subscription.<name>.retry.budget",
    "subscription.<name>.retry.budget_floor",
    "subscription.<name>.order",
    "subscription.<name>.max_parked",
    "subscription.<name>.dead_letter",
    "subscription.<name>.headers",
    "channel.<name>.claim_check",
    "channel.<name>.claim_store",
    "channel.<name>.claim_max_bytes",
    "subscription.<name>.paused",
    "subscription.<name>.spawn",
    // Where operators ask, and how much; what they do is theirs.
    "manage.enabled",
    "manage.address",
    "manage.connections",
    "manage.request_bytes",
    "manage.read_bytes",
    "manage.page_size",
    "manage.request_timeout",
    // What is forgotten too early is handled again, and nothing is kept for less.
    "sql.schema",
    "sql.migrate",
    "sql.max_connections",
    "sql.timeout",
    "sql.busy_timeout",
    "sql.inbox_retention",
    "sql.inbox_prune_interval",
    "sql.inbox_prune_rows",
    // What nobody sends waits in the database; what is sent twice has the same id.
    "sql.relay.mode",
    "sql.relay.batch",
    "sql.relay.batch_bytes",
    "sql.relay.lease",
    "sql.relay.poll_interval",
    "sql.relay.publish_timeout",
    "sql.relay.longest_backoff",
    "sql.relay.backlog_interval",
    "sql.relay.parked_keys",
    // Without it something may come again out of turn, with the same id.
    "sql.relay.fence",
    "sql.relay.fence_idle",
    "sql.relay.holder",
    "sql.replication.slot",
    "sql.replication.publication",
    "sql.replication.url",
    "sql.replication.max_in_flight",
    "sql.replication.max_in_flight_bytes",
    "sql.replication.status_interval",
    "sql.replication.lag_interval",
    "sql.replication.lag_limit",
    "sql.replication.behind_limit",
];

#[test]
fn every_key_was_asked_whether_it_can_lose_messages() {
    for record in records() {
        let loses = LOSES.contains(&record.path);
        let keeps = KEEPS.contains(&record.path);
        assert!(
            loses != keeps,
            "put {} into exactly one of the lists",
            record.path
        );
        assert_eq!(
            loses,
            record.loses_messages(),
            "{}: a key that can lose messages is called lose_…, and no other",
            record.path
        );
        if loses {
            assert_eq!(record.default, "false", "{}", record.path);
            assert!(
                record.doc.contains("lost") || record.doc.contains("takes"),
                "{}",
                record.path
            );
        }
    }
}

#[test]
fn what_a_power_cut_takes_beyond_the_usual_needs_a_key_that_says_so() {
    for (value, key) in [
        ("fsync = \"os\"", "fsync"),
        ("fsync_interval = \"1s\"", "fsync_interval"),
    ] {
        let error = with_env(&format!("[binder.main]\n{value}\n"), &[]).unwrap_err();
        let ConfigError::MayLoseMessages { needs, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*needs, "lose_on_power_cut");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("tidings.toml:2: binder.main.{key} = \"")),
            "{text}"
        );
        let allowed = format!("[binder.main]\n{value}\nlose_on_power_cut = true\n");
        with_env(&allowed, &[]).unwrap();
        // Also where the two come from different layers, and from variables alone.
        with_env(
            &format!("[binder.main]\n{value}\n"),
            &[("TIDINGS__BINDER__MAIN__LOSE_ON_POWER_CUT", "true")],
        )
        .unwrap();
    }
    let error = with_env("", &[("TIDINGS__BINDER__MY_DISK__FSYNC", "os")]).unwrap_err();
    assert!(matches!(error, ConfigError::MayLoseMessages { .. }), "{error}");
    with_env(
        "[binder.main]\nfsync = \"interval\"\nfsync_interval = \"10ms\"\n",
        &[],
    )
    .unwrap();
    with_env("[binder.main]\nfsync = \"always\"\n", &[]).unwrap();
}

#[test]
fn properties_of_a_client_that_would_lose_messages_are_refused() {
    let of_topics =
        "[binder.main.topic]\n\"retention.ms\" = 1000\n\"unclean.leader.election.enable\" = true\n";
    let error = with_env(of_topics, &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("tidings.toml:3: ") && error.contains("binder.main.topic."),
        "{error}"
    );
    for property in [
        "acks = 1",
        "acks = \"0\"",
        "\"enable.auto.commit\" = true",
        "enable.auto.commit = \"true\"",
        "\"auto.offset.reset\" = \"latest\"",
        "\"enable.idempotence\" = false",
    ] {
        let error = with_env(&format!("[binder.main.kafka]\n{property}\n"), &[]).unwrap_err();
        assert!(
            matches!(error, ConfigError::ReservedProperty { .. }),
            "{property}: {error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("tidings.toml:2: binder.main.kafka."),
            "{error}"
        );
    }
    let error = with_env(
        "",
        &[("TIDINGS__BINDER__MAIN__KAFKA__ENABLE_AUTO_COMMIT", "true")],
    )
    .unwrap_err();
    assert!(matches!(error, ConfigError::ReservedProperty { .. }), "{error}");
    with_env(
        "[binder.main.kafka]\nacks = \"all\"\n\"client.id\" = \"shop\"\n",
        &[],
    )
    .unwrap();
}

#[test]
fn dead_letters_cannot_be_switched_off_by_another_name() {
    for value in ["false", "\"\"", "\"none\"", "\"off\"", "\"null\"", "\"  \""] {
        let error = with_env(&format!("[subscription.a]\ndead_letter = {value}\n"), &[]).unwrap_err();
        assert!(
            error.to_string().contains("lose_exhausted_messages = true"),
            "{error}"
        );
    }
    let error = with_env("[subscription.a.retry]\nattempts = 0\n", &[]).unwrap_err();
    assert!(error.to_string().contains("from 1 to"), "{error}");
}

#[test]
fn what_was_called_otherwise_names_the_new_key() {
    let error = Config::from_toml("[binder.main]\nretention_drop_unread = true\n", "t.toml").unwrap_err();
    assert!(
        error.to_string().contains("did you mean lose_unread_messages?"),
        "{error}"
    );
}
