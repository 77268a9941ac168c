//! Where a process writes what it does: [`History`].

use super::event::{Event, Line};
use crate::error::ChaosError;
use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Writes lines so that a kill loses none: each is one `write` to a file opened for appending, and what a file was
/// given outlives the process. A line that is written is in the file before the call returns, so the order of lines is
/// the order of what caused what, over all threads.
#[derive(Debug)]
pub struct History {
    file: File,
    incarnation: u32,
}

impl History {
    /// Appends to that file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, incarnation: u32) -> Result<Self, ChaosError> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(ChaosError::io("open", path))?;
        Ok(Self { file, incarnation })
    }

    /// Which incarnation writes.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Writes one line.
    ///
    /// # Panics
    /// If it cannot be written: without its history an attack proves nothing.
    pub fn write(&self, event: Event) {
        self.write_for(self.incarnation, event);
    }

    /// Writes one line about another incarnation.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn write_for(&self, incarnation: u32, event: Event) {
        self.write_bytes(&line(incarnation, event));
    }

    /// Writes several lines at once: a kill leaves the first of them, all or none.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn write_all(&self, events: impl Iterator<Item = Event>) {
        let lines: Vec<_> = events.flat_map(|event| line(self.incarnation, event)).collect();
        self.write_bytes(&lines);
    }

    fn write_bytes(&self, bytes: &[u8]) {
        (&self.file)
            .write_all(bytes)
            .expect("the history must be writable");
    }
}

fn line(incarnation: u32, event: Event) -> Vec<u8> {
    let line = Line {
        t: now(),
        n: incarnation,
        event,
    };
    let mut bytes = serde_json::to_vec(&line).expect("a line has only plain fields");
    bytes.push(b'\n');
    bytes
}

/// The machine's monotonic clock in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
