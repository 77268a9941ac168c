//! Runs the parts of an app that only publish: [`start_producer`].

use crate::status::Phase;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tidings_core::{
    BoxFuture, ErasedStream, Failure, FailureKind, HandlerContext, HandlerResult, Output, Outputs,
    PublishError, Retry, Timestamp,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// A function that is called every so often, with its state.
pub type Call = Arc<dyn Fn(&Arc<HandlerContext>) -> BoxFuture<'static, HandlerResult> + Send + Sync>;

/// Makes a stream, with its state.
pub type Open = Arc<dyn Fn() -> Pin<Box<dyn ErasedStream>> + Send + Sync>;

/// Where a producer's events come from.
#[derive(Clone)]
pub enum Work {
    /// A function that is called every so often.
    Every {
        /// From one start to the next. A call that takes longer delays the next one; calls never pile up.
        interval: Duration,
        /// The function.
        call: Call,
    },
    /// A stream; the producer ends with it.
    Stream {
        /// Makes the stream.
        open: Open,
    },
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every { interval, .. } => write!(f, "every {interval:?}"),
            Self::Stream { .. } => f.write_str("stream"),
        }
    }
}

/// A producer, ready to run.
#[derive(Debug, Clone)]
pub struct ProducerSpec {
    /// Its name, the publisher, the clock.
    pub context: Arc<HandlerContext>,
    /// The channel that outputs without a channel of their own go to.
    pub output: Option<String>,
    /// Where its events come from.
    pub work: Work,
    /// How long one publish may take before it is tried again.
    pub publish_timeout: Duration,
}

/// What a producer has done and is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStatus {
    /// What it is doing.
    pub phase: Phase,
    /// Calls of the function, or items of the stream.
    pub calls: u64,
    /// Messages that brokers keep.
    pub published: u64,
    /// Calls that failed, and messages that can never be published.
    pub failed: u64,
    /// What stands in the way now.
    pub obstacle: Option<String>,
    /// The last failure and when it was.
    pub last_failure: Option<(Timestamp, String)>,
}

/// What the handle asks of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Run,
    Pause,
    Drain,
}

/// Controls a running producer. Dropping it changes nothing.
#[derive(Debug)]
pub struct ProducerHandle {
    command: watch::Sender<Command>,
    ended: watch::Receiver<()>,
    status: Arc<Mutex<ProducerStatus>>,
    task: AbortHandle,
}

impl ProducerHandle {
    /// Starts no further call until it is resumed. What was begun is published.
    pub fn pause(&self) {
        self.ask(Command::Pause);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.ask(Command::Run);
    }

    fn ask(&self, command: Command) {
        // A drain is final.
        self.command.send_if_modified(|current| {
            let change = *current != Command::Drain && *current != command;
            if change {
                *current = command;
            }
            change
        });
    }

    /// What it has done and is doing.
    pub fn status(&self) -> ProducerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts nothing more, publishes what the current call returns, and ends; is stopped at the deadline. Whether it
    /// ended by itself.
    pub async fn drain(&self, deadline: Instant) -> bool {
        self.command.send_replace(Command::Drain);
        let in_time = tokio::time::timeout_at(deadline, self.stopped()).await.is_ok();
        self.abort();
        in_time
    }

    /// Stops it where it is.
    pub fn abort(&self) {
        self.task.abort();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.phase != Phase::Failed {
            status.phase = Phase::Stopped;
        }
    }

    /// Resolves when it has ended.
    pub async fn stopped(&self) {
        // The task never sends; the channel closes when the task is gone.
        let _ = self.ended.clone().changed().await;
    }
}

/// Starts a producer as a task of the current tokio runtime.
///
/// A function is called at once and then every `interval`; what it returns is published before it is called again,
/// with retries until the broker keeps it. A call that fails or panics is logged and counted, and the function is
/// called again at its next time. The next item of a stream is asked for only after the last one is kept.
pub fn start_producer(spec: ProducerSpec) -> ProducerHandle {
    let (command, commands) = watch::channel(Command::Run);
    let (alive, ended) = watch::channel(());
    let status = Arc::new(Mutex::new(ProducerStatus {
        phase: Phase::Running,
        ..ProducerStatus::default()
    }));
    let worker = Worker {
        spec,
        commands,
        status: status.clone(),
    };
    // The task keeps a sender too, so that nobody being left to control it is no command.
    let held = command.clone();
    let task = tokio::spawn(async move {
        let _alive = (alive, held);
        worker.run().await;
    });
    ProducerHandle {
        command,
        ended,
        status,
        task: task.abort_handle(),
    }
}

struct Worker {
    spec: ProducerSpec,
    commands: watch::Receiver<Command>,
    status: Arc<Mutex<ProducerStatus>>,
}

impl Worker {
    async fn run(mut self) {
        let end = match self.spec.work.clone() {
            Work::Every { interval, call } => self.every(interval, call).await,
            Work::Stream { open } => self.stream(open).await,
        };
        self.edit(|status| status.phase = end);
    }

    async fn every(&mut self, interval: Duration, call: Call) -> Phase {
        // An interval of zero is not allowed by tokio and would spin.
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.next_tick(&mut ticks).await {
            let context = self.spec.context.clone();
            let call = call.clone();
            match caught(async move { call(&context).await }).await {
                Ok(result) => self.finish(result).await,
                Err(panic) => self.failed(&panic),
            }
        }
        Phase::Stopped
    }

    /// Waits for the next time; false when it is time to end.
    async fn next_tick(&mut self, ticks: &mut Interval) -> bool {
        loop {
            match self.turn() {
                Command::Drain => return false,
                Command::Pause => {
                    if self.commands.changed().await.is_err() {
                        return false;
                    }
                }
                Command::Run => tokio::select! {
                    biased;
                    changed = self.commands.changed() => if changed.is_err() { return false },
                    _ = ticks.tick() => return true,
                },
            }
        }
    }

    async fn stream(&mut self, open: Open) -> Phase {
        let mut stream = match caught(async move { open() }).await {
            Ok(stream) => stream,
            Err(panic) => return self.ended_by(&panic),
        };
        loop {
            match self.turn() {
                Command::Drain => return Phase::Stopped,
                Command::Pause => {
                    if self.commands.changed().await.is_err() {
                        return Phase::Stopped;
                    }
                    continue;
                }
                Command::Run => {}
            }
            let next = caught(std::future::poll_fn(|context| {
                stream.as_mut().poll_outcome(context)
            }));
            let item = tokio::select! {
                biased;
                changed = self.commands.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Phase::Stopped,
                },
                item = next => item,
            };
            match item {
                Ok(Some(result)) => self.finish(result).await,
                Ok(None) => return Phase::Stopped,
                Err(panic) => return self.ended_by(&panic),
            }
        }
    }

    /// What the handle asks for now, shown in the status.
    fn turn(&mut self) -> Command {
        let command = *self.commands.borrow_and_update();
        self.edit(|status| {
            status.phase = match command {
                Command::Run => Phase::Running,
                Command::Pause => Phase::Paused,
                Command::Drain => Phase::Draining,
            };
        });
        command
    }

    /// A stream that panicked cannot be asked again.
    fn ended_by(&mut self, panic: &Failure) -> Phase {
        self.failed(panic);
        self.edit(|status| status.obstacle = Some(format!("the stream ended by a {panic}")));
        Phase::Failed
    }

    async fn finish(&mut self, result: HandlerResult) {
        self.edit(|status| status.calls += 1);
        match result {
            Ok(outputs) => self.publish_all(outputs).await,
            Err(failure) => self.failed(&failure),
        }
    }

    fn failed(&self, failure: &Failure) {
        let name = &self.spec.context.subscription;
        tracing::warn!(producer = %name, kind = failure.kind().as_str(), "a producer failed: {failure}");
        self.record_failure(failure.to_string());
    }

    fn record_failure(&self, reason: String) {
        let now = self.spec.context.clock.now();
        self.edit(|status| {
            status.failed += 1;
            status.last_failure = Some((now, reason));
        });
    }

    async fn publish_all(&mut self, outputs: Outputs) {
        for output in outputs {
            self.publish(output).await;
        }
    }

    /// Tries until the broker keeps the message, or says that it never will. Every try carries the same message id.
    async fn publish(&mut self, output: Output) {
        let context = self.spec.context.clone();
        let prepared = context
            .publisher
            .prepare_output(self.spec.output.as_deref(), output, None, None);
        let (sink, outgoing) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.never_published(&error),
        };
        let back_off = Retry::exponential(u32::MAX, Duration::from_millis(100), 2.0);
        for attempt in 1.. {
            let receipt = sink.publish(outgoing.clone());
            let reason = match tokio::time::timeout(self.spec.publish_timeout, receipt).await {
                Ok(Ok(_position)) => {
                    self.edit(|status| {
                        status.published += 1;
                        status.obstacle = None;
                    });
                    return;
                }
                Ok(Err(error)) if error.is_permanent() => return self.never_published(&error),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {:?}", self.spec.publish_timeout),
            };
            let name = &context.subscription;
            tracing::warn!(producer = %name, attempt, "cannot publish, trying again: {reason}");
            self.edit(|status| status.obstacle = Some(format!("cannot publish: {reason}")));
            tokio::time::sleep(back_off.wait_after(attempt, fastrand::f64())).await;
        }
    }

    fn never_published(&self, error: &PublishError) {
        let name = &self.spec.context.subscription;
        tracing::error!(producer = %name, "what a producer returned can never be published: {error}");
        self.record_failure(error.to_string());
    }

    fn edit(&self, change: impl FnOnce(&mut ProducerStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The future's output, or its panic as a failure.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        // After a panic the future is dropped and never polled again, so nothing half done is seen.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_failure(panic.as_ref()))),
        }
    })
    .await
}

fn panic_failure(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::transient(format!("panic: {}", text.unwrap_or("without a message")))
        .with_kind(FailureKind::Panic)
}

#[cfg(test)]
mod tests;
