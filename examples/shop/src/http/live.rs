//! `GET /live`: the page's changes as server-sent events.
//!
//! A painter renders the page a few times a second, while somebody looks, and keeps the last picture only. Whoever is
//! slow misses pictures in between and never the last one, so nothing queues up; whoever does not read at all is cut
//! by the [guard](super::guard) of the connection; and who comes back gets the whole picture first.

use super::{Door, Problem};
use crate::desk::Desk;
use crate::page::{self, Html, View};
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Who looks at once, at the most.
const MAX_VIEWERS: usize = 200;
/// From one picture to the next.
const PERIOD: Duration = Duration::from_millis(150);
/// Something is sent at least this often, so that a connection that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The page's changing parts, painted.
#[derive(Debug, Clone)]
pub struct Live {
    picture: watch::Sender<Arc<Picture>>,
    seats: Arc<Semaphore>,
    /// Closes all streams when the shop closes: they would never end by themselves.
    closing: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Picture {
    number: u64,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    id: &'static str,
    html: Html,
    /// The picture in which it was as it is for the first time.
    since: u64,
}

impl Live {
    /// Nothing is painted yet. When `closing` becomes true all streams end.
    pub fn new(closing: watch::Receiver<bool>) -> Self {
        Self {
            picture: watch::Sender::new(Arc::default()),
            seats: Arc::new(Semaphore::new(MAX_VIEWERS)),
            closing,
        }
    }

    /// Paints for as long as it is polled.
    pub async fn paint(&self, desk: &Desk) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.picture.receiver_count() > 0 {
                self.repaint(desk).await;
            }
        }
    }

    async fn repaint(&self, desk: &Desk) {
        let fragments = page::fragments(&View::of(desk.shop(), desk.phase()).await);
        self.picture.send_if_modified(|picture| {
            let number = picture.number + 1;
            let mut changed = false;
            let parts = fragments.into_iter().map(|fragment| {
                let known = picture
                    .parts
                    .iter()
                    .find(|part| part.id == fragment.id && part.html == fragment.html);
                changed |= known.is_none();
                known.cloned().unwrap_or(Part {
                    id: fragment.id,
                    html: fragment.html,
                    since: number,
                })
            });
            let parts = parts.collect();
            if changed {
                *picture = Arc::new(Picture { number, parts });
            }
            changed
        });
    }
}

impl Picture {
    /// What has changed since a picture, as one event.
    fn changes_since(&self, number: u64) -> Bytes {
        let changed = self.parts.iter().filter(|part| part.since > number);
        let parts: serde_json::Map<_, _> = changed
            .map(|part| (part.id.to_owned(), part.html.as_str().into()))
            .collect();
        // JSON escapes line ends, so the event is one line whatever the page has.
        format!("data: {}\n\n", serde_json::Value::Object(parts)).into()
    }
}

/// `GET /live`
pub(super) async fn live(State(door): State<Door>) -> Result<Response, Problem> {
    let seat = door.live.seats.clone().try_acquire_owned();
    let seat =
        seat.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many look at the page"))?;
    let (sender, receiver) = mpsc::channel(1);
    let viewer = Viewer {
        picture: door.live.picture.subscribe(),
        closing: door.live.closing.clone(),
        sender,
        _seat: seat,
    };
    door.live.repaint(&door.desk).await;
    tokio::spawn(viewer.look());
    Ok((
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::new(Stream { receiver }),
    )
        .into_response())
}

/// One who looks.
struct Viewer {
    picture: watch::Receiver<Arc<Picture>>,
    closing: watch::Receiver<bool>,
    sender: mpsc::Sender<Bytes>,
    _seat: OwnedSemaphorePermit,
}

impl Viewer {
    async fn look(mut self) {
        let mut seen = 0;
        let mut message = Bytes::from_static(b"retry: 1000\n\n");
        loop {
            tokio::select! {
                sent = self.sender.send(message) => if sent.is_err() { return },
                _ = self.closing.wait_for(|closing| *closing) => return,
            }
            message = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return,
                () = self.sender.closed() => return,
                picture = next(&mut self.picture, seen) => {
                    let Some(picture) = picture else { return };
                    let changes = picture.changes_since(seen);
                    seen = picture.number;
                    changes
                }
                () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b": still here\n\n"),
            };
        }
    }
}

/// The next picture after the one that was seen; none when nothing is painted any more.
async fn next(pictures: &mut watch::Receiver<Arc<Picture>>, seen: u64) -> Option<Arc<Picture>> {
    pictures
        .wait_for(|picture| picture.number > seen)
        .await
        .ok()
        .map(|picture| Arc::clone(&picture))
}

/// What a viewer sends, as a body.
struct Stream {
    receiver: mpsc::Receiver<Bytes>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver
            .poll_recv(context)
            .map(|message| message.map(|message| Ok(Frame::data(message))))
    }
}
