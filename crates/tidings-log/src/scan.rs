//! Walking over the frames of a file in order.

use crate::files::{LogFile, read_full_at};
use crate::format::frame::{self, Flaw, FrameHeader};
use crate::format::index::{Entry, Mark};
use std::io;

/// The most bytes that are in memory at once, however large the frames are.
const WINDOW: usize = 256 << 10;

/// What a scan verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The headers: the records are verified by whoever reads them.
    Headers,
    /// Every byte.
    Records,
}

/// What is at the scan's place.
pub(crate) enum Step {
    Frame { header: FrameHeader },
    End,
    Flaw(Flaw),
}

/// Reads frames from a mark up to an end.
pub(crate) struct Scan<'a> {
    file: &'a dyn LogFile,
    seed: u32,
    depth: Depth,
    position: u64,
    expected: u64,
    end: u64,
    window: Window,
}

impl<'a> Scan<'a> {
    /// Begins at a place where a frame begins, with the offset that it must have.
    pub(crate) fn new(file: &'a dyn LogFile, seed: u32, (position, expected): (u64, u64), end: u64) -> Self {
        Self {
            file,
            seed,
            depth: Depth::Records,
            position,
            expected,
            end,
            window: Window::default(),
        }
    }

    pub(crate) fn depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// Position and offset at which the next frame must begin.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.position, self.expected)
    }

    /// The next frame. It does not go on behind a flaw.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if self.position >= self.end {
            return Ok(Step::End);
        }
        let bytes = self.window.at(self.file, self.position, frame::LEN, self.end)?;
        let header = match frame::decode(bytes, self.seed) {
            Ok(header) => header,
            Err(flaw) => return Ok(Step::Flaw(flaw)),
        };
        if header.base != self.expected {
            return Ok(Step::Flaw(Flaw::Order { found: header.base }));
        }
        if header.total() > self.end - self.position {
            return Ok(Step::Flaw(Flaw::Incomplete));
        }
        if self.depth == Depth::Records && self.body_crc(&header)? != header.body_crc {
            return Ok(Step::Flaw(Flaw::Body));
        }
        self.position += header.total();
        self.expected = header.next();
        Ok(Step::Frame { header })
    }

    fn body_crc(&mut self, header: &FrameHeader) -> io::Result<u32> {
        let mut position = self.position + frame::LEN as u64;
        let end = self.position + header.total();
        let mut crc = 0;
        while position < end {
            let bytes = self.window.at(self.file, position, 1, end)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            crc = crc32c::crc32c_append(crc, bytes);
            position += bytes.len() as u64;
        }
        Ok(crc)
    }
}

/// A piece of a file in memory.
#[derive(Default)]
pub(crate) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The bytes from `position` on that are in memory, none at or behind `end`; at least `least` unless the file has
    /// fewer.
    pub(crate) fn at(
        &mut self,
        file: &dyn LogFile,
        position: u64,
        least: usize,
        end: u64,
    ) -> io::Result<&[u8]> {
        let wanted = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        let least = least.min(wanted);
        if self.from(position).len() < least {
            self.bytes.resize(wanted.min(WINDOW), 0);
            self.start = position;
            let read = read_full_at(file, &mut self.bytes, position)?;
            self.bytes.truncate(read);
        }
        let bytes = self.from(position);
        Ok(bytes.get(..wanted).unwrap_or(bytes))
    }

    fn from(&self, position: u64) -> &[u8] {
        let within = position
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok());
        within.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default()
    }
}

/// What is known of a segment that was read up to a mark.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) entries: Vec<Entry>,
    pub(crate) mark: Mark,
    /// What is known to be on the disk; at or before the mark.
    pub(crate) synced: Mark,
}

impl Tail {
    /// A segment without frames.
    pub(crate) fn new(base: u64) -> Self {
        let mark = Mark {
            position: crate::format::segment::LEN as u64,
            next: base,
            max_timestamp: i64::MIN,
        };
        Self {
            entries: Vec::new(),
            mark,
            synced: mark,
        }
    }

    /// Adds the frame that follows, and tells where it ends.
    pub(crate) fn push(&mut self, header: &FrameHeader, index_interval_bytes: u32) -> Mark {
        let Mark {
            position,
            max_timestamp,
            ..
        } = self.mark;
        let last = self.entries.last();
        if last.is_none_or(|last| position - last.position >= u64::from(index_interval_bytes)) {
            self.entries.push(Entry {
                offset: header.base,
                position,
                max_before: max_timestamp,
            });
        }
        self.mark = Mark {
            position: position + header.total(),
            next: header.next(),
            max_timestamp: max_timestamp.max(header.max_timestamp),
        };
        self.mark
    }

    /// Reads on from the mark up to `end`, and returns the flaw if there is one before. `proven` becomes the highest
    /// position that a frame says was on the disk.
    pub(crate) fn extend(
        &mut self,
        (file, seed): (&dyn LogFile, u32),
        end: u64,
        index_interval_bytes: u32,
        proven: &mut u64,
    ) -> io::Result<Option<Flaw>> {
        let mut scan = Scan::new(file, seed, (self.mark.position, self.mark.next), end);
        loop {
            match scan.step()? {
                Step::Frame { header } => {
                    *proven = header.synced.max(*proven);
                    self.push(&header, index_interval_bytes);
                }
                Step::End => return Ok(None),
                Step::Flaw(flaw) => return Ok(Some(flaw)),
            }
        }
    }
}
