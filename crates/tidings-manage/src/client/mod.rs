//! The side of the tool: [`Client`] asks a running service.

mod binder;
mod http;
mod sink;

pub use http::Client;

use crate::app::{
    AppDescription, AppHealth, OutboxInfo, RedriveCounts, RedriveRequest, RequestInfo, SubscriptionInfo,
};
use crate::error::ManageError;
use crate::snapshots::{SnapshotBytes, SnapshotCounts, SnapshotRequest};
use crate::wire::json::{Nothing, To, WireAbout};
use binder::RemoteBinder;
use std::sync::Arc;
use tidings_core::{Capabilities, DynBinder};

/// What a running service says of itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct About {
    /// The name of the app.
    pub app: String,
    /// Its process.
    pub pid: u32,
    /// Whether it is an app, or only brokers.
    pub has_app: bool,
    /// The largest request in bytes.
    pub request_bytes: usize,
    /// Its binders by name.
    pub binders: Vec<AboutBinder>,
}

/// A binder of a running service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AboutBinder {
    /// Its name in the configuration.
    pub name: String,
    /// The kind of broker.
    pub kind: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Why it does not work; none if it does.
    pub down: Option<String>,
}

impl Client {
    /// What the service says of itself.
    ///
    /// # Errors
    /// [`ManageError::Unreachable`], [`ManageError::Refused`], [`ManageError::Protocol`]; so do all calls.
    pub async fn about(&self) -> Result<About, ManageError> {
        let about: WireAbout = self.ask("about", None::<&Nothing>).await?;
        let binders = about.binders.into_iter().map(|binder| AboutBinder {
            name: binder.name,
            kind: binder.kind,
            capabilities: binder.capabilities.into(),
            down: binder.down,
        });
        Ok(About {
            app: about.app,
            pid: about.pid,
            has_app: about.has_app,
            request_bytes: about.request_bytes,
            binders: binders.collect(),
        })
    }

    /// A binder of the service, as if it were here. It cannot be subscribed to; everything else works.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] with the names that there are, and as [`about`](Self::about).
    pub async fn binder(&self, name: &str) -> Result<Arc<dyn DynBinder>, ManageError> {
        let about = self.about().await?;
        let found = about.binders.iter().find(|binder| binder.name == name);
        let known = || about.binders.iter().map(|binder| binder.name.as_str());
        let found = found.ok_or_else(|| ManageError::unknown("binder", name, known()))?;
        Ok(Arc::new(RemoteBinder::new(
            self.clone(),
            found,
            about.request_bytes,
        )))
    }

    /// What the service does, and where each value comes from.
    ///
    /// # Errors
    /// As [`about`](Self::about).
    pub async fn describe(&self) -> Result<AppDescription, ManageError> {
        self.ask("app/describe", Some(&Nothing {})).await
    }

    /// Whether the service works, and why not.
    ///
    /// # Errors
    /// As [`about`](Self::about).
    pub async fn health(&self) -> Result<AppHealth, ManageError> {
        self.ask("app/health", Some(&Nothing {})).await
    }

    /// The subscriptions of the service with what they are doing.
    ///
    /// # Errors
    /// As [`about`](Self::about).
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionInfo>, ManageError> {
        self.ask("app/subscriptions", Some(&Nothing {})).await
    }

    /// The requests of the service to others, and what became of them.
    ///
    /// # Errors
    /// As [`subscriptions`](Self::subscriptions).
    pub async fn requests(&self) -> Result<Vec<RequestInfo>, ManageError> {
        self.ask("app/requests", Some(&Nothing {})).await
    }

    /// The outboxes that are sent from the service, and what is known of them there.
    ///
    /// # Errors
    /// As [`subscriptions`](Self::subscriptions).
    pub async fn outboxes(&self) -> Result<Vec<OutboxInfo>, ManageError> {
        self.ask("app/outboxes", Some(&Nothing {})).await
    }

    /// Sends dead letters back to their group, or discards them, in the service: one redrive at a time. `progress` is
    /// told how far it is. Dropping the future makes the service stop after what it has begun; what was done is
    /// recorded.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for a group that the service does not have, and as [`about`](Self::about).
    pub async fn redrive(
        &self,
        request: &RedriveRequest,
        progress: impl FnMut(RedriveCounts) + Send,
    ) -> Result<RedriveCounts, ManageError> {
        self.long("app/redrive", request, progress).await
    }

    /// Copies a binder of the service into a directory while it works. `progress` is told how far it is. Dropping the
    /// future does not stop the copy.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for a binder that the service does not have, what the broker says, and as
    /// [`about`](Self::about).
    pub async fn snapshot(
        &self,
        binder: &str,
        request: SnapshotRequest,
        progress: impl FnMut(SnapshotBytes) + Send,
    ) -> Result<SnapshotCounts, ManageError> {
        let to = To {
            binder: binder.to_owned(),
            request,
        };
        self.long("binder/snapshot", &to, progress).await
    }
}
