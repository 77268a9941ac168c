//! The end of a service by signal: [`shutdown_signal`].

use crate::error::Error;
use std::io;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::{OnceCell, oneshot, watch};

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

/// The first signal that came, as soon as somebody has asked for one. For the whole process, as signals are.
static FIRST: OnceCell<watch::Receiver<Option<Signal>>> = OnceCell::const_new();

/// How long a log may take to say that the process ends at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Waits for SIGTERM or ctrl-C. From the first call on, the second of them ends the process at once, with the exit code
/// 143 or 130, even if handlers block every thread: a person who presses ctrl-C twice means it. After the first, every
/// call resolves at once.
///
/// For programs with more than the service to end, such as an HTTP server: stop that, then
/// [`Running::drain`](crate::Running::drain).
///
/// # Errors
/// [`Error::Signal`] if the operating system does not allow it.
pub async fn shutdown_signal() -> Result<Signal, Error> {
    let mut first = listen().await?;
    let found = first
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|first| *first);
    let signal = found.ok_or_else(|| Error::Signal(io::Error::other(GONE)))?;
    tracing::info!(?signal, "stopping; a second signal ends the process at once");
    Ok(signal)
}

const GONE: &str = "the thread that waits for them has ended";

/// From here on signals are heard, also those that come before [`shutdown_signal`] is asked.
pub(crate) async fn listen() -> Result<watch::Receiver<Option<Signal>>, Error> {
    let first = FIRST.get_or_try_init(start_listening).await;
    first.cloned().map_err(Error::Signal)
}

/// Listens on a thread and a runtime of its own: a service whose handlers block all threads of its runtime can be ended
/// all the same.
async fn start_listening() -> io::Result<watch::Receiver<Option<Signal>>> {
    let (tell_first, first) = watch::channel(None);
    let (tell_ready, ready) = oneshot::channel();
    let thread = std::thread::Builder::new().name("tidings-signals".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // If the one who asked has gone, the process is still to be ended by signals.
        match runtime {
            Ok(runtime) => runtime.block_on(async move {
                match Signals::listen() {
                    Ok(signals) => {
                        let _ = tell_ready.send(Ok(()));
                        obey(signals, &tell_first).await;
                    }
                    Err(error) => drop(tell_ready.send(Err(error))),
                }
            }),
            Err(error) => drop(tell_ready.send(Err(error))),
        }
    })?;
    ready.await.unwrap_or_else(|_| Err(io::Error::other(GONE)))?;
    Ok(first)
}

async fn obey(mut signals: Signals, tell_first: &watch::Sender<Option<Signal>>) {
    let first = signals.next().await;
    tell_first.send_replace(Some(first));
    let second = signals.next().await;
    end_at_once(second);
}

fn end_at_once(signal: Signal) -> ! {
    // On another thread: a log whose reader or lock is stuck must not keep the process alive.
    let (told, heard) = mpsc::channel();
    let speaker = std::thread::Builder::new().spawn(move || {
        tracing::warn!(?signal, "stopped at once by a second signal");
        let _ = told.send(());
    });
    if speaker.is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS);
    }
    std::process::exit(signal.exit_code())
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
