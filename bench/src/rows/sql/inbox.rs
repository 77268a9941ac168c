//! W12: claim and effect in one transaction.

use crate::apart::job::{Job, SqlArm};
use crate::error::BenchError;
use crate::measure::{Figure, Sample};
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::lines::{cost, time};
use crate::rows::{Setting, agree};
use crate::sql::server::server;
use crate::verdict::{Target, Unit};

const SINGLE: u64 = 10_000;
const TOGETHER: u64 = 300_000;
const BATCH: usize = 500;
const BY_HAND: &str = "INSERT ON CONFLICT, effect and COMMIT by hand";

/// One after the other, several at a time, and in batches.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let most = Target::AtMost(1.15);
    let mut lines = Vec::new();
    for (what, slots) in [
        ("a message a transaction, in turn", 1),
        ("a message a transaction, 8 at a time", 8),
    ] {
        let pairs = pairs(setting, SINGLE, |job| Job { slots, ..job })?;
        lines.push(time(what, BY_HAND, &pairs, most));
        lines.push(cost(what, BY_HAND, &pairs, Target::None));
    }
    let pairs = pairs(setting, TOGETHER, |job| Job { open: BATCH, ..job })?;
    let what = format!("{BATCH} messages a transaction");
    lines.push(time(&what, BY_HAND, &pairs, most));
    lines.push(cost(&what, BY_HAND, &pairs, Target::None));
    let speed = (Unit::PerSecond, pairs.ours(Figure::PerSecond));
    lines.push(Line::new(what, "", speed, Target::AtLeast(25_000.0)));
    Ok(lines)
}

fn pairs(setting: &Setting<'_>, messages: u64, change: impl Fn(Job) -> Job) -> Result<Pairs, BenchError> {
    let total = setting.length.messages(messages);
    let arm = |arm| play(&change, arm, total);
    Pairs::of_processes(
        setting.length.rounds(),
        || arm(SqlArm::Inbox),
        || arm(SqlArm::InboxByHand),
    )
}

/// Both must have claimed and done everything, once.
fn play(change: impl Fn(Job) -> Job, arm: SqlArm, total: u64) -> Result<Sample, BenchError> {
    let ground = server()?.ground()?;
    let outcome = change(ground.job(arm, total)).run()?;
    for table in ["effects", "tidings.inbox"] {
        agree(&format!("{arm:?}: rows of {table}"), ground.count(table)?, total)?;
    }
    Ok(outcome.sample())
}
