//! A campaign on a database: [`SqlCampaign`].

mod findings;
mod troubles;

use super::checker::{SqlReport, check};
use super::child::{Ending, Order, PAYMENTS};
use super::database::{TABLES, TestDb};
use super::home::Home;
use super::hub::Hub;
use super::member::{Ended, Member};
use super::plan::{Life, SqlPlan};
use super::plant::SqlPlant;
use super::relays::{Relaying, Relays};
use crate::campaign::{End, Incarnation};
use crate::error::ChaosError;
use crate::history::{Event, Fault, History, SqlEvent, Store, read_all};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_sql::SqlStore;
use tidings_sql::sqlx::{Postgres, Sqlite};

/// The subcommand under which this program is its own victim.
pub(crate) const CHILD: &str = "sql-child";
const SERVICES: usize = 2;
/// How long the last processes may take to finish everything.
const PATIENCE: Duration = Duration::from_secs(120);
/// And how much longer to end.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// On PostgreSQL: no row of the outbox outlives the transaction that writes it.
const SLOT_ALONE: &str = "CREATE FUNCTION slot_alone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM tidings.outbox \
     WHERE id = NEW.id; RETURN NULL; END'; CREATE TRIGGER slot_alone AFTER INSERT ON tidings.outbox FOR EACH ROW EXECUTE \
     FUNCTION slot_alone()";
/// What comes after all faults must work too.
const LAST_MESSAGES: u64 = 40;

/// One campaign.
#[derive(Debug, Clone)]
pub struct SqlCampaign {
    /// The program that is started again and again: this one.
    pub program: PathBuf,
    /// An empty directory for everything.
    pub directory: PathBuf,
    /// Decides everything but the time that things take.
    pub seed: u64,
    /// What keeps effects and events.
    pub store: Store,
    /// By which way services send what is in the outbox.
    pub relays: Relays,
    /// How many faults there are at least. What can happen around the processes happens once in any case.
    pub faults: u32,
    /// About how many messages each process publishes that were not published before.
    pub messages: u64,
    /// The bug.
    pub plant: Option<SqlPlant>,
}

/// What came of a campaign.
#[derive(Debug, Clone)]
pub struct SqlOutcome {
    /// What the checker found.
    pub report: SqlReport,
    /// Processes that ended in another way than they were told to, with their last words.
    pub failures: Vec<String>,
}

impl SqlOutcome {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.report.violations.is_empty() && self.failures.is_empty()
    }
}

impl SqlCampaign {
    /// Attacks, settles, judges.
    ///
    /// # Errors
    /// If servers or processes cannot be started, or histories not be read.
    pub fn run(&self) -> Result<SqlOutcome, ChaosError> {
        std::fs::create_dir_all(&self.directory).map_err(ChaosError::io("create", &self.directory))?;
        let failures = crate::child::runtime()?.block_on(async {
            match self.store {
                Store::Postgres => self.attack::<Postgres>().await,
                Store::Sqlite => self.attack::<Sqlite>().await,
            }
        })?;
        let report = check(&read_all(std::slice::from_ref(&self.directory))?);
        Ok(SqlOutcome { report, failures })
    }

    fn relaying(&self, service: usize) -> Relaying {
        self.relays.of(service, self.seed)
    }

    async fn attack<DB: TestDb>(&self) -> Result<Vec<String>, ChaosError> {
        let history = History::open(&self.directory.join("campaign.jsonl"), 0)?;
        history.write(Event::Sql(SqlEvent::Began {
            seed: self.seed,
            store: self.store,
        }));
        let home = Arc::new(Home::new(self.store, &self.directory)?);
        let store = SqlStore::<DB>::open(&home.url()).await;
        let store = store.map_err(ChaosError::service)?;
        DB::run(&mut *writing(&store).await?, TABLES)
            .await
            .map_err(ChaosError::service)?;
        if self.plant == Some(SqlPlant::SlotAlone) {
            let planted = DB::run(&mut *writing(&store).await?, SLOT_ALONE).await;
            planted.map_err(ChaosError::service)?;
        }
        let mut attack = Attack {
            campaign: self,
            plan: SqlPlan::new(self.seed, self.store, self.relays),
            hub: Hub::start(PAYMENTS).await?,
            home,
            store,
            history,
            members: Vec::new(),
            started: 0,
            published: 0,
            ranges: [(0, 0); SERVICES],
            faults: 0,
            failures: Vec::new(),
        };
        attack.harm_all().await?;
        if attack.failures.is_empty() {
            attack.settle().await?;
            attack.note().await?;
        }
        Ok(attack.failures)
    }
}

/// A connection of its own for the campaign: the one that writes.
async fn writing<DB: TestDb>(
    store: &SqlStore<DB>,
) -> Result<tidings_sql::sqlx::pool::PoolConnection<DB>, ChaosError> {
    store.pool().acquire().await.map_err(ChaosError::service)
}

/// A campaign under way.
struct Attack<'a, DB: TestDb> {
    campaign: &'a SqlCampaign,
    plan: SqlPlan,
    hub: Hub,
    home: Arc<Home>,
    store: SqlStore<DB>,
    history: History,
    /// One of each service; nobody before the first start.
    members: Vec<Member>,
    /// How many processes were started.
    started: u32,
    /// How many messages were published, by number.
    published: u64,
    /// What each service was told to publish last.
    ranges: [(u64, u64); SERVICES],
    faults: u32,
    failures: Vec<String>,
}

impl<DB: TestDb> Attack<'_, DB> {
    /// Harms everything until it is enough, or a process does what it must not.
    async fn harm_all(&mut self) -> Result<(), ChaosError> {
        for service in 0..SERVICES {
            let member = self.start(service)?;
            self.members.push(member);
        }
        let mut next = Instant::now() + self.plan.pause();
        // Whoever knows of events by a slot alone misses some after any of them.
        let any_do = self.campaign.plant.is_some_and(SqlPlant::needs_slot);
        let is_enough = |attack: &Self| {
            attack.faults >= attack.campaign.faults && (any_do || attack.plan.has_all_troubles())
        };
        while !is_enough(self) && self.failures.is_empty() && self.plan.in_vain().is_none() {
            self.look_after_all().await?;
            if Instant::now() >= next {
                self.trouble().await?;
                next = Instant::now() + self.plan.pause();
            }
        }
        let in_vain = self
            .plan
            .in_vain()
            .map(|trouble| format!("{trouble:?} never hits anything"));
        self.failures.extend(in_vain);
        for member in &mut self.members {
            if member.kill()? {
                noted_kill(&self.history, member.number);
            }
        }
        Ok(())
    }

    async fn look_after_all(&mut self) -> Result<(), ChaosError> {
        tokio::time::sleep(LOOK).await;
        (0..SERVICES).try_for_each(|service| self.look(service))
    }

    /// Looks after one process, and starts the next one in its place when it has ended.
    fn look(&mut self, service: usize) -> Result<(), ChaosError> {
        let Some(member) = self.members.get_mut(service) else {
            return Ok(());
        };
        match member.look()? {
            None => return Ok(()),
            Some(Ended::Killed) => {
                noted_kill(&self.history, member.number);
                self.faults += 1;
            }
            Some(Ended::Died) => self.faults += 1,
            Some(Ended::Drained) => {
                let kind = "drained and started again".to_owned();
                self.history.write(Event::Sql(SqlEvent::Fault { kind }));
            }
            Some(Ended::Failed(failure)) => {
                self.failures.push(failure);
                return Ok(());
            }
        }
        let next = self.start(service)?;
        if let Some(member) = self.members.get_mut(service) {
            *member = next;
        }
        Ok(())
    }

    fn start(&mut self, service: usize) -> Result<Member, ChaosError> {
        let life = self.plan.life(self.campaign.relaying(service));
        let ending = match life {
            Life::Stop { after } => Ending::Stop {
                after_ms: after.as_millis() as u64,
            },
            Life::At { .. } | Life::Killed { .. } => Ending::Work,
        };
        let at = match life {
            Life::At { place, nth, act } => Some((place.name().to_owned(), nth, act)),
            Life::Killed { .. } | Life::Stop { .. } => None,
        };
        let order = self.order(service, self.campaign.messages, ending, at);
        let incarnation = self.spawn(&order)?;
        Ok(Member::new(incarnation, order.incarnation, life))
    }

    fn spawn(&self, order: &Order) -> Result<Incarnation, ChaosError> {
        let directory = &self.campaign.directory;
        std::fs::create_dir_all(&order.directory).map_err(ChaosError::io("create", &order.directory))?;
        Incarnation::start(
            &self.campaign.program,
            (CHILD, order),
            order.incarnation,
            directory,
        )
    }

    fn order(
        &mut self,
        service: usize,
        messages: u64,
        ending: Ending,
        at: Option<(String, u64, super::child::Act)>,
    ) -> Order {
        self.started += 1;
        let new = (self.published, self.published + messages);
        self.published += messages;
        if let Some(range) = self.ranges.get_mut(service) {
            *range = new;
        }
        let others = self
            .ranges
            .get((service + 1) % SERVICES)
            .copied()
            .unwrap_or_default();
        let directory = &self.campaign.directory;
        Order {
            directory: directory.join(format!("service-{service}")),
            history: directory.join(format!("{:05}.jsonl", self.started)),
            incarnation: self.started,
            seed: self.campaign.seed,
            store: self.campaign.store,
            url: self.home.url_of(service),
            relaying: self.campaign.relaying(service),
            hub: self.hub.address,
            new,
            others,
            ending,
            at,
            plant: self.campaign.plant.map(|plant| plant.name().to_owned()),
        }
    }

    /// Without faults, two processes finish everything.
    async fn settle(&mut self) -> Result<(), ChaosError> {
        let patience_ms = PATIENCE.as_millis() as u64;
        let mut last = Vec::new();
        for service in 0..SERVICES {
            let order = self.order(service, LAST_MESSAGES, Ending::Settle { patience_ms }, None);
            last.push(self.spawn(&order)?);
        }
        for incarnation in last {
            let waiting = || incarnation.wait_for_exit(2 * PATIENCE + STOP_WITHIN);
            let (end, _) = tokio::task::block_in_place(waiting)?;
            self.failures.extend(match end {
                End::Killed => Some("somebody else has killed a process".to_owned()),
                other => other.failure(),
            });
        }
        Ok(())
    }
}

/// Of a process that did not kill itself.
fn noted_kill(history: &History, incarnation: u32) {
    let fault = Fault {
        point: None,
        call: None,
    };
    history.write_for(incarnation, Event::Fault(fault));
}
