//! A queue of messages that are acknowledged one by one after an fsync, as one writes it by hand around a file.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::arms::raw::{RawLog, Record};
use crate::error::BenchError;

/// A batch on its way to the disk: its bytes, and who waits for each of its messages.
type Batch = (RawLog, Vec<oneshot::Sender<u64>>);

/// The publisher packs and checksums its messages, a thread of its own writes and syncs them and then tells every
/// message its number. Nothing can be left out of that where whoever publishes must not block and awaits each message.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    log: Option<RawLog>,
    write: Option<Sender<Batch>>,
    written: Receiver<Result<RawLog, BenchError>>,
    writer: Option<JoinHandle<()>>,
}

impl Acknowledged {
    /// An empty file at that path, and the thread.
    pub(crate) fn create(path: &Path) -> Result<Self, BenchError> {
        let (write, batches) = channel::<Batch>();
        let (done, written) = channel();
        let writer = std::thread::spawn(move || {
            let mut number = 0;
            for (mut log, waiting) in batches {
                let stored = log.write().and_then(|()| log.sync());
                let stored = stored.map(|()| {
                    for one in waiting {
                        // Whoever waited may have gone.
                        let _ = one.send(number);
                        number += 1;
                    }
                    log
                });
                let _ = done.send(stored);
            }
        });
        Ok(Self {
            log: Some(RawLog::create(path)?),
            write: Some(write),
            written,
            writer: Some(writer),
        })
    }

    /// Publishes the records and waits for every one of them.
    pub(crate) fn publish(&mut self, runtime: &Runtime, records: Vec<Record>) -> Result<(), BenchError> {
        let gone = || BenchError::part("acknowledging by hand")("the writing thread is gone");
        let mut log = self.log.take().ok_or_else(gone)?;
        runtime.block_on(async {
            log.pack_checked(&records);
            let (senders, receipts): (Vec<_>, Vec<_>) = records.iter().map(|_| oneshot::channel()).unzip();
            let write = self.write.as_ref().ok_or_else(gone)?;
            write.send((log, senders)).map_err(|_| gone())?;
            drop(records);
            for receipt in receipts {
                receipt.await.map_err(|_| gone())?;
            }
            Ok(())
        })?;
        self.log = Some(self.written.recv().map_err(|_| gone())??);
        Ok(())
    }
}

impl Drop for Acknowledged {
    fn drop(&mut self) {
        self.write = None;
        if let Some(writer) = self.writer.take() {
            // It ends when nobody can send any more; a panic of it was told as an error before.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arms::{raw, topic};

    #[test]
    fn what_was_acknowledged_by_hand_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acknowledged");
        let (runtime, records) = (topic::runtime().unwrap(), raw::records(10));
        let mut log = Acknowledged::create(&path).unwrap();
        log.publish(&runtime, records.clone()).unwrap();
        log.publish(&runtime, records.clone()).unwrap();
        let bytes: usize = records
            .iter()
            .map(|one| 8 + one.key.len() + one.payload.len())
            .sum();
        assert_eq!(raw::read_through(&[path], 1000).unwrap(), 2 * (bytes + 4) as u64);
    }
}
