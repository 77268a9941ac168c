//! Which call fails, and how.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The error number of a disk that can't read or write.
pub const EIO: i32 = 5;
/// The error number of a full disk.
pub const ENOSPC: i32 = 28;

/// A call that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Listing a directory.
    List,
    /// Opening a file.
    Open,
    /// Creating a file.
    Create,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting a file.
    Truncate,
    /// Syncing a directory.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file or directory.
    Remove,
}

/// What happens instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done, and the call fails.
    Fail {
        /// The error number.
        errno: i32,
    },
    /// A write takes only so many bytes, and says so. Other calls succeed.
    Short {
        /// How many.
        bytes: usize,
    },
    /// A write takes so many bytes, and then fails. Other calls fail.
    Torn {
        /// How many.
        bytes: usize,
        /// The error number.
        errno: i32,
    },
}

impl Effect {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Fail { errno } | Self::Torn { errno, .. } => io::Error::from_raw_os_error(errno),
            Self::Short { .. } => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// A fault to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    operation: Operation,
    effect: Effect,
    skip: u64,
    times: u64,
    name_ends_with: String,
}

impl Fault {
    /// The next call has this effect.
    pub fn new(operation: Operation, effect: Effect) -> Self {
        Self {
            operation,
            effect,
            skip: 0,
            times: 1,
            name_ends_with: String::new(),
        }
    }

    /// The next call fails with this error number.
    pub fn fail(operation: Operation, errno: i32) -> Self {
        Self::new(operation, Effect::Fail { errno })
    }

    /// So many calls go well before.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// So many calls in a row are hit.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    /// All calls are hit, until [`FaultyFiles::heal`](super::FaultyFiles::heal).
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u64::MAX)
    }

    /// Only files whose name ends so are hit.
    #[must_use]
    pub fn on_names_ending(mut self, end: &str) -> Self {
        end.clone_into(&mut self.name_ends_with);
        self
    }

    fn applies(&self, operation: Operation, path: &Path) -> bool {
        self.operation == operation && path.to_string_lossy().ends_with(&self.name_ends_with)
    }
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    /// By the end of the name, behind its last dot.
    counts: BTreeMap<(Operation, String), u64>,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(super) fn count(&self, operation: Operation, is_counted: impl Fn(&str) -> bool) -> u64 {
        let counted = |(of, extension): &(Operation, String)| *of == operation && is_counted(extension);
        self.counts
            .iter()
            .filter(|(key, _)| counted(key))
            .map(|(_, count)| count)
            .sum()
    }

    /// Counts the call, and tells what happens to it instead of what it asks for.
    pub(super) fn next(&mut self, operation: Operation, path: &Path) -> Option<Effect> {
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().into_owned());
        *self
            .counts
            .entry((operation, extension.unwrap_or_default()))
            .or_default() += 1;
        for fault in self
            .faults
            .iter_mut()
            .filter(|fault| fault.applies(operation, path))
        {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(fault.effect);
            }
        }
        None
    }
}
