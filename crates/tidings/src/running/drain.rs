//! The end of a service: every step of it under one deadline, whatever a broker does.

#[cfg(all(test, feature = "test"))]
mod hanging;
#[cfg(all(test, feature = "test"))]
mod tests;

use super::outboxes::RunningOutbox;
use super::{Drained, Inner};
use crate::jobs::{JobEnd, all_until};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What each of the steps gets behind the deadline, so that one that used up all the time leaves some for the
/// next: the parts are told to stop at the deadline, so they need a moment more.
const TAIL: Duration = Duration::from_secs(1);

/// How a part ended: whether in time, and how many messages it gave up.
type PartEnd = Pin<Box<dyn Future<Output = (bool, usize)> + Send>>;

impl Inner {
    pub(super) async fn drain(&self) -> Drained {
        self.draining.store(true, Ordering::Relaxed);
        self.preparing.iter().for_each(tokio::task::AbortHandle::abort);
        let deadline = Instant::now() + self.drain_timeout;
        let mut drained = self.drain_parts(deadline).await;
        let tail = self.drain_outboxes(deadline, &mut drained).await;
        // Handlers may have waited for replies until now; nobody does from here on.
        for requester in self.requesters.values() {
            requester.close();
        }
        // Publishes of the program itself may be under way; operators that ask get a moment at the same time.
        let (flushed, ()) = tokio::join!(self.binders.flush(tail + TAIL), self.stop_answering());
        drained.problems.extend(flushed);
        let closed = self.binders.close(tail + 2 * TAIL).await;
        drained.problems.extend(closed);
        drained
    }

    /// Operators are not answered any more.
    async fn stop_answering(&self) {
        #[cfg(feature = "manage")]
        if let Some(server) = self.manage.get() {
            server.close().await;
        }
    }

    /// Ends producers and subscriptions, at the same time. Those that do not even end after the deadline are stopped
    /// as by a crash: what they had not stored is delivered again.
    async fn drain_parts(&self, deadline: Instant) -> Drained {
        let producers = self.producers.iter().map(|one| {
            let handle = one.handle.clone();
            let end: PartEnd = Box::pin(async move { (handle.drain(deadline).await, 0) });
            (format!("producer {}", one.name), end)
        });
        let subscriptions = self.subscriptions.iter().map(|one| {
            let handle = one.handle.clone();
            let end: PartEnd = Box::pin(async move {
                let report = handle.drain(deadline).await;
                (report.finished_in_time, report.abandoned)
            });
            (format!("subscription {}", one.name), end)
        });
        let ends = all_until(producers.chain(subscriptions), deadline + TAIL).await;
        let mut drained = Drained {
            finished_in_time: true,
            abandoned: 0,
            given_up: Vec::new(),
            problems: Vec::new(),
        };
        for (name, end) in ends {
            let problem = match end {
                JobEnd::Done((in_time, abandoned)) => {
                    drained.finished_in_time &= in_time;
                    drained.abandoned += abandoned;
                    if !in_time {
                        drained.given_up.push(gave_up(&name, abandoned));
                    }
                    continue;
                }
                JobEnd::Late => "did not end in time and was stopped",
                JobEnd::Panicked => "panicked while it ended",
            };
            drained.finished_in_time = false;
            drained.problems.push(format!("{name} {problem}"));
        }
        self.stop_parts();
        drained
    }

    /// Sends what handlers have committed, and lets others send from then on. When the next step has to be done, but for
    /// its own moment.
    async fn drain_outboxes(&self, deadline: Instant, drained: &mut Drained) -> Instant {
        if self.outboxes.is_empty() {
            return deadline + TAIL;
        }
        let jobs = self.outboxes.iter().map(|one| {
            let name = format!("the outbox in {}", one.name);
            (name, one.drain(deadline))
        });
        for (name, end) in all_until(jobs, deadline + 2 * TAIL).await {
            let problem = match end {
                JobEnd::Done(Ok(())) => continue,
                JobEnd::Done(Err(left)) => left,
                JobEnd::Late => "it did not end in time and was stopped".to_owned(),
                JobEnd::Panicked => "it panicked while it ended".to_owned(),
            };
            drained.finished_in_time = false;
            drained.given_up.push(format!("{name}: {problem}"));
        }
        self.outboxes.iter().for_each(RunningOutbox::abort);
        deadline + 2 * TAIL
    }

    /// Stops what still runs; parts that have ended are left as they are.
    fn stop_parts(&self) {
        for subscription in &self.subscriptions {
            subscription.handle.abort();
        }
        for producer in &self.producers {
            producer.handle.abort();
        }
    }
}

/// What a part says that was not finished in time.
fn gave_up(name: &str, messages: usize) -> String {
    match messages {
        0 => format!("{name} could not store all of its progress or leave in time"),
        1 => format!("{name} gave up 1 message"),
        _ => format!("{name} gave up {messages} messages"),
    }
}
