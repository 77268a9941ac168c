//! The end of a service by signal: [`shutdown_signal`].

use crate::error::Error;

/// What asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: an orchestrator.
    Terminate,
    /// SIGINT: ctrl-C.
    Interrupt,
}

impl Signal {
    /// The exit code of a process that ends by it at once.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

/// Waits for SIGTERM or ctrl-C. After it has resolved, the next of them ends the process at once, with the exit code
/// 143 or 130: a person who presses ctrl-C twice means it.
///
/// For programs with more than the service to end, such as an HTTP server: stop that, then
/// [`Running::drain`](crate::Running::drain).
///
/// # Errors
/// [`Error::Signal`] if the operating system does not allow it.
pub async fn shutdown_signal() -> Result<Signal, Error> {
    let mut signals = Signals::listen().map_err(Error::Signal)?;
    let first = signals.next().await;
    tracing::info!(signal = ?first, "stopping; a second signal ends the process at once");
    tokio::spawn(async move {
        let second = signals.next().await;
        tracing::warn!(signal = ?second, "stopped at once by a second signal");
        std::process::exit(second.exit_code());
    });
    Ok(first)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

#[cfg(not(unix))]
struct Signals {}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> Signal {
        // An error means that no handler could be installed; the process then ends by ctrl-C on its own.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
