//! One segment: its header, every frame and record, and its index.

use super::index::IndexCheck;
use super::{CURE, Neighbour, Problem, Severity};
use crate::chunk::Lost;
use crate::damage::{self, Verdict};
use crate::error::LogError;
use crate::files::{Access, LogFile, read_full_at};
use crate::format::frame::Layout;
use crate::format::index::Kind;
use crate::format::segment::{self, HeaderFlaw, SegmentHeader};
use crate::place::Place;
use crate::salvage::{Bad, Piece, Salvage, likely_seed};
use crate::scan::Tail;
use crate::walk::Frame;
use std::path::PathBuf;

/// What a segment is in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The next one begins there.
    Sealed { next: u64 },
    /// It is appended to.
    Last(Neighbour),
}

/// What was found in it.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) records: u64,
    /// The offset that follows its last frame.
    pub(super) next: u64,
    pub(super) is_rewritten: bool,
    pub(super) lost: Vec<Lost>,
    pub(super) problems: Vec<Problem>,
}

/// Reads all of it.
pub(super) fn check(place: &Place, base: u64, role: Role, progress: &mut dyn FnMut(u64)) -> Checked {
    let mut check = Check {
        path: place.segment(base),
        role,
        done: Checked {
            next: base,
            ..Checked::default()
        },
    };
    if let Err(error) = check.run(place, base, progress) {
        check.problem(
            None,
            Some(base),
            error.to_string(),
            "repair the disk, or restore the file from a copy",
        );
    }
    check.done
}

struct Check {
    path: PathBuf,
    role: Role,
    done: Checked,
}

impl Check {
    fn problem(&mut self, position: Option<u64>, offset: Option<u64>, what: String, cure: &str) {
        self.done.problems.push(Problem {
            file: self.path.clone(),
            position,
            offset,
            severity: Severity::Damage,
            what,
            cure: cure.to_owned(),
        });
    }

    fn damage(&mut self, position: u64, offset: u64, what: impl Into<String>) {
        self.problem(Some(position), Some(offset), what.into(), CURE);
    }

    fn run(&mut self, place: &Place, base: u64, progress: &mut dyn FnMut(u64)) -> Result<(), LogError> {
        let read = || LogError::io("read", &self.path.clone());
        let file = place.open(base, Access::ReadOnly)?;
        let len = file.len().map_err(read())?;
        let mut bytes = [0; segment::LEN];
        let got = read_full_at(&*file, &mut bytes, 0).map_err(read())?;
        progress(got as u64);
        let seeds = match segment::decode(&bytes) {
            Ok(header) if got == segment::LEN => {
                self.header(&header, base);
                [header.seed; 2]
            }
            Err(HeaderFlaw::Newer(found)) => {
                let what = format!(
                    "format version {found}, this build reads up to {}",
                    segment::REWRITTEN
                );
                self.problem(
                    Some(0),
                    Some(base),
                    what,
                    "use the release that wrote it, or a newer one",
                );
                return Ok(());
            }
            _ => {
                self.no_header(place, base, got);
                segment::guess(&bytes)
            }
        };
        let version = segment::decode(&bytes).map_or(segment::REWRITTEN, |header| header.version);
        let seed = likely_seed(&*file, seeds, base, len);
        self.frames(place, (&*file, seed), (base, version), progress)
    }

    fn header(&mut self, header: &SegmentHeader, base: u64) {
        self.done.is_rewritten = header.version == segment::REWRITTEN;
        if header.base != base {
            let what = format!("its header says that it begins with record {}", header.base);
            self.damage(0, base, what);
        }
    }

    fn no_header(&mut self, place: &Place, base: u64, got: usize) {
        let has_index = place.files.exists(&place.index(base)).unwrap_or(true);
        let is_last = matches!(self.role, Role::Last(_));
        let has_records = place.read_sync_mark().is_some_and(|mark| mark.base == base);
        if got < segment::LEN && is_last && !has_index && !has_records {
            if self.role == Role::Last(Neighbour::None) {
                self.unfinished(0, base, "the header of the file is incomplete");
            }
        } else {
            self.damage(0, base, "the header of the file is damaged");
        }
    }

    fn unfinished(&mut self, position: u64, offset: u64, what: impl Into<String>) {
        self.done.problems.push(Problem {
            file: self.path.clone(),
            position: Some(position),
            offset: Some(offset),
            severity: Severity::Harmless,
            what: what.into(),
            cure: "a write that was not finished and never promised: the next opening cuts it".to_owned(),
        });
    }

    fn frames(
        &mut self,
        place: &Place,
        (file, seed): (&dyn LogFile, u32),
        (base, version): (u64, u16),
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), LogError> {
        let path = self.path.clone();
        let read = || LogError::io("read", &path);
        // The index before the length: beside an owner both may grow in between.
        let before = file.len().map_err(read())?;
        let mut index = IndexCheck::new(place, base, seed, before);
        let noted = place.synced_up_to(base, seed);
        let end = file.len().map_err(read())?;
        let mut salvage = Salvage::new((file, seed), (segment::LEN as u64, base), end);
        let synced = index.synced().max(noted);
        let mut tail = Tail::new(base);
        let mut is_whole = true;
        loop {
            let bad = match salvage.step().map_err(read())? {
                Piece::End => break,
                Piece::Frame(frame) => {
                    self.frame(&frame, version);
                    index.frame(&frame.header, &tail);
                    tail.push(&frame.header, u32::MAX);
                    progress(frame.header.total());
                    continue;
                }
                Piece::Bad(bad) => bad,
            };
            progress(bad.end - bad.position);
            is_whole = false;
            let next = self.bad((file, seed), &bad, (end, synced));
            tail.mark.next = next.map_err(read())?;
            tail.mark.position = bad.end;
        }
        self.done.next = tail.mark.next;
        let (index, problems) = index.end(&tail, is_whole);
        self.done.problems.extend(problems);
        let kind = index.as_ref().map(|index| index.kind);
        self.end(&tail, (kind, synced), end);
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, version: u16) {
        let header = &frame.header;
        let (position, offset) = (frame.position, header.base);
        self.done.records += frame.records.len() as u64;
        if header.layout == Layout::Lost {
            self.done.lost.push(Lost {
                offsets: header.base..header.next(),
                reason: String::from_utf8_lossy(frame.body).into_owned(),
            });
        }
        if version == segment::VERSION && header.layout != Layout::Dense {
            self.damage(position, offset, "a frame with gaps in a segment of version 1");
        }
        if header.synced > position {
            self.damage(
                position,
                offset,
                "the frame says that bytes behind its own were on the disk before it",
            );
        }
        let greatest = frame.records.iter().map(|record| record.timestamp_ms).max();
        let first = frame.records.first().map(|record| record.timestamp_ms);
        if greatest.is_some_and(|greatest| greatest != header.max_timestamp)
            || first.is_some_and(|first| first != header.first_timestamp)
        {
            self.damage(
                position,
                offset,
                "the frame's timestamps are not those of its records",
            );
        }
    }

    /// The offset that follows: what a write that was never finished says of its own does not count, because the next
    /// opening cuts it.
    fn bad(
        &mut self,
        file: (&dyn LogFile, u32),
        bad: &Bad,
        (end, synced): (u64, u64),
    ) -> std::io::Result<u64> {
        if let Role::Last(neighbour) = self.role
            && bad.end == end
            && bad.position >= synced
            && damage::judge(file, (bad.position, bad.offset), bad.flaw, end)? == Verdict::Torn
        {
            if neighbour == Neighbour::None {
                self.unfinished(bad.position, bad.offset, bad.flaw.to_string());
            }
            return Ok(bad.offset);
        }
        let range = match bad.next > bad.offset {
            true => format!("; the records {}..{} can't be read", bad.offset, bad.next),
            false => String::new(),
        };
        self.damage(bad.position, bad.offset, format!("{}{range}", bad.flaw));
        Ok(bad.next)
    }

    /// Whether the segment ends where it should.
    fn end(&mut self, tail: &Tail, (kind, synced): (Option<Kind>, u64), len: u64) {
        let (position, next) = (tail.mark.position, tail.mark.next);
        if synced > len {
            let what = format!("the file ends here, but it had been synced up to byte {synced}");
            self.damage(len, next, what);
        }
        match self.role {
            Role::Sealed { next: expected } if next < expected => {
                self.damage(
                    position,
                    next,
                    format!("the records {next}..{expected} are missing at the end of the file"),
                );
            }
            Role::Sealed { next: expected } if next > expected => {
                let what = format!("the records {expected}..{next} are in the next file too");
                self.damage(position, expected, what);
            }
            Role::Last(Neighbour::None) if kind == Some(Kind::Sealed) => {
                self.damage(position, next, "the segment file that follows is missing");
            }
            _ => {}
        }
    }
}
