//! A store of an inbox in memory, that notes everything and fails as it is told.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tokio::sync::Notify;

/// How the database behaves at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Nothing is kept, and the connection is gone.
    LostBefore,
    /// All is kept, and the connection is gone before the answer.
    LostAfter,
    /// All is kept, and there is never an answer.
    Silent,
    /// A deferred constraint.
    Refused,
    /// It takes that long.
    Takes(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was asked, in order.
    pub(crate) log: Vec<String>,
    claims: BTreeSet<String>,
    /// Claims of transactions that are open.
    locked: BTreeSet<String>,
    /// What handlers did, as far as it was committed.
    pub(crate) work: Vec<String>,
    /// Channel, id and payload of what was committed.
    pub(crate) outbox: Vec<(String, String, String)>,
    /// Until then nothing can be begun.
    pub(crate) away_until: Option<tokio::time::Instant>,
    pub(crate) commits: VecDeque<Commit>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    freed: Arc<Notify>,
}

/// What handlers reach a transaction by.
#[derive(Debug, Default)]
pub(crate) struct Doing(Mutex<Vec<String>>);

/// The transaction, as an argument of a handler.
#[derive(Debug)]
pub(crate) struct FakeTx(Arc<Doing>);

impl FakeTx {
    pub(crate) fn write(&self, text: impl Into<String>) {
        self.0.0.lock().unwrap().push(text.into());
    }
}

const NEEDS: Needs = Needs {
    transaction: Some(Database::of::<Fake>()),
    ..Needs::NOTHING
};

impl<S> FromContext<S> for FakeTx {
    const NEEDS: Needs = NEEDS;

    fn from_context(context: &Arc<HandlerContext>, _state: &S) -> Result<Self, Failure> {
        let doing = context.transaction::<Doing>();
        doing
            .map(Self)
            .ok_or_else(|| Failure::permanent("no transaction"))
    }
}

impl<S> FromDelivery<S> for FakeTx {
    const NEEDS: Needs = NEEDS;

    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, Failure> {
        <Self as FromContext<S>>::from_context(delivery.context(), state)
    }
}

impl Fake {
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    pub(crate) fn work(&self) -> Vec<String> {
        self.state.lock().unwrap().work.clone()
    }

    pub(crate) fn outbox(&self) -> Vec<(String, String, String)> {
        self.state.lock().unwrap().outbox.clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(what)).count()
    }

    pub(crate) fn next_commits(&self, commits: impl IntoIterator<Item = Commit>) {
        self.state.lock().unwrap().commits.extend(commits);
    }

    pub(crate) fn is_away_for(&self, time: Duration) {
        self.state.lock().unwrap().away_until = Some(tokio::time::Instant::now() + time);
    }
}

impl InboxStore for Fake {
    fn name(&self) -> String {
        "the database of the test".to_owned()
    }

    fn database(&self) -> Database {
        Database::of::<Fake>()
    }

    fn has_outbox(&self) -> bool {
        true
    }

    fn begin(
        &self,
        scope: &str,
        ids: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>> {
        let (store, scope) = (self.clone(), scope.to_owned());
        Box::pin(async move {
            store
                .state
                .lock()
                .unwrap()
                .log
                .push(format!("begin {}", ids.join(" ")));
            let ids: Vec<_> = ids.iter().map(|id| format!("{scope}/{id}")).collect();
            loop {
                let freed = store.freed.notified();
                {
                    let mut state = store.state.lock().unwrap();
                    if state
                        .away_until
                        .is_some_and(|until| until > tokio::time::Instant::now())
                    {
                        return Err(InboxError::Unavailable("connection refused".into()));
                    }
                    if !ids.iter().any(|id| state.locked.contains(id)) {
                        let known: Vec<_> = ids.iter().map(|id| state.claims.contains(id)).collect();
                        let mine: Vec<_> = ids
                            .into_iter()
                            .zip(&known)
                            .map(|(id, known)| (!known).then_some(id))
                            .collect();
                        state.locked.extend(mine.iter().flatten().cloned());
                        drop(state);
                        return Ok(Box::new(Open {
                            store: store.clone(),
                            ids: mine,
                            doing: Arc::new(Doing::default()),
                            savepoint: 0,
                            outbox: Vec::new(),
                            over: false,
                        }) as Box<dyn InboxTransaction>);
                    }
                }
                freed.await;
            }
        })
    }
}

struct Open {
    store: Fake,
    /// Those that it has claimed.
    ids: Vec<Option<String>>,
    doing: Arc<Doing>,
    savepoint: usize,
    outbox: Vec<Outgoing>,
    over: bool,
}

impl Open {
    fn note(&self, what: impl Into<String>) {
        self.store.state.lock().unwrap().log.push(what.into());
    }

    fn end(&mut self, keep: bool) {
        let mut state = self.store.state.lock().unwrap();
        self.over = true;
        for id in self.ids.iter().flatten() {
            state.locked.remove(id);
            if keep {
                state.claims.insert(id.clone());
            }
        }
        if keep {
            state.work.append(&mut self.doing.0.lock().unwrap());
            for outgoing in self.outbox.drain(..) {
                let headers = outgoing.message.headers();
                state.outbox.push((
                    outgoing.destination.to_string(),
                    headers.get_str(names::MESSAGE_ID).unwrap_or_default().to_owned(),
                    String::from_utf8_lossy(outgoing.message.payload().unwrap()).into_owned(),
                ));
            }
        }
        self.store.freed.notify_waiters();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.over {
            self.note("dropped");
            self.end(false);
        }
    }
}

fn ready<'a>() -> BoxFuture<'a, Result<(), InboxError>> {
    Box::pin(std::future::ready(Ok(())))
}

impl InboxTransaction for Open {
    fn is_duplicate(&self, place: usize) -> bool {
        self.ids[place].is_none()
    }

    fn shared(&self) -> Arc<dyn Any + Send + Sync> {
        self.doing.clone()
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.note("savepoint");
        self.savepoint = self.doing.0.lock().unwrap().len();
        ready()
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.note("undo");
        self.doing.0.lock().unwrap().truncate(self.savepoint);
        ready()
    }

    fn give_back(&mut self, places: Vec<usize>) -> BoxFuture<'_, Result<(), InboxError>> {
        self.note(format!("give back {places:?}"));
        let mut state = self.store.state.lock().unwrap();
        for place in places {
            state.locked.remove(&self.ids[place].take().unwrap());
        }
        drop(state);
        ready()
    }

    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Result<(), InboxError>> {
        self.note(format!("publish {}", messages.len()));
        self.outbox.extend(messages);
        ready()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        Box::pin(async move {
            let how = self.store.state.lock().unwrap().commits.pop_front();
            let lost = || InboxError::Unavailable("connection reset after COMMIT".into());
            match how {
                Some(Commit::LostBefore) => {
                    self.end(false);
                    self.note("lost before commit");
                    Err(lost())
                }
                Some(Commit::LostAfter) => {
                    self.end(true);
                    self.note("lost after commit");
                    Err(lost())
                }
                Some(Commit::Silent) => {
                    self.end(true);
                    std::future::pending().await
                }
                Some(Commit::Refused) => {
                    self.end(false);
                    self.note("refused");
                    Err(InboxError::Work("a deferred constraint".into()))
                }
                Some(Commit::Takes(time)) => {
                    tokio::time::sleep(time).await;
                    self.end(true);
                    self.note("commit");
                    Ok(())
                }
                None => {
                    self.end(true);
                    self.note("commit");
                    Ok(())
                }
            }
        })
    }

    fn rollback(mut self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        self.end(false);
        self.note("rollback");
        ready()
    }
}
