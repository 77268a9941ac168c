//! Leaving a group, also when nobody waits for it and when the broker is away: [`leave`].

use crate::background::asked;
use crate::native::Consumer;
use crate::source::inbox::News;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a member tries to leave politely; after that its session runs out.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much longer than that is waited for a thread that leaves.
const SLACK: Duration = Duration::from_secs(1);

/// Leaving under way.
#[derive(Debug)]
struct Leaving {
    consumer: Arc<Consumer>,
    deadline: Instant,
}

impl Leaving {
    fn start(consumer: Arc<Consumer>) -> Self {
        if let Err(fault) = consumer.start_close() {
            tracing::debug!(reason = %fault, "the consumer was being closed already");
        }
        Self {
            consumer,
            deadline: Instant::now() + LEAVE_TIMEOUT,
        }
    }

    /// Does what is to do now. Whether it is over.
    fn step(&self) -> bool {
        self.consumer.consume(|_| {});
        self.consumer.serve_replies();
        while let Some(news) = self.consumer.inbox().next() {
            match news {
                // The group waits for it to be given back. It may be more than the group knows of: retry partitions.
                News::Revoked { .. } => self.consumer.unassign_all(),
                News::Assigned(_) => self.consumer.assign_nothing(),
                _ => {}
            }
        }
        self.consumer.is_closed() || Instant::now() >= self.deadline
    }
}

/// Leaves on a thread of its own, and takes the client apart there, which may take as long as the broker does. Resolves
/// when the group was left, or the time for it is over.
///
/// Nowhere else: what is asked of librdkafka about a group in the moment in which it has left it is thrown away without
/// an answer (seen in 2.12, the same in 2.15), and whoever asked waits for ever. Here that is a thread which is left behind.
pub(crate) fn leave(consumer: Arc<Consumer>) -> oneshot::Receiver<()> {
    asked("tidings-kafka-leave", move || {
        let leaving = Leaving::start(consumer);
        while !leaving.step() {
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

/// Leaves, and waits for that.
pub(crate) async fn left(consumer: Arc<Consumer>) {
    if timeout(LEAVE_TIMEOUT + SLACK, leave(consumer)).await.is_err() {
        tracing::warn!("the Kafka client does not answer while it leaves its group; it is left behind");
    }
}
