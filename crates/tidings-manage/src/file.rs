//! The file that tells tools where to ask: [`Invitation`].

use crate::error::ManageError;
use crate::token::Token;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The name of the file in the broker's directory.
pub const FILE_NAME: &str = "manage.json";
/// The version of its contents.
const VERSION: u32 = 1;
/// It is never larger.
const MAX_BYTES: u64 = 16 << 10;

/// Where a running service is asked, and with which token.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    pub(crate) address: SocketAddr,
    pub(crate) token: Token,
    pub(crate) pid: u32,
    /// The name of the binder that has this directory.
    pub(crate) binder: String,
}

/// How it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    address: SocketAddr,
    token: String,
    pid: u32,
    /// Milliseconds since 1970 UTC, for people.
    started: i64,
    app: String,
    binder: String,
}

impl Invitation {
    /// Writes it into a directory, readable for this user alone. It replaces what a killed process left.
    pub(crate) fn write(&self, directory: &Path, app: &str) -> Result<(), ManageError> {
        let written = Written {
            version: VERSION,
            address: self.address,
            token: self.token.expose().to_owned(),
            pid: self.pid,
            started: tidings_core::Timestamp::now().as_millis(),
            app: app.to_owned(),
            binder: self.binder.clone(),
        };
        let path = directory.join(FILE_NAME);
        let failed = |error: io::Error| ManageError::File {
            path: path.clone(),
            reason: format!("{error}; make the directory writable, or write manage.enabled = false"),
        };
        let text = serde_json::to_vec_pretty(&written).map_err(|error| failed(error.into()))?;
        // Under another name first, so that nobody reads half of it; new, so that the mode is this one's.
        let scratch = directory.join(format!("{FILE_NAME}.new"));
        match std::fs::remove_file(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = private(&scratch).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        drop(file);
        std::fs::rename(&scratch, &path).map_err(failed)
    }

    /// Reads it; none if there is none, or nothing that this version understands.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let mut text = Vec::new();
        let file = File::open(directory.join(FILE_NAME)).ok()?;
        file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        let is_known = written.version == VERSION && written.address.ip().is_loopback();
        let token = Token::parse(&written.token).filter(|_| is_known)?;
        Some(Self {
            address: written.address,
            token,
            pid: written.pid,
            binder: written.binder,
        })
    }

    /// Takes it away again, unless it is another's by now.
    pub(crate) fn remove(&self, directory: &Path) {
        let is_ours =
            Self::read(directory).is_some_and(|found| self.token.is(found.token.expose().as_bytes()));
        if is_ours && let Err(error) = std::fs::remove_file(directory.join(FILE_NAME)) {
            tracing::warn!(directory = %directory.display(), "cannot remove {FILE_NAME}: {error}");
        }
    }
}

/// A new file that only this user may read.
fn private(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            address: "127.0.0.1:4711".parse().unwrap(),
            token: Token::random().unwrap(),
            pid: 7,
            binder: "main".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_only_by_its_user() {
        let root = tempfile::tempdir().unwrap();
        let written = invitation();
        written.write(root.path(), "shop").unwrap();
        written.write(root.path(), "shop").unwrap();
        let read = Invitation::read(root.path()).unwrap();
        assert_eq!(
            (read.address, read.pid, &*read.binder),
            (written.address, 7, "main")
        );
        assert!(read.token.is(written.token.expose().as_bytes()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = std::fs::metadata(root.path().join(FILE_NAME)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn another_processs_file_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (invitation(), invitation());
        first.write(root.path(), "shop").unwrap();
        second.write(root.path(), "shop").unwrap();
        first.remove(root.path());
        assert!(Invitation::read(root.path()).is_some());
        second.remove(root.path());
        assert!(!root.path().join(FILE_NAME).exists());
    }

    #[test]
    fn what_is_no_invitation_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(Invitation::read(root.path()).is_none());
        let token = "0a".repeat(32);
        for text in [
            String::new(),
            "{}".to_owned(),
            format!(r#"{{"version":2,"address":"127.0.0.1:1","token":"{token}","pid":1,"started":0,"app":"","binder":""}}"#),
            format!(r#"{{"version":1,"address":"10.0.0.1:1","token":"{token}","pid":1,"started":0,"app":"","binder":""}}"#),
            r#"{"version":1,"address":"127.0.0.1:1","token":"short","pid":1,"started":0,"app":"","binder":""}"#.to_owned(),
        ] {
            std::fs::write(root.path().join(FILE_NAME), &text).unwrap();
            assert!(Invitation::read(root.path()).is_none(), "{text}");
        }
    }
}
