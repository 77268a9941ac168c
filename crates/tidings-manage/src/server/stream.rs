//! Long work whose progress is told while it runs: an answer of JSON lines.

use super::Shared;
use super::calls::typed;
use crate::error::ManageError;
use crate::wire::LINES;
use crate::wire::json::{Line, encode};
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often something is said at least, so that neither side takes the other for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How many lines wait for a client that reads slowly. Progress beyond that is skipped.
const LINES_WAITING: usize = 16;

/// Tells how far long work is.
pub(super) struct Reporter<P> {
    lines: mpsc::Sender<Bytes>,
    closing: Mutex<watch::Receiver<bool>>,
    kind: PhantomData<fn(P)>,
}

impl<P: Serialize> Reporter<P> {
    /// How far it is; whether anybody still wants it to go on.
    pub(super) fn report(&self, progress: P) -> ControlFlow<()> {
        let closing = *self
            .closing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .borrow();
        if self.lines.is_closed() || closing {
            return ControlFlow::Break(());
        }
        // Whoever reads slowly gets the next one.
        let _ = self.lines.try_send(line(&Line::<P, ()>::Progress(progress)));
        ControlFlow::Continue(())
    }
}

fn line<P: Serialize, D: Serialize>(line: &Line<P, D>) -> Bytes {
    let mut bytes = encode(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// Answers with the progress of long work and its end. The work has a task of its own: it hears from its reporter that
/// the client has gone, and stops where nothing is half done.
pub(super) fn stream<P, D, W, F>(shared: &Arc<Shared>, work: W) -> Response
where
    P: Serialize + Send + 'static,
    D: Serialize + Send,
    W: FnOnce(Reporter<P>) -> F + Send + 'static,
    F: Future<Output = Result<D, ManageError>> + Send,
{
    let (lines, reported) = mpsc::channel(LINES_WAITING);
    let reporter = Reporter {
        lines: lines.clone(),
        closing: Mutex::new(shared.closing.clone()),
        kind: PhantomData,
    };
    tokio::spawn(async move {
        let end = match work(reporter).await {
            Ok(done) => Line::<(), D>::Done(done),
            Err(error) => Line::Failed(error.into()),
        };
        // Nobody may be listening any more.
        let _ = lines.send(line(&end)).await;
    });
    let (sender, body) = Channel::<Bytes, axum::Error>::new(1);
    tokio::spawn(forward(reported, sender));
    typed(StatusCode::OK, LINES, Body::new(body.boxed()))
}

/// Passes lines on, and an empty one when there was none for a while.
async fn forward(mut reported: mpsc::Receiver<Bytes>, mut body: Sender<Bytes, axum::Error>) {
    let mut alive = tokio::time::interval(SIGN_OF_LIFE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            line = reported.recv() => line,
            _ = alive.tick() => Some(Bytes::from_static(b"\n")),
        };
        let Some(line) = line else { return };
        // A client that has gone ends this, and by it the reporter.
        if body.send_data(line).await.is_err() {
            return;
        }
    }
}
