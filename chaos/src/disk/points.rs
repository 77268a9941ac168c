//! Files that kill the process at named places: [`PointFiles`].

use crate::points::{Point, Points};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tidings_log::{Access, FileEntry, Files, LogFile};

/// Another layer, with the places of the log in between.
#[derive(Debug)]
pub struct PointFiles {
    inner: Arc<dyn Files>,
    points: Points,
}

impl PointFiles {
    /// Places before and after what that layer does.
    pub fn new(inner: Arc<dyn Files>, points: Points) -> Self {
        Self { inner, points }
    }

    fn file(&self, path: &Path, inner: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let places = match extension {
            Some("log") => SEGMENT,
            Some("redb") => STATE,
            // The state's own draft, which becomes the state while it is open.
            Some("new") if path.file_stem().is_some_and(|stem| stem == "state.redb") => STATE,
            _ => return inner,
        };
        Arc::new(PointFile {
            inner,
            points: self.points.clone(),
            places,
        })
    }

    fn around<T>(
        &self,
        path: &Path,
        (before, after): (Point, Point),
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if !is_segment(path) {
            return act();
        }
        self.points.pass(before);
        let done = act()?;
        self.points.pass(after);
        Ok(done)
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

impl Files for PointFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let places = (Point::RollBefore, Point::RollAfter);
        let file = self.around(path, places, || self.inner.create(path))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.file(path, self.inner.open(path, access)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let places = (Point::RetentionBefore, Point::RetentionAfter);
        self.around(path, places, || self.inner.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.points.pass(Point::RenameBefore);
        self.inner.rename(from, to)?;
        self.points.pass(Point::RenameAfter);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
}

/// The places of a kind of file.
#[derive(Debug, Clone, Copy)]
struct Places {
    write_before: Option<Point>,
    write_torn: Point,
    write_after: Option<Point>,
    fsync: (Point, Point),
}

const SEGMENT: Places = Places {
    write_before: Some(Point::LogWriteBefore),
    write_torn: Point::LogWriteTorn,
    write_after: Some(Point::LogWriteAfter),
    fsync: (Point::FsyncBefore, Point::FsyncAfter),
};
const STATE: Places = Places {
    write_before: None,
    write_torn: Point::StateWriteTorn,
    write_after: None,
    fsync: (Point::StateFsyncBefore, Point::StateFsyncAfter),
};

/// A segment, or the small state.
#[derive(Debug)]
struct PointFile {
    inner: Arc<dyn LogFile>,
    points: Points,
    places: Places,
}

impl LogFile for PointFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.places.write_before.inspect(|point| self.points.pass(*point));
        let half = bytes.get(..bytes.len() / 2).unwrap_or(bytes);
        self.points.pass_after(self.places.write_torn, || {
            // The process dies at once, so nobody can be told how far it came.
            let _ = self.inner.write_at(half, position);
        });
        let written = self.inner.write_at(bytes, position)?;
        self.places.write_after.inspect(|point| self.points.pass(*point));
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.points.pass(self.places.fsync.0);
        self.inner.sync_data()?;
        self.points.pass(self.places.fsync.1);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
