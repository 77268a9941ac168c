//! Doing what a repair has planned. Each step can be repeated: after a crash in the midst of it, a new plan goes on.

use super::plan::open;
use super::{RepairPlan, RepairStep};
use crate::error::LogError;
use crate::files::{Access, read_full_at, write_all_at};
use crate::format::frame::Layout;
use crate::format::segment;
use crate::format::synced::SyncMark;
use crate::rewrite::{Kept, Rewriter};
use crate::salvage::{Piece, Salvage};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much is copied at once.
const PIECE: usize = 1 << 20;

impl RepairPlan {
    /// Does it, and returns where files were put aside. When this returns, everything is on the disk.
    ///
    /// # Errors
    /// [`LogError::Io`]: some of it was done. Plan again and go on: what was put aside stays there.
    pub fn apply(&self) -> Result<Vec<PathBuf>, LogError> {
        let mut aside = Vec::new();
        if !self.steps.is_empty() {
            self.place.create()?;
        }
        for step in &self.steps {
            match step {
                RepairStep::Cut { file, position, .. } => aside.push(self.cut(file, *position)?),
                RepairStep::Rewrite { file, offsets, .. } => {
                    aside.push(self.keep_aside(file)?);
                    self.rewrite(file, offsets.clone())?;
                }
                RepairStep::Fill { file, offsets } => self.say_lost(file, offsets.clone())?,
                RepairStep::RemoveIndex { file } | RepairStep::RemoveSyncMark { file } => {
                    aside.extend(self.put_aside(file)?);
                }
                RepairStep::RemoveDraft { file } => self.remove(file)?,
            }
            self.place.sync_dir()?;
        }
        Ok(aside)
    }

    /// A step before may have used the name of a draft, and removed it.
    fn remove(&self, file: &Path) -> Result<(), LogError> {
        match self.place.files.remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", file)(error)),
            _ => Ok(()),
        }
    }

    /// A name in the folder for what is put aside that nothing has yet.
    fn free_name(&self, file: &Path, suffix: &str) -> Result<PathBuf, LogError> {
        let files = &self.place.files;
        let folder = &self.aside;
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !files.exists(dir).unwrap_or(false))
            .collect();
        files
            .create_dir_all(folder)
            .map_err(LogError::io("create", folder))?;
        for parent in missing.iter().filter_map(|dir| dir.parent()) {
            files.sync_dir(parent).map_err(LogError::io("sync", parent))?;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for number in 1_u32.. {
            let free = folder.join(format!("{name}{suffix}.{number}"));
            if !files.exists(&free).map_err(LogError::io("look for", &free))? {
                return Ok(free);
            }
        }
        Err(LogError::io("name", file)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Gives the file a second name in the folder, or copies it there: the first name is taken from it only by the step
    /// that puts another file in its place, so that no crash leaves neither.
    fn keep_aside(&self, file: &Path) -> Result<PathBuf, LogError> {
        let name = self.free_name(file, "")?;
        if self.place.files.link(file, &name).is_err() {
            self.copy(file, 0, &name)?;
        }
        self.sync_aside()?;
        Ok(name)
    }

    fn sync_aside(&self) -> Result<(), LogError> {
        let synced = self.place.files.sync_dir(&self.aside);
        synced.map_err(LogError::io("sync", &self.aside))
    }

    fn copy(&self, from: &Path, mut position: u64, to: &Path) -> Result<(), LogError> {
        let files = &self.place.files;
        let source = files
            .open(from, Access::ReadOnly)
            .map_err(LogError::io("open", from))?;
        let target = files.create(to).map_err(LogError::io("create", to))?;
        let mut buffer = vec![0; PIECE];
        let mut written = 0;
        loop {
            let read = read_full_at(&*source, &mut buffer, position).map_err(LogError::io("read", from))?;
            let piece = buffer.get(..read).unwrap_or_default();
            write_all_at(&*target, piece, written).map_err(LogError::io("write", to))?;
            (position, written) = (position + read as u64, written + read as u64);
            if read < PIECE {
                return target.sync_data().map_err(LogError::io("sync", to));
            }
        }
    }

    /// Cuts in place, which a link would follow: so what goes is copied.
    fn cut(&self, file: &Path, position: u64) -> Result<PathBuf, LogError> {
        let name = self.free_name(file, &format!(".from-{position}"))?;
        self.copy(file, position, &name)?;
        self.sync_aside()?;
        let opened = self.place.files.open(file, Access::ReadWrite);
        let opened = opened.map_err(LogError::io("open", file))?;
        opened.truncate(position).map_err(LogError::io("cut", file))?;
        opened.sync_data().map_err(LogError::io("sync", file))?;
        // A checkpoint or a sync mark that speaks of what was cut would count as damage.
        self.put_aside(&file.with_extension("index"))?;
        let speaks_of_more =
            |mark: SyncMark| self.place.segment(mark.base) == file && mark.position > position;
        if self.place.read_sync_mark().is_some_and(speaks_of_more) {
            self.put_aside(&self.place.sync_mark())?;
        }
        Ok(name)
    }

    /// Puts a file aside and removes it, if there is one.
    fn put_aside(&self, file: &Path) -> Result<Option<PathBuf>, LogError> {
        let exists = self.place.files.exists(file);
        if !exists.map_err(LogError::io("look for", file))? {
            return Ok(None);
        }
        let name = self.keep_aside(file)?;
        self.remove(file)?;
        Ok(Some(name))
    }

    fn say_lost(&self, file: &Path, offsets: Range<u64>) -> Result<(), LogError> {
        let mut rewriter = Rewriter::begin(&self.place, offsets.start, 0, self.interval())?;
        rewriter.lose(
            offsets.clone(),
            "its segment file is missing or could not be read",
        )?;
        let draft = rewriter.finish(offsets.end)?;
        let renamed = self.place.files.rename(&draft.path, file);
        renamed.map_err(LogError::io("rename", &draft.path))
    }

    /// Writes what can be read of a segment again, and for the rest that it is lost.
    fn rewrite(&self, path: &Path, Range { start: base, end }: Range<u64>) -> Result<(), LogError> {
        let (file, start) = open(&self.place, base)?;
        let len = file.len().map_err(LogError::io("read", path))?;
        let mut rewriter = Rewriter::begin(&self.place, base, start.cleaned_at, self.interval())?;
        let mut salvage = Salvage::new((&*file, start.seed), (segment::LEN as u64, base), len);
        let mut next = base;
        let mut reason = "the file ends before them".to_owned();
        loop {
            match salvage.step().map_err(LogError::io("read", path))? {
                Piece::End => break,
                Piece::Bad(bad) => {
                    reason = format!("{}, at byte {} of a damaged file", bad.flaw, bad.position);
                    let lost = bad.next.min(end);
                    if next < lost {
                        rewriter.lose(next..lost, &reason)?;
                        next = lost;
                    }
                }
                Piece::Frame(frame) if frame.header.layout == Layout::Lost => {
                    let note = String::from_utf8_lossy(frame.body);
                    let lost = frame.header.next().min(end);
                    if next < lost {
                        rewriter.lose(next..lost, &note)?;
                        next = lost;
                    }
                }
                Piece::Frame(frame) => {
                    for record in frame.records.iter().filter(|record| record.offset < end) {
                        rewriter.keep(&Kept::of(&frame, record))?;
                    }
                    next = frame.header.next().min(end);
                }
            }
        }
        if next < end {
            rewriter.lose(next..end, &reason)?;
        }
        let draft = rewriter.finish(end)?;
        let renamed = self.place.files.rename(&draft.path, path);
        renamed.map_err(LogError::io("rename", &draft.path))
    }
}
