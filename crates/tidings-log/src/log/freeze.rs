//! Copying a log while it is appended to.

use super::PartitionLog;
use crate::error::LogError;
use crate::files::{Access, Files, LogFile, read_full_at, write_all_at};
use crate::format::index::{Index, Kind};
use crate::lock::{lock, read};
use crate::place::Place;
use crate::scan::Tail;
use crate::segments::{Active, View};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How much is copied at once.
const PIECE: usize = 1 << 20;

/// A log as it was at one moment. It goes on growing meanwhile; nothing is deleted from it until this is dropped.
pub struct Frozen<'l> {
    log: &'l PartitionLog,
    view: Arc<View>,
    tail: Option<Tail>,
}

/// Whether a copy may share files with the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkSealed {
    /// Segments that get no more records get a second name, where the files can do that.
    WherePossible,
    /// All bytes are copied.
    Never,
}

/// What was copied of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// The first offset.
    pub first_offset: u64,
    /// The offset that follows the last record.
    pub next_offset: u64,
    /// How many segment files there are.
    pub segments: usize,
    /// How many of them share their blocks with the log's own.
    pub linked: usize,
    /// Bytes of all segment files.
    pub bytes: u64,
}

impl PartitionLog {
    /// Keeps what the log holds now, for a copy.
    pub fn freeze(&self) -> Frozen<'_> {
        // A deletion that has begun is over then, and the next one sees that we are here.
        let _deleting = lock(&self.deleting);
        self.copying.fetch_add(1, Ordering::AcqRel);
        // No segment is begun while the end is read: view and tail belong together.
        let _writing = lock(&self.writer);
        let view = self.view();
        let tail = view.active.as_ref().map(|active| read(&active.tail).clone());
        Frozen {
            log: self,
            view,
            tail,
        }
    }
}

impl Frozen<'_> {
    /// The first offset.
    pub fn first_offset(&self) -> u64 {
        self.view.first()
    }

    /// The offset that follows the last record.
    pub fn next_offset(&self) -> u64 {
        self.tail
            .as_ref()
            .map_or(self.view.empty_at, |tail| tail.mark.next)
    }

    /// Bytes of the segments.
    pub fn bytes(&self) -> u64 {
        let tail = self.tail.as_ref().map_or(0, |tail| tail.mark.position);
        self.view.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + tail
    }

    /// Copies it into a directory of other files, which must not hold a log. All of it is on the disk when this
    /// returns, except for the directory's own name.
    ///
    /// Segments that get no more records may be linked, because nobody ever writes into them
    /// again: compaction gives a segment another file. The last one is copied up to the end.
    ///
    /// # Errors
    /// [`LogError::Io`]; the directory holds a part then.
    pub fn copy_to(
        &self,
        files: &Arc<dyn Files>,
        dir: &Path,
        link: LinkSealed,
        mut progress: impl FnMut(u64),
    ) -> Result<Copied, LogError> {
        let target = Place {
            files: Arc::clone(files),
            dir: dir.to_owned(),
        };
        files.create_dir_all(dir).map_err(LogError::io("create", dir))?;
        let mut copied = Copied {
            first_offset: self.first_offset(),
            next_offset: self.next_offset(),
            ..Copied::default()
        };
        for sealed in &self.view.sealed {
            let (from, to) = (self.log.place.segment(sealed.base), target.segment(sealed.base));
            if link == LinkSealed::WherePossible && files.link(&from, &to).is_ok() {
                copied.linked += 1;
                copied.bytes += sealed.bytes;
                progress(sealed.bytes);
            } else {
                let file = self.log.place.open(sealed.base, Access::ReadOnly)?;
                let len = file.len().map_err(LogError::io("read", &from))?;
                copy_file(&*file, len, (&target, &to), &mut progress)?;
                copied.bytes += len;
            }
            copied.segments += 1;
            copy_index(&self.log.place, &target, sealed.base);
        }
        if let (Some(active), Some(tail)) = (&self.view.active, &self.tail) {
            copy_last(active, tail, &target, &mut progress)?;
            copied.segments += 1;
            copied.bytes += tail.mark.position;
        }
        target.sync_dir()?;
        Ok(copied)
    }
}

/// The index would be made again; without a copy the first reader would have to read the segment for that.
fn copy_index(from: &Place, to: &Place, base: u64) {
    let Ok(file) = from.files.open(&from.index(base), Access::ReadOnly) else {
        return;
    };
    if let Ok(len) = file.len() {
        let _ = copy_file(&*file, len, (to, &to.index(base)), &mut |_| {});
    }
}

/// Copies whole frames only, because the tail ends behind one, and says that all of it is on the disk.
fn copy_last(
    active: &Active,
    tail: &Tail,
    target: &Place,
    progress: &mut impl FnMut(u64),
) -> Result<(), LogError> {
    let path = target.segment(active.base);
    copy_file(&*active.file, tail.mark.position, (target, &path), progress)?;
    if tail.entries.is_empty() {
        return Ok(());
    }
    let index = Index {
        kind: Kind::Checkpoint,
        seed: active.seed,
        mark: tail.mark,
        entries: tail.entries.clone(),
    };
    target.write_index(active.base, &index)
}

fn copy_file(
    from: &dyn LogFile,
    len: u64,
    (target, path): (&Place, &Path),
    progress: &mut impl FnMut(u64),
) -> Result<(), LogError> {
    let to = target.files.create(path).map_err(LogError::io("create", path))?;
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(PIECE).min(PIECE)];
    let mut position = 0;
    while position < len {
        let wanted = usize::try_from(len - position).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let read = read_full_at(from, piece, position).map_err(LogError::io("copy into", path))?;
        if read < wanted {
            let short = std::io::ErrorKind::UnexpectedEof.into();
            return Err(LogError::io("copy into", path)(short));
        }
        write_all_at(&*to, piece, position).map_err(LogError::io("write", path))?;
        position += read as u64;
        progress(read as u64);
    }
    to.sync_data().map_err(LogError::io("sync", path))
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.log.copying.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Frozen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen")
            .field("dir", &self.log.place.dir)
            .field("first", &self.first_offset())
            .field("next", &self.next_offset())
            .finish()
    }
}
