//! Connections to PostgreSQL that are lost around a COMMIT: [`CommitProxy`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::error::BrokersError;

/// How much one read takes at most.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is lost together with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitFault {
    /// The COMMIT itself: the server rolls back.
    Request,
    /// The answer: it is committed, and nobody is told.
    Answer,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Every so many COMMITs, if any.
    fault: Option<(CommitFault, u64)>,
    /// How often all connections were cut.
    cuts: u64,
}

/// A TCP proxy on a free port of 127.0.0.1, before a PostgreSQL without TLS, that cuts connections around a COMMIT. It ends
/// when it is dropped.
#[derive(Debug)]
pub struct CommitProxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    /// Closed to end the thread.
    state: Option<watch::Sender<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    cut: AtomicU64,
}

impl CommitProxy {
    /// Starts one before the server at `target` (`host:port`), which passes everything on.
    ///
    /// # Errors
    /// No port can be bound, or no thread be started.
    pub fn start(target: impl Into<String>) -> Result<Self, BrokersError> {
        let target = target.into();
        let failed = || BrokersError::io("start", format!("a proxy before {target}"));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed())?;
        let (state, watcher) = watch::channel(State { fault: None, cuts: 0 });
        let counts = Arc::new(Counts::default());
        let (counter, failure) = (counts.clone(), failed());
        let thread = std::thread::Builder::new()
            .name(format!("commits-{}", address.port()))
            // Connections that are still open end with the runtime.
            .spawn(move || runtime.block_on(accept(listener, target, watcher, counter)))
            .map_err(failure)?;
        Ok(Self {
            address,
            counts,
            state: Some(state),
            thread: Some(thread),
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every so many COMMITs lose their connection; 0 is none.
    pub fn cut_every(&self, commits: u64, fault: CommitFault) {
        self.change(|state| state.fault = (commits > 0).then_some((fault, commits)));
    }

    /// Ends every open connection. New ones are served.
    pub fn cut(&self) {
        self.change(|state| state.cuts += 1);
    }

    /// How many COMMITs have lost their connection.
    #[must_use]
    pub fn commits_cut(&self) -> u64 {
        self.counts.cut.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = &self.state {
            state.send_modify(change);
        }
    }
}

impl Drop for CommitProxy {
    fn drop(&mut self) {
        self.state = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: String,
    mut state: watch::Receiver<State>,
    counts: Arc<Counts>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            // Only the end of the proxy is of interest here.
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((client, _)) = client else {
            continue;
        };
        let (target, mut cut, counts) = (target.clone(), state.clone(), counts.clone());
        let cuts = cut.borrow().cuts;
        tokio::spawn(async move {
            let state = cut.clone();
            tokio::select! {
                () = carry(client, &target, state, &counts) => {}
                _ = cut.wait_for(|state| state.cuts != cuts) => {}
            }
        });
    }
}

/// Passes everything on until an end or a cut. Both sides see an end then.
async fn carry(mut client: TcpStream, target: &str, state: watch::Receiver<State>, counts: &Counts) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Small messages are not to wait for each other here; a socket that refuses is only slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Some(bytes) = read.ok().and_then(|length| asked.get(..length)) else { return };
                let fault = fault_of(bytes, &state, counts);
                if bytes.is_empty() || fault == Some(CommitFault::Request) {
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if fault == Some(CommitFault::Answer) {
                    // It is done when the server has said so.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Some(bytes) = read.ok().and_then(|length| answered.get(..length)) else { return };
                if bytes.is_empty() || client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What is to go wrong with what a client has just sent.
fn fault_of(bytes: &[u8], state: &watch::Receiver<State>, counts: &Counts) -> Option<CommitFault> {
    let (fault, every) = state.borrow().fault?;
    let is_commit = bytes.windows(6).any(|window| window == b"COMMIT");
    let is_due = is_commit && counts.commits.fetch_add(1, Ordering::AcqRel) % every == every - 1;
    is_due.then(|| {
        counts.cut.fetch_add(1, Ordering::AcqRel);
        fault
    })
}
