//! What stands in front of a broker: [`BinderLayer`].

use crate::BoxFuture;
use crate::binder::{
    BinderError, BinderHealth, Capabilities, DestinationInfo, DestinationSpec, DynBinder, GroupInfo,
    PartitionPosition,
};
use crate::group_queue::GroupQueue;
use crate::held::{HeldLetters, LettersOf};
use crate::message::Timestamp;
use crate::records::RecordBatch;
use crate::requests::ReplyPath;
use crate::sink::Sink;
use crate::source::{DynSource, Progress, SourceSpec};
use std::fmt;
use std::sync::Arc;

/// Something in front of a broker that changes a few of its answers and passes on all others: it says which broker,
/// and what it changes. In [`Layered`] it is a broker itself.
///
/// A layer that was written as a [`DynBinder`] would have to pass on each method, and would hide those that are new:
/// they have defaults that say that the broker cannot do it.
pub trait BinderLayer: Send + Sync + fmt::Debug + 'static {
    /// The broker behind it.
    fn inner(&self) -> &Arc<dyn DynBinder>;

    /// See [`Binder::sink`](crate::Binder::sink).
    fn sink(&self) -> Arc<dyn Sink> {
        self.inner().sink()
    }

    /// See [`Binder::subscribe`](crate::Binder::subscribe).
    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        self.inner().subscribe(spec)
    }

    /// See [`Binder::prepare`](crate::Binder::prepare).
    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        self.inner().prepare(destination)
    }

    /// See [`Binder::positions`](crate::Binder::positions).
    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        self.inner().positions(destination, group)
    }

    /// See [`Binder::read`](crate::Binder::read).
    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        self.inner().read(destination, partition, from, max_bytes)
    }

    /// See [`Binder::hold_letters`](crate::Binder::hold_letters).
    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        self.inner().hold_letters(of)
    }

    /// See [`Binder::close`](crate::Binder::close).
    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        self.inner().close()
    }
}

/// A [`BinderLayer`] as a broker.
#[derive(Debug)]
pub struct Layered<T>(pub T);

impl<T: BinderLayer> DynBinder for Layered<T> {
    fn kind(&self) -> &'static str {
        self.0.inner().kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.inner().capabilities()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.0.sink()
    }

    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        self.0.prepare(destination)
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        self.0.subscribe(spec)
    }

    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        self.0.positions(destination, group)
    }

    fn store_progress<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        group: &'a str,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        let inner = self.0.inner();
        inner.store_progress(destination, partition, group, progress)
    }

    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        self.0.read(destination, partition, from, max_bytes)
    }

    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>> {
        self.0.inner().destinations()
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>, BinderError>> {
        self.0.inner().groups()
    }

    fn group_queues<'a>(
        &'a self,
        destination: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<GroupQueue>>, BinderError>> {
        self.0.inner().group_queues(destination, group)
    }

    fn offset_at<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<u64, BinderError>> {
        self.0.inner().offset_at(destination, partition, time)
    }

    fn delete_progress<'a>(
        &'a self,
        destination: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        self.0.inner().delete_progress(destination, group)
    }

    fn reply_path(&self) -> Option<Arc<dyn ReplyPath>> {
        self.0.inner().reply_path()
    }

    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        self.0.hold_letters(of)
    }

    fn health(&self) -> BinderHealth {
        self.0.inner().health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        self.0.close()
    }
}
