//! Connections to PostgreSQL that are lost around a COMMIT: [`CommitProxy`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::error::BrokersError;
use crate::middle::Middle;

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
    middle: Middle<State>,
    counts: Arc<Counts>,
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
        let target: Arc<str> = target.into().into();
        let calm = State { fault: None, cuts: 0 };
        let counts = Arc::new(Counts::default());
        let (server, counter) = (target.clone(), counts.clone());
        let middle = Middle::start(&target, calm, move |client, state| {
            let (server, counts, mut cut) = (server.clone(), counter.clone(), state.clone());
            let cuts = cut.borrow().cuts;
            async move {
                tokio::select! {
                    () = carry(client, &server, state, &counts) => {}
                    _ = cut.wait_for(|state| state.cuts != cuts) => {}
                }
            }
        })?;
        Ok(Self { middle, counts })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.middle.address()
    }

    /// From now on every so many COMMITs lose their connection; 0 is none.
    pub fn cut_every(&self, commits: u64, fault: CommitFault) {
        self.middle
            .change(|state| state.fault = (commits > 0).then_some((fault, commits)));
    }

    /// Ends every open connection. New ones are served.
    pub fn cut(&self) {
        self.middle.change(|state| state.cuts += 1);
    }

    /// How many COMMITs have lost their connection.
    #[must_use]
    pub fn commits_cut(&self) -> u64 {
        self.counts.cut.load(Ordering::Acquire)
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
