//! What an arm is asked for, and what it says.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cores;
use crate::arms::gauge::{Gauge, Reading, Watch};
use crate::error::BenchError;
use crate::machine;
use crate::measure::Sample;
use crate::order::Order;

/// A way to do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Arm {
    /// Writes the topic that all others read.
    Fill,
    /// librdkafka's batch call, by hand.
    BatchLoop,
    /// One message a call of the `rdkafka` crate: the loop that one writes first.
    PollLoop,
    /// The stream of the `rdkafka` crate, on tokio.
    StreamConsumer,
    /// Our driver without the engine.
    Source,
    /// An app with a handler.
    App,
    /// The `rdkafka` crate's producer, deliveries counted.
    ProduceLoop,
    /// The same, with headers of the size of those that an app's publisher adds.
    ProduceLoopHeaders,
    /// One future of the `rdkafka` crate for each message.
    FutureEach,
    /// Our driver: a receipt for each message.
    Receipts,
    /// The same, 500 messages a call.
    ReceiptBatches,
    /// An app's publisher, 500 messages a call, with the headers that it adds.
    Publisher,
    /// Consume, change, produce, by hand.
    TransformLoop,
    /// The same, with headers of the size of those that a handler's outputs carry.
    TransformLoopHeaders,
    /// The same, with outputs that are kept until they are delivered, ids derived from inputs and offsets one by one.
    TransformLoopCareful,
    /// The same as a handler that returns its output.
    TransformApp,
    /// The same, exactly once.
    TransformOnce,
    /// A handler that waits 5 ms, in key order.
    WaitingApp,
    /// The same by hand: the batch call, and a task with a channel for each key.
    KeyedTasks,
    /// Bare tasks that only wait.
    BareTasks,
    /// Open load, producer and poll loop by hand.
    LatencyLoop,
    /// Open load, publisher and app.
    LatencyApp,
    /// One on RabbitMQ.
    Rabbit(RabbitArm),
    /// One on PostgreSQL.
    Sql(SqlArm),
}

/// A way to do the work on RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RabbitArm {
    /// Makes the queue that others read, and writes into it.
    Fill,
    /// lapin by hand: messages are published fifty at a time.
    PublishJoined,
    /// lapin by hand: one message at a time.
    PublishEach,
    /// Our driver: a receipt for each message.
    Receipts,
    /// The same, 500 messages a call.
    ReceiptBatches,
    /// An app's publisher, with the headers that it adds.
    Publisher,
    /// lapin by hand: everything up to a message is acknowledged every fifty.
    AckFifty,
    /// lapin by hand: each message is acknowledged.
    AckEach,
    /// Our driver without the engine.
    Source,
    /// An app with a handler.
    App,
}

/// A way to do the work on PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SqlArm {
    /// An app whose handler has an inbox: a message a transaction, or as many as `open` says.
    Inbox,
    /// The same by hand.
    InboxByHand,
    /// Our relay, which looks at the table.
    Relay,
    /// The same to the Kafka at `out`, as the only one that may send.
    RelayFenced,
    /// The same without a fence.
    RelayUnfenced,
    /// A loop by hand that does; several, each with keys of its own, if `slots` says so.
    RelayByHand,
    /// Our relay by logical replication.
    Replication,
    /// Writes what that one sends.
    Write,
    /// An open load of transactions, and the relay in the same process.
    Latency,
    /// The same with the load in another process.
    LatencyApart,
    /// That load.
    Load,
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Decodes the order and reads every field.
    #[default]
    Order,
    /// Looks at one byte of it.
    Raw,
}

impl Work {
    /// What the arms compare: the same for the same bytes.
    #[inline]
    pub(crate) fn sum(self, payload: &[u8]) -> Result<u64, BenchError> {
        match self {
            Work::Order => {
                let order: Order = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
                Ok(order.checksum())
            }
            Work::Raw => {
                let middle = payload.get(payload.len() / 2).copied().unwrap_or_default();
                Ok(payload.len() as u64 + u64::from(middle))
            }
        }
    }
}

/// How producers pack their batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Packing {
    #[default]
    Plain,
    Lz4,
}

impl Packing {
    /// As the clients' setting names it.
    pub(crate) fn codec(self) -> &'static str {
        match self {
            Packing::Plain => "none",
            Packing::Lz4 => "lz4",
        }
    }
}

/// One run of one arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) arm: Arm,
    pub(crate) work: Work,
    #[serde(default)]
    pub(crate) packing: Packing,
    pub(crate) servers: String,
    pub(crate) topic: String,
    pub(crate) out: String,
    pub(crate) partitions: u32,
    pub(crate) group: String,
    /// Messages that are not measured.
    pub(crate) warm: u64,
    /// All messages, with those.
    pub(crate) total: u64,
    /// Different keys, where they matter.
    pub(crate) keys: u64,
    /// Slots of a key-ordered subscription; zero is in turn.
    pub(crate) slots: usize,
    /// Messages a second of an open load.
    pub(crate) per_second: u32,
    /// `linger.ms` of the producer.
    pub(crate) linger_ms: u32,
    /// How long a broker in memory takes to confirm.
    #[serde(default)]
    pub(crate) confirm_ms: u32,
    /// Deliveries that a producing arm has open at the same time.
    pub(crate) open: usize,
}

/// What an arm says at its end; the fields that it does not measure are zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) messages: u64,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) rss_mb: f64,
    pub(crate) checksum: u64,
    pub(crate) first_ms: f64,
    pub(crate) violations: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// From when it was due, where the others are from another moment.
    pub(crate) due_p50_us: f64,
    pub(crate) due_p99_us: f64,
}

impl Outcome {
    /// Of a gauge's reading.
    pub(crate) fn of(reading: &Reading) -> Result<Self, BenchError> {
        Ok(Self {
            messages: reading.sample.messages,
            wall_s: reading.sample.wall.as_secs_f64(),
            cpu_s: reading.sample.cpu.as_secs_f64(),
            rss_mb: machine::resident_megabytes(std::process::id(), "VmHWM")?,
            checksum: reading.checksum,
            ..Self::default()
        })
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("numbers are JSON")
    }

    pub(crate) fn sample(&self) -> Sample {
        Sample {
            messages: self.messages,
            wall: Duration::from_secs_f64(self.wall_s),
            cpu: Duration::from_secs_f64(self.cpu_s),
        }
    }
}

impl Job {
    /// The same work of another arm.
    pub(crate) fn with(&self, arm: Arm) -> Self {
        Self { arm, ..self.clone() }
    }

    /// Plays it in a process of its own.
    pub(crate) fn run(&self) -> Result<Outcome, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::system("finding this program"))?;
        let job = serde_json::to_string(self).map_err(BenchError::part("writing a job"))?;
        let mut command = Command::new(program);
        command.args([super::MARK, &job]);
        outcome_of(command, &format!("{:?}", self.arm))
    }
}

/// Counts the job's messages. Without a warm-up nothing is timed: that is for a profiler.
pub(crate) fn gauge(job: &Job) -> &'static Gauge {
    let watch = match job.warm {
        0 => Watch::Nothing,
        _ => Watch::Time,
    };
    let gauge = Gauge::leaked(job.warm, job.total, watch);
    if job.warm == 0 {
        gauge.begin();
    }
    gauge
}

/// Runs a program on the clients' core, and reads the line that it says at its end.
pub(crate) fn outcome_of(mut command: Command, name: &str) -> Result<Outcome, BenchError> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = cores::on_the_clients(|| child.spawn())?;
    let child = child.map_err(BenchError::system("starting an arm"))?;
    let output = child
        .wait_with_output()
        .map_err(BenchError::system("waiting for an arm"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().rev().find(|line| line.starts_with('{'));
    let said = said.ok_or_else(|| BenchError::Part {
        part: "an arm",
        reason: format!("{name} ended with {} and said nothing", output.status),
    })?;
    serde_json::from_str(said).map_err(BenchError::part("reading what an arm said"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_say_besides_is_passed_over() {
        let line = r#"{"arm":"spring-kafka","workload":"W2","messages":10,"wall_s":1.5,"cpu_s":0.5,"rss_mb":300.1,
            "msgs_per_s":7,"cpu_s_per_million":50.0,"checksum":18446744073709551615,"handler_ms":0.0}"#;
        let outcome: Outcome = serde_json::from_str(line).unwrap();
        assert_eq!((outcome.messages, outcome.checksum), (10, u64::MAX));
        assert_eq!(outcome.sample().cpu, Duration::from_millis(500));
    }

    #[test]
    fn the_line_of_a_program_is_read_also_where_it_says_more_before() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; echo '{\"messages\":3}'"]);
        assert_eq!(outcome_of(command, "sh").unwrap().messages, 3);
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let error = outcome_of(command, "sh").unwrap_err().to_string();
        assert!(error.contains("sh ended with exit status: 3"), "{error}");
    }
}
