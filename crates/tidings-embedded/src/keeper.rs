//! Who stores progress and delayed messages: [`Keeper`]. Everything that is dirty goes into one transaction.

use crate::delayed::Due;
use crate::guard::Guard;
use crate::lock::lock;
use crate::progress::{self, Entry, Reported};
use crate::shared::Shared;
use crate::state::{self, Changes, State};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidings_core::{Position, Progress, PublishError, Receipt, ReceiptSender, Timestamp};
use tokio::sync::oneshot;

/// The place that health names.
const PLACE: &str = "state.redb";
/// How long after a failed transaction the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// Stores the small state in the background, as many changes as possible at once.
#[derive(Debug)]
pub(crate) struct Keeper {
    state: Mutex<Option<Arc<State>>>,
    work: Mutex<Work>,
    /// A task waits to try again.
    retrying: AtomicBool,
}

/// What is to be stored.
#[derive(Debug, Default)]
struct Work {
    entries: Vec<Arc<Entry>>,
    puts: Vec<Put>,
    put_bytes: usize,
    removed: Vec<Due>,
    forgotten: Vec<Arc<Entry>>,
    waiting: Vec<Waiter>,
    /// Somebody wants it stored now.
    wanted: bool,
    running: bool,
}

/// Somebody who wants to know whether it is stored.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<(), String>>,
    concern: Concern,
}

/// Which of the progress in a transaction somebody waits for. What is refused of others is no business of his.
#[derive(Debug)]
pub(crate) enum Concern {
    Everything,
    Entries(Vec<Arc<Entry>>),
    /// Something else in it.
    NoProgress,
}

/// Progress that must not be stored yet, and why.
#[derive(Debug, Default)]
struct Refused(Vec<(Arc<Entry>, String)>);

impl Refused {
    /// What somebody is told.
    fn reason(&self, concern: &Concern) -> Option<&String> {
        let concerns = |entry: &Arc<Entry>| match concern {
            Concern::Everything => true,
            Concern::Entries(entries) => entries.iter().any(|one| Arc::ptr_eq(one, entry)),
            Concern::NoProgress => false,
        };
        let first = self.0.iter().find(|(entry, _)| concerns(entry));
        first.map(|(_, reason)| reason)
    }
}

/// A delayed message on its way.
#[derive(Debug)]
struct Put {
    destination: Arc<str>,
    partition: u32,
    due: Timestamp,
    bytes: Vec<u8>,
    receipt: ReceiptSender,
}

impl Keeper {
    /// A keeper of that state; without one nothing can be stored.
    pub(crate) fn new(state: Option<State>) -> Self {
        Self {
            state: Mutex::new(state.map(Arc::new)),
            work: Mutex::default(),
            retrying: AtomicBool::new(false),
        }
    }

    /// The state.
    pub(crate) fn state(&self) -> Result<Arc<State>, String> {
        let state = lock(&self.state).clone();
        state.ok_or_else(|| "the broker is closed, or open read-only".to_owned())
    }

    /// Lets go of the file.
    pub(crate) fn close(&self) {
        *lock(&self.state) = None;
    }

    /// Puts an entry on the list, if its report says so. It is stored with the next transaction.
    pub(crate) fn note(&self, entry: &Arc<Entry>, reported: Reported) {
        if reported == Reported::First {
            lock(&self.work).entries.push(entry.clone());
        }
    }

    /// Stores in the background what is on the list.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        let mut work = lock(&self.work);
        // After a failure also without anything to store: health tells when it is over.
        if !work.entries.is_empty() || shared.health.is_reported(PLACE) {
            work.wanted = true;
        }
        run_if_wanted(work, shared);
    }

    /// Stores what is on the list and waits until what concerns the caller is durable.
    pub(crate) async fn commit(&self, shared: &Arc<Shared>, concern: Concern) -> Result<(), String> {
        let waiting = {
            let work = lock(&self.work);
            if work.entries.is_empty() && work.puts.is_empty() && !work.running {
                return Ok(());
            }
            // A transaction that runs may have taken the entry before its last report: the next one has it.
            wait(work, shared, concern)
        };
        answer(waiting).await
    }

    /// Removes delayed messages.
    pub(crate) async fn remove(&self, shared: &Arc<Shared>, removed: Vec<Due>) -> Result<(), String> {
        let waiting = {
            let mut work = lock(&self.work);
            work.removed.extend(removed);
            wait(work, shared, Concern::NoProgress)
        };
        answer(waiting).await
    }

    /// Removes progress that was forgotten.
    pub(crate) async fn forget(
        &self,
        shared: &Arc<Shared>,
        forgotten: Vec<Arc<Entry>>,
    ) -> Result<(), String> {
        let waiting = {
            let mut work = lock(&self.work);
            work.forgotten.extend(forgotten);
            wait(work, shared, Concern::NoProgress)
        };
        answer(waiting).await
    }

    /// Stores a delayed message.
    pub(crate) fn put(
        &self,
        shared: &Arc<Shared>,
        destination: Arc<str>,
        partition: u32,
        due: Timestamp,
        bytes: Vec<u8>,
    ) -> Receipt {
        let limit = shared.options.max_delayed_pending_bytes;
        let mut work = lock(&self.work);
        if work.put_bytes.saturating_add(bytes.len()) > limit && work.put_bytes > 0 {
            return Receipt::failed(PublishError::Unavailable {
                destination,
                reason: format!(
                    "{} bytes of messages for later wait to be stored and {limit} may: await their receipts before \
                     publishing more, or raise max_delayed_pending_bytes",
                    work.put_bytes
                ),
            });
        }
        let (sender, receipt) = Receipt::pair();
        work.put_bytes += bytes.len();
        work.puts.push(Put {
            destination,
            partition,
            due,
            bytes,
            receipt: sender,
        });
        work.wanted = true;
        run_if_wanted(work, shared);
        receipt
    }

    /// Stores everything on this thread: for the last handle's end.
    pub(crate) fn finish(&self, shared: &Arc<Shared>) {
        let work = std::mem::take(&mut *lock(&self.work));
        let nothing = work.entries.is_empty()
            && work.puts.is_empty()
            && work.removed.is_empty()
            && work.forgotten.is_empty();
        if !nothing && self.state().is_ok() {
            // Nobody is left who would wait for the first of them.
            let _ = self.store(shared, work);
        }
    }

    /// Forgets what stored progress says about offsets that a partition has not got, and stores that. Done while the
    /// partition is opened, so nobody reports its progress at the same time.
    pub(crate) fn clip(&self, shared: &Shared, destination: &str, partition: u32, end: u64) {
        let clipped = shared.progress.clip(destination, partition, end);
        if clipped.is_empty() {
            return;
        }
        tracing::warn!(
            destination,
            partition,
            end,
            "records were lost that groups had finished; the next messages get their offsets and are not taken for them"
        );
        let changes = Changes {
            progress: rows(&clipped),
            deaths: deaths(&clipped),
            ..Changes::default()
        };
        let stored = self.state().and_then(|state| state.store(&changes));
        if let Err(reason) = &stored {
            shared.health.report(PLACE, reason);
        }
        for (entry, progress) in clipped {
            match &stored {
                Ok(()) => entry.keep(progress),
                Err(_) => self.note(&entry, entry.put_back()),
            }
        }
    }

    /// Tries again in a while: in a quiet system nobody else would.
    fn again(&self, shared: &Arc<Shared>) {
        if shared.is_closing() || self.retrying.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(shared);
        let waiting = weak.clone();
        // A runtime that shuts down drops the task anywhere: then nobody waits any more.
        let ended = Guard::new(move || {
            if let Some(shared) = waiting.upgrade() {
                shared.keeper.retrying.store(false, Ordering::Release);
            }
        });
        shared.spawn(async move {
            tokio::time::sleep(AGAIN).await;
            drop(ended);
            if let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closing()) {
                shared.keeper.start(&shared);
            }
        });
    }

    /// One transaction.
    fn store(&self, shared: &Arc<Shared>, work: Work) -> Outcome {
        let (entries, refused) = take_progress(shared, work.entries);
        let changes = Changes {
            progress: rows(&entries),
            puts: work
                .puts
                .iter()
                .map(|put| (put.due, put.bytes.as_slice()))
                .collect(),
            removed: work.removed,
            forgotten: work.forgotten.iter().filter_map(forgotten_row).collect(),
            deaths: deaths(&entries),
            counted_marks: None,
        };
        let nothing = changes.is_empty() && !shared.health.is_reported(PLACE);
        let stored = match nothing {
            true => Ok(()),
            false => {
                failpoint("store-before");
                let stored = self.state().and_then(|state| state.store(&changes));
                failpoint("store-after");
                stored
            }
        };
        drop(changes);
        let first_due = work.puts.iter().map(|put| put.due).min();
        if let Err(reason) = &stored {
            shared.health.report(PLACE, reason);
        } else if !nothing {
            shared.health.clear(PLACE);
        }
        for (entry, progress) in entries {
            match &stored {
                Ok(()) => entry.keep(progress),
                Err(_) => self.note(&entry, entry.put_back()),
            }
        }
        for put in work.puts {
            put.receipt.resolve(match &stored {
                Ok(()) => Ok(Position::new(put.destination, put.partition, DELAYED_OFFSET)),
                Err(reason) => Err(PublishError::Unavailable {
                    destination: put.destination,
                    reason: reason.clone(),
                }),
            });
        }
        for Waiter { answer, concern } in work.waiting {
            let refused = stored.as_ref().err().or_else(|| refused.reason(&concern));
            // Whoever waited may have gone.
            drop(answer.send(refused.cloned().map_or(Ok(()), Err)));
        }
        Outcome {
            is_complete: stored.is_ok() && refused.0.is_empty(),
            first_due: stored.ok().and(first_due),
        }
    }
}

/// What became of a transaction.
struct Outcome {
    /// When the first message that it stored is due.
    first_due: Option<Timestamp>,
    /// Nothing has to be tried again.
    is_complete: bool,
}

/// Where the crash campaign kills the process, around what no layer reaches.
#[cfg(feature = "failpoints")]
fn failpoint(name: &'static str) {
    fail::fail_point!(name);
}

#[cfg(not(feature = "failpoints"))]
fn failpoint(_: &'static str) {}

/// The offset in the receipt of a delayed message: it has none before it is due.
pub(crate) const DELAYED_OFFSET: u64 = u64::MAX;

fn rows(entries: &[(Arc<Entry>, Progress)]) -> Vec<(&str, &str, u32, &Progress)> {
    entries
        .iter()
        .map(|(entry, progress)| (&*entry.destination, &*entry.group, entry.partition, progress))
        .collect()
}

/// What was known of messages that are finished now.
fn deaths(entries: &[(Arc<Entry>, Progress)]) -> Vec<(&str, &str, u32, Vec<u8>)> {
    let changed = entries.iter().filter_map(|(entry, progress)| {
        let deaths = entry.deaths_beside(progress)?;
        Some(state::row(entry, deaths))
    });
    changed.collect()
}

/// The row of an entry that is to stay forgotten.
fn forgotten_row(entry: &Arc<Entry>) -> Option<(&str, &str, u32)> {
    let stays = entry.stays_forgotten();
    stays.then_some((&*entry.destination, &*entry.group, entry.partition))
}

/// What each entry has to store, and why some of it must not be stored: progress never gets ahead of what is on the
/// disk. Otherwise a crash of the machine would leave a group beyond the end of its partition, or without the dead
/// letter, the parked copy or the output for whose sake a message counts as finished.
fn take_progress(shared: &Arc<Shared>, entries: Vec<Arc<Entry>>) -> (Vec<(Arc<Entry>, Progress)>, Refused) {
    // Taken before the sync, so that the sync covers everything that was published before it was reported.
    let dirty: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| entry.take_dirty().map(|progress| (entry, progress)))
        .collect();
    let mut refused = Refused::default();
    if dirty.is_empty() {
        return (dirty, refused);
    }
    let elsewhere = shared.syncer.sync(shared);
    let mut taken = Vec::with_capacity(dirty.len());
    for (entry, progress) in dirty {
        // A reader may see a record a moment before its partition counts as unsynced.
        let below = progress::covered(&progress);
        let synced = shared.sync_below(&entry.destination, entry.partition, below);
        // One partition in doubt must not hold up what cannot depend on it.
        let elsewhere = || match entry.is_beyond_doubt() {
            true => Ok(()),
            false => elsewhere.clone(),
        };
        match synced.and_then(|()| elsewhere()) {
            Ok(()) => taken.push((entry, progress)),
            Err(reason) => {
                shared.keeper.note(&entry, entry.put_back());
                refused.0.push((entry, reason));
            }
        }
    }
    (taken, refused)
}

fn wait(
    mut work: MutexGuard<'_, Work>,
    shared: &Arc<Shared>,
    concern: Concern,
) -> oneshot::Receiver<Result<(), String>> {
    let (answer, receiver) = oneshot::channel();
    work.waiting.push(Waiter { answer, concern });
    work.wanted = true;
    run_if_wanted(work, shared);
    receiver
}

async fn answer(waiting: oneshot::Receiver<Result<(), String>>) -> Result<(), String> {
    waiting
        .await
        .unwrap_or_else(|_| Err("the broker's runtime was shut down".to_owned()))
}

fn run_if_wanted(mut work: MutexGuard<'_, Work>, shared: &Arc<Shared>) {
    if work.wanted && !work.running {
        work.running = true;
        // A runtime that shuts down drops the closure here and now, and the guard in it wants this lock.
        drop(work);
        let idle = shared.clone();
        // A runtime that shuts down may drop the closure before it began.
        let mut ending = Guard::new(move || lock(&idle.keeper.work).running = false);
        let shared_again = shared.clone();
        // On a blocking thread, so that paused time in a test does not run ahead of the disk.
        shared.spawn_blocking(move || {
            run(&shared_again);
            ending.disarm();
        });
    }
}

/// Stores until nothing more is wanted.
fn run(shared: &Arc<Shared>) {
    loop {
        let work = {
            let mut work = lock(&shared.keeper.work);
            if !work.wanted {
                work.running = false;
                return;
            }
            let taken = std::mem::take(&mut *work);
            work.running = true;
            taken
        };
        let outcome = shared.keeper.store(shared, work);
        if let Some(due) = outcome.first_due {
            shared.timer.stored(shared, due);
        }
        if !outcome.is_complete {
            shared.keeper.again(shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::EmbeddedOptions;

    #[tokio::test(start_paused = true)]
    async fn progress_that_could_not_be_stored_is_stored_later_without_another_report() {
        let options = EmbeddedOptions::from_url("memory:").unwrap();
        let shared = Arc::new(Shared::open(options).unwrap());
        let entry = shared.progress.entry(&"orders".into(), &"billing".into(), 0);
        let state = lock(&shared.keeper.state).take();
        shared.keeper.note(&entry, entry.begin(|| Some(7)));
        let concern = Concern::Entries(vec![entry.clone()]);
        shared.keeper.commit(&shared, concern).await.unwrap_err();
        *lock(&shared.keeper.state) = state;
        assert_eq!(entry.stored_watermark(), None);
        tokio::time::sleep(AGAIN * 2).await;
        while lock(&shared.keeper.work).running {
            tokio::time::sleep(AGAIN).await;
        }
        assert_eq!(entry.stored_watermark(), Some(7));
    }
}
