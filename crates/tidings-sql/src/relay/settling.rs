//! What becomes of what was sent: [`settle`], and what a relay that leads remembers of it.

use super::batch::Batch;
use super::broken::Broken;
use super::leading::Leading;
use super::verdicts::{Verdicts, judge};
use crate::dialect::Dialect;
use crate::kept::Kept;
use crate::outbox::rows::Row;
use crate::store::SqlStore;
use crate::value::Value;
use std::collections::{BTreeSet, HashSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};
use tidings_core::Lease;
use tokio::time::Instant;

impl<DB: Dialect> Leading<'_, DB> {
    /// Takes over what was sent and is not answered, all that there is of its channels; they are not read until it is.
    pub(crate) fn wait_apart(&mut self, unanswered: Vec<Batch>) {
        self.slow.add(unanswered);
    }

    /// Whose answers are missing, for a person.
    pub(crate) fn not_answered(&self) -> String {
        let channels: BTreeSet<&Arc<str>> = self.slow.channels().collect();
        format!("channels {channels:?} are not answered yet")
    }

    /// Takes out what was answered since, of channels that were not waited for; how many rows.
    pub(super) async fn settle_slow(&mut self) -> Result<usize, Broken> {
        let mut count = 0;
        let mut answered = self
            .slow
            .take(Instant::now(), &mut Context::from_waker(Waker::noop()));
        while let Some(batch) = answered.pop() {
            count += batch.rows().len();
            if let Err(error) = self.settle(batch).await {
                self.slow.add(answered);
                return Err(error);
            }
        }
        Ok(count)
    }

    /// Sends nothing and waits for the answers that are missing, until then at the most; whether all have come.
    pub(crate) async fn settle_all(&mut self, until: Option<Instant>) -> Result<bool, Broken> {
        loop {
            self.keep_lease().await?;
            self.settle_slow().await?;
            if self.slow.is_empty() {
                return Ok(true);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
            self.pause(until).await;
        }
    }

    /// Waits until something more is answered, or until then, or as long as the lease allows.
    pub(crate) async fn pause(&mut self, until: Option<Instant>) {
        if self.slow.is_empty() && until.is_none() {
            return;
        }
        self.kept.let_go();
        let renewal = Instant::now() + self.relay.options.lease / 3;
        let until = [until, self.slow.deadline()]
            .into_iter()
            .flatten()
            .fold(renewal, Instant::min);
        let _ = tokio::time::timeout_at(until, poll_fn(|context| self.slow.poll_answers(context))).await;
    }

    /// Takes out what was taken, parks what was refused, and remembers which channels work.
    pub(super) async fn settle(&mut self, batch: Batch) -> Result<(), Broken> {
        if batch.rows().is_empty() {
            return Ok(());
        }
        let (rows, answers) = batch.into_answers();
        let verdicts = judge(&rows, &answers, self.relay.options.parked_keys);
        settle(&self.relay.store, &mut self.kept, &self.lease, &verdicts).await?;
        self.note(&rows, &verdicts);
        Ok(())
    }

    /// Remembers which channels work and which do not, and says so.
    pub(crate) fn note(&mut self, rows: &[Row], verdicts: &Verdicts) {
        let now = Instant::now();
        let status = &self.relay.status;
        // One that takes some and not others begins to wait anew.
        let some: HashSet<i64> = match verdicts.stuck.is_empty() {
            true => HashSet::new(),
            false => verdicts.done.iter().copied().collect(),
        };
        let works = |row: &&Row| !verdicts.stuck.contains_key(&row.channel) || some.contains(&row.id);
        for row in rows.iter().filter(works) {
            self.channels.works(&row.channel);
        }
        for (channel, reason) in &verdicts.stuck {
            tracing::warn!(%channel, reason, "messages in the outbox wait");
            self.channels.hold(channel, now);
            status.failed(format!("channel \"{channel}\": {reason}"));
        }
        for (id, reason) in &verdicts.refused {
            tracing::warn!(id, reason, "a message in the outbox is parked");
        }
        status.add(verdicts.done.len(), verdicts.refused.len());
        if self.channels.are_well() {
            status.works();
        }
    }
}

/// Takes out what was sent and parks what was refused, if the lease is still held; how many rows were there.
pub(crate) async fn settle<DB: Dialect>(
    store: &SqlStore<DB>,
    kept: &mut Kept<DB>,
    lease: &Lease,
    verdicts: &Verdicts,
) -> Result<u64, Broken> {
    let wanted = verdicts.done.len() + verdicts.refused.len();
    if wanted == 0 {
        return Ok(0);
    }
    let (statements, doing) = (store.outbox_statements(), "taking out what was sent");
    let mut found = 0;
    if let Some(sql) = statements.take_out().filter(|_| verdicts.refused.is_empty()) {
        let token = Value::Int(i64::try_from(lease.token()).unwrap_or(i64::MAX));
        let values = [Value::Ints(&verdicts.done), Value::Text(lease.name()), token];
        found = kept.execute(store, doing, sql, &values).await?;
        if found == wanted as u64 {
            return Ok(found);
        }
        // The lease is lost, or somebody else has taken some out.
    }
    // If the server dies before that is on its disk, they are found again and sent again.
    let mut tx = store.begin_unsynced().await?;
    tx.check_fence(lease.name(), lease.token()).await?;
    for (id, reason) in &verdicts.refused {
        let values = [Value::Int(*id), Value::Text(reason)];
        tx.execute("parking a message", statements.park(), &values)
            .await?;
    }
    let refused = verdicts.refused.iter().map(|(id, _)| *id);
    let gone: Vec<i64> = verdicts.done.iter().copied().chain(refused).collect();
    found += tx
        .execute(doing, statements.delete(), &[Value::Ints(&gone)])
        .await?;
    tx.commit().await?;
    Ok(found)
}
