//! What callbacks leave for the source: [`Inbox`].

use crate::client::cause;
use crate::lock::lock;
use crate::security::{Certificate, Verifies};
use crate::source::missing::Sight;
use crate::source::positions::Positions;
use crate::transactions::Outcome;
use crate::trouble::Fault;
use rdkafka::ClientContext;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Something that happened outside of the source's task.
#[derive(Debug)]
pub(crate) enum News {
    /// The group gives these partitions to this member.
    Assigned(Vec<(String, u32)>),
    /// The group takes these partitions from this member.
    Revoked {
        places: Vec<(String, u32)>,
        /// Somebody else may have them already.
        lost: bool,
    },
    /// A commit was answered.
    Stored { number: usize, fault: Option<Fault> },
    /// Where partitions begin and end was found out, or not.
    Looked {
        ticket: u64,
        positions: Result<Positions, Fault>,
    },
    /// A partition's first and next offset were asked for because it could not be read where it should.
    Bounds {
        topic: String,
        partition: u32,
        bounds: Result<(u64, u64), Fault>,
    },
    /// The partitions of topics that are read without a group.
    Grown(Vec<(String, u32)>),
    /// What came of a transaction.
    Transaction { ticket: u64, outcome: Outcome },
    /// Topics that were looked for.
    Seen(Vec<Sight>),
}

/// What happened, in order, and a bell.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    news: Mutex<VecDeque<News>>,
    faults: Mutex<Vec<Fault>>,
    bell: Notify,
    certificate: Certificate,
}

/// Faults come up to 20 times a second while a broker is away; the last few tell everything.
const MAX_FAULTS: usize = 16;

impl Inbox {
    pub(crate) fn tell(&self, news: News) {
        lock(&self.news).push_back(news);
        self.wake();
    }

    pub(crate) fn next(&self) -> Option<News> {
        lock(&self.news).pop_front()
    }

    /// Notes a fault of the connection or of the client.
    pub(crate) fn note(&self, fault: Fault) {
        let reason = cause(&fault.reason, &self.certificate);
        let fault = Fault::new(fault.code, reason);
        let mut faults = lock(&self.faults);
        if faults.len() < MAX_FAULTS {
            faults.push(fault);
        }
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        std::mem::take(&mut *lock(&self.faults))
    }

    pub(crate) fn wake(&self) {
        self.bell.notify_one();
    }

    /// Waits for the bell; also when it rang since the last time.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl ClientContext for Inbox {}

impl Verifies for Inbox {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}
