//! Telling what a crash leaves behind from damage.
//!
//! A crash of the machine may lose any sector that was not synced, in any order: a frame can be lost while a later
//! one is whole. So "a bad frame that a good one follows" is not damage by itself, and to refuse such a file would
//! keep a service down after an ordinary power cut. On the other side, to cut at the first bad frame, as some logs
//! do, deletes records that were promised to be there when a single bit flips. RocksDB leaves the choice to the
//! operator, with four recovery modes; Kafka and others remember in a file beside the log up to where it was flushed.
//!
//! Here each frame says up to where the file had been synced when the frame was written, each sync leaves a mark beside
//! the segment that says the same, and so does the checkpoint of a clean close. In the order of certainty:
//!
//! 1. The bad place lies before a place that was synced: damage.
//! 2. Nothing whole follows: it may be a write that never finished, and there is nothing that it could hide. Cut.
//! 3. A whole frame follows, and neither says that the bad place had been synced. Lost writes leave sectors that were
//!    never filled, which read as zeros; if the bad place shows none, no crash made it: damage. Otherwise cut. The
//!    frames behind it are lost with it, and none of them had been synced, because that would have filled the gap.
//!
//! What follows a bad place is found by the magic number and the checksum of the frame header. That checksum starts
//! from a random number in the file's header, so that no payload can pose as a frame and turn a torn write, which
//! heals by itself, into damage, which does not.

use crate::files::LogFile;
use crate::format::frame::Flaw;
use crate::format::frame::{self, FrameHeader, MAGIC};
use crate::scan::Window;
use std::io;

/// The largest piece that every disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What a place that holds no frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A write that was never finished, and never promised.
    Torn,
    /// Bytes that had been on the disk have changed.
    Damaged,
}

/// Judges the bad place at `position` of a file that ends at `end`. `expected` is the offset that belongs there.
pub(crate) fn judge(
    (file, seed): (&dyn LogFile, u32),
    (position, expected): (u64, u64),
    flaw: Flaw,
    end: u64,
) -> io::Result<Verdict> {
    if matches!(flaw, Flaw::Order { .. } | Flaw::Shape(_)) {
        // The checksum says that we wrote this header into this file; no unfinished write brings it here.
        return Ok(Verdict::Damaged);
    }
    let mut search = Search::new((file, seed), end);
    let mut follower = None;
    let mut place = position + 1;
    while let Some((found, header)) = search.next(place)? {
        if header.synced > position && header.base >= expected {
            return Ok(Verdict::Damaged);
        }
        let complete = header.total() <= end - found;
        if complete && follower.is_none() && search.is_whole(found, &header)? {
            follower = Some(found);
        }
        place = found + if complete { header.total() } else { 1 };
    }
    match follower {
        Some(follower) if !shows_lost_write(file, position, follower)? => Ok(Verdict::Damaged),
        _ => Ok(Verdict::Torn),
    }
}

/// Looks for frame headers at any place of a file.
pub(crate) struct Search<'a> {
    file: &'a dyn LogFile,
    seed: u32,
    end: u64,
    window: Window,
}

impl<'a> Search<'a> {
    pub(crate) fn new((file, seed): (&'a dyn LogFile, u32), end: u64) -> Self {
        Self {
            file,
            seed,
            end,
            window: Window::default(),
        }
    }

    /// The next frame header at that place or behind it whose checksum is right.
    pub(crate) fn next(&mut self, mut place: u64) -> io::Result<Option<(u64, FrameHeader)>> {
        loop {
            let bytes = self.window.at(self.file, place, frame::LEN, self.end)?;
            if bytes.len() < frame::LEN {
                return Ok(None);
            }
            // Only places with a whole header behind them in memory; the rest comes with the next piece.
            let places = bytes.len() - frame::LEN + 1;
            let starts = bytes.get(..places).unwrap_or_default();
            let Some(skip) = starts.iter().position(|byte| *byte == MAGIC[0]) else {
                place += places as u64;
                continue;
            };
            place += skip as u64;
            if let Ok(header) = frame::decode(bytes.get(skip..).unwrap_or_default(), self.seed) {
                return Ok(Some((place, header)));
            }
            place += 1;
        }
    }

    /// Whether the frame with that header is complete and its records are as they were written.
    pub(crate) fn is_whole(&mut self, position: u64, header: &FrameHeader) -> io::Result<bool> {
        let mut scan = crate::scan::Scan::new(self.file, self.seed, (position, header.base), self.end);
        Ok(matches!(scan.step()?, crate::scan::Step::Frame { .. }))
    }
}

/// Whether zeros reach from the start of the frame, or of a sector in it, to the end of that sector.
fn shows_lost_write(file: &dyn LogFile, start: u64, end: u64) -> io::Result<bool> {
    let mut window = Window::default();
    let mut place = start;
    loop {
        let sector_end = (place / SECTOR + 1) * SECTOR;
        // The frame that follows shares this sector, and it is there: so all of the sector is what was written.
        if sector_end > end {
            return Ok(false);
        }
        let len = (sector_end - place) as usize;
        let bytes = window.at(file, place, len, end)?;
        if bytes
            .get(..len)
            .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
        {
            return Ok(true);
        }
        place = sector_end;
    }
}
