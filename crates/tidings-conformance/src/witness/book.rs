//! What is known of the messages of a place: [`Book`].

use super::log::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{BinderError, DynBinder, Epoch, LaneId, Message, RecordBatch};

/// What was sent, what has come and what is finished. It outlives the broker that it is about.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pages: Mutex<Pages>,
    readers: tokio::sync::Mutex<BTreeMap<Arc<str>, Reader>>,
}

#[derive(Debug, Default)]
struct Pages {
    stamps: u64,
    destinations: BTreeMap<Arc<str>, Page>,
    shares: BTreeMap<(Arc<str>, Arc<str>), Entries>,
}

/// A destination.
#[derive(Debug, Default)]
struct Page {
    /// Stamps of what was given to the broker and not refused.
    sent: BTreeSet<u64>,
    /// Those of which the broker says that it keeps them.
    kept: BTreeSet<u64>,
    /// Those that have come.
    seen: BTreeSet<u64>,
    log: Vec<Message>,
    /// What is sent is its log.
    of_sent: bool,
}

/// What a group has of a destination.
#[derive(Debug)]
struct Entries {
    /// It gets what has this stamp or a later one.
    begun: u64,
    finished: BTreeSet<u64>,
    members: usize,
}

/// How far a group is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// So many messages there were for it.
    pub(super) all: u64,
    /// So many of them were never reported as finished.
    pub(super) unfinished: u64,
    /// So many members it has now.
    pub(super) members: usize,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message is about to be sent: its stamp.
    pub(super) fn sends(&self, destination: &Arc<str>, message: &Message) -> u64 {
        let mut pages = self.pages();
        let stamp = pages.stamps;
        pages.stamps += 1;
        let page = pages.destinations.entry(destination.clone()).or_default();
        page.sent.insert(stamp);
        if page.of_sent {
            page.log.push(message.clone());
        }
        stamp
    }

    /// What became of it.
    pub(super) fn is_kept(&self, destination: &Arc<str>, stamp: u64, kept: bool) {
        let mut pages = self.pages();
        let page = pages.destinations.entry(destination.clone()).or_default();
        match kept {
            true => page.kept.insert(stamp),
            false => page.sent.remove(&stamp),
        };
    }

    pub(super) fn keeps_what_is_sent(&self, destination: &Arc<str>) {
        let mut pages = self.pages();
        pages.destinations.entry(destination.clone()).or_default().of_sent = true;
    }

    /// Makes sure that the witness gets what is published from now on.
    pub(super) async fn reads(
        &self,
        inner: &Arc<dyn DynBinder>,
        destination: &Arc<str>,
    ) -> Result<(), BinderError> {
        let mut readers = self.readers.lock().await;
        if !readers.contains_key(destination) {
            let reader = Reader::open(inner, destination).await?;
            readers.insert(destination.clone(), reader);
            self.pages().destinations.entry(destination.clone()).or_default();
        }
        Ok(())
    }

    /// Reads until everything has come that the broker keeps; how many messages that are.
    pub(super) async fn read_all(
        &self,
        inner: &Arc<dyn DynBinder>,
        destination: &str,
    ) -> Result<u64, BinderError> {
        let mut readers = self.readers.lock().await;
        let name: Arc<str> = destination.into();
        if let Some(reader) = readers.get_mut(&name) {
            loop {
                let missing = self.missing(&name);
                if missing == 0 {
                    break;
                }
                for (stamp, message) in reader.more(inner, missing).await? {
                    self.note(&name, stamp, message);
                }
            }
        }
        let pages = self.pages();
        let page = pages.destinations.get(destination);
        let page = page.ok_or_else(|| BinderError::UnknownDestination {
            destination: destination.into(),
        })?;
        Ok(page.log.len() as u64)
    }

    fn missing(&self, destination: &Arc<str>) -> usize {
        let pages = self.pages();
        let page = pages.destinations.get(destination);
        page.map_or(0, |page| page.kept.difference(&page.seen).count())
    }

    fn note(&self, destination: &Arc<str>, stamp: Option<u64>, message: Message) {
        let mut pages = self.pages();
        let page = pages.destinations.entry(destination.clone()).or_default();
        if stamp.is_none_or(|stamp| page.seen.insert(stamp)) {
            page.log.push(message);
        }
    }

    /// Messages from a place of the log on, as many as a batch should hold.
    pub(super) fn messages(&self, destination: &str, from: u64, max_bytes: usize) -> RecordBatch {
        let pages = self.pages();
        let log = pages
            .destinations
            .get(destination)
            .map_or(&[][..], |page| &page.log);
        let mut bytes = 0;
        let some: Vec<_> = log
            .iter()
            .skip(usize::try_from(from).unwrap_or(usize::MAX))
            .take_while(|message| {
                bytes += message.size();
                bytes == message.size() || bytes <= max_bytes
            })
            .cloned()
            .collect();
        RecordBatch::from_messages(LaneId(0), Epoch(0), from, &some)
    }

    /// A member of a group begins.
    pub(super) fn joins(&self, destination: &Arc<str>, group: &Arc<str>) {
        let mut pages = self.pages();
        let begun = match pages
            .destinations
            .get(destination)
            .is_some_and(|page| page.of_sent)
        {
            true => 0,
            false => pages.stamps,
        };
        let share = pages.shares.entry((destination.clone(), group.clone()));
        let share = share.or_insert_with(|| Entries {
            begun,
            finished: BTreeSet::new(),
            members: 0,
        });
        share.members += 1;
    }

    pub(super) fn leaves(&self, destination: &Arc<str>, group: &Arc<str>) {
        let mut pages = self.pages();
        if let Some(share) = pages.shares.get_mut(&(destination.clone(), group.clone())) {
            share.members -= 1;
        }
    }

    pub(super) fn finishes(&self, destination: &Arc<str>, group: &Arc<str>, stamps: &[u64]) {
        let mut pages = self.pages();
        if let Some(share) = pages.shares.get_mut(&(destination.clone(), group.clone())) {
            share.finished.extend(stamps);
        }
    }

    pub(super) fn share(&self, destination: &str, group: &str) -> Option<Share> {
        let pages = self.pages();
        let entries = pages.shares.get(&(destination.into(), group.into()))?;
        let sent = pages.destinations.get(destination).map(|page| &page.sent);
        let for_it = || sent.into_iter().flat_map(|sent| sent.range(entries.begun..));
        let unfinished = for_it().filter(|stamp| !entries.finished.contains(stamp));
        Some(Share {
            all: for_it().count() as u64,
            unfinished: unfinished.count() as u64,
            members: entries.members,
        })
    }
}
