//! The socket of a connection, as lapin reads and writes it: [`Stream`].
//!
//! lapin reads and writes on a thread of its own, and is woken by whoever waits for the socket. That is the program's own
//! runtime where there is one: it waits for many things anyway, and while it is busy with messages it does not wake lapin
//! for each packet. But a handler that blocks its runtime would have the server hear nothing for too long, and lapin not
//! read what the server sends to show that it lives. So somebody else looks whether the runtime is busy for too long: a
//! [`Deputy`].
//!
//! When there is nothing more to be read, lapin goes through what it has got, and comes back at once to read again. Meanwhile it
//! wakes nobody who waits for deliveries: see [`super::wakes`].

use super::wakes;
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
    /// Something was read, and lapin has not been told to come back.
    is_read: bool,
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
            return Ok(Self::of(socket, None));
        };
        let socket = socket.into_std()?;
        let (there, spare) = (socket.try_clone()?, socket.try_clone()?);
        // A runtime that has ended, or that waits for no sockets, is told by the task.
        let moved = program.spawn(async move { TcpStream::from_std(there) });
        let Ok(Ok(Ok(moved))) = timeout(late(rhythm), moved).await else {
            return Ok(Self::of(TcpStream::from_std(socket)?, None));
        };
        let deputy = Arc::new(Deputy {
            socket: spare,
            acts: AtomicBool::new(false),
            reader: Mutex::default(),
        });
        tokio::spawn(stand_in(Arc::downgrade(&deputy), program.clone(), rhythm));
        Ok(Self::of(moved, Some(deputy)))
    }

    fn of(socket: TcpStream, deputy: Option<Arc<Deputy>>) -> Self {
        Self {
            socket,
            deputy,
            is_read: false,
        }
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
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.is_read {
            // It has come back.
            wakes::let_go();
        }
        // One after the other, which the borrow checker cannot know.
        let buffers = std::cell::RefCell::new(buffers);
        let read = self.reading(
            context,
            |socket| socket.read_vectored(&mut buffers.borrow_mut()),
            |socket| socket.try_read_vectored(&mut buffers.borrow_mut()),
        );
        match read {
            Poll::Ready(Ok(1..)) => {
                self.is_read = true;
                wakes::keep();
            }
            // Whoever is woken reads again.
            Poll::Pending if std::mem::take(&mut self.is_read) => context.waker().wake_by_ref(),
            _ => {}
        }
        read
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

    /// lapin's loop begins with it; under TLS only if nothing waits to be written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        wakes::let_go();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        wakes::let_go();
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        wakes::let_go();
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

#[cfg(test)]
mod tests {
    use super::super::wakes::Late;
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// As lapin's loop does where nothing can be flushed.
    #[test]
    fn who_waits_for_deliveries_is_woken_by_the_next_read_after_one_that_found_nothing() {
        let run = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (socket, other) = tokio::join!(TcpStream::connect(address), listener.accept());
            let mut other = other.unwrap().0;
            let mut stream = Stream::new(socket.unwrap(), None, Duration::from_secs(1))
                .await
                .unwrap();
            other.write_all(b"a delivery").await.unwrap();
            stream.socket.readable().await.unwrap();
            let (reader, waiting) = (Arc::new(Count::default()), Arc::new(Count::default()));
            let (readers, mut late) = (Waker::from(reader.clone()), Late::default());
            let mut context = Context::from_waker(&readers);
            let mut buffer = [0; 4];
            let mut read = || Pin::new(&mut stream).poll_read(&mut context, &mut buffer);
            for bytes in [4, 4, 2] {
                assert!(matches!(read(), Poll::Ready(Ok(some)) if some == bytes));
            }
            assert!(read().is_pending());
            assert_eq!(reader.woken(), 1, "it is to come back at once");
            late.of(&Waker::from(waiting.clone())).wake_by_ref();
            assert_eq!(waiting.woken(), 0, "it goes through what it has read");
            assert!(read().is_pending());
            assert_eq!(
                (waiting.woken(), reader.woken()),
                (1, 1),
                "and is not to come back again"
            );
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let thread = std::thread::Builder::new().name("lapin-io-loop".into());
        let ran = thread.spawn(move || runtime.unwrap().block_on(run)).unwrap();
        ran.join().unwrap();
    }
}
