//! Where lapin's tasks run, and where sockets are waited for: [`Reactor`].

use super::stream::Stream;
use async_rs::traits::Reactor as Waits;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_core::Stream as Items;
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// The runtime that lapin is given: tasks and timers are ours, so that heartbeats go on whatever the program does.
pub(super) type Kit = RuntimeParts<Tokio, Reactor>;

/// Makes sockets.
#[derive(Debug, Clone)]
pub(super) struct Reactor {
    ours: Tokio,
    program: Option<Handle>,
    rhythm: Duration,
}

/// For the runtime on which this is called. Sockets are waited for on that of the program, if there is one;
/// `rhythm` is that of heartbeats.
pub(super) fn runtime(program: Option<Handle>, rhythm: Duration) -> Runtime<Kit> {
    let ours = Tokio::current();
    let reactor = Reactor {
        ours: ours.clone(),
        program,
        rhythm,
    };
    Runtime::new(RuntimeParts::new(ours, reactor))
}

impl Waits for Reactor {
    type TcpStream = Stream;
    type Sleep = <Tokio as Waits>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // The trait by which a socket is known is private to its crate, and nobody asks for it: lapin only connects.
        Err::<Stream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.ours.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Items<Item = Instant> + Send + 'static {
        self.ours.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Stream>> + Send + 'static {
        let (program, rhythm) = (self.program.clone(), self.rhythm);
        async move {
            let socket = TcpStream::connect(address).await?;
            Stream::new(socket, program.as_ref(), rhythm).await
        }
    }
}
