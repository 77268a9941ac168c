//! W11: from the commit to the broker's answer.

use crate::apart::job::{Job, Outcome, SqlArm};
use crate::error::BenchError;
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::{Setting, agree};
use crate::sql::server::server;
use crate::verdict::{Target, Unit};

const PER_SECOND: u32 = 1_000;
const MESSAGES: u64 = 20_000;

/// The load in the relay's process, and in another.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let total = setting.length.messages(MESSAGES);
    let mut lines = Vec::new();
    for (arm, place) in [
        (SqlArm::Latency, "written in the relay's process"),
        (SqlArm::LatencyApart, "written in another process"),
    ] {
        let runs = (0..setting.length.rounds()).map(|_| play(arm, total));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let line = |what: &str, figure: fn(&Outcome) -> f64, due: fn(&Outcome) -> f64, target| {
            let spread = |figure: fn(&Outcome) -> f64| Spread::of(runs.iter().map(figure)).scaled(1e-3);
            let found = (Unit::Milliseconds, spread(figure));
            Line::new(format!("{PER_SECOND}/s, {place}: {what}"), "", found, target).with(
                "from when the transaction was due",
                Unit::Milliseconds,
                spread(due),
            )
        };
        lines.push(line(
            "p50",
            |run| run.p50_us,
            |run| run.due_p50_us,
            Target::AtMost(8.0),
        ));
        lines.push(line(
            "p99",
            |run| run.p99_us,
            |run| run.due_p99_us,
            Target::AtMost(25.0),
        ));
    }
    Ok(lines)
}

fn play(arm: SqlArm, total: u64) -> Result<Outcome, BenchError> {
    let ground = server()?.ground()?;
    let job = Job {
        per_second: PER_SECOND,
        ..ground.job(arm, total)
    };
    let outcome = job.run()?;
    agree(
        &format!("{arm:?}: rows of effects"),
        ground.count("effects")?,
        total,
    )?;
    Ok(outcome)
}
