//! The destinations: [`Topics`], and the file that says how each is.

use crate::lock::{lock, read, write};
use crate::names;
use crate::partition::Partition;
use crate::trouble;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;
use tidings_core::{Cleanup, DestinationSpec, partition_for_key};
use tidings_log::{Access, Files};

/// The directory that has one file for each destination.
pub(crate) const CATALOG: &str = "catalog";
/// What such a file begins with.
const WORD: &str = "tidings-topic 1";
/// What the line with the checksum of the lines before begins with. No name has a slash.
const SUM: &str = "sum/";
/// The most partitions of a destination.
pub(crate) const MAX_PARTITIONS: u32 = 10_000;
/// The longest such file: a name, a number, and some words.
const MAX_FILE_BYTES: usize = 4096;

/// A destination.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) partitions: Vec<Arc<Partition>>,
    /// Where the next message without a key goes.
    cursor: AtomicU32,
    retention: Mutex<(Option<Duration>, Option<u64>)>,
    cleanup: Mutex<Cleanup>,
}

impl Topic {
    fn new(name: &str, partitions: u32) -> Self {
        let name: Arc<str> = name.into();
        Self {
            partitions: (0..partitions)
                .map(|index| Arc::new(Partition::new(name.clone(), index)))
                .collect(),
            name,
            cursor: AtomicU32::new(0),
            retention: Mutex::default(),
            cleanup: Mutex::default(),
        }
    }

    /// How many partitions it has.
    pub(crate) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// The partition, if there is one of that number.
    pub(crate) fn partition(&self, index: u32) -> Option<&Arc<Partition>> {
        self.partitions.get(index as usize)
    }

    /// The partition of a key.
    pub(crate) fn of_key(&self, key: &[u8]) -> u32 {
        match self.count() {
            // Nothing to choose, so nothing to hash.
            0 | 1 => 0,
            count => partition_for_key(key, count),
        }
    }

    /// The next partition in turn.
    pub(crate) fn in_turn(&self) -> u32 {
        match self.count() {
            0 | 1 => 0,
            count => self.cursor.fetch_add(1, Ordering::Relaxed) % count,
        }
    }

    /// The destination's own age and size.
    pub(crate) fn retention(&self) -> (Option<Duration>, Option<u64>) {
        *lock(&self.retention)
    }

    /// What goes besides.
    pub(crate) fn cleanup(&self) -> Cleanup {
        *lock(&self.cleanup)
    }

    /// Settings that are not stored: whoever prepares the destination says them each time.
    pub(crate) fn set_retention(&self, spec: &DestinationSpec) {
        let mut retention = lock(&self.retention);
        retention.0 = spec.retention_time.or(retention.0);
        retention.1 = spec.retention_bytes.or(retention.1);
        if let Some(cleanup) = spec.cleanup {
            *lock(&self.cleanup) = cleanup;
        }
    }
}

type ByName = HashMap<Arc<str>, Arc<Topic>, foldhash::fast::RandomState>;

/// How many destinations are found by comparing names. Most apps have no more.
const FIRST: usize = 8;

/// All destinations by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    /// Looked up with every message that is published, so the hash is a quick one. Names come from whoever writes the
    /// configuration, and its seed is random all the same.
    by_name: RwLock<ByName>,
    /// The first few once more. None is ever taken away, so they are found without a lock and lent without counting.
    first: [OnceLock<Arc<Topic>>; FIRST],
    /// Held while one is created.
    creating: Mutex<()>,
}

impl Topics {
    /// The destination, if it is known.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        if let Some(topic) = self.among_first(name) {
            return Some(topic.clone());
        }
        read(&self.by_name).get(name).cloned()
    }

    /// The destination, if it is one of the first few.
    pub(crate) fn among_first(&self, name: &str) -> Option<&Arc<Topic>> {
        let known = self.first.iter().map_while(OnceLock::get);
        known.into_iter().find(|topic| *topic.name == *name)
    }

    /// `by_name` is locked for writing, so each gets a place of its own.
    fn insert(&self, by_name: &mut ByName, topic: Arc<Topic>) {
        if let Some(free) = self.first.iter().find(|place| place.get().is_none()) {
            let _ = free.set(topic.clone());
        }
        by_name.insert(topic.name.clone(), topic);
    }

    /// All, sorted by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        let mut all: Vec<_> = read(&self.by_name).values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Reads the files of all destinations.
    pub(crate) fn load(&self, files: &dyn Files, root: &Path) -> Result<(), String> {
        let catalog = root.join(CATALOG);
        let listed = match files.list(&catalog) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(trouble::at(&catalog)(error)),
        };
        for entry in listed.iter().filter(|entry| !entry.name.ends_with('~')) {
            self.load_file(files, &catalog.join(&entry.name))?;
        }
        Ok(())
    }

    /// Reads the file of one destination again: its owner may have made it since.
    pub(crate) fn load_one(&self, files: &dyn Files, root: &Path, name: &str) -> Option<Arc<Topic>> {
        let path = root.join(CATALOG).join(names::directory(name));
        if files.exists(&path).unwrap_or(false) {
            self.load_file(files, &path).ok()?;
        }
        self.get(name)
    }

    fn load_file(&self, files: &dyn Files, path: &Path) -> Result<(), String> {
        let text = match read_file(files, path) {
            // Bytes that are no text are found to be damaged below.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            text => text.map_err(trouble::at(path))?,
        };
        let own = |(name, _): &(&str, u32)| path.file_name() == Some(OsStr::new(&names::directory(name)));
        let Some((name, partitions)) = parse(&text).filter(own) else {
            return Err(format!(
                "{} is damaged or of a newer version: restore it, or write the lines `{WORD}`, `partitions N`, \
                 `name NAME` with the number and the name that it had",
                path.display()
            ));
        };
        let mut by_name = write(&self.by_name);
        if !by_name.contains_key(name) {
            self.insert(&mut by_name, Arc::new(Topic::new(name, partitions)));
        }
        Ok(())
    }

    /// Creates a destination: first its directories, then the file that makes it exist.
    pub(crate) fn create(
        &self,
        files: &dyn Files,
        root: &Path,
        name: &str,
        partitions: u32,
    ) -> Result<Arc<Topic>, String> {
        let _creating = lock(&self.creating);
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }
        let path = root.join(CATALOG).join(names::directory(name));
        if files.exists(&path).map_err(trouble::at(&path))? {
            self.load_file(files, &path)?;
            return self.get(name).ok_or_else(|| {
                format!(
                    "{} belongs to another destination with the same hash: choose a shorter name",
                    path.display()
                )
            });
        }
        create_files(files, root, name, partitions)?;
        let topic = Arc::new(Topic::new(name, partitions));
        self.insert(&mut write(&self.by_name), topic.clone());
        Ok(topic)
    }
}

/// The directory that has a directory for each partition.
pub(crate) fn directory(root: &Path, name: &str) -> std::path::PathBuf {
    root.join("topics").join(names::directory(name))
}

pub(crate) fn create_files(
    files: &dyn Files,
    root: &Path,
    name: &str,
    partitions: u32,
) -> Result<(), String> {
    let own = directory(root, name);
    let catalog = root.join(CATALOG);
    let failed = trouble::at(&own);
    for index in 0..partitions {
        files
            .create_dir_all(&crate::partition::directory(&own, index))
            .map_err(&failed)?;
    }
    files.create_dir_all(&catalog).map_err(&failed)?;
    for directory in [&own, &root.join("topics"), root] {
        files.sync_dir(directory).map_err(&failed)?;
    }
    let path = catalog.join(names::directory(name));
    // Directory names never end like this.
    let scratch = catalog.join(format!("{}~", names::directory(name)));
    match files.remove_file(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let text = encode(name, partitions);
    let file = files.create(&scratch).map_err(&failed)?;
    let mut written = 0;
    while let Some(rest) = text.as_bytes().get(written..).filter(|rest| !rest.is_empty()) {
        written += match file.write_at(rest, written as u64).map_err(&failed)? {
            0 => return Err(failed(io::ErrorKind::WriteZero.into())),
            count => count,
        };
    }
    file.sync_data().map_err(&failed)?;
    files.rename(&scratch, &path).map_err(&failed)?;
    files.sync_dir(&catalog).map_err(&failed)
}

pub(crate) fn read_file(files: &dyn Files, path: &Path) -> io::Result<String> {
    let file = files.open(path, Access::ReadOnly)?;
    let mut bytes = vec![0; MAX_FILE_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Whether the file of a destination is of a version that this build does not know.
pub(crate) fn is_newer(files: &dyn Files, path: &Path) -> bool {
    let text = read_file(files, path).unwrap_or_default();
    let version = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("tidings-topic "));
    version
        .and_then(|version| version.parse::<u32>().ok())
        .is_some_and(|version| version > 1)
}

/// What such a file holds: for people, and a checksum, because one flipped bit in the number would send keys to other
/// partitions.
fn encode(name: &str, partitions: u32) -> String {
    let text = format!("{WORD}\npartitions {partitions}\nname {name}\n");
    let sum = crc32c::crc32c(text.as_bytes());
    format!("{text}{SUM}{sum:08x}\n")
}

/// Name and number of partitions. A file that somebody wrote by hand has no checksum.
pub(crate) fn parse(text: &str) -> Option<(&str, u32)> {
    let text = match text.rsplit_once(SUM) {
        Some((text, sum)) => {
            let expected = format!("{:08x}\n", crc32c::crc32c(text.as_bytes()));
            (sum == expected).then_some(text)?
        }
        None => text,
    };
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != WORD {
        return None;
    }
    let partitions = lines.next()?.strip_prefix("partitions ")?.parse().ok()?;
    let name = lines.next()?.strip_prefix("name ")?;
    let possible = (1..=MAX_PARTITIONS).contains(&partitions) && names::check(name).is_ok();
    (possible && lines.next().is_none()).then_some((name, partitions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_log::MemoryFiles;

    #[test]
    fn a_destination_is_found_again_with_its_partitions() {
        let files = MemoryFiles::new();
        let root = Path::new("/broker");
        files.create_dir_all(root).unwrap();
        let topics = Topics::default();
        assert_eq!(topics.create(&files, root, "Orders.new", 3).unwrap().count(), 3);
        assert_eq!(topics.create(&files, root, "Orders.new", 9).unwrap().count(), 3);

        let again = Topics::default();
        again.load(&files, root).unwrap();
        let all: Vec<_> = again
            .all()
            .iter()
            .map(|topic| (topic.name.to_string(), topic.count()))
            .collect();
        assert_eq!(all, [("Orders.new".to_owned(), 3)]);
    }

    #[test]
    fn a_damaged_topic_file_is_refused() {
        for text in [
            "",
            "tidings-topic 1\n",
            "tidings-topic 1\npartitions 0\nname a\n",
            "tidings-topic 1\npartitions 99999999\nname a\n",
            "tidings-topic 1\npartitions 1\nname ../a\n",
            "tidings-topic 2\npartitions 1\nname a\n",
            "tidings-topic 1\npartitions 1\nname a\nmore\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(
            parse("tidings-topic 1\npartitions 2\nname a b\n"),
            Some(("a b", 2))
        );
        let whole = encode("orders", 4);
        assert_eq!(parse(&whole), Some(("orders", 4)));
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8(flipped).unwrap_or_default();
            assert_eq!(parse(&flipped), None, "{flipped:?}");
        }
    }
}
