//! The local management address of a running service, and what asks it.
//!
//! One process owns the directory of an embedded broker. An operator who wants to look into it, to publish, to set a
//! group back or to send dead letters again while the service runs has to ask that process. So it serves a small HTTP
//! interface on the loopback address and says where in a file of the directory, `manage.json`. [`connect`] is the way
//! in for tools: it asks the owner if there is one, and opens the directory itself if there is none.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};
//! use tidings_manage::{Intent, ManagedBinder, Server, ServerOptions, connect};
//!
//! # let root = tempfile::tempdir()?;
//! # let url = format!("embedded:{}", root.path().display());
//! let broker = EmbeddedBroker::open(EmbeddedOptions::from_url(&url)?)?;
//! let binder = ManagedBinder::new("main", std::sync::Arc::new(broker)).directory(root.path());
//! let server = Server::start(ServerOptions::default(), "shop", vec![binder], None)?;
//!
//! let connection = connect(&url, Intent::Change).await?; // in another process
//! assert!(connection.binder().destinations().await?.is_empty());
//! server.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may ask
//! Whoever can read `manage.json`, which is the user that runs the service: it has mode 0600 and holds a random token
//! of 256 bits that every request must carry. The server binds 127.0.0.1 and nothing else, whatever the configuration
//! says. It refuses requests for another `Host`, so that a web page cannot reach it by a name that it rebinds, and
//! every request with an `Origin`, because browsers have no business here. Payloads are never logged.
//!
//! # What it is not
//! It is no remote interface, no console and no metrics endpoint.
//!
//! # Limits
//! [`ServerOptions`]: connections, bytes of a request, bytes of messages and entries in an answer, time of a request.

mod app;
mod connect;
mod error;
mod file;
mod limits;
mod snapshots;
mod token;
mod wire;

pub mod client;
mod server;

pub use app::{
    AppDescription, AppHealth, LetterFilter, LetterPosition, ManagedApp, OutboxInfo, PartHealth,
    RedriveAction, RedriveCounts, RedriveProgress, RedriveRequest, Replacement, ReplyInfo, RequestInfo,
    SubscriptionInfo, SubscriptionLane,
};
pub use client::{About, AboutBinder, Client};
pub use connect::{Connection, Intent, Way, connect};
pub use error::ManageError;
pub use file::FILE_NAME;
pub use limits::ServerOptions;
pub use server::{ManagedBinder, Server};
pub use snapshots::{
    SealedSegments, SnapshotBytes, SnapshotCounts, SnapshotRequest, SnapshotWatch, Snapshots,
};
