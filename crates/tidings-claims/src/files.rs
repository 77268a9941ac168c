//! What is done with files, on a thread that may wait for the disk.

use crate::Pruned;
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Held shared by who writes, alone by who removes: what is put there again is never removed for its former age. It is
/// there before the first payload, so a directory without it is not the store: most likely nothing is mounted there.
const LOCK: &str = ".lock";
/// What a file is called until it is whole.
const UNFINISHED: &str = ".unfinished-";

/// Why something could not be done.
#[derive(Debug)]
pub(crate) enum Failed {
    Missing(String),
    /// The file's size is another one than the claim's.
    OtherSize(String, u64),
    Io(String),
}

/// An error with what was being done.
fn at(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> Failed {
    let path = path.display().to_string();
    move |error| Failed::Io(format!("{doing} {path}: {error}"))
}

/// Where the payload of that name lies: payloads are spread over 256 directories by their first byte. The name comes
/// from a claim, so it is 64 hexadecimal digits.
fn place(root: &Path, name: &str) -> (PathBuf, PathBuf) {
    let directory = root.join(name.get(..2).unwrap_or("00"));
    let file = directory.join(name);
    (directory, file)
}

fn lock(root: &Path, make: Make) -> io::Result<File> {
    let mut options = File::options();
    options
        .create(make == Make::IfMissing)
        .truncate(false)
        .write(true);
    options.open(root.join(LOCK))
}

/// Whether the lock is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    IfMissing,
    Never,
}

fn sync(directory: &Path) -> Result<(), Failed> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(at(directory, "sync"))
}

/// Makes a directory if it is missing, so that it outlives a power cut.
fn make(directory: &Path) -> Result<(), Failed> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent)?;
    }
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(at(directory, "create"))?,
    }
    sync(parent.unwrap_or(Path::new(".")))
}

/// Keeps a payload: whole, and under its name, when this returns.
pub(crate) fn put(root: &Path, name: &str, payload: &[u8]) -> Result<(), Failed> {
    let (directory, file) = place(root, name);
    make(&directory)?;
    let unfinished = directory.join(format!("{UNFINISHED}{}", Uuid::now_v7()));
    let written = write(root, &unfinished, &file, payload);
    if written.is_err() {
        // It is in nobody's way; pruning removes what is left.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    sync(&directory)
}

fn write(root: &Path, unfinished: &Path, file: &Path, payload: &[u8]) -> Result<(), Failed> {
    let mut written = File::create_new(unfinished).map_err(at(unfinished, "create"))?;
    written
        .write_all(payload)
        .and_then(|()| written.sync_all())
        .map_err(at(unfinished, "write"))?;
    let lock = lock(root, Make::IfMissing).map_err(at(root, "open the lock in"))?;
    lock.lock_shared().map_err(at(root, "lock"))?;
    // Its age counts from now, not from when the writing began.
    written
        .set_modified(SystemTime::now())
        .map_err(at(unfinished, "date"))?;
    fs::rename(unfinished, file).map_err(at(file, "rename to"))
}

/// The payload of that name if it is of that size.
pub(crate) fn get(root: &Path, name: &str, size: u64) -> Result<Vec<u8>, Failed> {
    let (_, path) = place(root, name);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(root, name)),
        file => file.map_err(at(&path, "open"))?,
    };
    let found = file.metadata().map_err(at(&path, "look at"))?.len();
    if found != size {
        return Err(Failed::OtherSize(name.to_owned(), found));
    }
    let mut payload = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let read = file.take(size).read_to_end(&mut payload);
    read.map_err(at(&path, "read"))?;
    Ok(payload)
}

/// The store has no such payload; or what is there is not the store, and it may come yet.
fn missing(root: &Path, name: &str) -> Failed {
    match root.join(LOCK).try_exists() {
        Ok(true) => Failed::Missing(name.to_owned()),
        _ => Failed::Io(format!(
            "nothing was ever put into {}: is that where it is, and is it mounted?",
            root.display()
        )),
    }
}

/// Removes what is older than that.
pub(crate) fn prune(root: &Path, older_than: Duration) -> Result<Pruned, Failed> {
    let mut pruned = Pruned::default();
    let Some(limit) = SystemTime::now().checked_sub(older_than) else {
        return Ok(pruned);
    };
    let lock = match lock(root, Make::Never) {
        // Nothing was ever put there.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(pruned),
        lock => lock.map_err(at(root, "open the lock in"))?,
    };
    for directory in entries(root)? {
        if is_shelf(&directory) {
            prune_shelf(&directory.path(), limit, &lock, &mut pruned)?;
        }
    }
    Ok(pruned)
}

fn entries(directory: &Path) -> Result<Vec<DirEntry>, Failed> {
    fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(at(directory, "list"))
}

fn is_digits(name: &str, count: usize) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == count && name.bytes().all(digit)
}

/// Whether it is one of our directories, and not a link to somewhere else.
fn is_shelf(entry: &DirEntry) -> bool {
    let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_directory && entry.file_name().to_str().is_some_and(|name| is_digits(name, 2))
}

fn prune_shelf(shelf: &Path, limit: SystemTime, lock: &File, pruned: &mut Pruned) -> Result<(), Failed> {
    for entry in entries(shelf)? {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_leftover = name.starts_with(UNFINISHED);
        if !is_leftover && !is_digits(name, 64) {
            continue;
        }
        // Looked at and removed under the lock: nobody puts it there again in between.
        lock.lock().map_err(at(shelf, "lock"))?;
        let removed = remove_if_old(&entry.path(), limit);
        lock.unlock().map_err(at(shelf, "unlock"))?;
        match removed? {
            Some(_) if is_leftover => pruned.leftovers += 1,
            Some(bytes) => {
                pruned.objects += 1;
                pruned.bytes += bytes;
            }
            None => {}
        }
    }
    Ok(())
}

/// How large it was, if it was old and is gone.
fn remove_if_old(path: &Path, limit: SystemTime) -> Result<Option<u64>, Failed> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let found = match fs::symlink_metadata(path) {
        Err(error) if gone(&error) => return Ok(None),
        found => found.map_err(at(path, "look at"))?,
    };
    let changed = found.modified().map_err(at(path, "look at"))?;
    if !found.is_file() || changed >= limit {
        return Ok(None);
    }
    match fs::remove_file(path) {
        Err(error) if gone(&error) => Ok(None),
        removed => removed.map(|()| Some(found.len())).map_err(at(path, "remove")),
    }
}
