//! A bad network between a client and a server: [`FaultProxy`].
//!
//! `tc netem` is missing on many machines and needs root on all, so faults are made by a process in the middle. It
//! cannot lose a SYN or reorder packets; what it can do is what a client sees of them: silence, delay, an end, a reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::error::BrokersError;
use crate::middle::Middle;

/// How much one read takes at most.
const CHUNK_BYTES: usize = 16 * 1024;
/// How many chunks of a direction are under way; a network has buffers too.
const CHUNKS_UNDER_WAY: usize = 256;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// They arrive.
    Pass,
    /// They arrive that much later, in either direction; as many a second as before.
    Delay(Duration),
    /// Neither bytes nor ends arrive, on connections that stay open, until another fault is set; then all that was
    /// held back arrives. New connections are accepted into the same silence.
    Blackhole,
    /// As [`Blackhole`](Self::Blackhole), but only for what that side sends; what it is sent arrives.
    Mute(Side),
    /// New connections are reset; those that exist go on.
    Refuse,
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that connected to the proxy.
    Client,
    /// The one to which the proxy connects.
    Server,
}

#[derive(Debug, Clone, Copy)]
struct State {
    fault: Fault,
    /// How often all connections were cut, and how often the way to each side was closed: a connection compares with
    /// what it found when it began.
    cuts: u64,
    ends_to_client: u64,
    ends_to_server: u64,
}

impl State {
    fn ends_to(&self, side: Side) -> u64 {
        match side {
            Side::Client => self.ends_to_client,
            Side::Server => self.ends_to_server,
        }
    }
}

/// A TCP proxy on a free port of 127.0.0.1 that can be told to misbehave. It ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    middle: Middle<State>,
    connections: Arc<AtomicUsize>,
}

impl FaultProxy {
    /// Starts one before the server at `target` (`host:port`), which need not be there yet.
    ///
    /// # Errors
    /// No port can be bound, or no thread be started.
    pub fn start(target: impl Into<String>) -> Result<Self, BrokersError> {
        let target: Arc<str> = target.into().into();
        let calm = State {
            fault: Fault::Pass,
            cuts: 0,
            ends_to_client: 0,
            ends_to_server: 0,
        };
        let connections = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (target.clone(), connections.clone());
        let middle = Middle::start(&target, calm, move |client, state| {
            let refused = state.borrow().fault == Fault::Refuse;
            let open = (!refused).then(|| Open::count(&counter));
            let server = server.clone();
            async move {
                match open {
                    None => reset(client),
                    Some(_open) => carry(client, &server, state).await,
                }
            }
        })?;
        Ok(Self { middle, connections })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.middle.address()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        self.middle.change(|state| state.fault = fault);
    }

    /// Resets every open connection, as a router does that has forgotten them. New ones are served.
    pub fn cut(&self) {
        self.middle.change(|state| state.cuts += 1);
    }

    /// Tells that side of every open connection that the other one has ended, which it has not: the way back stays open,
    /// and what the other side still sends is lost.
    pub fn half_close(&self, side: Side) {
        self.middle.change(|state| match side {
            Side::Client => state.ends_to_client += 1,
            Side::Server => state.ends_to_server += 1,
        });
    }
}

/// A connection that is counted while it is open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::AcqRel);
        Self(connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Carries one connection until both ways have ended or it is cut.
async fn carry(mut client: TcpStream, target: &str, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let mut server = None;
    let was_cut = {
        let mut cut = state.clone();
        let way = async {
            let _ = state.wait_for(|state| state.fault != Fault::Blackhole).await;
            let Ok(connected) = TcpStream::connect(target).await else {
                // Nobody there: the client gets what it would get without us.
                return true;
            };
            both_ways(&mut client, server.insert(connected), &state).await;
            false
        };
        // Whatever was held back until then does not arrive.
        tokio::select! {
            biased;
            changed = cut.wait_for(|state| state.cuts != cuts) => changed.is_ok(),
            refused = way => refused,
        }
    };
    if was_cut {
        reset(client);
        server.into_iter().for_each(reset);
    }
}

/// Without the wait for what is still to be sent, closing sends a reset.
fn reset(stream: TcpStream) {
    // A socket that refuses is closed all the same, in an orderly way.
    let _ = stream.set_zero_linger();
}

/// Waits while nothing passes to that side. The end of the proxy ends all waiting.
async fn passing(state: &mut watch::Receiver<State>, side: Side) {
    let passes = |state: &State| match state.fault {
        Fault::Blackhole => false,
        Fault::Mute(silent) => silent == side,
        _ => true,
    };
    let _ = state.wait_for(passes).await;
}

async fn both_ways(client: &mut TcpStream, server: &mut TcpStream, state: &watch::Receiver<State>) {
    // Small messages are not to wait for each other here, whatever the two ends have agreed on.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::join!(
        one_way(from_client, to_server, Side::Server, state.clone()),
        one_way(from_server, to_client, Side::Client, state.clone()),
    );
}

/// Reads ahead and writes when it is time, so that a delay does not cost throughput.
async fn one_way(from: ReadHalf<'_>, to: WriteHalf<'_>, side: Side, state: watch::Receiver<State>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_UNDER_WAY);
    tokio::join!(take(from, sender, state.clone()), give(to, chunks, side, state));
}

/// Bytes and the time at which they are due.
type Chunk = (Instant, Vec<u8>);

async fn take(mut from: ReadHalf<'_>, chunks: mpsc::Sender<Chunk>, state: watch::Receiver<State>) {
    loop {
        let mut bytes = vec![0; CHUNK_BYTES];
        // A broken connection ends like a finished one: its other end is told.
        let length = from.read(&mut bytes).await.unwrap_or(0);
        bytes.truncate(length);
        let delay = match state.borrow().fault {
            Fault::Delay(delay) => delay,
            _ => Duration::ZERO,
        };
        if length == 0 || chunks.send((Instant::now() + delay, bytes)).await.is_err() {
            return;
        }
    }
}

async fn give(
    mut to: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<Chunk>,
    side: Side,
    mut state: watch::Receiver<State>,
) {
    let mut end = state.clone();
    let ends = end.borrow().ends_to(side);
    let giving = async {
        while let Some((due, bytes)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            passing(&mut state, side).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        passing(&mut state, side).await;
    };
    tokio::select! {
        () = giving => {}
        _ = end.wait_for(|state| state.ends_to(side) != ends) => {}
    }
    // It may have ended already.
    let _ = to.shutdown().await;
    // Whoever still sends must not be held up by a full buffer.
    while chunks.recv().await.is_some() {}
}

#[cfg(test)]
mod tests;
