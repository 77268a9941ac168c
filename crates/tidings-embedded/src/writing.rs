//! How messages get from a partition's queue into its log.
//!
//! Without an fsync per message the publishing thread writes by itself: no task hop, the receipt is ready at once.
//! With `Fsync::Always` a few threads of the blocking pool take what waits, write it, sync it once, and then resolve
//! the receipts. A broker in memory does neither: see [`tail`](crate::tail).

use crate::frames;
use crate::guard::Guard;
use crate::lock::lock;
use crate::partition::Partition;
use crate::queue::{Batch, Packed, Taken, Waiting};
use crate::shared::Shared;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidings_core::{Message, Position, PublishError, Receipt};
use tidings_log::{FrameBuilder, LogError, PartitionLog};

/// After writing this often for others a publisher leaves the rest to another thread.
const ROUNDS: usize = 16;
/// How many threads write and sync at once: syncs of different files overlap.
const COMMITTERS: usize = 4;
/// How long a committer that has just written looks for more before it sleeps. Whoever awaits its receipts publishes the
/// next batch within microseconds, and waking a thread that sleeps takes longer than that; beside the sync that came
/// before, it is little.
const LOOK: Duration = Duration::from_micros(20);
/// How long a committer waits for more before it gives its thread back. Waking a thread costs more than this saves
/// only when nobody publishes.
const LINGER: Duration = Duration::from_millis(1);

thread_local! {
    /// One frame a thread instead of one a partition: a thousand partitions must not keep a thousand buffers.
    static FRAME: RefCell<FrameBuilder> = RefCell::new(frames::empty());
}

/// Appends messages in order, in few frames, and tells for each in turn which offset it got or why not.
pub(crate) fn append<'m>(
    log: &PartitionLog,
    messages: impl Iterator<Item = (i64, &'m Message)>,
    mut done: impl FnMut(Result<u64, &LogError>),
) {
    FRAME.with_borrow_mut(|frame| {
        frame.clear();
        for (timestamp_ms, message) in messages {
            if !frames::has_room(frame, message) {
                write(log, frame, &mut done);
            }
            if let Err(error) = frames::push(frame, timestamp_ms, message) {
                // Only a message beyond every limit comes here, and such were refused before. Those before it first.
                write(log, frame, &mut done);
                done(Err(&error));
            }
        }
        write(log, frame, &mut done);
        frame.shrink_to(frames::KEPT_BYTES);
    });
}

fn write(log: &PartitionLog, frame: &mut FrameBuilder, done: &mut impl FnMut(Result<u64, &LogError>)) {
    let count = frame.len();
    if count > 0 {
        match log.append(frame) {
            Ok(offsets) => offsets.for_each(|offset| done(Ok(offset))),
            Err(error) => (0..count).for_each(|_| done(Err(&error))),
        }
    }
    frame.clear();
}

/// Publishes one message to a partition.
pub(crate) fn publish(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    message: Message,
    timestamp_ms: i64,
) -> Receipt {
    if shared.is_volatile() {
        return Receipt::ready(keep(shared, partition, timestamp_ms, &message));
    }
    {
        let mut queue = lock(&partition.queue);
        if shared.is_synced_first() {
            let receipt = shared.enqueue(&mut queue, partition, timestamp_ms, message);
            if !std::mem::replace(&mut queue.writing, true) {
                shared.committers.commit(shared, partition.clone());
            }
            return receipt;
        }
        if queue.writing {
            return shared.enqueue(&mut queue, partition, timestamp_ms, message);
        }
        queue.writing = true;
    }
    let mut result = Err(PublishError::Closed);
    write_inline(
        shared,
        partition,
        std::iter::once((timestamp_ms, &message)),
        |_, one| result = one,
    );
    Receipt::ready(result)
}

/// Publishes several messages to one partition; `done` gets each one's place among them, and its receipt.
pub(crate) fn publish_run(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    messages: &[(i64, Message)],
    mut done: impl FnMut(usize, Receipt),
) {
    if shared.is_volatile() {
        for (place, (timestamp_ms, message)) in messages.iter().enumerate() {
            done(
                place,
                Receipt::ready(keep(shared, partition, *timestamp_ms, message)),
            );
        }
        return;
    }
    {
        let mut queue = lock(&partition.queue);
        if shared.is_synced_first() || queue.writing {
            shared.enqueue_all(&mut queue, partition, messages, &mut done);
            if !std::mem::replace(&mut queue.writing, true) {
                shared.committers.commit(shared, partition.clone());
            }
            return;
        }
        queue.writing = true;
    }
    let all = messages
        .iter()
        .map(|(timestamp_ms, message)| (*timestamp_ms, message));
    write_inline(shared, partition, all, |place, result| {
        done(place, Receipt::ready(result))
    });
}

/// Leaves a message in the tail of a partition in memory.
fn keep(
    shared: &Shared,
    partition: &Partition,
    timestamp_ms: i64,
    message: &Message,
) -> Result<Position, PublishError> {
    let log = partition.log_without_tail(shared);
    let log = log.map_err(|error| unavailable(partition, &error))?;
    let kept = partition.tail.push(log, &shared.frames, timestamp_ms, message);
    let kept = kept.map_err(|error| partition.failed(shared, &error))?;
    if kept.is_first {
        partition.succeeded(shared);
        partition.wake();
    }
    Ok(partition.position(kept.offset))
}

/// Writes on this thread, which has set `writing`, and afterwards what came in the meantime.
fn write_inline<'m>(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    messages: impl ExactSizeIterator<Item = (i64, &'m Message)>,
    mut done: impl FnMut(usize, Result<Position, PublishError>),
) {
    match partition.log(shared) {
        Ok(log) => {
            let mut place = 0;
            let mut failure = None;
            append(log, messages, |result| {
                let result = result.map(|offset| partition.position(offset));
                done(
                    place,
                    result.map_err(|error| refuse(shared, partition, error, &mut failure)),
                );
                place += 1;
            });
            appended(shared, partition, &failure);
        }
        Err(error) => (0..messages.len()).for_each(|place| done(place, Err(unavailable(partition, &error)))),
    }
    drain(shared, partition);
}

/// The first failure is noted, for the others it is enough to say the same.
fn refuse(
    shared: &Shared,
    partition: &Partition,
    error: &LogError,
    failure: &mut Option<PublishError>,
) -> PublishError {
    failure
        .get_or_insert_with(|| partition.failed(shared, error))
        .clone()
}

fn appended(shared: &Arc<Shared>, partition: &Arc<Partition>, failure: &Option<PublishError>) {
    match failure {
        None => partition.succeeded(shared),
        Some(failure) if partition.is_poisoned() => {
            shared.syncer.failed(shared, partition, &failure.to_string());
        }
        Some(_) => {}
    }
    shared.syncer.appended(shared, partition);
    partition.wake();
}

fn unavailable(partition: &Partition, error: &LogError) -> PublishError {
    PublishError::Unavailable {
        destination: partition.topic.clone(),
        reason: error.to_string(),
    }
}

/// Writes what others left in the queue, until it is empty.
fn drain(shared: &Arc<Shared>, partition: &Arc<Partition>) {
    for _ in 0..ROUNDS {
        let taken = {
            let mut queue = lock(&partition.queue);
            if queue.is_empty() {
                queue.writing = false;
                return;
            }
            queue.take()
        };
        write_batch(shared, partition, taken);
    }
    // Others publish faster than this thread writes for them: it has its own work to do.
    shared.committers.commit(shared, partition.clone());
}

/// Who is told, and what.
type Told = (Taken, Result<u64, PublishError>);

/// Writes, syncs if that comes first, and resolves.
fn write_batch(shared: &Arc<Shared>, partition: &Arc<Partition>, batch: Batch) {
    let Batch { taken, flushed } = batch;
    let told = match partition.log(shared) {
        Ok(log) => write_taken(shared, partition, log, taken),
        Err(error) => taken
            .into_iter()
            .map(|one| (one, Err(unavailable(partition, &error))))
            .collect(),
    };
    for (one, first) in told {
        match one {
            Taken::Packed(Packed {
                frame,
                receipts,
                bytes,
            }) => {
                shared.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
                receipts.resolve(first);
                shared.frames.give(frame);
            }
            Taken::Single(waiting) => waiting.resolve(first.map(|offset| partition.position(offset))),
        }
    }
    for sender in flushed {
        // Whoever flushed may have gone.
        let _ = sender.send(());
    }
}

/// Appends everything, and syncs it once.
fn write_taken(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    log: &PartitionLog,
    taken: Vec<Taken>,
) -> Vec<Told> {
    let mut failure = None;
    let mut told: Vec<Told> = Vec::with_capacity(taken.len());
    for mut one in taken {
        let first = match &mut one {
            Taken::Packed(packed) => log.append(&mut packed.frame).map(|offsets| offsets.start),
            Taken::Single(waiting) => append_single(log, waiting),
        };
        let first = first.map_err(|error| refuse(shared, partition, &error, &mut failure));
        told.push((one, first));
    }
    if shared.is_synced_first() && told.iter().any(|(_, first)| first.is_ok()) {
        match log.sync() {
            Ok(end) => partition.show(end),
            Err(error) => {
                // What was appended is not promised, whatever becomes of it on the disk.
                let refused = partition.failed(shared, &error);
                told.iter_mut()
                    .filter(|(_, first)| first.is_ok())
                    .for_each(|(_, first)| *first = Err(refused.clone()));
                failure = Some(refused);
            }
        }
    }
    appended(shared, partition, &failure);
    told
}

fn append_single(log: &PartitionLog, waiting: &Waiting) -> Result<u64, LogError> {
    FRAME.with_borrow_mut(|frame| {
        frame.clear();
        frames::push(frame, waiting.timestamp_ms, &waiting.message)?;
        let offsets = log.append(frame)?;
        frame.shrink_to(frames::KEPT_BYTES);
        Ok(offsets.start)
    })
}

/// Threads of the blocking pool that write for others. Being blocking, they also keep paused time in a test from
/// running ahead of the disk.
#[derive(Debug, Default)]
pub(crate) struct Committers {
    work: Mutex<Work>,
    more: Condvar,
    /// How many partitions are ready, for those that look without the lock. A hint: the list decides.
    ready: AtomicUsize,
}

#[derive(Debug, Default)]
struct Work {
    ready: VecDeque<Arc<Partition>>,
    running: usize,
    idle: usize,
}

impl Committers {
    /// Writes a partition's queue soon. Its `writing` is set, so it is in the list once.
    pub(crate) fn commit(&self, shared: &Arc<Shared>, partition: Arc<Partition>) {
        let mut work = lock(&self.work);
        work.ready.push_back(partition);
        self.ready.store(work.ready.len(), Ordering::Relaxed);
        if work.ready.len() <= work.idle {
            self.more.notify_one();
        } else if work.running < COMMITTERS {
            work.running += 1;
            // A runtime that shuts down drops the closure here and now, and the guard in it wants this lock.
            drop(work);
            let shared = shared.clone();
            let counted = shared.clone();
            // A runtime that shuts down may drop the closure before it began.
            let mut ending = Guard::new(move || lock(&counted.committers.work).running -= 1);
            shared.clone().spawn_blocking(move || {
                while let Some(partition) = shared.committers.next() {
                    commit(&shared, &partition);
                }
                // Counted already, in the moment in which there was nothing to do.
                ending.disarm();
            });
        }
    }

    /// The next partition; none, and the thread no longer counts, when there was none for a while.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut work = lock(&self.work);
        if work.ready.is_empty() {
            work.idle += 1;
            drop(work);
            self.look();
            work = lock(&self.work);
            let waited = self
                .more
                .wait_timeout_while(work, LINGER, |work| work.ready.is_empty());
            work = waited.unwrap_or_else(PoisonError::into_inner).0;
            work.idle -= 1;
        }
        let next = work.ready.pop_front();
        self.ready.store(work.ready.len(), Ordering::Relaxed);
        if next.is_none() {
            work.running -= 1;
        }
        next
    }
}

impl Committers {
    /// Until there is something or the time is over; others who want the processor get it.
    fn look(&self) {
        let began = Instant::now();
        while self.ready.load(Ordering::Relaxed) == 0 && began.elapsed() < LOOK {
            std::thread::yield_now();
        }
    }
}

/// One round for a partition; if more came meanwhile it goes to the end of the list.
fn commit(shared: &Arc<Shared>, partition: &Arc<Partition>) {
    let taken = lock(&partition.queue).take();
    write_batch(shared, partition, taken);
    let mut queue = lock(&partition.queue);
    if queue.is_empty() {
        queue.writing = false;
    } else {
        shared.committers.commit(shared, partition.clone());
    }
}
