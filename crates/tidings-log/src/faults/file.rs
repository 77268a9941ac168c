//! One file: what of it is on the disk.

use super::{Dice, Effect, Loss, Operation, Shared};
use crate::files::{LogFile, read_full_at, write_all_at};
use crate::lock::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The piece that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What the disk has of a file that the system shows with more.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    /// Its length on the disk.
    durable_len: u64,
    /// What the disk has of the sectors that were written since the last sync.
    dirty: BTreeMap<u64, Vec<u8>>,
    /// The same for sectors of a failed sync: the system takes them for written, so no later sync writes them.
    dropped: BTreeMap<u64, Vec<u8>>,
}

impl Content {
    pub(super) fn new(path: PathBuf, durable_len: u64) -> Self {
        Self {
            path,
            durable_len,
            dirty: BTreeMap::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Keeps what the disk has of the sectors that are about to change.
    fn touch(&mut self, file: &dyn LogFile, from: u64, to: u64) -> io::Result<()> {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            if self.dirty.contains_key(&sector) {
                continue;
            }
            let old = match self.dropped.remove(&sector) {
                Some(old) => old,
                None => self.read_durable(file, sector)?,
            };
            self.dirty.insert(sector, old);
        }
        Ok(())
    }

    fn read_durable(&self, file: &dyn LogFile, sector: u64) -> io::Result<Vec<u8>> {
        let start = sector * SECTOR;
        let mut bytes = vec![0; self.durable_len.saturating_sub(start).min(SECTOR) as usize];
        read_full_at(file, &mut bytes, start)?;
        Ok(bytes)
    }

    fn synced(&mut self, len: u64) {
        self.dirty.clear();
        self.durable_len = len;
    }

    fn sync_failed(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.dropped.extend(dirty);
    }

    /// Brings the file into the state that a crash leaves.
    pub(super) fn crash(&mut self, file: &dyn LogFile, loss: Loss, dice: &mut Dice) -> io::Result<()> {
        let len = file.len()?;
        let mut lost = std::mem::take(&mut self.dirty);
        let keep_len = match loss {
            // The system lives on and will still write, or not, what it would have.
            Loss::Nothing => {
                self.dirty = lost;
                return Ok(());
            }
            Loss::Unsynced => self.durable_len,
            Loss::Some { .. } => {
                let keep_len = self.choose_len(len, dice);
                let keep_percent = dice.choose([0, 30, 70, 95, 100]);
                lost.retain(|_, _| dice.up_to(99) >= keep_percent);
                keep_len
            }
            Loss::Chosen { .. } => {
                let keeps_len = len == self.durable_len || dice.up_to(1) == 1;
                lost.retain(|_, _| dice.up_to(1) == 0);
                if keeps_len { len } else { self.durable_len }
            }
        };
        lost.append(&mut self.dropped);
        for (sector, mut bytes) in lost {
            bytes.resize(SECTOR as usize, 0);
            write_all_at(file, &bytes, sector * SECTOR)?;
        }
        file.truncate(keep_len)?;
        self.durable_len = keep_len;
        Ok(())
    }

    fn choose_len(&self, len: u64, dice: &mut Dice) -> u64 {
        let between = self.durable_len + dice.up_to(len.saturating_sub(self.durable_len));
        dice.choose([self.durable_len, len, between])
    }
}

pub(super) struct FaultyFile {
    pub(super) shared: Arc<Shared>,
    pub(super) content: Arc<Mutex<Content>>,
    pub(super) inner: Arc<dyn LogFile>,
    pub(super) life: u64,
}

impl FaultyFile {
    fn write_some(&self, content: &mut Content, bytes: &[u8], position: u64) -> io::Result<usize> {
        // What lies between the old end and the place is written too, with zeros.
        let from = position.min(self.inner.len()?);
        content.touch(&*self.inner, from, position + bytes.len() as u64)?;
        write_all_at(&*self.inner, bytes, position)?;
        Ok(bytes.len())
    }

    fn path(&self) -> PathBuf {
        lock(&self.content).path.clone()
    }
}

impl LogFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.shared.is_alive(self.life)?;
        self.shared.allow(Operation::Read, &self.path())?;
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.shared.is_alive(self.life)?;
        let mut content = lock(&self.content);
        let effect = self.shared.effect(Operation::Write, &content.path);
        let some = |count: usize| bytes.get(..count).unwrap_or(bytes);
        match effect {
            None => self.write_some(&mut content, bytes, position),
            Some(Effect::Short { bytes }) => self.write_some(&mut content, some(bytes), position),
            Some(Effect::Torn { bytes, .. }) => {
                self.write_some(&mut content, some(bytes), position)?;
                Err(effect.map_or(io::ErrorKind::Other.into(), Effect::error))
            }
            Some(effect @ Effect::Fail { .. }) => Err(effect.error()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.is_alive(self.life)?;
        let path = self.path();
        self.shared.run_hook(&path);
        let mut content = lock(&self.content);
        // The hook may have waited for a crash.
        self.shared.is_alive(self.life)?;
        if let Err(error) = self.shared.allow(Operation::Sync, &path) {
            content.sync_failed();
            return Err(error);
        }
        self.inner.sync_data()?;
        content.synced(self.inner.len()?);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.shared.is_alive(self.life)?;
        let mut content = lock(&self.content);
        self.shared.allow(Operation::Truncate, &content.path)?;
        let old = self.inner.len()?;
        content.touch(&*self.inner, len.min(old), len.max(old))?;
        self.inner.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.shared.is_alive(self.life)?;
        self.inner.len()
    }
}

impl fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFile")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
