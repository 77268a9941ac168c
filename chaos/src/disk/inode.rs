//! One file as the process sees it, and as the disk has it: [`Inode`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The piece that a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// A file whose writes stay in memory until they are synced. What reached `disk` outlives the process; that is all the
/// durability a power cut by SIGKILL needs, so nothing here waits for a real disk.
#[derive(Debug)]
pub(super) struct Inode {
    bytes: Vec<u8>,
    disk: File,
    dirty: BTreeSet<usize>,
    /// The disk has an older, smaller length than one that was set. A set length reaches a disk before what is written
    /// below it does, because both are in the inode's own change.
    grown: bool,
}

impl Inode {
    /// A file of the disk, with what it holds.
    pub(super) fn new(disk: File) -> io::Result<Self> {
        let mut bytes = vec![0; disk.metadata()?.len() as usize];
        disk.read_exact_at(&mut bytes, 0)?;
        Ok(Self {
            bytes,
            disk,
            dirty: BTreeSet::new(),
            grown: false,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let there = self.bytes.get(position as usize..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer
            .split_at_mut(count)
            .0
            .copy_from_slice(there.split_at(count).0);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        let start = position as usize;
        let end = start + bytes.len();
        let old_end = self.bytes.len();
        if old_end < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        // What lies between the old end and the place is written too, with zeros.
        self.touch(start.min(old_end), end);
    }

    pub(super) fn truncate(&mut self, len: u64) {
        let (old, new) = (self.bytes.len(), len as usize);
        self.grown |= new > old;
        self.bytes.resize(new, 0);
        self.touch(new.min(old), new);
    }

    fn touch(&mut self, start: usize, end: usize) {
        self.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.settle_length()?;
        for sector in std::mem::take(&mut self.dirty) {
            self.flush(sector)?;
        }
        self.disk.set_len(self.len())
    }

    /// Brings about half of what is missing to the disk, in any order, as a system does that writes when it likes.
    pub(super) fn write_back(&mut self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let mut chosen: Vec<_> = self.dirty.iter().copied().filter(|_| dice.bool()).collect();
        dice.shuffle(&mut chosen);
        if !chosen.is_empty() {
            self.settle_length()?;
        }
        for sector in chosen {
            self.dirty.remove(&sector);
            self.flush(sector)?;
        }
        Ok(())
    }

    fn settle_length(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.grown) && self.disk.metadata()?.len() < self.len() {
            self.disk.set_len(self.len())?;
        }
        Ok(())
    }

    fn flush(&self, sector: usize) -> io::Result<()> {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.bytes.len());
        match self.bytes.get(start..end) {
            Some(bytes) => self.disk.write_all_at(bytes, start as u64),
            // It was cut off meanwhile.
            None => Ok(()),
        }
    }
}
