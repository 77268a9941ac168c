//! Walking over the frames of a file together with their records.

use crate::chunk::RecordView;
use crate::files::{LogFile, read_full_at};
use crate::format::frame::{self, Flaw, FrameHeader};
use crate::format::record;
use crate::scan::{Scan, Step};
use std::io;

/// Reads frames in order, every byte verified, one frame in memory at a time.
pub(crate) struct Walk<'a> {
    file: &'a dyn LogFile,
    scan: Scan<'a>,
    body: Vec<u8>,
    records: Vec<RecordView>,
    last: Option<(FrameHeader, u64)>,
}

/// What is at the walk's place.
pub(crate) enum Walked<'w> {
    Frame(Frame<'w>),
    End,
    Flaw(Flaw),
}

/// A frame whose checksums are right. The spans of its records are for its body.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'w> {
    pub(crate) header: FrameHeader,
    /// Where it begins in the file.
    pub(crate) position: u64,
    pub(crate) body: &'w [u8],
    pub(crate) records: &'w [RecordView],
}

impl<'w> Frame<'w> {
    pub(crate) fn bytes(&self, span: crate::chunk::Span) -> &'w [u8] {
        let start = span.start as usize;
        self.body
            .get(start..start.saturating_add(span.len as usize))
            .unwrap_or_default()
    }
}

impl<'a> Walk<'a> {
    /// Begins where a frame begins, with the offset that it must have.
    pub(crate) fn new(file: &'a dyn LogFile, seed: u32, start: (u64, u64), end: u64) -> Self {
        Self {
            file,
            scan: Scan::new(file, seed, start, end),
            body: Vec::new(),
            records: Vec::new(),
            last: None,
        }
    }

    /// The frame that the last step gave, again.
    pub(crate) fn last(&self) -> Option<Frame<'_>> {
        let (header, position) = self.last?;
        Some(Frame {
            header,
            position,
            body: &self.body,
            records: &self.records,
        })
    }

    /// Position and offset at which the next frame must begin.
    pub(crate) fn place(&self) -> (u64, u64) {
        self.scan.place()
    }

    /// The next frame. It does not go on behind a flaw.
    pub(crate) fn step(&mut self) -> io::Result<Walked<'_>> {
        let (position, _) = self.scan.place();
        self.last = None;
        let header = match self.scan.step()? {
            Step::Frame { header } => header,
            Step::End => return Ok(Walked::End),
            Step::Flaw(flaw) => return Ok(Walked::Flaw(flaw)),
        };
        // So many bytes are in the file: the scan has just read them.
        self.body.resize(header.body_len as usize, 0);
        let read = read_full_at(self.file, &mut self.body, position + frame::LEN as u64)?;
        if read < self.body.len() || crc32c::crc32c(&self.body) != header.body_crc {
            return Ok(Walked::Flaw(Flaw::Body));
        }
        self.records.clear();
        let all = header.base..header.next();
        if let Err(flaw) = record::decode((&self.body, 0), &header, all, &mut self.records) {
            return Ok(Walked::Flaw(flaw));
        }
        self.last = Some((header, position));
        Ok(self.last().map_or(Walked::End, Walked::Frame))
    }
}
