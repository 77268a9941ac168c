//! Looks again and again, beside the subscription: [`Discovering`].

use super::look::{Found, Looker};
use std::future::pending;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// What was found, and who asked for it.
pub(crate) type News = (Found, Option<oneshot::Sender<()>>);

/// A task that looks in intervals, and when it is asked to. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Discovering {
    found: mpsc::Receiver<News>,
    asks: mpsc::UnboundedSender<oneshot::Sender<()>>,
    task: AbortHandle,
}

impl Discovering {
    pub(crate) fn start(looker: Looker) -> Self {
        let (tell, found) = mpsc::channel(1);
        let (asks, asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(watch(looker, asked, tell)).abort_handle();
        Self { found, asks, task }
    }

    /// Lets it look now; whoever asks is answered once what it finds is read.
    pub(crate) fn ask(&self, reply: oneshot::Sender<()>) {
        // A task that is gone answers nobody, and whoever asks sees it.
        let _ = self.asks.send(reply);
    }

    /// What was found.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> News {
        match self.found.recv().await {
            Some(news) => news,
            // Only if it panicked, which its log line says.
            None => pending().await,
        }
    }
}

impl Drop for Discovering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    mut looker: Looker,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    tell: mpsc::Sender<News>,
) {
    loop {
        let reply = tokio::select! {
            reply = asked.recv() => match reply {
                Some(reply) => Some(reply),
                None => return,
            },
            () = sleep(looker.interval()) => None,
        };
        let found = looker.look().await;
        if tell.send((found, reply)).await.is_err() {
            return;
        }
    }
}
