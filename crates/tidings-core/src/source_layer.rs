//! What stands in front of a source: [`SourceLayer`].

use crate::BoxFuture;
use crate::records::{Epoch, LaneId};
use crate::source::{DynSource, Progress, SourceError, SourceEvent, SourceInput, Transaction};
use std::fmt;

/// Something in front of a source that changes a few of its answers and passes on all others, as
/// [`BinderLayer`](crate::BinderLayer) does for brokers. In [`LayeredSource`] it is a source itself.
pub trait SourceLayer: Send {
    /// The source behind it.
    fn inner(&self) -> &dyn DynSource;

    /// The same, to be asked for something.
    fn inner_mut(&mut self) -> &mut dyn DynSource;

    /// See [`Source::next`](crate::Source::next).
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>> {
        self.inner_mut().next()
    }

    /// See [`Source::progress`](crate::Source::progress).
    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        self.inner_mut().progress(lane, epoch, progress);
    }

    /// See [`Source::commit`](crate::Source::commit).
    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.inner_mut().commit()
    }

    /// See [`Source::release`](crate::Source::release).
    fn release(&mut self, lanes: &[LaneId]) {
        self.inner_mut().release(lanes);
    }

    /// See [`Source::transaction`](crate::Source::transaction).
    fn transaction(&self) -> Option<Transaction> {
        self.inner().transaction()
    }

    /// See [`Source::close`](crate::Source::close).
    fn close(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.inner_mut().close()
    }
}

/// A [`SourceLayer`] as a source.
pub struct LayeredSource<T>(pub T);

impl<T: SourceLayer> DynSource for LayeredSource<T> {
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>> {
        self.0.next()
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        self.0.progress(lane, epoch, progress);
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        self.0.inner_mut().pause(lanes);
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        self.0.inner_mut().resume(lanes);
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        self.0.inner_mut().seek(lane, offset);
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        self.0.inner_mut().change_inputs(inputs)
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.0.commit()
    }

    fn release(&mut self, lanes: &[LaneId]) {
        self.0.release(lanes);
    }

    fn transaction(&self) -> Option<Transaction> {
        self.0.transaction()
    }

    fn abort(&mut self) {
        self.0.inner_mut().abort();
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.0.close()
    }
}

impl<T> fmt::Debug for LayeredSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayeredSource")
    }
}
