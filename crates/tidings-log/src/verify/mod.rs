//! Reading all of a log and saying what is wrong with it. Nothing is written.

mod index;
mod segment;

use crate::chunk::Lost;
use crate::error::LogError;
use crate::files::Files;
use crate::place::{Listing, Place};
use segment::{Checked, Role};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More problems of one segment than this are counted and not listed.
const MOST_PROBLEMS: usize = 100;

/// Whether the log's owner may be writing while it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Nobody has it open for writing.
    None,
    /// Somebody may: what looks unfinished at the end is not held against it.
    Owner,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It loses nothing, and the next opening or reading puts it right.
    Harmless,
    /// Records are lost or can't be read, or the log can't be opened.
    Damage,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The byte in the file.
    pub position: Option<u64>,
    /// The offset of the first record that is concerned.
    pub offset: Option<u64>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// What an operator can do.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", record {offset}")?;
        }
        write!(f, ": {}; {}", self.what, self.cure)
    }
}

/// What was found in a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogReport {
    /// Its directory.
    pub dir: PathBuf,
    /// How many segment files there are.
    pub segments: usize,
    /// How many of them compaction or repair has written again.
    pub rewritten: usize,
    /// How many records were read and are whole.
    pub records: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// The oldest offset.
    pub first_offset: u64,
    /// The offset that follows the last record that can be read.
    pub next_offset: u64,
    /// What an earlier repair said is lost. No problem: it was put right as far as that goes.
    pub lost: Vec<Lost>,
    /// What is wrong, in the order of the files.
    pub problems: Vec<Problem>,
    /// Problems that are not listed because there are too many.
    pub unlisted: u64,
}

impl LogReport {
    /// Whether nothing is lost, and nothing keeps the log from being used.
    pub fn is_sound(&self) -> bool {
        self.unlisted == 0 && self.problems.iter().all(|one| one.severity == Severity::Harmless)
    }
}

/// Reads every byte of the log in a directory: all checksums, the sequence of the offsets, the indexes. `progress` is told
/// after each piece how many bytes were read since it was told before.
///
/// # Errors
/// [`LogError::Io`] when the directory can't be listed. Whatever is wrong with its files is in the report.
pub fn verify(
    files: &Arc<dyn Files>,
    dir: &Path,
    neighbour: Neighbour,
    progress: &mut dyn FnMut(u64),
) -> Result<LogReport, LogError> {
    let place = Place {
        files: Arc::clone(files),
        dir: dir.to_owned(),
    };
    let listing = place.list()?;
    let mut report = LogReport {
        dir: dir.to_owned(),
        segments: listing.segments.len(),
        first_offset: listing.segments.first().map_or(0, |(base, _)| *base),
        next_offset: listing.segments.last().map_or(0, |(base, _)| *base),
        ..LogReport::default()
    };
    for (at, (base, bytes)) in listing.segments.iter().enumerate() {
        let role = match listing.segments.get(at + 1) {
            Some((next, _)) => Role::Sealed { next: *next },
            None => Role::Last(neighbour),
        };
        let Some(checked) = check(&place, *base, role, neighbour, progress) else {
            // Retention was faster.
            report.first_offset = listing.segments.get(at + 1).map_or(*base, |(next, _)| *next);
            report.segments -= 1;
            continue;
        };
        report.bytes += bytes;
        report.take(checked);
    }
    leftovers(&place, &listing, neighbour, &mut report);
    Ok(report)
}

/// Beside an owner a second look decides: a segment may be replaced or deleted while it is read.
fn check(
    place: &Place,
    base: u64,
    role: Role,
    neighbour: Neighbour,
    progress: &mut dyn FnMut(u64),
) -> Option<Checked> {
    let checked = segment::check(place, base, role, progress);
    let is_damaged = checked
        .problems
        .iter()
        .any(|one| one.severity == Severity::Damage);
    if neighbour == Neighbour::None || !is_damaged {
        return Some(checked);
    }
    let is_there = place
        .list()
        .is_ok_and(|listing| listing.segments.iter().any(|(other, _)| *other == base));
    is_there.then(|| segment::check(place, base, role, &mut |_| {}))
}

/// What to do about damage.
const CURE: &str = "restore the file from a copy or a snapshot, or stop the owner and run a repair";

/// Files that nobody needs, and indexes whose segment is gone.
fn leftovers(place: &Place, listing: &Listing, neighbour: Neighbour, report: &mut LogReport) {
    // They come and go while the owner works.
    if neighbour == Neighbour::Owner {
        return;
    }
    let leftover = |name: String, what: &str, severity, cure: &str| Problem {
        file: place.dir.join(name),
        position: None,
        offset: None,
        severity,
        what: what.to_owned(),
        cure: cure.to_owned(),
    };
    let mut problems = Vec::new();
    for name in listing.drafts() {
        let what = "a file that was being written when its process ended";
        problems.push(leftover(
            name.clone(),
            what,
            Severity::Harmless,
            "the next opening removes it",
        ));
    }
    for base in listing.indexes_without_segment() {
        let name = format!("{base:020}.index");
        problems.push(if listing.segments.is_empty() {
            leftover(name, "its segment file is missing", Severity::Damage, CURE)
        } else {
            let what = "an index without its segment";
            leftover(name, what, Severity::Harmless, "the next opening removes it")
        });
    }
    let mark = place.read_sync_mark();
    let last = listing.segments.last().map(|(base, _)| *base);
    if let Some(missing) = mark
        .map(|mark| mark.base)
        .filter(|base| last.is_none_or(|last| last < *base))
    {
        let name = format!("{missing:020}.log");
        let what = "its segment file is missing";
        problems.push(leftover(name, what, Severity::Damage, CURE));
    }
    if listing.has_sync_mark && mark.is_none() {
        let name = place
            .sync_mark()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let what = "the sync mark is damaged or of another version";
        problems.push(leftover(
            name,
            what,
            Severity::Harmless,
            "nothing needs to be done: it is ignored, and the next sync writes it again",
        ));
    }
    for name in listing.others() {
        let what = "not a file of the log";
        problems.push(leftover(
            name.clone(),
            what,
            Severity::Harmless,
            "it is left alone",
        ));
    }
    report.add(problems);
}

impl LogReport {
    fn take(&mut self, checked: Checked) {
        self.records += checked.records;
        self.next_offset = self.next_offset.max(checked.next);
        self.rewritten += usize::from(checked.is_rewritten);
        self.lost.extend(checked.lost);
        self.add(checked.problems);
    }

    fn add(&mut self, mut problems: Vec<Problem>) {
        self.unlisted += problems.len().saturating_sub(MOST_PROBLEMS) as u64;
        problems.truncate(MOST_PROBLEMS);
        self.problems.extend(problems);
    }
}
