//! `running.marks`: what was being handled when the process died.
//!
//! Each opening reads the marks that the last owner left, counts a death for each message in the state, and then puts an
//! empty file in the place of the old one. A crash in between counts nothing twice and loses nothing: the file has a
//! generation, and the transaction that counts says which generation it has counted.

use crate::deaths::is_open;
use crate::mapped::Mapped;
use crate::progress::{Entry, ProgressTable};
use crate::state::{Changes, State};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use tidings_core::{Activity, Company, Deaths, LaneMarks, MarkBoard, MarkCell, Marked};

/// The file in the directory.
const FILE: &str = "running.marks";
/// What it begins with; the digit is the version.
const WORD: &[u8; 16] = b"tidings-marks 1\n";
/// The header's bytes that mean something.
const HEADER: usize = 40;
/// Where the cells begin.
const START: usize = 4096;
/// The most cells a file may have: a header that says more is damaged.
const MOST_CELLS: usize = 1 << 20;
const CELL_BYTES: usize = 16;
/// So many messages of a lane are named in the log.
const TOLD: usize = 8;

/// Where this process marks what it handles.
#[derive(Debug)]
pub(crate) struct Marks {
    board: Arc<MarkBoard>,
    generation: u64,
}

impl Marks {
    /// Counts what the last owner was handling when it died, and begins anew. Whatever is wrong with the file, the broker
    /// opens: then messages that kill the process are not found out, which a warning says.
    ///
    /// So many messages as there are cells can be marked at a time, in the whole process. Others are handled unmarked.
    pub(crate) fn open(root: &Path, cells: usize, state: &State, progress: &ProgressTable) -> Self {
        let path = root.join(FILE);
        let begin = || -> Result<Self, String> {
            let counted = state.counted_marks()?;
            let left = read(&path, counted);
            if left.generation > counted {
                count(&left, state, progress)?;
            }
            let generation = left.generation.max(counted) + 1;
            let memory =
                renew(root, generation, cells.clamp(1, MOST_CELLS)).map_err(|error| error.to_string())?;
            Ok(Self {
                board: MarkBoard::new(memory),
                generation,
            })
        };
        begin().unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason,
                "what is being handled cannot be marked: a message that kills the process is not found out until this is repaired and the broker opened again");
            Self {
                board: MarkBoard::without_memory(),
                generation: 0,
            }
        })
    }

    /// How a lane's messages are marked.
    pub(crate) fn of_lane(&self, entry: Option<&Arc<Entry>>) -> LaneMarks {
        LaneMarks {
            board: self.board.clone(),
            tag: entry.map(|entry| tag(self.generation, entry)),
        }
    }

    /// Nothing is being handled any more.
    pub(crate) fn clear(&self) {
        self.board.clear();
    }
}

/// What names a lane in the marks of one generation: a hash, so that nothing but the marks must survive. It is the
/// 64-bit FNV-1a of generation, group, destination and partition, each text after its length.
fn tag(generation: u64, entry: &Entry) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    fnv(&mut hash, &generation.to_le_bytes());
    for text in [&entry.group, &entry.destination] {
        fnv(&mut hash, &(text.len() as u64).to_le_bytes());
        fnv(&mut hash, text.as_bytes());
    }
    fnv(&mut hash, &entry.partition.to_le_bytes());
    hash
}

fn fnv(hash: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// What the last owner left.
#[derive(Debug, Default)]
struct Left {
    generation: u64,
    marks: Vec<Marked>,
}

/// Reads the file. What cannot be read is no mark.
fn read(path: &Path, counted: u64) -> Left {
    let warn = |reason: &str| {
        tracing::warn!(path = %path.display(), reason,
            "not all marks of the process before can be read: if it died, deaths of messages are not counted this time");
    };
    let mut bytes = Vec::new();
    let limit = (START + MOST_CELLS * CELL_BYTES) as u64;
    let opened = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match opened {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if counted > 0 {
                warn("the file is missing");
            }
            return Left::default();
        }
        Err(error) => {
            warn(&error.to_string());
            return Left::default();
        }
    }
    // The process before may have had another number of cells.
    let Some((generation, cells)) = said(&bytes) else {
        warn("it is damaged, or of another version");
        return Left::default();
    };
    if bytes.len() < START + cells * CELL_BYTES {
        warn("it is too short");
    }
    Left {
        generation,
        marks: marks(bytes.get(START..).unwrap_or_default()),
    }
}

/// Its header, which is written with the file and never changed.
fn header(generation: u64, cells: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(WORD);
    header[16..24].copy_from_slice(&generation.to_le_bytes());
    header[24..32].copy_from_slice(&(cells as u64).to_le_bytes());
    let mut hash = 0;
    fnv(&mut hash, &header[..32]);
    header[32..].copy_from_slice(&hash.to_le_bytes());
    header
}

/// Generation and number of cells, if it is a header that this version wrote.
fn said(bytes: &[u8]) -> Option<(u64, usize)> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (generation, cells) = (number(16)?, usize::try_from(number(24)?).ok()?);
    let is_ours = cells <= MOST_CELLS && bytes.get(..HEADER)? == header(generation, cells);
    is_ours.then_some((generation, cells))
}

fn marks(cells: &[u8]) -> Vec<Marked> {
    let (cells, _) = cells.as_chunks::<CELL_BYTES>();
    cells
        .iter()
        .filter_map(|cell| MarkCell::from_bytes(*cell).read())
        .collect()
}

/// Counts a death for each message that was being handled, in one transaction that says so.
fn count(left: &Left, state: &State, progress: &ProgressTable) -> Result<(), String> {
    let counted = deaths(left, progress);
    let rows: Vec<_> = counted
        .iter()
        .map(|(entry, deaths)| crate::state::row(entry, crate::deaths::encode(deaths)))
        .collect();
    if !rows.is_empty() {
        state.store(&Changes {
            deaths: rows,
            counted_marks: Some(left.generation),
            ..Changes::default()
        })?;
    }
    for (entry, deaths) in counted {
        let some: Vec<_> = deaths
            .iter()
            .take(TOLD)
            .map(|of_one| (of_one.offset, of_one.count()))
            .collect();
        tracing::warn!(group = %entry.group, destination = %entry.destination, partition = entry.partition,
            messages = deaths.len(), ?some, "processes died while they handled these messages: (offset, how often)");
        entry.set_deaths(deaths);
    }
    Ok(())
}

/// All deaths of the entries that get more of them.
fn deaths(left: &Left, progress: &ProgressTable) -> Vec<(Arc<Entry>, Vec<Deaths>)> {
    if left.marks.is_empty() {
        return Vec::new();
    }
    let entries: HashMap<_, _> = progress
        .all()
        .into_iter()
        .map(|entry| (tag(left.generation, &entry), entry))
        .collect();
    let executing = left
        .marks
        .iter()
        .filter(|mark| mark.activity == Activity::Executing)
        .count();
    let mut found: BTreeMap<u64, BTreeMap<u64, Deaths>> = BTreeMap::new();
    for mark in &left.marks {
        let Some(entry) = entries.get(&mark.tag) else {
            continue;
        };
        if !entry
            .reported()
            .is_some_and(|progress| is_open(&progress, mark.offset))
        {
            continue;
        }
        let before = || {
            let deaths = entry.deaths().into_iter();
            deaths.map(|deaths| (deaths.offset, deaths)).collect()
        };
        let of_entry = found.entry(mark.tag).or_insert_with(before);
        // One that still executes after all the time that a suspect waits for it is a suspect as well.
        let others = executing - usize::from(mark.activity == Activity::Executing);
        let company = if others > 0 { Company::Others } else { mark.company };
        let of_one = of_entry.entry(mark.offset).or_insert(Deaths::of(mark.offset));
        of_one.add(mark.activity, company);
    }
    let of_tag = |(tag, deaths): (u64, BTreeMap<u64, Deaths>)| {
        Some((entries.get(&tag)?.clone(), deaths.into_values().collect()))
    };
    found.into_iter().filter_map(of_tag).collect()
}

/// Puts an empty file in the place of the old one, and maps it. It is written and not only made long, so that it has its
/// blocks: storing to a mapped file on a full disk would end the process.
fn renew(root: &Path, generation: u64, cells: usize) -> io::Result<Mapped> {
    let (path, scratch) = (root.join(FILE), root.join(format!("{FILE}.new")));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&scratch)?;
    let written = overwrite_in_place(&file).and_then(|()| {
        let mut bytes = vec![0; START + cells * CELL_BYTES];
        bytes[..HEADER].copy_from_slice(&header(generation, cells));
        file.write_all(&bytes)?;
        std::fs::rename(&scratch, &path)
    });
    match written {
        Ok(()) => Mapped::new(&file, START, cells),
        Err(error) => {
            // What is left would only take room.
            let _ = std::fs::remove_file(&scratch);
            Err(error)
        }
    }
}

/// A file system that writes everything to a new place needs room for each change of a mapped page, and has none on a
/// full disk. Btrfs can be told not to; ZFS and bcachefs cannot.
#[cfg(target_os = "linux")]
fn overwrite_in_place(file: &File) -> io::Result<()> {
    use rustix::fs::{IFlags, fstatfs, ioctl_getflags, ioctl_setflags};
    const BTRFS: u64 = 0x9123_683e;
    const OTHERS: [u64; 2] = [0x2fc1_2fc1, 0xca45_1a4e];
    let kind = fstatfs(file).map_or(0, |found| found.f_type as u64 & 0xffff_ffff);
    if OTHERS.contains(&kind) {
        let reason = "the file system writes no file in place, and could end the process when it is full";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    if kind == BTRFS {
        let flags = ioctl_getflags(file)?;
        ioctl_setflags(file, flags | IFlags::NOCOW)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn overwrite_in_place(_file: &File) -> io::Result<()> {
    Ok(())
}
