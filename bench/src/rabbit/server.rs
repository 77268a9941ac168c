//! The RabbitMQ of all rows.

use std::sync::OnceLock;

use brokers::{Rabbit, RabbitOptions};

use crate::apart::cores;
use crate::apart::job::{Arm, Job, Packing, RabbitArm, Work};
use crate::error::BenchError;

/// A server that lives as long as this program.
#[derive(Debug)]
pub(crate) struct Server(Rabbit);

/// The server: started by the first row that needs one, on a core of its own.
///
/// # Errors
/// It is not installed, or it does not start; then each row on RabbitMQ says so.
pub(crate) fn server() -> Result<&'static Server, BenchError> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    SERVER
        .get_or_init(|| Server::start().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(BenchError::part("a RabbitMQ to measure on"))
}

impl Server {
    fn start() -> Result<Self, BenchError> {
        let rabbit = Rabbit::start(RabbitOptions::plain()).map_err(BenchError::part("starting it"))?;
        for node in rabbit.nodes() {
            if let Ok(Some(process)) = rabbit.pid(node) {
                cores::to_the_brokers(process)?;
            }
        }
        Ok(Self(rabbit))
    }

    /// A job with a queue of its own.
    pub(crate) fn job(&self, arm: RabbitArm, total: u64) -> Job {
        Job {
            arm: Arm::Rabbit(arm),
            work: Work::Order,
            packing: Packing::Plain,
            servers: self.0.url(),
            topic: brokers::unique("orders"),
            out: String::new(),
            partitions: 1,
            group: "bench".to_owned(),
            warm: total / 2,
            total,
            keys: 0,
            slots: 0,
            per_second: 0,
            linger_ms: 0,
            confirm_ms: 0,
            open: 1_000,
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        let url = self.0.url();
        let address = url.rsplit('@').next().unwrap_or_default();
        let address = address
            .split('/')
            .find(|part| part.contains(':') && !part.ends_with(':'));
        address.unwrap_or_default().to_owned()
    }

    /// Makes a job's queue, with nothing in it.
    pub(crate) fn make(&self, job: &Job) -> Result<(), BenchError> {
        let made = self
            .0
            .api()
            .put(&path(job), &serde_json::json!({ "durable": true }));
        made.map_err(BenchError::part("making a queue"))
    }

    /// Takes it away, with what is left in it.
    pub(crate) fn forget(&self, job: &Job) -> Result<(), BenchError> {
        let gone = self.0.api().delete(&path(job));
        gone.map_err(BenchError::part("deleting a queue"))
    }
}

fn path(job: &Job) -> String {
    format!("queues/%2F/{}", brokers::RabbitApi::segment(&super::queue(job)))
}
