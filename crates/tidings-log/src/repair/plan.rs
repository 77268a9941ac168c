//! What has to be done to a log, from what can be read of it.

use super::{Loss, RepairPlan, RepairRequest, RepairStep};
use crate::damage::{self, Verdict};
use crate::error::LogError;
use crate::files::{Access, LogFile, read_full_at};
use crate::format::index::{Index, Kind};
use crate::format::segment::{self, HeaderFlaw};
use crate::place::{Listing, Place};
use crate::salvage::{Bad, Piece, Salvage, likely_seed};
use crate::verify::{Neighbour, verify};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The highest offset that is believed: one beyond it comes from damage.
const HIGHEST: u64 = 1 << 62;

/// Reads the log and says what a repair would do. Nothing is written. `progress` is told how many bytes were read.
///
/// # Errors
/// [`LogError::NewerVersion`], because this build can't judge such a file; [`LogError::Io`] when something can't be read
/// that may be readable again later.
pub fn plan_repair(
    request: &RepairRequest<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<RepairPlan, LogError> {
    let place = Place {
        files: Arc::clone(request.files),
        dir: request.dir.clone(),
    };
    let listing = match place.list() {
        // Somebody deleted it; the floor may say that there was something.
        Err(error) if error.is_not_found() => Listing::default(),
        listing => listing?,
    };
    let mut plan = RepairPlan {
        place,
        aside: request.aside.clone(),
        steps: Vec::new(),
        losses: Vec::new(),
        records: 0,
        next: 0,
    };
    let end = plan.segments(&listing, progress)?;
    plan.tail(&listing, end, request.floor);
    plan.indexes(&listing)?;
    // Damaged, or it speaks of a segment that is gone: what it knew of the end was used above.
    let speaks_of = plan.place.read_sync_mark().map(|mark| mark.base);
    let is_known = |base| listing.segments.iter().any(|(known, _)| *known == base);
    if listing.has_sync_mark && !speaks_of.is_some_and(is_known) {
        let file = plan.place.sync_mark();
        plan.steps.push(RepairStep::RemoveSyncMark { file });
    }
    for name in listing.drafts() {
        let file = plan.place.dir.join(name);
        plan.steps.push(RepairStep::RemoveDraft { file });
    }
    Ok(plan)
}

impl RepairPlan {
    /// Judges each segment; the offset behind the last one, none when there is no segment.
    fn segments(
        &mut self,
        listing: &Listing,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<u64>, LogError> {
        let mut expected = None;
        for (at, (base, _)) in listing.segments.iter().enumerate() {
            if let Some(missing) = expected.filter(|end| end < base) {
                self.fill(missing..*base, "the segment file is missing");
            }
            let limit = listing.segments.get(at + 1).map(|(next, _)| *next);
            let found = survey(&self.place, *base, limit, progress)?;
            let end = self.segment(*base, limit, found);
            expected = Some(end);
        }
        Ok(expected)
    }

    /// What is done with one segment; the offset behind it.
    fn segment(&mut self, base: u64, limit: Option<u64>, found: Survey) -> u64 {
        self.records += found.records;
        let file = self.place.segment(base);
        let known = if found.is_torn {
            found.end
        } else {
            found.end.max(found.known)
        };
        let end = limit.unwrap_or(known);
        if found.has_header && found.bad.is_empty() && found.end == end {
            return end;
        }
        let is_cut = limit.is_none() && found.has_header && found.bad.len() == 1 && found.ends_bad;
        self.lose(&file, &found, end);
        match found.bad.first().filter(|_| is_cut) {
            Some(bad) => {
                self.steps.push(RepairStep::Cut {
                    file,
                    position: bad.position,
                    bytes: found.bytes - bad.position,
                });
                if found.end < end {
                    let file = self.place.segment(found.end);
                    let offsets = found.end..end;
                    self.steps.push(RepairStep::Fill { file, offsets });
                }
            }
            None => self.steps.push(RepairStep::Rewrite {
                file,
                offsets: base..end,
                records: found.records,
            }),
        }
        end
    }

    /// Lists what is lost of a segment that should go on up to `end`.
    fn lose(&mut self, file: &Path, found: &Survey, end: u64) {
        let first = self.losses.len();
        for bad in &found.bad {
            self.losses.push(Loss {
                file: file.to_owned(),
                position: bad.position,
                bytes: bad.end - bad.position,
                offsets: bad.offset..bad.next.min(end).max(bad.offset),
                reason: bad.flaw.to_string(),
            });
        }
        if found.is_torn {
            // Never promised, so nobody knows of offsets in it.
            self.losses.pop();
        } else if let Some(last) = self.losses.get_mut(first..).and_then(<[Loss]>::last_mut)
            && found.ends_bad
        {
            last.offsets.end = end.max(last.offsets.start);
        } else if found.end < end {
            self.losses.push(Loss {
                file: file.to_owned(),
                position: found.bytes,
                bytes: 0,
                offsets: found.end..end,
                reason: "the file ends before them".to_owned(),
            });
        }
    }

    fn fill(&mut self, offsets: Range<u64>, reason: &str) {
        let file = self.place.segment(offsets.start);
        self.losses.push(Loss {
            file: file.clone(),
            position: 0,
            bytes: 0,
            offsets: offsets.clone(),
            reason: reason.to_owned(),
        });
        self.steps.push(RepairStep::Fill { file, offsets });
    }

    /// What follows the last segment, as far as anybody knows of it: a sealed index says that there was another segment,
    /// and the floor that records were given those offsets.
    fn tail(&mut self, listing: &Listing, end: Option<u64>, floor: u64) {
        let floor = if floor < HIGHEST { floor } else { 0 };
        let known = listing
            .indexes()
            .iter()
            .filter_map(|base| any_index(&self.place, *base))
            .map(|index| index.mark.next)
            .chain(self.place.read_sync_mark().map(|mark| mark.next))
            .filter(|next| *next < HIGHEST)
            .fold(floor, u64::max);
        let oldest = || listing.indexes().first().copied().unwrap_or(known);
        let end = end.unwrap_or_else(|| oldest().min(known));
        self.next = end.max(known);
        let last = listing.segments.last().map(|(base, _)| *base);
        let is_followed = last.is_some_and(|last| self.is_sealed(last));
        if end < known {
            self.fill(end..known, "they were given, and no file holds them");
        } else if is_followed {
            self.losses.push(Loss {
                file: self.place.segment(end),
                position: 0,
                bytes: 0,
                offsets: end..end,
                reason: "the segment file that follows is missing, and nobody knows how many records it held"
                    .to_owned(),
            });
        } else if listing.segments.is_empty() && known > 0 {
            // Nothing is known to be lost but the offsets, which must not be given again.
            self.fill(known - 1..known, "the segment files are missing");
        }
    }

    /// Indexes that lie, and those whose segment changes or is gone.
    fn indexes(&mut self, listing: &Listing) -> Result<(), LogError> {
        if listing.indexes().is_empty() {
            return Ok(());
        }
        let report = verify(&self.place.files, &self.place.dir, Neighbour::None, &mut |_| {})?;
        let last = listing.segments.last().map(|(base, _)| *base);
        for base in listing.indexes() {
            let path = self.place.index(*base);
            let changes = |step: &RepairStep| match step {
                RepairStep::Cut { file, .. }
                | RepairStep::Rewrite { file, .. }
                | RepairStep::Fill { file, .. } => file.with_extension("index") == path,
                RepairStep::RemoveIndex { .. }
                | RepairStep::RemoveSyncMark { .. }
                | RepairStep::RemoveDraft { .. } => false,
            };
            // A last segment with a sealed index counts as one whose follower is missing.
            let follows =
                |step: &RepairStep| matches!(step, RepairStep::Fill { offsets, .. } if offsets.start > *base);
            let is_orphaned = last == Some(*base) && self.is_sealed(*base) && !self.steps.iter().any(follows);
            let is_wrong = report.problems.iter().any(|one| one.file == path);
            if is_wrong || is_orphaned || self.steps.iter().any(changes) {
                self.steps.push(RepairStep::RemoveIndex { file: path });
            }
        }
        Ok(())
    }

    fn is_sealed(&self, base: u64) -> bool {
        any_index(&self.place, base).is_some_and(|index| index.kind == Kind::Sealed)
    }
}

/// What an index says, whatever segment it belongs to.
fn any_index(place: &Place, base: u64) -> Option<Index> {
    let file = place.files.open(&place.index(base), Access::ReadOnly).ok()?;
    let mut bytes = [0; 16];
    let read = read_full_at(&*file, &mut bytes, 0).ok()?;
    let (_, seed) = bytes.get(..read)?.split_last_chunk::<4>()?;
    place.read_index(base, u32::from_le_bytes(*seed), 1 << 27)
}

/// What can be read of a segment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) has_header: bool,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// The offset behind the last frame that can be read.
    pub(super) end: u64,
    /// The offset behind the last one that anything in the file or its index speaks of.
    pub(super) known: u64,
    pub(super) bad: Vec<Bad>,
    /// Nothing can be read behind the last bad place.
    pub(super) ends_bad: bool,
    /// And that is only a write that was never finished.
    pub(super) is_torn: bool,
}

fn survey(
    place: &Place,
    base: u64,
    limit: Option<u64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Survey, LogError> {
    let (file, header) = open(place, base)?;
    let path = place.segment(base);
    let bytes = file.len().map_err(LogError::io("read", &path))?;
    let mut survey = Survey {
        has_header: header.is_whole,
        bytes,
        end: base,
        known: base,
        ..Survey::default()
    };
    let mut salvage = Salvage::new((&*file, header.seed), (segment::LEN as u64, base), bytes);
    loop {
        match salvage.step().map_err(LogError::io("read", &path))? {
            Piece::End => break,
            Piece::Frame(frame) => {
                progress(frame.header.total());
                let kept = frame.records.iter();
                let below = |offset: &u64| limit.is_none_or(|limit| *offset < limit);
                survey.records += kept.filter(|record| below(&record.offset)).count() as u64;
                survey.end = frame.header.next();
                survey.ends_bad = false;
            }
            Piece::Bad(bad) => {
                progress(bad.end - bad.position);
                survey.known = survey.known.max(bad.next);
                survey.ends_bad = bad.end == bytes;
                survey.bad.push(bad);
            }
        }
    }
    if let Some(index) = place.read_index(base, header.seed, bytes.max(1 << 27)) {
        survey.known = survey.known.max(index.mark.next).min(HIGHEST);
        survey.is_torn = index.mark.position <= survey.bad.last().map_or(0, |bad| bad.position);
    } else {
        survey.is_torn = true;
    }
    if let Some(mark) = place
        .read_sync_mark()
        .filter(|mark| (mark.base, mark.seed) == (base, header.seed))
    {
        survey.known = survey.known.max(mark.next).min(HIGHEST);
        survey.is_torn &= mark.position <= survey.bad.last().map_or(0, |bad| bad.position);
    }
    survey.is_torn &= limit.is_none() && survey.ends_bad;
    if let (true, Some(bad)) = (survey.is_torn, survey.bad.last()) {
        let place = (bad.position, bad.offset);
        let verdict = damage::judge((&*file, header.seed), place, bad.flaw, bytes);
        survey.is_torn = verdict.map_err(LogError::io("read", &path))? == Verdict::Torn;
    }
    Ok(survey)
}

/// What stands at the start of a segment, as far as it can be known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) is_whole: bool,
    pub(super) seed: u32,
    pub(super) cleaned_at: u32,
}

/// Opens a segment whose header may be damaged.
pub(super) fn open(place: &Place, base: u64) -> Result<(Arc<dyn LogFile>, Start), LogError> {
    let path = place.segment(base);
    let file = place.open(base, Access::ReadOnly)?;
    let mut bytes = [0; segment::LEN];
    let read = read_full_at(&*file, &mut bytes, 0).map_err(LogError::io("read", &path))?;
    let start = match segment::decode(&bytes) {
        Err(HeaderFlaw::Newer(found)) => {
            return Err(LogError::NewerVersion {
                file: path,
                found,
                supported: segment::REWRITTEN,
            });
        }
        Ok(header) if read == segment::LEN => Start {
            is_whole: header.base == base,
            seed: header.seed,
            cleaned_at: header.cleaned_at,
        },
        _ => {
            let end = file.len().map_err(LogError::io("read", &path))?;
            Start {
                is_whole: false,
                seed: likely_seed(&*file, segment::guess(&bytes), base, end),
                cleaned_at: 0,
            }
        }
    };
    Ok((file, start))
}
