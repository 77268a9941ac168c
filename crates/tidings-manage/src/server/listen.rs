//! Accepting connections: bounded in number, cut when they stall, ended in order.

use super::{CLOSING, Shared, routes};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// How much of the head of a request is kept at the most.
const HEAD_BYTES: usize = 16 << 10;

/// Serves until `closing` becomes true; then accepts nothing more and lets what runs end.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>, mut closing: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(shared.options.connections));
    let timeout = shared.options.request_timeout;
    let routes = routes(shared);
    let mut connections = JoinSet::new();
    loop {
        // The slot is taken before a connection is accepted, so that those beyond the limit wait in the system's own
        // bounded queue. Both waits end when the server closes.
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        if let Some((stream, slot)) = accepted {
            let served = serve(stream, routes.clone(), timeout, closing.clone());
            connections.spawn(async move {
                served.await;
                drop(slot);
            });
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING, all).await.is_err() {
        tracing::warn!("some management requests did not end in time and were cut");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Usually too many open files: it passes when connections end.
            tracing::warn!("cannot accept a management connection: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn serve(stream: TcpStream, routes: Router, timeout: Duration, mut closing: watch::Receiver<bool>) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(timeout / 3)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false);
    let stream = TokioIo::new(Box::pin(stream));
    let connection = server.serve_connection(stream, TowerToHyperService::new(routes));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a management connection broke: {error}");
    }
}
