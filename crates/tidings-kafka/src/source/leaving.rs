//! Leaving a group, also when nobody waits for it and when the broker is away: [`leave`].

use crate::background::background;
use crate::native::Consumer;
use crate::source::inbox::News;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a member tries to leave politely; after that its session runs out.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Leaving under way.
#[derive(Debug)]
pub(crate) struct Leaving {
    consumer: Arc<Consumer>,
    deadline: Instant,
}

impl Leaving {
    pub(crate) fn start(consumer: Arc<Consumer>) -> Self {
        if let Err(fault) = consumer.start_close() {
            tracing::debug!(reason = %fault, "the consumer was being closed already");
        }
        Self {
            consumer,
            deadline: Instant::now() + LEAVE_TIMEOUT,
        }
    }

    /// Does what is to do now. Whether it is over.
    pub(crate) fn step(&self) -> bool {
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

/// Leaves on a thread of its own, and takes the client apart there, which may take as long as the broker does.
pub(crate) fn leave(consumer: Arc<Consumer>) {
    background("tidings-kafka-leave", move || {
        let leaving = Leaving::start(consumer);
        while !leaving.step() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}
