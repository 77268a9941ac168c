//! The socket of a connection, as lapin reads and writes it: [`Stream`].
//!
//! lapin reads and writes on a thread of its own, and is woken by whoever waits for the socket. That is the program's own
//! runtime where there is one: it waits for many things anyway, and while it is busy with messages it does not wake lapin
//! for each packet. But a handler that blocks its runtime would have the server hear nothing for too long, and lapin not
//! read what the server sends to show that it lives. So somebody else looks whether the runtime is busy for too long: a
//! [`Deputy`].

use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::TcpStream as Socket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// A socket that is waited for on some runtime.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    /// Only where the runtime is the program's.
    deputy: Option<Arc<Deputy>>,
}

impl Stream {
    /// Waits for it on the program's runtime if that is there and not busy now, and else on this one.
    ///
    /// `rhythm` is how often the server must hear something, at the least.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn new(
        socket: TcpStream,
        program: Option<&Handle>,
        rhythm: Duration,
    ) -> io::Result<Self> {
        let Some(program) = program else {
            return Ok(Self { socket, deputy: None });
        };
        let socket = socket.into_std()?;
        let (there, spare) = (socket.try_clone()?, socket.try_clone()?);
        // A runtime that has ended, or that waits for no sockets, is told by the task.
        let moved = program.spawn(async move { TcpStream::from_std(there) });
        let Ok(Ok(Ok(moved))) = timeout(late(rhythm), moved).await else {
            return Ok(Self {
                socket: TcpStream::from_std(socket)?,
                deputy: None,
            });
        };
        let deputy = Arc::new(Deputy {
            socket: spare,
            acts: AtomicBool::new(false),
            reader: Mutex::default(),
        });
        tokio::spawn(stand_in(Arc::downgrade(&deputy), program.clone(), rhythm));
        Ok(Self {
            socket: moved,
            deputy: Some(deputy),
        })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn reading(
        &self,
        context: &mut Context<'_>,
        by_deputy: impl FnOnce(&mut &Socket) -> io::Result<usize>,
        mut read: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if let Some(deputy) = &self.deputy
            && let Some(read) = deputy.read(context, by_deputy)
        {
            return Poll::Ready(read);
        }
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match read(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn writing(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_vectored(context, &mut [IoSliceMut::new(buffer)])
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        // One after the other, which the borrow checker cannot know.
        let buffers = std::cell::RefCell::new(buffers);
        self.reading(
            context,
            |socket| socket.read_vectored(&mut buffers.borrow_mut()),
            |socket| socket.try_read_vectored(&mut buffers.borrow_mut()),
        )
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(context, |socket| socket.try_write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Has a socket read while the runtime that waits for it is kept busy.
#[derive(Debug)]
struct Deputy {
    /// A second handle, which no runtime knows; it does not block.
    socket: Socket,
    acts: AtomicBool,
    /// Who reads, to be woken.
    reader: Mutex<Option<Waker>>,
}

impl Deputy {
    /// What is there to be read, if it acts.
    fn read(
        &self,
        context: &Context<'_>,
        read: impl FnOnce(&mut &Socket) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        // The reader is always the same, but that is for lapin to know.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(known) => known.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        drop(reader);
        if !self.acts.load(Ordering::Acquire) {
            return None;
        }
        // The runtime may think afterwards that there is something to be read: whoever reads then learns that there is not.
        match read(&mut &self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            done => Some(done),
        }
    }

    fn wake(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Looks twice in the server's rhythm whether the program's runtime does anything, and has the socket read where not.
async fn stand_in(deputy: Weak<Deputy>, program: Handle, rhythm: Duration) {
    loop {
        sleep(rhythm / 2).await;
        let mut answer = program.spawn(async {});
        while timeout(late(rhythm), &mut answer).await.is_err() {
            let Some(deputy) = deputy.upgrade() else { return };
            deputy.acts.store(true, Ordering::Release);
            deputy.wake();
        }
        let Some(deputy) = deputy.upgrade() else { return };
        deputy.acts.store(false, Ordering::Release);
    }
}

/// How long a runtime may take to answer.
fn late(rhythm: Duration) -> Duration {
    (rhythm / 4).min(Duration::from_secs(1))
}
