//! The way in for tools: [`connect`] finds out who has a directory and asks it, or opens the directory.

use crate::client::Client;
use crate::error::ManageError;
use crate::file::{FILE_NAME, Invitation};
use crate::snapshots::{SnapshotCounts, SnapshotRequest, SnapshotWatch, Snapshots};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, DynBinder};
use tidings_embedded::{Access, EmbeddedBroker, EmbeddedOptions, Location, is_owned};
use tokio::time::Instant;

/// How long an owner that is just starting, or just ending, gets until it can be asked or has gone.
const SETTLING: Duration = Duration::from_secs(1);
/// How often it is looked whether it can.
const LOOK: Duration = Duration::from_millis(50);

/// What a tool is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Look only: nothing is changed, not even a torn tail is cut.
    Read,
    /// Publish, set positions, send dead letters back.
    Change,
}

/// How a tool came to its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Nobody owns the directory: it was opened here, and is owned until the connection is closed.
    Opened,
    /// Nobody owns the directory: it was opened here for reading.
    OpenedForReading,
    /// A service owns the directory and is asked.
    Running {
        /// The name of its app.
        app: String,
        /// Its process.
        pid: u32,
    },
    /// A process owns the directory and cannot be asked; it is read beside it. Positions of groups are not seen.
    BesideOwner {
        /// Why it cannot be asked.
        reason: String,
    },
    /// It is a server that anybody may ask, beside the services that use it.
    Server,
}

/// A broker that a tool can use, and how it came to it.
#[derive(Debug)]
pub struct Connection {
    binder: Arc<dyn DynBinder>,
    client: Option<Client>,
    copies: Copies,
    way: Way,
}

/// Who copies the broker.
#[derive(Debug)]
enum Copies {
    /// The service that owns it, by the binder's name there.
    Service(Client, String),
    /// This process, which owns it.
    Here(Arc<EmbeddedBroker>),
    /// Nobody: only an owner can.
    Nobody,
}

impl Connection {
    /// A broker that is a server of its own, already open: nobody owns it, and no service is asked for it.
    pub fn to_server(binder: Arc<dyn DynBinder>) -> Self {
        Self {
            binder,
            client: None,
            copies: Copies::Nobody,
            way: Way::Server,
        }
    }

    /// The broker.
    pub fn binder(&self) -> &Arc<dyn DynBinder> {
        &self.binder
    }

    /// The running service, if there is one: for what only it can do or say. Dead letters must be sent back by it, so
    /// that nobody sends them a second time.
    pub fn service(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// How the tool came to it.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Copies everything into a directory, consistently, while the service goes on if there is one. `watch` is told how
    /// far it is. Dropping the future does not stop the copy.
    ///
    /// # Errors
    /// [`BinderError::Unsupported`] if it was opened for reading: only an owner knows the positions of the groups. What
    /// the broker or the service says.
    pub async fn snapshot(
        &self,
        request: SnapshotRequest,
        watch: SnapshotWatch,
    ) -> Result<SnapshotCounts, ManageError> {
        match &self.copies {
            Copies::Service(client, binder) => client.snapshot(binder, request, watch).await,
            Copies::Here(broker) => Snapshots::snapshot(&**broker, request, watch).await,
            Copies::Nobody if self.way == Way::Server => Err(BinderError::Unsupported {
                broker: self.binder.kind(),
                feature: "snapshot",
                cure: "use the tools of that broker",
            }
            .into()),
            Copies::Nobody => Err(BinderError::Unsupported {
                broker: "embedded, opened read-only,",
                feature: "snapshot",
                cure: "connect to change it, or ask the process that owns the directory",
            }
            .into()),
        }
    }

    /// Keeps what was published and lets go of the directory.
    ///
    /// # Errors
    /// What could not be kept.
    pub async fn close(self) -> Result<(), BinderError> {
        self.binder.close().await
    }
}

/// Opens the broker behind a URL (`embedded:DIRECTORY`) or a directory: by the service that owns it if there is one,
/// otherwise here. A directory that does not exist is created only when `intent` is to change.
///
/// # Errors
/// [`ManageError::Broker`]: the URL, the directory, or an owner that cannot be asked for a change.
pub async fn connect(target: &str, intent: Intent) -> Result<Connection, ManageError> {
    let directory = directory(target)?;
    let deadline = Instant::now() + SETTLING;
    loop {
        if !is_owned(&directory)? {
            match open(&directory, intent) {
                Ok(connection) => return Ok(connection),
                // Somebody took it in the meantime.
                Err(_) if is_owned(&directory)? && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
        let reason = match ask_owner(&directory).await {
            Ok(connection) => return Ok(connection),
            Err(reason) => reason,
        };
        if Instant::now() >= deadline {
            return beside(&directory, intent, reason);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn directory(target: &str) -> Result<PathBuf, ManageError> {
    if !target.contains(':') || Path::new(target).is_dir() {
        return Ok(target.into());
    }
    let refused = |reason: &str| BinderError::Open {
        url: target.to_owned(),
        reason: reason.to_owned(),
    };
    if target.starts_with("memory:") {
        return Err(refused(
            "it lives in the memory of its process: run the service on `embedded:DIRECTORY`",
        )
        .into());
    }
    if !target.starts_with("embedded:") {
        return Err(refused("this build asks `embedded:DIRECTORY` and nothing else").into());
    }
    // The broker itself says what is wrong with an address.
    EmbeddedOptions::from_url(target)?;
    Ok(target.trim_start_matches("embedded:").into())
}

/// Opens the directory here.
fn open(directory: &Path, intent: Intent) -> Result<Connection, BinderError> {
    let options = EmbeddedOptions::new(Location::Directory(directory.to_owned()));
    let (access, way) = match intent {
        Intent::Read => (Access::ReadOnly, Way::OpenedForReading),
        Intent::Change => (Access::ReadWrite, Way::Opened),
    };
    let broker = Arc::new(EmbeddedBroker::open(options.access(access))?);
    Ok(Connection {
        binder: broker.clone(),
        client: None,
        copies: match intent {
            Intent::Read => Copies::Nobody,
            Intent::Change => Copies::Here(broker),
        },
        way,
    })
}

/// Asks the owner, if it says where, and if it is the one that says so.
async fn ask_owner(directory: &Path) -> Result<Connection, String> {
    let Some(invitation) = Invitation::read(directory) else {
        return Err(format!(
            "there is no {} of this version",
            directory.join(FILE_NAME).display()
        ));
    };
    // A killed process leaves its file, and the next owner need not write one. The token is for nobody else.
    let owner = owner(directory);
    if owner.is_some_and(|owner| owner != invitation.pid) {
        return Err(format!(
            "{} was left by the process {}",
            directory.join(FILE_NAME).display(),
            invitation.pid
        ));
    }
    let client = Client::new(&invitation);
    let asked = async {
        let about = client.about().await?;
        let binder = client.binder(&invitation.binder).await?;
        Ok::<_, crate::ManageError>(Connection {
            binder,
            client: Some(client.clone()).filter(|_| about.has_app),
            copies: Copies::Service(client.clone(), invitation.binder.clone()),
            way: Way::Running {
                app: about.app,
                pid: about.pid,
            },
        })
    };
    asked.await.map_err(|error| error.to_string())
}

/// The process that wrote itself into the lock file.
fn owner(directory: &Path) -> Option<u32> {
    std::fs::read_to_string(directory.join("LOCK"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// What is left when the owner cannot be asked.
fn beside(directory: &Path, intent: Intent, reason: String) -> Result<Connection, ManageError> {
    if intent == Intent::Read {
        let mut connection = open(directory, intent)?;
        connection.way = Way::BesideOwner { reason };
        return Ok(connection);
    }
    let owner = owner(directory).map_or_else(
        || "another process".to_owned(),
        |pid| format!("the process {pid}"),
    );
    Err(BinderError::Open {
        url: format!("embedded:{}", directory.display()),
        reason: format!(
            "{owner} owns it and cannot be asked ({reason}): write manage.enabled = true in its configuration and start it again, or stop it"
        ),
    }
    .into())
}
