//! What stands between clients and a server, whatever it does to them: [`Middle`].

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::error::BrokersError;

/// A free port of 127.0.0.1, and a thread that serves who connects to it as the state says. Both end when it is dropped, and
/// all connections with them.
#[derive(Debug)]
pub(crate) struct Middle<S> {
    address: SocketAddr,
    /// Closed to end the thread.
    state: Option<watch::Sender<S>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: fmt::Debug + Send + Sync + 'static> Middle<S> {
    /// Starts one before `target`, with what is done with each client.
    ///
    /// # Errors
    /// No port can be bound, or no thread be started.
    pub(crate) fn start<F>(
        target: &str,
        state: S,
        serve: impl Fn(TcpStream, watch::Receiver<S>) -> F + Send + 'static,
    ) -> Result<Self, BrokersError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let failed = || BrokersError::io("start", format!("a proxy before {target}"));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed())?;
        let (state, watcher) = watch::channel(state);
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{}", address.port()))
            // Connections that are still open end with the runtime.
            .spawn(move || runtime.block_on(accept(listener, watcher, serve)))
            .map_err(failed())?;
        Ok(Self {
            address,
            state: Some(state),
            thread: Some(thread),
        })
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut S)) {
        if let Some(state) = &self.state {
            state.send_modify(change);
        }
    }
}

impl<S> Drop for Middle<S> {
    fn drop(&mut self) {
        self.state = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept<S, F>(
    listener: std::net::TcpListener,
    mut state: watch::Receiver<S>,
    serve: impl Fn(TcpStream, watch::Receiver<S>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
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
        if let Ok((client, _)) = client {
            tokio::spawn(serve(client, state.clone()));
        }
    }
}
