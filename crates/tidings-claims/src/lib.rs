//! A directory as a [claim store](ClaimStore): payloads that are too large to travel lie in files, and their messages
//! carry references.
//!
//! ```
//! # use std::time::Duration;
//! use tidings_claims::DirectoryClaims;
//!
//! # async fn example() -> Result<(), tidings_core::ClaimError> {
//! let scans = DirectoryClaims::new("scans", "/var/lib/shop/scans");
//! // Every message of which a payload lies here was handled long ago, by every group:
//! let pruned = scans.prune(Duration::from_secs(90 * 86_400)).await?;
//! println!("{} payloads, {} bytes", pruned.objects, pruned.bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! - A payload is on the disk, and so is its name, before its message is published: written beside its place, synced,
//!   renamed, and the directory synced.
//! - A reader finds a whole payload or none.
//! - A name is 64 hexadecimal digits, made from a [`Claim`]: nothing in a message leads out of the directory.
//! - A payload that is published twice lies there once. It is written anew, and is as young as its last message.
//!
//! # What it is not
//! It deletes nothing by itself, because it does not know who still has to read a message: a slow group, a dead letter
//! that is sent back, a replay. [`prune`](DirectoryClaims::prune) goes by age alone. All services that share it need
//! the same directory, on a file system with atomic renames and file locks.

mod files;

use bytes::Bytes;
use files::Failed;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings_core::{BoxFuture, Claim, ClaimError, ClaimStore};

/// A directory in which payloads lie, each in a file.
#[derive(Debug, Clone)]
pub struct DirectoryClaims {
    id: String,
    root: PathBuf,
}

/// What [`DirectoryClaims::prune`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// How many payloads.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Files of writers that died, which were in nobody's way.
    pub leftovers: u64,
}

impl DirectoryClaims {
    /// The store that messages call `id`, in that directory. It is made when the first payload is put there. The id must
    /// be the same in every service that shares the directory: see [`Claim::is_store_id`].
    pub fn new(id: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            id: id.into(),
            root: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// Removes payloads that were put there longer ago than that, and what writers left that died.
    ///
    /// **Messages lose their payload by this** if they are still to be handled: by a group that is behind, from the dead
    /// letters, in a replay. Such a message becomes a dead letter with the reason `unclaimed`. So `older_than` must be
    /// longer than the retention of every destination whose messages refer to this store, and of their dead letters.
    ///
    /// # Errors
    /// [`ClaimError::Unavailable`]; what was removed before stays removed, and it may be called again.
    pub async fn prune(&self, older_than: Duration) -> Result<Pruned, ClaimError> {
        let root = self.root.clone();
        self.run(move || files::prune(&root, older_than)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, ClaimError> {
        let done = tokio::task::spawn_blocking(work).await;
        let failed = done.unwrap_or_else(|_| Err(Failed::Io("the runtime is ending".to_owned())));
        failed.map_err(|failed| self.error(failed))
    }

    fn error(&self, failed: Failed) -> ClaimError {
        let store = self.id.clone();
        match failed {
            Failed::Missing(name) => ClaimError::Missing { store, name },
            Failed::OtherSize(name, found) => ClaimError::Corrupt {
                store,
                name,
                reason: format!("it has {found} bytes"),
            },
            Failed::Io(reason) => ClaimError::Unavailable { store, reason },
        }
    }
}

impl ClaimStore for DirectoryClaims {
    fn id(&self) -> &str {
        &self.id
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put<'a>(&'a self, claim: &'a Claim, payload: Bytes) -> BoxFuture<'a, Result<(), ClaimError>> {
        let (root, name) = (self.root.clone(), claim.name());
        Box::pin(self.run(move || files::put(&root, &name, &payload)))
    }

    fn get<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Bytes, ClaimError>> {
        let (root, name, size) = (self.root.clone(), claim.name(), claim.size());
        Box::pin(self.run(move || files::get(&root, &name, size).map(Bytes::from)))
    }
}
