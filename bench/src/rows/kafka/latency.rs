//! W15 on Kafka: from when a message was due to be sent to its handler, under an open load.
//!
//! Without linger the way is the clients' and the broker's own. With linger most of it is waiting for company, whose end
//! differs by a millisecond from run to run; that is how applications run, so it is shown as well.

use crate::apart::job::{Arm, Job, Outcome};
use crate::error::BenchError;
use crate::kafka::server::{server, unique};
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const SECONDS: u64 = 4;

/// Both rates, beside a producer and a poll loop by hand.
pub(in crate::rows) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for linger_ms in [0, 5] {
        for per_second in [1_000, 20_000] {
            lines.extend(at(setting, per_second, linger_ms)?);
        }
    }
    Ok(lines)
}

fn at(setting: &Setting<'_>, per_second: u32, linger_ms: u32) -> Result<[Line; 2], BenchError> {
    let server = server()?;
    let total = setting.length.messages(u64::from(per_second) * SECONDS);
    // A topic for each run: nobody reads what another has sent.
    let measured = |arm| -> Result<Outcome, BenchError> {
        let topic = unique("latency");
        server.topic(&topic, 1, true)?;
        Job {
            per_second,
            linger_ms,
            partitions: 1,
            ..server.job(arm, &topic, total)
        }
        .run()
    };
    let (mut p50, mut p99, mut by_hand) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
    for _ in 0..setting.length.rounds() {
        let ours = [measured(Arm::LatencyApp)?];
        let theirs = [measured(Arm::LatencyLoop)?, measured(Arm::LatencyLoop)?];
        let [first] = ours;
        for (ours, theirs) in [first, measured(Arm::LatencyApp)?].iter().zip(&theirs) {
            p50.push(ours.p50_us - theirs.p50_us);
            p99.push(ours.p99_us - theirs.p99_us);
            by_hand.0.push(theirs.p50_us);
            by_hand.1.push(theirs.p99_us);
        }
    }
    let line = |name: &str, added: Vec<f64>, limit, by_hand: Vec<f64>| {
        Line::new(
            format!("{per_second}/s, linger {linger_ms} ms, added to {name} of the way through the broker"),
            "a producer and a poll loop by hand",
            (Unit::Microseconds, Spread::of(added)),
            Target::AtMost(limit),
        )
        .with("by hand", Unit::Microseconds, Spread::of(by_hand))
    };
    Ok([
        line("p50", p50, 30.0, by_hand.0),
        line("p99", p99, 150.0, by_hand.1),
    ])
}
