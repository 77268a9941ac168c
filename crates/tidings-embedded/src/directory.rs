//! The directory of a broker: who owns it, and which format it has.

use crate::trouble;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the directory's layout that this build writes.
const FORMAT: u32 = 1;
/// What the file `format` begins with.
const FORMAT_WORD: &str = "tidings-directory";

/// How often a lock that is taken is tried again, and how long each wait is.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(2);

/// Holds a directory for this process. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(root: &Path) -> Result<Self, String> {
        let path = root.join("LOCK");
        let failed = trouble::at(&path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&failed)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Whoever looks whether there is an owner has the lock for a moment.
                Err(TryLockError::WouldBlock) if tries < LOOKS => {
                    tries += 1;
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::WouldBlock) => return Err(owned(&path, &mut file)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        // The pid is for people; the lock itself is the operating system's. A disk that is full after a crash must not
        // keep anybody from what is on it.
        let told = file.set_len(0);
        drop(told.and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes())));
        Ok(Self { file })
    }
}

/// Who has a directory.
#[derive(Debug)]
pub(crate) enum Owner {
    /// The process with that pid.
    Process(String),
    /// Nobody, and nobody can take it while this is held, unless there is no lock file.
    Nobody(#[allow(dead_code, reason = "closing it lets go")] Option<File>),
}

/// Looks who has the directory, without writing. A lock that others can share keeps owners out, and needs no right to
/// write.
pub(crate) fn owner(root: &Path) -> Owner {
    let Ok(mut file) = File::open(root.join("LOCK")) else {
        return Owner::Nobody(None);
    };
    match file.try_lock_shared() {
        Ok(()) => Owner::Nobody(Some(file)),
        Err(_) => Owner::Process(pid(&mut file)),
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would unlock it too, unless a child process inherited it.
        drop(self.file.unlock());
    }
}

/// Whether a process owns the directory now. Nothing is changed.
pub(crate) fn is_owned(root: &Path) -> Result<bool, String> {
    let path = root.join("LOCK");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => {
            drop(file.unlock());
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn pid(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(32).read_to_string(&mut pid));
    match (read, pid.trim()) {
        (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn owned(path: &Path, file: &mut File) -> String {
    let pid = pid(file);
    format!(
        "the process {pid} owns it (lock file {}): stop that process, or open the directory read-only",
        path.display()
    )
}

/// Creates the directory and what is missing above it, so that a crash of the machine does not take it away again.
///
/// One that is made belongs to its user alone: whoever can open the lock file can share the lock, and so keep every owner
/// out; and messages are nobody else's business. One that exists keeps its mode, because somebody chose it.
pub(crate) fn create(root: &Path) -> Result<(), String> {
    let missing: Vec<_> = root
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    let made = match root.parent() {
        Some(above) => std::fs::create_dir_all(above).and_then(|()| create_private(root)),
        None => Ok(()),
    };
    made.map_err(trouble::at(root))?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        // A relative path of one name has the empty path above it, which means here.
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let synced = File::open(parent).and_then(|directory| directory.sync_all());
        synced.map_err(trouble::at(parent))?;
    }
    Ok(())
}

fn create_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        created => created,
    }
}

/// Checks the version of an existing directory and writes it into a new one.
pub(crate) fn prepare(root: &Path) -> Result<(), String> {
    if check(root)? {
        return Ok(());
    }
    // The version comes first into a new directory, and last into a copy.
    if let Some(part) = ["catalog", "topics", "state.redb"]
        .iter()
        .find(|name| root.join(name).exists())
    {
        return Err(format!(
            "{} holds {part} but no file `format`: it is a snapshot that was not finished, or the file was deleted; make the snapshot again into an empty directory, or restore the file with the line `{FORMAT_WORD} {FORMAT}`",
            root.display()
        ));
    }
    write_format(root)
}

/// Writes the version, after which the directory counts as a broker's.
pub(crate) fn write_format(root: &Path) -> Result<(), String> {
    let path = root.join("format");
    let failed = trouble::at(&path);
    let scratch = root.join("format.new");
    let mut file = File::create(&scratch).map_err(&failed)?;
    file.write_all(format!("{FORMAT_WORD} {FORMAT}\n").as_bytes())
        .map_err(&failed)?;
    file.sync_all().map_err(&failed)?;
    std::fs::rename(&scratch, &path).map_err(&failed)?;
    File::open(root)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

/// Whether the version is one that this build does not know.
pub(crate) fn is_newer(root: &Path) -> bool {
    let text = read_start(&root.join("format")).unwrap_or_default();
    let version = text
        .strip_prefix(FORMAT_WORD)
        .and_then(|rest| rest.trim().parse::<u32>().ok());
    version.is_some_and(|version| version > FORMAT)
}

/// Whether there is a version, and that it is one that this build reads.
pub(crate) fn check(root: &Path) -> Result<bool, String> {
    let path = root.join("format");
    let text = match read_start(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(trouble::at(&path)(error)),
    };
    let version = text
        .strip_prefix(FORMAT_WORD)
        .and_then(|rest| rest.trim().parse::<u32>().ok());
    match version {
        Some(FORMAT) => Ok(true),
        Some(newer) if newer > FORMAT => Err(format!(
            "{} says version {newer}, this build reads version {FORMAT}: use the version of the program that wrote it, or a newer one",
            path.display()
        )),
        _ => Err(format!(
            "{} is not what this broker writes: is this the right directory? If it is, restore the file with the line `{FORMAT_WORD} {FORMAT}`",
            path.display()
        )),
    }
}

/// The first bytes of a file that nobody vouches for.
fn read_start(path: &PathBuf) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(256).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_the_first_ones_pid_and_the_cure() {
        let root = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(root.path()).unwrap();
        let refused = DirectoryLock::take(root.path()).unwrap_err();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert!(refused.contains("read-only"), "{refused}");
        drop(first);
        DirectoryLock::take(root.path()).unwrap();
    }

    #[test]
    fn a_directory_that_is_made_is_for_its_user_alone_and_one_that_exists_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (above, made) = (root.path().join("above"), root.path().join("above/made"));
        create(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        assert_ne!(mode(&above), 0o700, "only the broker's own directory is");
        std::fs::set_permissions(&made, PermissionsExt::from_mode(0o750)).unwrap();
        create(&made).unwrap();
        assert_eq!(mode(&made), 0o750);
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        create(&file).unwrap_err();
    }

    #[test]
    fn a_newer_or_a_foreign_format_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path()).unwrap();
        assert_eq!(check(root.path()), Ok(true));
        std::fs::write(root.path().join("format"), "tidings-directory 7\n").unwrap();
        let refused = prepare(root.path()).unwrap_err();
        assert!(
            refused.contains("version 7") && refused.contains("version 1"),
            "{refused}"
        );
        std::fs::write(root.path().join("format"), [0xff, 0xfe, 0]).unwrap();
        assert!(prepare(root.path()).unwrap_err().contains("right directory"));
    }
}
