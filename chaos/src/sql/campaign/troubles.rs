//! What happens around the processes of a campaign.

use super::{Attack, SERVICES};
use crate::error::ChaosError;
use crate::history::{Event, SqlEvent};
use crate::sql::database::TestDb;
use crate::sql::hub::Loss;
use crate::sql::plan::Trouble;
use brokers::CommitFault;
use std::time::{Duration, Instant};

/// For so long at least COMMITs lose their connections.
const COMMITS_LOST_FOR: Duration = Duration::from_millis(400);
/// And until one has, for so long at the most: processes may still be starting, or stand still.
const COMMITS_LOST_WITHIN: Duration = Duration::from_secs(10);
/// The relay that has the lease may be one that polls: for so long at the most a slot is waited for that is read.
const SLOT_READ_WITHIN: Duration = Duration::from_secs(10);

impl<DB: TestDb> Attack<'_, DB> {
    /// Something happens around the processes.
    pub(super) async fn trouble(&mut self) -> Result<(), ChaosError> {
        let trouble = self.plan.trouble();
        let away = Duration::from_millis(self.plan.dice.u64(0..500));
        let done = match trouble {
            Trouble::Broker(loss) => {
                self.hub.lose(loss);
                Some(match loss {
                    Loss::Message => "connection to the broker cut before a message",
                    Loss::Answer => "connection to the broker cut before an answer",
                })
            }
            Trouble::FreezeLeader => self.freeze_leader().await,
            Trouble::FreezeAny => {
                let any = self.plan.dice.usize(..SERVICES);
                self.members.get(any).map(|member| {
                    member.incarnation.freeze();
                    "stopped at any time, woken after the lease"
                })
            }
            Trouble::Commits(fault) => self.lose_commits(fault).await?,
            Trouble::Slot(_) if !self.is_slot_read(away).await? => None,
            _ => self.harm(trouble, away).await?,
        };
        if let Some(kind) = done {
            let kind = kind.to_owned();
            self.history.write(Event::Sql(SqlEvent::Fault { kind }));
            self.faults += 1;
            self.plan.came(trouble);
        }
        Ok(())
    }

    /// Harms the database. Processes are looked after meanwhile: a server that is to stop waits for a relay that reads its
    /// slot and stands still.
    async fn harm(&mut self, trouble: Trouble, away: Duration) -> Result<Option<&'static str>, ChaosError> {
        let home = self.home.clone();
        let harming = tokio::task::spawn_blocking(move || home.harm(trouble, away));
        while !harming.is_finished() {
            self.look_after_all().await?;
        }
        harming.await.map_err(ChaosError::service)?
    }

    /// Some COMMITs lose their connection, at least one if any comes. Processes are looked after meanwhile: if all were
    /// left dead or standing still, nobody would commit.
    async fn lose_commits(&mut self, fault: CommitFault) -> Result<Option<&'static str>, ChaosError> {
        let before = self.home.commits_cut();
        self.home.cut_commits(Some(fault));
        let began = Instant::now();
        let is_enough = |attack: &Self| match attack.home.commits_cut() > before {
            true => began.elapsed() >= COMMITS_LOST_FOR,
            false => began.elapsed() >= COMMITS_LOST_WITHIN,
        };
        while !is_enough(self) && self.failures.is_empty() {
            self.look_after_all().await?;
        }
        self.home.cut_commits(None);
        Ok((self.home.commits_cut() > before).then_some(match fault {
            CommitFault::Answer => "connection cut after COMMIT",
            _ => "connection cut before COMMIT",
        }))
    }

    /// Whether a relay reads a slot, now or soon, and has had so much time for it.
    async fn is_slot_read(&mut self, time: Duration) -> Result<bool, ChaosError> {
        let began = Instant::now();
        while began.elapsed() < SLOT_READ_WITHIN && self.failures.is_empty() {
            let slots = "SELECT count(*) FROM pg_replication_slots WHERE active";
            if let Ok(mut connection) = self.store.pool().acquire().await
                && let Ok(1..) = DB::number(&mut connection, slots).await
            {
                let found = Instant::now();
                while found.elapsed() < time {
                    self.look_after_all().await?;
                }
                return Ok(true);
            }
            self.look_after_all().await?;
        }
        Ok(false)
    }

    /// The one whose relay has the lease, if the database says so.
    async fn freeze_leader(&self) -> Option<&'static str> {
        let holder = format!(
            "SELECT holder FROM {}locks WHERE name = 'tidings.outbox'",
            DB::PREFIX
        );
        let mut connection = self.store.pool().acquire().await.ok()?;
        let rows = DB::rows(&mut connection, &holder, 1).await.ok()?;
        let holder: u32 = rows.first()?.first()?.parse().ok()?;
        let member = self.members.iter().find(|member| member.number == holder)?;
        member.incarnation.freeze();
        Some("stopped while its relay had the lease, woken after it")
    }
}
