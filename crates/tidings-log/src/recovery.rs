//! Opening a directory: what is there, and what of it can be relied on.

use crate::damage::{self, Verdict};
use crate::error::LogError;
use crate::files::{Access, LogFile, read_full_at, write_all_at};
use crate::format::index::Kind;
use crate::format::segment;
use crate::options::{Cut, LogOptions, Recovery};
use crate::place::Place;
use crate::scan::Tail;
use crate::segments::{Active, Sealed, View};
use std::sync::Arc;

/// How often a reader looks again when the owner deletes what it is about to open.
const ATTEMPTS: usize = 5;

/// Opens the segments. Only the last one is read, from its checkpoint on.
pub(crate) fn recover(place: &Place, options: &LogOptions) -> Result<(View, Recovery), LogError> {
    match options.access {
        Access::ReadWrite => open_owned(place, options),
        Access::ReadOnly => open_shared(place, options),
    }
}

fn open_owned(place: &Place, options: &LogOptions) -> Result<(View, Recovery), LogError> {
    place.create()?;
    let listing = place.list()?;
    place.tidy(&listing)?;
    let last = listing.segments.last().map(|(base, _)| *base);
    if let Some(mark) = place.read_sync_mark()
        && last.is_none_or(|last| last < mark.base)
    {
        let (file, reason) = (place.segment(mark.base), "its segment file is missing");
        return Err(LogError::corrupt(&file, 0, mark.base, reason));
    }
    if listing.segments.is_empty() {
        let (file, header) = place.create_segment(0)?;
        let active = Active::new(file, header, Tail::new(0));
        return Ok(finish(&listing.segments, Some(LastSegment::whole(active))));
    }
    // An owner that was killed may have created files without syncing their names.
    place.sync_dir()?;
    let last = listing
        .segments
        .last()
        .map(|(base, _)| open_last(place, options, *base))
        .transpose()?;
    Ok(finish(&listing.segments, last.flatten()))
}

fn open_shared(place: &Place, options: &LogOptions) -> Result<(View, Recovery), LogError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let segments = place.list()?.segments;
        let opened = segments
            .last()
            .map(|(base, _)| open_last(place, options, *base))
            .transpose();
        match opened {
            Err(error) if error.is_not_found() && attempts < ATTEMPTS => {}
            opened => return Ok(finish(&segments, opened?.flatten())),
        }
    }
}

fn finish(segments: &[(u64, u64)], last: Option<LastSegment>) -> (View, Recovery) {
    let sealed = segments.iter().zip(segments.iter().skip(1));
    let sealed = sealed.map(|((base, bytes), (next, _))| Arc::new(Sealed::new(*base, *next, *bytes)));
    let mut view = View {
        sealed: sealed.collect(),
        active: None,
        // A reader may come between the creation of a file and its first bytes.
        empty_at: segments.last().map_or(0, |(base, _)| *base),
    };
    let (mut cut, mut verified_bytes) = (None, 0);
    if let Some(last) = last {
        view.active = Some(Arc::new(last.active));
        (cut, verified_bytes) = (last.cut, last.verified_bytes);
    }
    let recovery = Recovery {
        first_offset: view.first(),
        next_offset: view.next(),
        segments: segments.len().max(1),
        verified_bytes,
        cut,
    };
    (view, recovery)
}

pub(crate) struct LastSegment {
    pub(crate) active: Active,
    verified_bytes: u64,
    cut: Option<Cut>,
}

impl LastSegment {
    fn whole(active: Active) -> Self {
        Self {
            active,
            verified_bytes: 0,
            cut: None,
        }
    }
}

/// Opens the segment that is appended to. None when read only and the owner has not written its header yet.
pub(crate) fn open_last(
    place: &Place,
    options: &LogOptions,
    base: u64,
) -> Result<Option<LastSegment>, LogError> {
    let path = place.segment(base);
    let file = place.open(base, options.access)?;
    let len = file.len().map_err(LogError::io("read", &path))?;
    if len <= segment::LEN as u64 {
        return open_empty(place, options.access, file, base);
    }
    let header = place.require_header(&*file, base)?;
    let mut tail = checkpoint(place, options.access, &*file, (base, header.seed))?;
    let start = tail.mark.position;
    let floor = synced_floor(place, &*file, (base, header.seed))?;
    let (cut, proven) = extend(place, options, (&*file, header.seed), (base, floor), &mut tail)?;
    let verified_bytes = tail.mark.position - start;
    if options.access == Access::ReadWrite {
        if let Some(cut) = &cut {
            file.truncate(cut.position).map_err(LogError::io("cut", &path))?;
        }
        if cut.is_some() || verified_bytes > 0 {
            harden(&*file, proven, tail.mark.position).map_err(LogError::io("write again", &path))?;
        }
    }
    let on_disk = if cut.is_some() || verified_bytes > 0 {
        0
    } else {
        start
    };
    tail.synced = tail.mark;
    let active = Active::new(file, header, tail);
    active.set_checkpoint(on_disk);
    Ok(Some(LastSegment {
        active,
        verified_bytes,
        cut,
    }))
}

/// A segment is synced before its first record is written into it. So a file that holds no more than a header holds
/// no record that could be lost, and a header that is incomplete can be written again. Unless there is an index file,
/// which comes after the first records only.
fn open_empty(
    place: &Place,
    access: Access,
    file: Arc<dyn LogFile>,
    base: u64,
) -> Result<Option<LastSegment>, LogError> {
    let path = place.segment(base);
    if let Some(index) = place.read_header(&*file, base)? {
        checkpoint(place, access, &*file, (base, index.seed))?;
        synced_floor(place, &*file, (base, index.seed))?;
        return Ok(Some(LastSegment::whole(Active::new(
            file,
            index,
            Tail::new(base),
        ))));
    }
    let index = place.index(base);
    if place
        .files
        .exists(&index)
        .map_err(LogError::io("look for", &index))?
    {
        let reason = "the file is nearly empty, but there is an index of its records";
        return Err(LogError::corrupt(&path, 0, base, reason));
    }
    if place.read_sync_mark().is_some_and(|mark| mark.base == base) {
        let reason = "the file is nearly empty, but records in it had been synced";
        return Err(LogError::corrupt(&path, 0, base, reason));
    }
    if access == Access::ReadOnly {
        return Ok(None);
    }
    let bytes = file.len().map_err(LogError::io("read", &path))?;
    file.truncate(0).map_err(LogError::io("cut", &path))?;
    let header = place.write_header(&*file, base)?;
    let mut last = LastSegment::whole(Active::new(file, header, Tail::new(base)));
    last.cut = Some(Cut {
        file: path,
        position: 0,
        offset: base,
        bytes,
        reason: "the header of the file is incomplete".to_owned(),
    });
    Ok(Some(last))
}

/// What the index file says about the last segment: everything before its mark was on the disk.
fn checkpoint(
    place: &Place,
    access: Access,
    file: &dyn LogFile,
    (base, seed): (u64, u32),
) -> Result<Tail, LogError> {
    let path = place.segment(base);
    let index = place.read_index(base, seed, u64::MAX);
    // The length comes after the index: beside a running owner both may have grown in between.
    let len = file.len().map_err(LogError::io("read", &path))?;
    let Some(index) = index else {
        return Ok(Tail::new(base));
    };
    if index.mark.position > len {
        let reason = format!(
            "the file ends here, but it had been synced up to byte {}",
            index.mark.position
        );
        return Err(LogError::corrupt(&path, len, base, reason));
    }
    if index.kind == Kind::Sealed && access == Access::ReadWrite {
        let (position, next) = (index.mark.position, index.mark.next);
        let reason = "the segment file that follows is missing";
        return Err(LogError::corrupt(&path, position, next, reason));
    }
    Ok(Tail {
        entries: index.entries,
        mark: index.mark,
        synced: index.mark,
    })
}

/// Up to where the sync mark says that the last segment was on the disk.
fn synced_floor(place: &Place, file: &dyn LogFile, (base, seed): (u64, u32)) -> Result<u64, LogError> {
    let floor = place.synced_up_to(base, seed);
    // The length comes after the mark: beside a running owner both may have grown in between.
    let path = place.segment(base);
    let len = file.len().map_err(LogError::io("read", &path))?;
    if floor > len {
        let reason = format!("the file ends here, but it had been synced up to byte {floor}");
        return Err(LogError::corrupt(&path, len, base, reason));
    }
    Ok(floor)
}

/// Reads the frames behind the mark. What lies below the floor was on the disk, whatever it looks like. Returns what has to be cut, and up to where the file was on the disk before.
pub(crate) fn extend(
    place: &Place,
    options: &LogOptions,
    (file, seed): (&dyn LogFile, u32),
    (base, floor): (u64, u64),
    tail: &mut Tail,
) -> Result<(Option<Cut>, u64), LogError> {
    let path = place.segment(base);
    let read = || LogError::io("read", &path);
    let mut proven = tail.mark.position.max(floor);
    let mut judged = None;
    loop {
        let end = file.len().map_err(read())?;
        let flaw = tail
            .extend((file, seed), end, options.index_interval_bytes, &mut proven)
            .map_err(read())?;
        let Some(flaw) = flaw else {
            return Ok((None, proven));
        };
        let at = (tail.mark.position, tail.mark.next);
        let is_torn =
            at.0 >= floor && damage::judge((file, seed), at, flaw, end).map_err(read())? == Verdict::Torn;
        if is_torn {
            let cut = Cut {
                file: path,
                position: at.0,
                offset: at.1,
                bytes: end - at.0,
                reason: flaw.to_string(),
            };
            return Ok((Some(cut), proven));
        }
        // Beside a running owner the bad place may have been read before, and what follows after it was written:
        // then a second look finds a whole frame.
        if options.access == Access::ReadWrite || judged == Some(at) {
            return Err(LogError::corrupt(&path, at.0, at.1, flaw));
        }
        judged = Some(at);
    }
}

/// Writes the bytes again, and syncs them. After a failed sync the system may hold pages that it takes for written
/// though the disk never got them; a sync alone would succeed and promise what is not there.
pub(crate) fn harden(file: &dyn LogFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut buffer = vec![
        0;
        usize::try_from(to.saturating_sub(from))
            .unwrap_or(usize::MAX)
            .min(1 << 20)
    ];
    let mut position = from;
    while position < to {
        let wanted = usize::try_from(to - position)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let read = read_full_at(file, piece, position)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        write_all_at(file, piece.get(..read).unwrap_or_default(), position)?;
        position += read as u64;
    }
    file.sync_data()
}
