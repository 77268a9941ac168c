//! The owner's side of a transactional producer: [`Transactor`].

use super::worker::{Command, Offsets, Outcome, Worker};
use crate::error::KafkaError;
use crate::sink::Transacting;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

/// A transactional producer and the thread that commits and gives up. Dropping it gives up what is open.
pub(crate) struct Transactor {
    sink: Transacting,
    commands: Option<Sender<Command>>,
    stopped: Arc<AtomicBool>,
    tickets: u64,
}

impl Transactor {
    /// Starts the thread. What comes of each command is told with its ticket.
    pub(crate) fn start(
        sink: Transacting,
        tell: impl Fn(u64, Outcome) + Send + 'static,
    ) -> Result<Self, KafkaError> {
        let (sender, commands) = channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            sink: sink.clone(),
            commands,
            stopped: stopped.clone(),
            tell: Box::new(tell),
            ready: false,
            told: None,
        };
        let thread = std::thread::Builder::new().name("tidings-kafka-transactions".to_owned());
        thread
            .spawn(move || worker.run())
            .map_err(|error| KafkaError::Client {
                role: "producer of transactions",
                reason: format!("no thread can be started: {error}"),
            })?;
        Ok(Self {
            sink,
            commands: Some(sender),
            stopped,
            tickets: 0,
        })
    }

    pub(crate) fn sink(&self) -> &Transacting {
        &self.sink
    }

    /// Commits what is open, with these offsets. The ticket of the outcome.
    pub(crate) fn commit(&mut self, offsets: Option<Offsets>) -> u64 {
        let ticket = self.ticket();
        self.command(Command::Commit { ticket, offsets });
        ticket
    }

    /// Gives up what is open, if anything is, and makes the producer ready. Nothing is taken from now on.
    pub(crate) fn settle(&mut self) -> u64 {
        self.sink.shut();
        let ticket = self.ticket();
        self.command(Command::Settle { ticket });
        ticket
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn command(&self, command: Command) {
        // The thread ends with this, or when it panics: then nothing comes of it, and health says so.
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    /// Ends it. What is open is given up meanwhile, on its thread.
    pub(crate) fn stop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.commands = None;
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Transactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactor")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}
