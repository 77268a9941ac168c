//! Who waits for which reply: [`OpenRequests`].

use super::error::RequestError;
use crate::message::Message;
use crate::names;
use crate::spring;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What became of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStatus {
    /// Requests that wait for their reply.
    pub open: usize,
    /// Requests that got one, be it a failure.
    pub answered: u64,
    /// Requests that ended without one: their time was over, they were given up, or their address was lost.
    pub unanswered: u64,
    /// Replies that came when nobody waited for them any more, or for the second time. They are thrown away.
    pub late: u64,
    /// Why no replies can be received now, if that is so.
    pub obstacle: Option<String>,
}

type Answer = Result<Message, RequestError>;

/// The requests of one process to one broker that wait for their reply. Their number is bounded.
pub struct OpenRequests {
    /// The ids of requests begin with it: those of other instances and of earlier lives begin otherwise.
    instance: String,
    limit: usize,
    table: Mutex<Table>,
    answered: AtomicU64,
    unanswered: AtomicU64,
    late: AtomicU64,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<u64, Waiting>,
    last: u64,
    closed: bool,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    /// By which its reply comes, once it is sent.
    way: Option<u64>,
}

impl OpenRequests {
    /// None yet, and never more than that many at once.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            instance: format!("{:016x}", fastrand::Rng::new().u64(..)),
            limit,
            table: Mutex::default(),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            late: AtomicU64::new(0),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Where a panic could leave it half changed, nothing panics.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a request, which is not sent yet.
    ///
    /// # Errors
    /// [`RequestError::TooMany`], [`RequestError::Closed`].
    pub fn open(self: &Arc<Self>) -> Result<OpenRequest, RequestError> {
        let mut table = self.table();
        if table.closed {
            return Err(RequestError::Closed);
        }
        if table.waiting.len() >= self.limit {
            return Err(RequestError::TooMany { limit: self.limit });
        }
        table.last += 1;
        let number = table.last;
        let (answer, receiver) = oneshot::channel();
        table.waiting.insert(number, Waiting { answer, way: None });
        drop(table);
        Ok(OpenRequest {
            id: format!("{}-{number:x}", self.instance),
            number,
            open: self.clone(),
            receiver,
        })
    }

    /// A reply came. It finds its request by the correlation, ours or that of Spring Kafka. Those to requests of others
    /// are nothing to us.
    pub fn answer(&self, reply: Message) {
        let headers = reply.headers();
        let ids = [names::CORRELATION_ID, spring::CORRELATION];
        let mut numbers = ids
            .into_iter()
            .filter_map(|name| self.number(headers.get_str(name)?));
        let Some(number) = numbers.next() else {
            return;
        };
        if !self.end(number, Ok(reply)) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The request of that id gets no reply. False if it does not wait any more, or is none of ours.
    pub fn fail(&self, id: &str, error: RequestError) -> bool {
        self.number(id).is_some_and(|number| self.end(number, Err(error)))
    }

    /// What would come by that way cannot come any more: a connection is gone that had the address.
    pub fn lose(&self, way: u64, reason: &str) {
        let reason: Arc<str> = reason.into();
        let lost = self.take_where(|waiting| waiting.way == Some(way));
        for waiting in lost {
            let _ = waiting.answer.send(Err(RequestError::Lost {
                reason: reason.clone(),
            }));
        }
    }

    /// Gives up all, and takes no more.
    pub fn close(&self) {
        self.table().closed = true;
        for waiting in self.take_where(|_| true) {
            let _ = waiting.answer.send(Err(RequestError::Closed));
        }
    }

    /// How many there are, and what became of the others.
    pub fn status(&self) -> RequestStatus {
        RequestStatus {
            open: self.table().waiting.len(),
            answered: self.answered.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            obstacle: None,
        }
    }

    fn take_where(&self, pick: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut table = self.table();
        let taken = table.waiting.extract_if(|_, waiting| pick(waiting));
        let taken: Vec<_> = taken.map(|(_, waiting)| waiting).collect();
        self.unanswered.fetch_add(taken.len() as u64, Ordering::Relaxed);
        taken
    }

    fn number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(self.instance.as_str())?.strip_prefix('-')?;
        u64::from_str_radix(number, 16).ok()
    }

    /// Tells whoever waits; false if nobody does.
    fn end(&self, number: u64, answer: Answer) -> bool {
        let Some(waiting) = self.table().waiting.remove(&number) else {
            return false;
        };
        let count = if answer.is_ok() {
            &self.answered
        } else {
            &self.unanswered
        };
        count.fetch_add(1, Ordering::Relaxed);
        // It may be given up in this moment, which is as good as a moment later.
        let _ = waiting.answer.send(answer);
        true
    }
}

impl fmt::Debug for OpenRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequests")
            .field("limit", &self.limit)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A request that waits for its reply: a future of it. Dropped, it waits no more.
#[must_use = "to drop it is to give the request up"]
pub struct OpenRequest {
    id: String,
    number: u64,
    open: Arc<OpenRequests>,
    receiver: oneshot::Receiver<Answer>,
}

impl OpenRequest {
    /// Its id, which the reply carries.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its reply comes by that way and no other, see [`OpenRequests::lose`].
    pub fn comes_by(&self, way: u64) {
        if let Some(waiting) = self.open.table().waiting.get_mut(&self.number) {
            waiting.way = Some(way);
        }
    }
}

impl Future for OpenRequest {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(RequestError::Closed)))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.open.table().waiting.remove(&self.number).is_some() {
            self.open.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenRequest({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: &str) -> Message {
        Message::new("x").with_header(names::CORRELATION_ID, id).unwrap()
    }

    #[tokio::test]
    async fn each_request_gets_its_own_reply_and_what_comes_later_is_counted() {
        let open = OpenRequests::new(3);
        let (first, second, third) = (open.open().unwrap(), open.open().unwrap(), open.open().unwrap());
        third.comes_by(2);
        assert!(matches!(open.open(), Err(RequestError::TooMany { limit: 3 })));
        let late = first.id().to_owned();
        drop(first);
        open.answer(reply(&late));
        open.answer(reply("somebody else's"));
        let twice = reply(second.id());
        open.answer(twice.clone());
        open.answer(twice.clone());
        assert_eq!(second.await.unwrap(), twice);
        open.lose(1, "not by this way");
        let of_spring = Message::new("y")
            .with_header(spring::CORRELATION, third.id())
            .unwrap();
        open.answer(of_spring.clone());
        assert_eq!(third.await.unwrap(), of_spring);
        let status = open.status();
        assert_eq!(
            (status.open, status.answered, status.unanswered, status.late),
            (0, 2, 1, 2)
        );
    }

    #[tokio::test]
    async fn what_cannot_be_answered_any_more_is_told_at_once() {
        let open = OpenRequests::new(9);
        let (lost, failed, closed) = (open.open().unwrap(), open.open().unwrap(), open.open().unwrap());
        lost.comes_by(1);
        failed.comes_by(2);
        open.lose(1, "the connection is gone");
        assert!(
            matches!(lost.await, Err(RequestError::Lost { reason }) if &*reason == "the connection is gone")
        );
        assert!(open.fail(failed.id(), RequestError::Closed));
        assert!(matches!(failed.await, Err(RequestError::Closed)));
        open.close();
        assert!(matches!(closed.await, Err(RequestError::Closed)));
        assert!(matches!(open.open(), Err(RequestError::Closed)));
        assert_eq!((open.status().open, open.status().unanswered), (0, 3));
    }
}
