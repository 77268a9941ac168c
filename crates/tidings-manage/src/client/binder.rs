//! A broker of a running service as if it were here: [`RemoteBinder`].

use super::AboutBinder;
use super::http::{Client, Sent};
use super::sink::RemoteSink;
use crate::error::ManageError;
use crate::wire::error::word;
use crate::wire::frame::decode_batch;
use crate::wire::json::{
    DeleteRequest, Nothing, OffsetRequest, Page, PageRequest, PositionsRequest, PrepareRequest, ReadRequest,
    StoreRequest, To, WireDestination, WireGroup, WirePartition, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{
    BinderError, BinderHealth, BoxFuture, Capabilities, DestinationInfo, DestinationSpec, DynBinder,
    DynSource, GroupInfo, PartitionPosition, Progress, RecordBatch, Sink, SourceSpec, Timestamp,
};

/// A binder of a running service: every method but subscribing is a request.
#[derive(Debug)]
pub(super) struct RemoteBinder {
    client: Client,
    name: String,
    kind: &'static str,
    capabilities: Capabilities,
    sink: Arc<RemoteSink>,
    /// Why it did not work when it was last asked.
    down: Mutex<Option<String>>,
}

impl RemoteBinder {
    pub(super) fn new(client: Client, about: &AboutBinder, request_bytes: usize) -> Self {
        Self {
            sink: Arc::new(RemoteSink::new(client.clone(), &about.name, request_bytes)),
            client,
            name: about.name.clone(),
            kind: word(about.kind.clone()),
            capabilities: about.capabilities,
            down: Mutex::new(about.down.clone()),
        }
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: &str,
        doing: impl FnOnce() -> String,
        request: Q,
    ) -> Result<A, BinderError> {
        let to = To {
            binder: self.name.clone(),
            request,
        };
        let asked = self.client.ask(&format!("binder/{method}"), Some(&to)).await;
        self.noted(asked, doing)
    }

    /// Keeps in mind whether the service answers, for health.
    fn noted<A>(
        &self,
        asked: Result<A, ManageError>,
        doing: impl FnOnce() -> String,
    ) -> Result<A, BinderError> {
        let down = match &asked {
            Err(error @ (ManageError::Unreachable { .. } | ManageError::Refused { .. })) => {
                Some(error.to_string())
            }
            _ => None,
        };
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = down;
        asked.map_err(|error| error.into_binder_error(&doing()))
    }

    /// All pages of a list.
    async fn all<T: DeserializeOwned>(
        &self,
        method: &str,
        name_of: impl Fn(&T) -> &String,
    ) -> Result<Vec<T>, BinderError> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let after = all.last().map(|last| name_of(last).clone());
            let page: Page<T> = self
                .ask(method, || format!("list {method}"), PageRequest { after })
                .await?;
            let is_last = !page.more || page.entries.is_empty();
            all.extend(page.entries);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn read_batch(&self, request: ReadRequest) -> Result<RecordBatch, ManageError> {
        let to = To {
            binder: self.name.clone(),
            request,
        };
        let sent = Sent("application/json");
        let answer = self
            .client
            .exchange("binder/read", sent, Some(encode(&to)?))
            .await?;
        decode_batch(&answer).map_err(|error| self.client.protocol(error))
    }
}

impl DynBinder for RemoteBinder {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }

    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        Box::pin(async move {
            let doing = format!("prepare \"{}\"", destination.name);
            let request = PrepareRequest::from(destination);
            let prepared: WireDestination = self.ask("prepare", || doing, request).await?;
            Ok(prepared.into())
        })
    }

    fn subscribe(&self, _: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        let error = BinderError::Unsupported {
            broker: "the management address of a running service",
            feature: "subscriptions",
            cure: "read without a group, or subscribe within the service",
        };
        Box::pin(std::future::ready(Err(error)))
    }

    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        Box::pin(async move {
            let request = PositionsRequest {
                destination: destination.to_owned(),
                group: group.map(str::to_owned),
            };
            let doing = || format!("look at \"{destination}\"");
            let found: Vec<WirePartition> = self.ask("positions", doing, request).await?;
            Ok(found.into_iter().map(Into::into).collect())
        })
    }

    fn store_progress<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        group: &'a str,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        Box::pin(async move {
            let request = StoreRequest {
                destination: destination.to_owned(),
                partition,
                group: group.to_owned(),
                progress: progress.into(),
            };
            let doing =
                || format!("store the position of the group \"{group}\" in {destination}/{partition}");
            self.ask("store-progress", doing, request).await
        })
    }

    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        Box::pin(async move {
            let request = ReadRequest {
                destination: destination.to_owned(),
                partition,
                from,
                max_bytes: max_bytes as u64,
            };
            self.noted(self.read_batch(request).await, || {
                format!("read \"{destination}\"")
            })
        })
    }

    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>> {
        Box::pin(async move {
            let all = self
                .all::<WireDestination>("destinations", |info| &info.name)
                .await?;
            Ok(all.into_iter().map(Into::into).collect())
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>, BinderError>> {
        Box::pin(async move {
            let all = self.all::<WireGroup>("groups", |group| &group.name).await?;
            Ok(all.into_iter().map(Into::into).collect())
        })
    }

    fn offset_at<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<u64, BinderError>> {
        Box::pin(async move {
            let request = OffsetRequest {
                destination: destination.to_owned(),
                partition,
                time_ms: time.as_millis(),
            };
            let doing = || format!("look for a time in \"{destination}\"");
            self.ask("offset-at", doing, request).await
        })
    }

    fn delete_progress<'a>(
        &'a self,
        destination: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        Box::pin(async move {
            let request = DeleteRequest {
                destination: destination.to_owned(),
                group: group.to_owned(),
            };
            let doing = || format!("delete the positions of the group \"{group}\" in \"{destination}\"");
            self.ask("delete-progress", doing, request).await
        })
    }

    /// As it was when it was last asked.
    fn health(&self) -> BinderHealth {
        match &*self.down.lock().unwrap_or_else(PoisonError::into_inner) {
            None => BinderHealth::Up,
            Some(reason) => BinderHealth::Down(reason.clone()),
        }
    }

    /// Waits for what was published. The broker is the service's to close.
    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        Box::pin(async move {
            let flushed = self.sink.flush().await;
            flushed.map_err(|error| BinderError::Failed {
                doing: "keep what was accepted".to_owned(),
                reason: error.to_string(),
            })
        })
    }
}

/// Asks a binder to keep everything that was published before.
pub(super) fn flush_request(binder: &str) -> To<Nothing> {
    To {
        binder: binder.to_owned(),
        request: Nothing {},
    }
}
