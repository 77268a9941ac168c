//! Where the one that leads sends to: [`Outlet`].

use super::fence::Fence;
use super::fenced::Fenced;
use super::verdicts::ParkedKeys;
use crate::dialect::Dialect;
use std::sync::Arc;
use tidings_core::{Outgoing, PublishError, Receipt, Routes, Sink};

/// Where a relay sends.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Destinations are called as the channels are.
    One(Arc<dyn Sink>),
    /// To where channels lead.
    Routes(Arc<Routes>),
}

/// The same while a relay leads.
#[derive(Debug)]
pub(crate) struct Outlet {
    routes: Option<Arc<Routes>>,
    ways: Vec<Way>,
}

/// A broker and how to send to it.
#[derive(Debug)]
struct Way {
    sink: Arc<dyn Sink>,
    /// As the only one.
    fenced: Option<Fenced>,
}

impl Target {
    /// Opens it, with a fence before the brokers that can have one.
    pub(crate) fn open<DB: Dialect>(&self, fence: Option<&Fence<DB>>, parked_keys: ParkedKeys) -> Outlet {
        let (routes, sinks) = match self {
            Self::One(sink) => (None, vec![sink.clone()]),
            Self::Routes(routes) => (Some(routes.clone()), routes.sinks()),
        };
        let way = |sink: Arc<dyn Sink>| Way {
            fenced: fence
                .filter(|_| sink.can_be_sole())
                .map(|fence| Fenced::new(fence, sink.clone(), parked_keys)),
            sink,
        };
        Outlet {
            routes,
            ways: sinks.into_iter().map(way).collect(),
        }
    }
}

impl Outlet {
    /// Whether a batch is to be answered before the next one is sent.
    pub(crate) fn takes_one_at_a_time(&self) -> bool {
        self.ways.iter().any(|way| way.fenced.is_some())
    }

    /// Sends messages whose destinations are names of channels; a receipt for each, in their order.
    pub(crate) fn publish_all(&mut self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let Some(routes) = &self.routes else {
            return match self.ways.first_mut() {
                Some(way) => way.publish_all(outgoing),
                None => Vec::new(),
            };
        };
        // One batch for each broker: what stands behind a message that fails is to fail with it.
        let mut batches: Vec<Vec<Outgoing>> = self.ways.iter().map(|_| Vec::new()).collect();
        let mut goes = |mut one: Outgoing| -> Result<usize, PublishError> {
            let route = routes.get(&one.destination)?;
            let is_way = |way: &Way| Arc::ptr_eq(&way.sink, &route.sink);
            let place = self.ways.iter().position(is_way).ok_or(PublishError::Closed)?;
            one.destination = route.destination.clone();
            if let Some(batch) = batches.get_mut(place) {
                batch.push(one);
            }
            Ok(place)
        };
        let gone: Vec<Result<usize, PublishError>> = outgoing.into_iter().map(&mut goes).collect();
        let batches = self.ways.iter_mut().zip(batches);
        let mut receipts: Vec<_> = batches
            .map(|(way, batch)| way.publish_all(batch).into_iter())
            .collect();
        let mut receipt = |place: usize| receipts.get_mut(place).and_then(Iterator::next);
        let receipts = gone.into_iter().map(|gone| match gone {
            // A sink that forgets a message has not taken it.
            Ok(place) => receipt(place).unwrap_or_else(|| Receipt::failed(PublishError::Closed)),
            Err(error) => Receipt::failed(error),
        });
        receipts.collect()
    }
}

impl Way {
    fn publish_all(&mut self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        if outgoing.is_empty() {
            return Vec::new();
        }
        match &mut self.fenced {
            Some(fenced) => fenced.publish_all(outgoing),
            None => self.sink.publish_all(outgoing),
        }
    }
}
