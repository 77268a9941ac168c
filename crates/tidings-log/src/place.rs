//! The directory of a log: the names of its files, and the steps on them that must be durable.

use crate::error::LogError;
use crate::files::{Access, Files, LogFile, read_full_at, write_all_at};
use crate::format::index::{self, Index};
use crate::format::segment::{self, HeaderFlaw, SegmentHeader};
use crate::format::synced::{self, SyncMark};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) dir: PathBuf,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Base offset and bytes of the segment files, ascending.
    pub(crate) segments: Vec<(u64, u64)>,
    /// The base offsets of the index files, and the names of files that were never finished.
    indexes: Vec<u64>,
    drafts: Vec<String>,
    others: Vec<String>,
    /// Whether there is a file with a sync mark, whatever it holds.
    pub(crate) has_sync_mark: bool,
}

impl Listing {
    /// Files that were never finished.
    pub(crate) fn drafts(&self) -> &[String] {
        &self.drafts
    }

    /// Files that are not the log's.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    /// The base offsets of all index files.
    pub(crate) fn indexes(&self) -> &[u64] {
        &self.indexes
    }

    /// The base offsets of those whose segment is not there.
    pub(crate) fn indexes_without_segment(&self) -> impl Iterator<Item = u64> + '_ {
        let has_segment = |base: &u64| {
            self.segments
                .binary_search_by_key(base, |(base, _)| *base)
                .is_ok()
        };
        self.indexes
            .iter()
            .copied()
            .filter(move |base| !has_segment(base))
    }
}

/// The name of the file with the sync mark.
const SYNC_MARK: &str = "synced";

/// Twenty digits hold every offset, and sort as text.
fn base_of(stem: &str) -> Option<u64> {
    (stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit())).then(|| stem.parse().ok())?
}

impl Place {
    pub(crate) fn segment(&self, base: u64) -> PathBuf {
        self.dir.join(format!("{base:020}.log"))
    }

    pub(crate) fn index(&self, base: u64) -> PathBuf {
        self.dir.join(format!("{base:020}.index"))
    }

    /// The sync mark of the last segment. One file for all of a log's segments, so that beginning one makes no other.
    pub(crate) fn sync_mark(&self) -> PathBuf {
        self.dir.join(SYNC_MARK)
    }

    /// Where a segment is written that will replace another.
    pub(crate) fn draft(&self, base: u64) -> PathBuf {
        self.dir.join(format!("{base:020}.log.new"))
    }

    /// Creates the directory, so that it is there after a crash too.
    pub(crate) fn create(&self) -> Result<(), LogError> {
        let missing: Vec<&Path> = self
            .dir
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !self.files.exists(dir).unwrap_or(false))
            .collect();
        self.files
            .create_dir_all(&self.dir)
            .map_err(LogError::io("create", &self.dir))?;
        for parent in missing.iter().filter_map(|dir| dir.parent()) {
            self.files
                .sync_dir(parent)
                .map_err(LogError::io("sync", parent))?;
        }
        Ok(())
    }

    pub(crate) fn list(&self) -> Result<Listing, LogError> {
        let mut listing = Listing::default();
        for entry in self
            .files
            .list(&self.dir)
            .map_err(LogError::io("list", &self.dir))?
        {
            if entry.name == SYNC_MARK {
                listing.has_sync_mark = true;
                continue;
            }
            let Some((stem, kind)) = entry.name.split_once('.') else {
                listing.others.push(entry.name);
                continue;
            };
            match (base_of(stem), kind) {
                (Some(base), "log") => listing.segments.push((base, entry.len)),
                (Some(base), "index") => listing.indexes.push(base),
                (Some(_), "index.new" | "log.new") => listing.drafts.push(entry.name),
                // Other files are not ours to judge.
                _ => listing.others.push(entry.name),
            }
        }
        listing.segments.sort_unstable();
        listing.indexes.sort_unstable();
        Ok(listing)
    }

    /// Removes what retention or a crash left beside the segments.
    pub(crate) fn tidy(&self, listing: &Listing) -> Result<(), LogError> {
        let has_segment = |base: &u64| listing.segments.iter().any(|(segment, _)| segment == base);
        if let (true, Some(base)) = (listing.segments.is_empty(), listing.indexes.iter().min()) {
            // Retention never deletes the last segment, so somebody else deleted them all. To begin at 0 again would
            // give offsets a second time.
            let reason = "its segment file is missing";
            return Err(LogError::corrupt(&self.index(*base), 0, *base, reason));
        }
        let orphans = listing
            .indexes
            .iter()
            .filter(|base| !has_segment(base))
            .map(|base| self.index(*base));
        for file in orphans.chain(listing.drafts.iter().map(|name| self.dir.join(name))) {
            match self.files.remove_file(&file) {
                // Whoever dropped the log a moment ago may just have renamed what it was writing.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(LogError::io("remove", &file))?,
            }
        }
        Ok(())
    }

    pub(crate) fn open(&self, base: u64, access: Access) -> Result<Arc<dyn LogFile>, LogError> {
        let path = self.segment(base);
        self.files
            .open(&path, access)
            .map_err(LogError::io("open", &path))
    }

    pub(crate) fn sync_dir(&self) -> Result<(), LogError> {
        self.files
            .sync_dir(&self.dir)
            .map_err(LogError::io("sync", &self.dir))
    }

    /// A new segment file that is on the disk, header and name, when this returns.
    pub(crate) fn create_segment(&self, base: u64) -> Result<(Arc<dyn LogFile>, SegmentHeader), LogError> {
        let path = self.segment(base);
        let file = match self.files.create(&path) {
            // An earlier attempt failed and could not clean up. No record was ever put into it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.files
                    .remove_file(&path)
                    .map_err(LogError::io("remove", &path))?;
                self.files.create(&path)
            }
            created => created,
        };
        let file = file.map_err(LogError::io("create", &path))?;
        let header = self.write_header(&*file, base)?;
        self.sync_dir()?;
        Ok((file, header))
    }

    pub(crate) fn write_header(&self, file: &dyn LogFile, base: u64) -> Result<SegmentHeader, LogError> {
        let path = self.segment(base);
        let (bytes, header) = segment::encode(base);
        write_all_at(file, &bytes, 0).map_err(LogError::io("write", &path))?;
        file.sync_data().map_err(LogError::io("sync", &path))?;
        Ok(header)
    }

    /// Reads a header, or none when the file is too short for one or it is damaged.
    pub(crate) fn read_header(
        &self,
        file: &dyn LogFile,
        base: u64,
    ) -> Result<Option<SegmentHeader>, LogError> {
        let path = self.segment(base);
        let mut bytes = [0; segment::LEN];
        let read = read_full_at(file, &mut bytes, 0).map_err(LogError::io("read", &path))?;
        match segment::decode(&bytes) {
            _ if read < segment::LEN => Ok(None),
            Ok(header) if header.base == base => Ok(Some(header)),
            Ok(header) => {
                let reason = format!("its header says that it begins with record {}", header.base);
                Err(LogError::corrupt(&path, 0, base, reason))
            }
            Err(HeaderFlaw::Damaged) => Ok(None),
            Err(HeaderFlaw::Newer(found)) => Err(LogError::NewerVersion {
                file: path,
                found,
                supported: segment::REWRITTEN,
            }),
        }
    }

    /// As [`Place::read_header`], where there must be one.
    pub(crate) fn require_header(&self, file: &dyn LogFile, base: u64) -> Result<SegmentHeader, LogError> {
        let damaged = || LogError::corrupt(&self.segment(base), 0, base, "the header of the file is damaged");
        self.read_header(file, base)?.ok_or_else(damaged)
    }

    /// The index of a segment, if it is whole. Whatever is wrong with it, a scan of the segment finds the same again.
    pub(crate) fn read_index(&self, base: u64, seed: u32, segment_bytes: u64) -> Option<Index> {
        let file = self.files.open(&self.index(base), Access::ReadOnly).ok()?;
        let len = file
            .len()
            .ok()
            .filter(|len| *len <= index::most_bytes(segment_bytes))?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        let read = read_full_at(&*file, &mut bytes, 0).ok()?;
        Index::decode(bytes.get(..read)?, seed)
    }

    /// The sync mark, whatever segment it belongs to, if it is whole.
    pub(crate) fn read_sync_mark(&self) -> Option<SyncMark> {
        let file = self.files.open(&self.sync_mark(), Access::ReadOnly).ok()?;
        let mut bytes = [0; synced::LEN];
        let read = read_full_at(&*file, &mut bytes, 0).ok()?;
        SyncMark::decode(bytes.get(..read)?)
    }

    /// Up to where that segment was synced; 0 where nobody knows.
    pub(crate) fn synced_up_to(&self, base: u64, seed: u32) -> u64 {
        self.read_sync_mark()
            .filter(|mark| (mark.base, mark.seed) == (base, seed))
            .map_or(0, |mark| mark.position)
    }

    /// Replaces the index file at once. It is not synced: after a crash a torn one fails its checksum and is made
    /// again, which is cheaper than a sync at each roll and each close.
    pub(crate) fn write_index(&self, base: u64, index: &Index) -> Result<(), LogError> {
        let path = self.index(base);
        let draft = path.with_extension("index.new");
        let written = self.replace(&draft, &path, &index.encode());
        if written.is_err() {
            // Best effort: opening removes it too.
            let _ = self.files.remove_file(&draft);
        }
        written
    }

    fn replace(&self, draft: &Path, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        let _ = self.files.remove_file(draft);
        let file = self.files.create(draft).map_err(LogError::io("create", draft))?;
        write_all_at(&*file, bytes, 0).map_err(LogError::io("write", draft))?;
        self.files
            .rename(draft, path)
            .map_err(LogError::io("rename", draft))
    }
}
