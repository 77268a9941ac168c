//! Keys of a binder.

use super::{CENTURY, DAY, HOUR, MINUTE, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "binder.<name>.url",
        kind: Kind::Url,
        default: "embedded:./data for main; others have none",
        example: "\"embedded:./data\"",
        doc: "The address of the broker: `embedded:DIRECTORY`, `memory:` (forgotten when the process ends), and, where the program has their \
              driver, `kafka://host:port,host:port` and `amqp://user@host/vhost`. The variable `TIDINGS_URL` sets the one of `main`. A password in it is never \
              printed.",
    },
    KeyRecord {
        path: "binder.<name>.session_drain",
        kind: duration(0, HOUR),
        default: "10s",
        example: "\"10s\"",
        doc: "How long the work of a partition that moves to another member may finish before it is taken away.",
    },
    KeyRecord {
        path: "binder.<name>.discovery_interval",
        kind: duration(100, HOUR),
        default: "10s",
        example: "\"30s\"",
        doc: "How often a subscription to a pattern (a channel with `destination = \"^…\"`) asks the broker which \
              destinations there are. What is new is read within that time, from its first message on; what is \
              missing twice is no longer read.",
    },
    KeyRecord {
        path: "binder.<name>.fsync",
        kind: Kind::Choice(&["always", "interval", "os"]),
        default: "interval",
        example: "\"always\"",
        doc: "Embedded: what an acknowledged publish survives. `always`: a power cut. `interval`: a crash of the \
              process, and a power cut except for the last `fsync_interval`. `os`: a crash of the process only; it \
              needs `lose_on_power_cut`.",
    },
    KeyRecord {
        path: "binder.<name>.fsync_interval",
        kind: duration(1, MINUTE),
        default: "10ms",
        example: "\"10ms\"",
        doc: "Embedded: how often files are synced when `fsync` is `interval`. Above 10ms it needs \
              `lose_on_power_cut`.",
    },
    KeyRecord {
        path: "binder.<name>.lose_on_power_cut",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Embedded: allows `fsync = \"os\"` and an `fsync_interval` above 10ms, with which a power cut takes \
              acknowledged messages that were not synced yet. A crash of the process never does.",
    },
    KeyRecord {
        path: "binder.<name>.segment_bytes",
        kind: Kind::Bytes {
            min: 4 << 10,
            max: 4 << 30,
        },
        default: "64MiB",
        example: "\"64MiB\"",
        doc: "Embedded: a segment file that has grown to this is closed and the next one begun. Retention removes \
              whole segments.",
    },
    KeyRecord {
        path: "binder.<name>.max_message_bytes",
        kind: Kind::Bytes { min: 1, max: 1 << 30 },
        default: "1MiB",
        example: "\"1MiB\"",
        doc: "A larger message (key, headers and payload) is refused. On Kafka the topic has a limit of its own, and this \
              is the client's `message.max.bytes`, of 1000 bytes or more. On RabbitMQ it is 128MiB where nobody sets it, \
              which is the server's own limit (`max_message_size`).",
    },
    KeyRecord {
        path: "binder.<name>.max_delayed_pending_bytes",
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 16 << 30,
        },
        default: "64MiB",
        example: "\"64MiB\"",
        doc: "Embedded: how many bytes of messages for later may wait to be stored. Beyond it a publish of one is \
              refused until some are stored.",
    },
    KeyRecord {
        path: "binder.<name>.max_open_files",
        kind: Kind::Integer {
            min: 16,
            max: 1_000_000,
        },
        default: "half of the process's limit",
        example: "512",
        doc: "Embedded: how many segment files are open at once. The ones used longest ago are closed, and opened \
              again when they are needed; keep it below the process's own limit (`ulimit -n`).",
    },
    KeyRecord {
        path: "binder.<name>.max_marks",
        kind: Kind::Integer {
            min: 64,
            max: 1 << 20,
        },
        default: "16384",
        example: "65536",
        doc: "Embedded: how many messages can be marked as being handled at a time, in the whole process, 16 bytes each. \
              Others are handled as well, but a message among them that kills the process is not found out.",
    },
    KeyRecord {
        path: "binder.<name>.retention_time",
        kind: Kind::OrNone(&duration(1_000, CENTURY)),
        default: "none",
        example: "\"7d\"",
        doc: "Embedded: messages older than this are removed, by whole segments. A channel may say otherwise.",
    },
    KeyRecord {
        path: "binder.<name>.retention_bytes",
        kind: Kind::OrNone(&Kind::Bytes {
            min: 4 << 10,
            max: u64::MAX,
        }),
        default: "none",
        example: "\"10GiB\"",
        doc: "Embedded: the oldest segments of a partition are removed while it is larger than this. A channel may \
              say otherwise.",
    },
    KeyRecord {
        path: "binder.<name>.lose_unread_messages",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Embedded: lets retention remove messages that a stored group has not finished, and dead letters that \
              nobody has read. Those messages are lost. Without it retention never does, and a group that stands \
              still keeps its messages on disk.",
    },
    KeyRecord {
        path: "binder.<name>.compaction_memory",
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 64 << 30,
        },
        default: "32MiB",
        example: "\"128MiB\"",
        doc: "Embedded: how much memory compaction takes for the keys of a partition, 64 bytes for each. With more keys \
              it reads the partition several times.",
    },
    KeyRecord {
        path: "binder.<name>.compaction_rate",
        kind: Kind::OrNone(&Kind::Bytes {
            min: 64 << 10,
            max: u64::MAX,
        }),
        default: "32MiB",
        example: "\"8MiB\"",
        doc: "Embedded: how many bytes a second compaction reads and writes, so that it leaves the disk to others.",
    },
    KeyRecord {
        path: "binder.<name>.compaction_interval",
        kind: duration(100, DAY),
        default: "60s",
        example: "\"10m\"",
        doc: "Embedded: how often compaction looks for partitions of which half is new.",
    },
    KeyRecord {
        path: "binder.<name>.commit_interval",
        kind: duration(1, HOUR),
        default: "100ms",
        example: "\"100ms\"",
        doc: "How often the progress of groups is stored, where the subscription does not say. After a crash at most \
              this much work is delivered again.",
    },
    KeyRecord {
        path: "binder.<name>.request_timeout",
        kind: duration(100, HOUR),
        default: "10s",
        example: "\"30s\"",
        doc: "Kafka: how long a question to the brokers about topics, groups and offsets may take.",
    },
    KeyRecord {
        path: "binder.<name>.retry_trim_interval",
        kind: duration(100, DAY),
        default: "60s",
        example: "\"10m\"",
        doc: "Kafka: how often what groups have finished is deleted from their retry topics, which are made without \
              retention. It needs the right to delete there; without it the topics grow, and the log says so once.",
    },
    KeyRecord {
        path: "binder.<name>.when_full",
        kind: Kind::Choice(&["wait", "refuse"]),
        default: "wait",
        example: "\"refuse\"",
        doc: "Kafka, RabbitMQ: what a publish does while the buffer of messages that the brokers have not acknowledged is \
              full. `wait`: it waits for room, in order, and its receipt with it. `refuse`: it fails at once, and may be \
              tried again. The buffer is `kafka.\"queue.buffering.max.kbytes\"` (32 MiB), or `rabbitmq.max_in_flight` and \
              `rabbitmq.max_in_flight_bytes`.",
    },
    KeyRecord {
        path: "binder.<name>.max_waiting_bytes",
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 16 << 30,
        },
        default: "64MiB",
        example: "\"16MiB\"",
        doc: "Kafka, RabbitMQ: how many bytes of messages may wait for room in the buffer when `when_full` is `wait`. Beyond it a \
              publish is refused.",
    },
    KeyRecord {
        path: "binder.<name>.existing",
        kind: Kind::Choice(&["take", "validate"]),
        default: "take",
        example: "\"validate\"",
        doc: "Kafka: what is checked of a topic that is there already; it is never changed. `take`: only a number of \
              partitions that somebody set. `validate`: partitions (4 where nobody says), retention and clean-up must be \
              as the channel says, or the service does not start.",
    },
    KeyRecord {
        path: "binder.<name>.replication",
        kind: Kind::Integer { min: 1, max: 32_767 },
        default: "the broker's default.replication.factor",
        example: "3",
        doc: "Kafka: how many replicas a topic has that is created.",
    },
    KeyRecord {
        path: "binder.<name>.topic",
        kind: Kind::Properties,
        default: "empty",
        example: "{ \"min.insync.replicas\" = 2 }",
        doc: "Kafka: settings of topics that are created, by their names on the broker: \
              `topic.\"min.insync.replicas\" = 2`. What a channel says of retention and clean-up wins over them. \
              Topics for retries and dead letters keep what is in them whatever is said here: \
              `retention.ms = -1`, `retention.bytes = -1`, `cleanup.policy = delete`.",
    },
    KeyRecord {
        path: "binder.<name>.kafka",
        kind: Kind::Properties,
        default: "empty",
        example: "{ \"security.protocol\" = \"SASL_SSL\" }",
        doc: "Properties of librdkafka, passed on after they were checked: \
              `kafka.\"security.protocol\" = \"SASL_SSL\"`; with `consumer.` or `producer.` before the name for one \
              kind of client. Each can be set by a variable, `TIDINGS__BINDER__MAIN__KAFKA__SASL_PASSWORD`, or by a \
              file, `…_SASL_PASSWORD_FILE`. What looks like a secret is never printed.",
    },
];
