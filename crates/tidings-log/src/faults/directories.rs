//! Names: which of them are on the disk.

use super::file::Content;
use super::{Dice, Loss};
use crate::files::{Access, Files};
use crate::lock::lock;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A change of a directory that was not synced.
#[derive(Debug)]
pub(super) enum Change {
    CreatedDirectory(PathBuf),
    Created(PathBuf),
    /// The file stays under a hidden name until the directory is synced.
    Removed {
        path: PathBuf,
        hidden: PathBuf,
    },
    /// What had the name before stays under a hidden one as well. It is one change: a crash leaves the one file or the
    /// other.
    Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<PathBuf>,
    },
}

/// Files that look removed but come back if a crash undoes that.
const HIDDEN: &str = ".not-yet-gone-";

pub(super) fn is_hidden(name: &str) -> bool {
    name.contains(HIDDEN)
}

#[derive(Debug, Default)]
pub(super) struct Names {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// By directory, in the order in which they were made.
    changes: BTreeMap<PathBuf, Vec<Change>>,
    hidden: u64,
}

impl Names {
    /// Notes a change of the directory that the path is in.
    pub(super) fn note(&mut self, path: &Path, change: Change) {
        let dir = path.parent().unwrap_or(Path::new(""));
        self.changes.entry(dir.to_owned()).or_default().push(change);
    }

    pub(super) fn created(&mut self, path: &Path) -> Arc<Mutex<Content>> {
        self.note(path, Change::Created(path.to_owned()));
        let content = Arc::new(Mutex::new(Content::new(path.to_owned(), 0)));
        self.files.insert(path.to_owned(), Arc::clone(&content));
        content
    }

    /// The content of a file that exists with that length.
    pub(super) fn content(&mut self, path: &Path, len: u64) -> Arc<Mutex<Content>> {
        let known = self.files.entry(path.to_owned());
        Arc::clone(known.or_insert_with(|| Arc::new(Mutex::new(Content::new(path.to_owned(), len)))))
    }

    pub(super) fn remove(&mut self, inner: &dyn Files, path: &Path) -> io::Result<()> {
        if !inner.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let hidden = self.hide(inner, path)?;
        let path = path.to_owned();
        self.note(&hidden.clone(), Change::Removed { path, hidden });
        Ok(())
    }

    fn hide(&mut self, inner: &dyn Files, path: &Path) -> io::Result<PathBuf> {
        self.hidden += 1;
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{HIDDEN}{}", self.hidden));
        let hidden = PathBuf::from(name);
        self.relocate(inner, path, &hidden)?;
        Ok(hidden)
    }

    pub(super) fn rename(&mut self, inner: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
        // What is replaced has to come back if a crash undoes the renaming.
        let replaced = inner.exists(to)?.then(|| self.hide(inner, to)).transpose()?;
        self.relocate(inner, from, to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.note(&to.clone(), Change::Renamed { from, to, replaced });
        Ok(())
    }

    fn relocate(&mut self, inner: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
        inner.rename(from, to)?;
        if let Some(content) = self.files.remove(from) {
            lock(&content).path = to.to_owned();
            self.files.insert(to.to_owned(), content);
        }
        Ok(())
    }

    /// The directory is synced: its changes can't be undone.
    pub(super) fn forget(&mut self, inner: &dyn Files, dir: &Path) -> io::Result<()> {
        for change in self.changes.remove(dir).unwrap_or_default() {
            if let Change::Removed { hidden, .. }
            | Change::Renamed {
                replaced: Some(hidden),
                ..
            } = change
            {
                self.files.remove(&hidden);
                inner.remove_file(&hidden)?;
            }
        }
        Ok(())
    }

    /// Brings names and contents into the state that a crash leaves.
    pub(super) fn crash(&mut self, inner: &dyn Files, loss: Loss) -> io::Result<bool> {
        let mut dice = Dice::of(loss);
        // Descending, so that what is in a directory is settled before the directory itself may go.
        for dir in self.changes.keys().rev().cloned().collect::<Vec<_>>() {
            self.crash_directory(inner, &dir, (loss, &mut dice))?;
        }
        for content in self.files.values() {
            let mut content = lock(content);
            let file = inner.open(&content.path, Access::ReadWrite)?;
            content.crash(&*file, loss, &mut dice)?;
        }
        Ok(dice.has_more())
    }

    fn crash_directory(
        &mut self,
        inner: &dyn Files,
        dir: &Path,
        (loss, dice): (Loss, &mut Dice),
    ) -> io::Result<()> {
        let mut changes = self.changes.remove(dir).unwrap_or_default();
        let kept = match loss {
            // A process that is killed loses nothing, and what it changed is as unsynced as before.
            Loss::Nothing => {
                self.changes.insert(dir.to_owned(), changes);
                return Ok(());
            }
            Loss::Unsynced => 0,
            Loss::Some { .. } | Loss::Chosen { .. } => dice.up_to(changes.len() as u64) as usize,
        };
        for change in changes.split_off(kept.min(changes.len())).into_iter().rev() {
            self.undo(inner, change)?;
        }
        self.changes.insert(dir.to_owned(), changes);
        self.forget(inner, dir)
    }

    fn undo(&mut self, inner: &dyn Files, change: Change) -> io::Result<()> {
        match change {
            Change::Created(path) => {
                self.files.remove(&path);
                inner.remove_file(&path)
            }
            Change::Removed { path, hidden } => self.relocate(inner, &hidden, &path),
            Change::Renamed { from, to, replaced } => {
                self.relocate(inner, &to, &from)?;
                replaced.map_or(Ok(()), |hidden| self.relocate(inner, &hidden, &to))
            }
            Change::CreatedDirectory(dir) => {
                if !inner.exists(&dir)? {
                    return Ok(());
                }
                self.files.retain(|path, _| !path.starts_with(&dir));
                for entry in inner.list(&dir)? {
                    inner.remove_file(&dir.join(entry.name))?;
                }
                inner.remove_dir(&dir)
            }
        }
    }
}
