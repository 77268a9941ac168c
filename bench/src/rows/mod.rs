//! The rows: one file each, in the order of their numbers; those on Kafka, on RabbitMQ and on PostgreSQL together.

mod kafka;
mod lines;
mod rabbit;
mod sql;
mod w13;
mod w14;
mod w15;
mod w17;
mod w18;
mod w22;
mod w22_broker;
mod w22_rival;
mod w23;
mod w23_by_hand;
mod w23_idle;
mod w7;
mod w8;

use std::path::Path;

use crate::arguments::Length;
use crate::child::Part;
use crate::error::BenchError;
use crate::order;
use crate::report::Line;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Setting<'_>) -> Result<Vec<Line>, BenchError>,
}

/// What every row is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) length: Length,
    /// A directory on the disk that is measured; each arm makes its own in it and removes it.
    pub(crate) scratch: &'a Path,
}

impl Setting<'_> {
    /// An empty directory of an arm's own.
    pub(crate) fn directory(&self) -> Result<tempfile::TempDir, BenchError> {
        tempfile::tempdir_in(self.scratch).map_err(BenchError::file(self.scratch))
    }
}

/// Every row, in the order in which they run.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "W1",
        about: "Kafka: produce keyed JSON, acks=all, every delivery awaited",
        run: kafka::produce::by_hand,
    },
    Row {
        name: "W1-java",
        about: "W1 beside KafkaTemplate and StreamBridge",
        run: kafka::produce::java,
    },
    Row {
        name: "W2",
        about: "Kafka: consume, decode, handle, commit",
        run: kafka::consume::decoded,
    },
    Row {
        name: "W2-java",
        about: "W2 beside Spring Kafka and Spring Cloud Stream",
        run: kafka::consume::decoded_java,
    },
    Row {
        name: "W3",
        about: "Kafka: consume, handle raw bytes, commit",
        run: kafka::consume::raw,
    },
    Row {
        name: "W3-java",
        about: "W3 beside Spring Kafka",
        run: kafka::consume::raw_java,
    },
    Row {
        name: "W4",
        about: "Kafka: consume, change, produce, at least once",
        run: kafka::transform::by_hand,
    },
    Row {
        name: "W4-java",
        about: "W4 beside Spring Cloud Stream and Spring Kafka",
        run: kafka::transform::java,
    },
    Row {
        name: "W5",
        about: "Kafka: consume, change, produce, exactly once",
        run: kafka::transform::exactly_once,
    },
    Row {
        name: "W7",
        about: "5 ms of waiting per message, key order, one partition; 1, 10, 100, 1,000 keys",
        run: w7::run,
    },
    Row {
        name: "W7-kafka",
        about: "W7 on Kafka",
        run: kafka::waits::bare,
    },
    Row {
        name: "W7-java",
        about: "W7 beside the parallel consumer",
        run: kafka::waits::java,
    },
    Row {
        name: "W8",
        about: "price of key order: consume, decode, handle, commit",
        run: w8::run,
    },
    Row {
        name: "W8-kafka",
        about: "Kafka: price of key order",
        run: kafka::consume::key_order,
    },
    Row {
        name: "W9",
        about: "PostgreSQL: a backlog of 1 M rows of the outbox is sent by polling",
        run: sql::relay::polling,
    },
    Row {
        name: "W9-ranges",
        about: "W9 by relays that share the keys among them",
        run: sql::relay::ranges,
    },
    Row {
        name: "W9-fence",
        about: "W9 to a Kafka that takes messages of one relay only",
        run: sql::relay::fence,
    },
    Row {
        name: "W10",
        about: "PostgreSQL: the outbox is sent by logical replication",
        run: sql::relay::replication,
    },
    Row {
        name: "W11",
        about: "PostgreSQL: from the commit to the broker's answer, at 1,000/s",
        run: sql::latency::run,
    },
    Row {
        name: "W12",
        about: "PostgreSQL: claim and effect in one transaction, single and in batches",
        run: sql::inbox::run,
    },
    Row {
        name: "W13",
        about: "embedded append, acknowledged after fsync; 1, 64, 4,096 in flight",
        run: w13::run,
    },
    Row {
        name: "W14",
        about: "embedded append without fsync; cold sequential read, checksums verified",
        run: w14::run,
    },
    Row {
        name: "W15",
        about: "in-process latency from the intended publish to the handler, at 1,000/s and 20,000/s",
        run: w15::run,
    },
    Row {
        name: "W15-kafka",
        about: "latency through Kafka from the intended publish to the handler, at 1,000/s and 20,000/s",
        run: kafka::latency::run,
    },
    Row {
        name: "W16",
        about: "RabbitMQ: publish and confirm, consume and acknowledge",
        run: rabbit::by_hand,
    },
    Row {
        name: "W16-java",
        about: "W16 beside Spring AMQP",
        run: rabbit::java,
    },
    Row {
        name: "W17",
        about: "exec to first message handled; idle stop",
        run: w17::run,
    },
    Row {
        name: "W17-kafka",
        about: "Kafka: exec to first message handled; idle stop",
        run: kafka::process::start,
    },
    Row {
        name: "W17-java",
        about: "start and memory of Spring Kafka and Spring Cloud Stream",
        run: kafka::process::java,
    },
    Row {
        name: "W18",
        about: "resident memory: idle; behind a backlog of 1 M",
        run: w18::run,
    },
    Row {
        name: "W18-kafka",
        about: "Kafka: resident memory: idle; behind a backlog of 1 M",
        run: kafka::process::memory,
    },
    Row {
        name: "W22",
        about: "in memory, one thread and two: no decoding, a small JSON, the 256-byte JSON",
        run: w22::run,
    },
    Row {
        name: "W23",
        about: "growth: 1 to 1,000 partitions, 10,000 topics, 200 subscriptions; what is idle",
        run: w23::run,
    },
];

/// Refuses a comparison of arms that did not read the same.
fn agree(what: &str, ours: u64, reference: u64) -> Result<(), BenchError> {
    if ours == reference {
        return Ok(());
    }
    Err(BenchError::Disagree {
        what: what.to_owned(),
        ours: ours.to_string(),
        reference: reference.to_string(),
    })
}

/// The reference of start-up and memory: its one message lies in a file.
fn by_hand_file(directory: &Path) -> Result<Part, BenchError> {
    let path = directory.join("order.json");
    std::fs::write(&path, order::order_json(0)).map_err(BenchError::file(&path))?;
    Ok(Part::ByHand {
        file: path.to_string_lossy().into_owned(),
    })
}
