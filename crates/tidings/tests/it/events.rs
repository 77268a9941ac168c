//! The events that the tests speak of.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use tidings::Event;

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "order.placed", key = "order")]
pub(crate) struct Placed {
    pub(crate) order: String,
    pub(crate) total: u64,
}

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "payment.taken", key = "order")]
pub(crate) struct Paid {
    pub(crate) order: String,
}

pub(crate) fn placed(order: &str) -> Placed {
    Placed {
        order: order.to_owned(),
        total: 100,
    }
}

pub(crate) fn paid(order: &str) -> Paid {
    Paid {
        order: order.to_owned(),
    }
}

/// What handlers saw, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0
            .lock()
            .expect("nothing panics while it is held")
            .push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("nothing panics while it is held").clone()
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut all = self.all();
        all.sort();
        all
    }
}
