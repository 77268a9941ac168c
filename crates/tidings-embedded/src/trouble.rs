//! What an operator can do about what the operating system refuses.

use std::io::{self, ErrorKind};
use std::path::Path;

/// The error numbers of a process, and of a system, with too many open files.
const TOO_MANY_FILES: [i32; 2] = [24, 23];

/// What helps against that.
pub(crate) fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room on the disk, then it goes on by itself"
        }
        ErrorKind::ReadOnlyFilesystem => "mount the file system for writing, or open the directory read-only",
        ErrorKind::PermissionDenied => {
            "give the user of this process access, or open the directory read-only"
        }
        ErrorKind::NotFound => "was it removed? restore it from a copy",
        _ if error
            .raw_os_error()
            .is_some_and(|number| TOO_MANY_FILES.contains(&number)) =>
        {
            "raise the limit of open files (`ulimit -n`), or lower max_open_files"
        }
        _ => "look after the disk and at the system's log",
    }
}

/// Names the file and the cure.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}: {}", path.display(), cure(&error))
}
