//! Taking out what was sent, beside reading on: [`Landing`].

use super::flight::Landed;
use crate::kept::Kept;
use crate::relay::broken::Broken;
use crate::relay::leading::Leading;
use crate::relay::settling::settle;
use crate::relay::verdicts::{Verdicts, judge};
use crate::store::SqlStore;
use sqlx::Postgres;
use std::time::Duration;
use tidings_core::Lease;
use tokio::task::JoinHandle;

/// After which waits rows are looked for that were not visible.
const INVISIBLE_FOR: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];

/// Rows that are being taken out.
pub(crate) struct Landing {
    pub(crate) landed: Landed,
    pub(crate) verdicts: Verdicts,
    /// A task, because the lease is renewed meanwhile: that waits for the end of a transaction that has checked it.
    work: JoinHandle<Result<(), Broken>>,
}

impl Landing {
    pub(crate) fn begin(leading: &Leading<'_, Postgres>, landed: Landed) -> Self {
        let (store, lease) = (leading.relay.store.clone(), leading.lease().clone());
        let verdicts = judge(&landed.rows, &landed.answers, leading.relay.options.parked_keys);
        let to_do = verdicts.clone();
        let work = tokio::spawn(async move { take_out(&store, &lease, &to_do).await });
        Self {
            landed,
            verdicts,
            work,
        }
    }

    /// Waits until they are out.
    pub(crate) async fn end(&mut self) -> Result<(), Broken> {
        match (&mut self.work).await {
            Ok(result) => result,
            Err(error) => Err(Broken::Away(error.to_string())),
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Takes rows out. PostgreSQL sends a transaction as soon as its commit is written, which may be before anybody can see it;
/// so what was not found is looked for again. A row that is gone already has been sent twice.
async fn take_out(store: &SqlStore<Postgres>, lease: &Lease, verdicts: &Verdicts) -> Result<(), Broken> {
    let wanted = verdicts.done.len() + verdicts.refused.len();
    let mut found = settle(store, &mut Kept::none(), lease, verdicts).await?;
    for pause in INVISIBLE_FOR {
        if found >= wanted as u64 {
            break;
        }
        tokio::time::sleep(pause).await;
        found += settle(store, &mut Kept::none(), lease, verdicts).await?;
    }
    Ok(())
}
