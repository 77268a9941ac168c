//! The thread on which everything happens: [`Worker`].
//!
//! It has a runtime of its own, so that publishing works from any thread and goes on while the runtime of the program
//! ends.

use crate::error::RabbitError;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime. It ends when this is dropped, and takes along what runs there.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    _alive: oneshot::Sender<()>,
}

impl Worker {
    pub(crate) fn start() -> Result<Self, RabbitError> {
        let failed = |error: std::io::Error| RabbitError::Thread {
            reason: error.to_string(),
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("tidings-rabbitmq-work")
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (alive, dropped) = oneshot::channel();
        std::thread::Builder::new()
            .name("tidings-rabbitmq".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(dropped);
                // A name service that does not answer is not waited for.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self {
            handle,
            _alive: alive,
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
