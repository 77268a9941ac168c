//! What sends requests and reads the replies: [`requester`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{
    BinderError, BinderHealth, BoxFuture, DestinationSpec, DynBinder, DynSource, Guarantee, Message,
    OpenRequests, Outgoing, Progress, PublishError, ReplyAddress, RequestError, RequestStatus, Requester,
    SourceError, SourceEvent, SourceInput, SourceSpec, Start,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long replies are kept where their destination is made here: nobody waits for one of an hour ago.
const RETENTION: Duration = Duration::from_secs(3_600);
/// How many partitions it gets. An instance reads one, so that not each reads the replies to all.
const PARTITIONS: u32 = 4;
/// The first wait before it is tried again to read replies, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How an app sends requests to a broker.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// The name of the app.
    pub app: Arc<str>,
    /// Where replies come to, on a broker without a way of its own. It is made if it is missing.
    pub destination: Arc<str>,
    /// How many requests may wait for their reply at once.
    pub max_open: usize,
}

/// What sends requests to a broker and gets the replies: by the broker's own way, or by a destination that is read from
/// its end on, without a group. Nothing is opened before the first request.
///
/// # Panics
/// Outside a tokio runtime.
pub fn requester(binder: Arc<dyn DynBinder>, spec: RequestSpec) -> Arc<dyn Requester> {
    let open = OpenRequests::new(spec.max_open);
    match binder.reply_path() {
        Some(path) => path.requester(open),
        None => Arc::new(DestinationRequester {
            shared: Arc::new(Shared {
                binder,
                spec,
                open,
                phase: watch::Sender::new(Phase::Idle),
            }),
            runtime: Handle::current(),
            reader: Mutex::default(),
        }),
    }
}

/// Whether replies can be received.
#[derive(Debug, Clone)]
enum Phase {
    /// Nobody has asked for it.
    Idle,
    /// Not yet, and why if that takes long.
    Opening(Option<String>),
    /// They come to this partition, and from here on none is missed.
    Ready {
        partition: u32,
        /// Readers are numbered.
        way: u64,
    },
    /// They never will: why. The next request tries it again.
    Refused(String),
}

#[derive(Debug)]
struct Shared {
    binder: Arc<dyn DynBinder>,
    spec: RequestSpec,
    open: Arc<OpenRequests>,
    phase: watch::Sender<Phase>,
}

/// Sends requests whose replies come to a destination.
struct DestinationRequester {
    shared: Arc<Shared>,
    runtime: Handle,
    /// What reads it, once there was a request.
    reader: Mutex<Option<AbortHandle>>,
}

impl DestinationRequester {
    fn begin_reading(&self) {
        let begins = self.shared.phase.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle | Phase::Refused(_));
            if begins {
                *phase = Phase::Opening(None);
            }
            begins
        });
        if begins {
            let reading = self.runtime.spawn(read(self.shared.clone()));
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            *reader = Some(reading.abort_handle());
        }
    }

    fn stop(&self) {
        self.shared.open.close();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = reader.take() {
            reader.abort();
        }
    }
}

impl Requester for DestinationRequester {
    fn request(&self, request: Outgoing) -> BoxFuture<'static, Result<Message, RequestError>> {
        self.begin_reading();
        Box::pin(request_by(self.shared.clone(), request))
    }

    fn status(&self) -> RequestStatus {
        let mut status = self.shared.open.status();
        status.obstacle = match &*self.shared.phase.borrow() {
            Phase::Opening(reason) => reason.clone(),
            Phase::Refused(reason) => Some(reason.clone()),
            Phase::Ready { .. } => match self.shared.binder.health() {
                BinderHealth::Down(reason) => Some(reason),
                BinderHealth::Up => None,
            },
            Phase::Idle => None,
        };
        status
    }

    fn close(&self) {
        self.stop();
    }
}

impl Drop for DestinationRequester {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for DestinationRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationRequester")
            .field("destination", &self.shared.spec.destination)
            .field("open", &self.shared.open)
            .finish_non_exhaustive()
    }
}

async fn request_by(shared: Arc<Shared>, mut request: Outgoing) -> Result<Message, RequestError> {
    // It counts from here on, so that those who wait for the reader are bounded too.
    let mut open = shared.open.open()?;
    let partition = loop {
        let (partition, way) = tokio::select! {
            biased;
            // The service ends.
            ended = &mut open => return ended,
            ready = shared.ready() => ready?,
        };
        open.comes_by(way);
        // Who is lost tells so first, and then whom it concerns: this one may just have come too late for that.
        if shared.is_read_by(way) {
            break partition;
        }
    };
    let address = ReplyAddress {
        destination: shared.spec.destination.clone(),
        partition: Some(partition),
    };
    let message = &mut request.message;
    let written = address.write(message, open.id());
    written
        .and_then(|()| address.write_for_spring(message, open.id()))
        .map_err(PublishError::from)?;
    let kept = shared.binder.sink().publish(request);
    tokio::select! {
        // It may be handled before its publisher is told that it is kept.
        biased;
        reply = &mut open => return reply,
        kept = kept => kept?,
    };
    open.await
}

impl Shared {
    /// The partition that replies come to, and who reads it, once it is read.
    async fn ready(&self) -> Result<(u32, u64), RequestError> {
        let mut phase = self.phase.subscribe();
        let decided = phase.wait_for(|phase| matches!(phase, Phase::Ready { .. } | Phase::Refused(_)));
        match decided.await.as_deref() {
            Ok(Phase::Ready { partition, way }) => Ok((*partition, *way)),
            Ok(Phase::Refused(reason)) => Err(RequestError::NoReplies {
                reason: reason.clone(),
            }),
            _ => Err(RequestError::Closed),
        }
    }

    fn is_read_by(&self, reader: u64) -> bool {
        matches!(&*self.phase.borrow(), Phase::Ready { way, .. } if *way == reader)
    }

    /// A reader was lost: those that wait for it wait in vain, and the next ones wait for another.
    fn lose(&self, way: u64, next: Phase, reason: &str) {
        self.phase.send_replace(next);
        self.open.lose(way, reason);
    }

    /// Has the destination, and a reader of one of its partitions.
    async fn join(&self) -> Result<(Box<dyn DynSource>, u32), BinderError> {
        let mut destination = DestinationSpec::new(self.spec.destination.clone(), PARTITIONS);
        destination.retention_time = Some(RETENTION);
        let found = self.binder.prepare(destination).await?;
        let partition = fastrand::u32(..found.partitions.max(1));
        let source = self.binder.subscribe(SourceSpec {
            subscription: format!("{}-replies", self.spec.app).into(),
            group: None,
            inputs: vec![SourceInput {
                destination: found.name,
                retry: None,
            }],
            partitions: Some([partition].into()),
            start: Start::Latest,
            max_batch_bytes: 512 * 1024,
            commit_interval: Duration::from_secs(5),
            commit_every: u64::MAX,
            revoke_timeout: Duration::ZERO,
            guarantee: Guarantee::AtLeastOnce,
        });
        Ok((source.await?, partition))
    }
}

/// Reads replies for as long as that is possible.
async fn read(shared: Arc<Shared>) {
    let (mut wait, mut way) = (FIRST_WAIT, 0);
    let refused = loop {
        let error = match shared.join().await {
            Ok((source, partition)) => {
                wait = FIRST_WAIT;
                way += 1;
                follow(&shared, source, partition, way).await.into()
            }
            Err(error) => error,
        };
        if !may_pass(&error) {
            break error;
        }
        // Where it begins anew it begins at the end: what comes meanwhile is missed.
        let reason = format!(
            "replies cannot be read from \"{}\": {error}",
            shared.spec.destination
        );
        tracing::warn!(app = %shared.spec.app, "{reason}");
        shared.lose(way, Phase::Opening(Some(reason.clone())), &reason);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    };
    let reason = format!(
        "nobody can read \"{}\": {refused}; app.reply_destination names another place",
        shared.spec.destination
    );
    tracing::error!(app = %shared.spec.app, "no replies can be received: {reason}");
    shared.lose(way, Phase::Refused(reason.clone()), &reason);
}

/// Hands replies out, until the source is at its end.
async fn follow(shared: &Shared, mut source: Box<dyn DynSource>, partition: u32, way: u64) -> SourceError {
    loop {
        match source.next().await {
            Ok(SourceEvent::Assigned(_)) => {
                shared.phase.send_replace(Phase::Ready { partition, way });
            }
            Ok(SourceEvent::Batch(batch)) => {
                for record in batch.records() {
                    shared.open.answer(batch.message(record));
                }
                let progress = Progress {
                    watermark: batch.next(),
                    ..Progress::default()
                };
                source.progress(batch.lane(), batch.epoch(), progress);
            }
            Ok(SourceEvent::Revoking { lanes, .. }) => source.release(&lanes),
            Ok(_) => {}
            // It goes on where it was.
            Err(error) if error.is_transient() => tokio::time::sleep(FIRST_WAIT).await,
            Err(error) => return error,
        }
    }
}

fn may_pass(error: &BinderError) -> bool {
    match error {
        BinderError::Open { .. } | BinderError::Failed { .. } => true,
        BinderError::Source(error) => error.is_transient() || matches!(error, SourceError::Aborted { .. }),
        _ => false,
    }
}
