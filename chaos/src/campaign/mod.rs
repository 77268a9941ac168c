//! A campaign: one incarnation after the other is killed, the last one is left in peace, and the checker judges.

mod incarnation;
mod plan;

pub use plan::{Life, Plan};

use crate::checker::{Report, check};
use crate::child::{Ending, Order};
use crate::error::ChaosError;
use crate::history::{Disk, Event, Fault, Fsync, History, read_all};
use crate::plant::Plant;
pub(crate) use incarnation::{CHILD, End, Incarnation};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last incarnation may take to finish everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// The last incarnation still publishes a little: what comes after a crash must work too.
const LAST_MESSAGES: u64 = 20;

/// One campaign.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The program that is started again and again: this one.
    pub program: PathBuf,
    /// An empty directory for everything.
    pub directory: PathBuf,
    /// Decides everything but the time that things take.
    pub seed: u64,
    /// What a kill takes away.
    pub disk: Disk,
    /// When an acknowledged message is on the disk.
    pub fsync: Fsync,
    /// How many processes are killed.
    pub kills: u32,
    /// About how many messages each publishes.
    pub messages: u64,
    /// The bug.
    pub plant: Option<Plant>,
}

/// What came of a campaign.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the checker found.
    pub report: Report,
    /// Processes that ended in another way than they were told to, with their last words.
    pub failures: Vec<String>,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.report.violations.is_empty() && self.failures.is_empty()
    }
}

impl Campaign {
    /// Kills, settles, judges.
    ///
    /// # Errors
    /// If processes cannot be started or histories not be read.
    pub fn run(&self) -> Result<Outcome, ChaosError> {
        std::fs::create_dir_all(self.data()).map_err(ChaosError::io("create", &self.directory))?;
        let faults = History::open(&self.directory.join("campaign.jsonl"), 0)?;
        let mut failures = Vec::new();
        let mut plan = Plan::new(self.seed, self.disk);
        let (mut incarnation, mut kills) = (0, 0);
        // A process that can't start would never be killed.
        while kills < self.kills && failures.is_empty() {
            let end = self.live(incarnation, plan.next(), &faults)?;
            kills += u32::from(matches!(end, End::Killed));
            failures.extend(end.failure());
            incarnation += 1;
        }
        if failures.is_empty() {
            let end = self.live(incarnation, Life::Settle(PATIENCE), &faults)?;
            failures.extend(end.failure());
        }
        let report = check(&read_all(std::slice::from_ref(&self.directory))?);
        Ok(Outcome { report, failures })
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Lives one life, and notes the kill of one that did not kill itself.
    fn live(&self, number: u32, life: Life, faults: &History) -> Result<End, ChaosError> {
        let order = self.order(number, life);
        let incarnation = Incarnation::start(&self.program, (CHILD, &order), number, &self.directory)?;
        let (end, by_us) = match life {
            Life::Die { .. } => incarnation.wait(DIE_WITHIN)?,
            Life::Killed { after } => incarnation.wait(after)?,
            Life::Stop { after } => incarnation.wait_for_exit(after + STOP_WITHIN)?,
            Life::Settle(patience) => incarnation.wait_for_exit(patience + STOP_WITHIN)?,
        };
        if by_us {
            let fault = Fault {
                point: None,
                call: None,
            };
            faults.write_for(number, Event::Fault(fault));
        }
        Ok(end)
    }

    fn order(&self, incarnation: u32, life: Life) -> Order {
        let millis = |time: Duration| time.as_millis() as u64;
        let ending = match life {
            Life::Die { .. } | Life::Killed { .. } => Ending::Work,
            Life::Stop { after } => Ending::Stop {
                after_ms: millis(after),
            },
            Life::Settle(patience) => Ending::Settle {
                patience_ms: millis(patience),
            },
        };
        Order {
            directory: self.data(),
            history: self.directory.join(format!("{incarnation:05}.jsonl")),
            incarnation,
            seed: self.seed,
            disk: self.disk,
            fsync: self.fsync,
            messages: if matches!(life, Life::Settle(_)) {
                LAST_MESSAGES
            } else {
                self.messages
            },
            ending,
            die: match life {
                Life::Die { point, nth } => Some((point.name().to_owned(), nth)),
                _ => None,
            },
            plant: self.plant.map(|plant| plant.name().to_owned()),
        }
    }
}

/// A process that was to die at a place where it did not come by is killed then.
const DIE_WITHIN: Duration = Duration::from_secs(3);
/// A drain may take its deadline and its grace; beyond this the process hangs.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What a process said last.
fn last_words(path: &Path) -> String {
    let said = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&said);
    let lines: Vec<_> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
