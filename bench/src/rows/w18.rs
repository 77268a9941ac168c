//! W18: resident memory of a service that is idle, and of one behind a backlog that it cannot work off.

use std::time::Duration;

use crate::arms::process::Process;
use crate::arms::topic::{self, Place, Topic};
use crate::child::Part;
use crate::error::BenchError;
use crate::order;
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::{Setting, by_hand_file};
use crate::verdict::{Target, Unit};

const BACKLOG: u64 = 1_000_000;
/// `max_in_flight` messages of 10,000 may be in memory; with headers and bookkeeping about 600 bytes each.
const BUFFERS_MEGABYTES: f64 = 6.0;
const IDLE_LIMIT_MEGABYTES: f64 = 25.0;
/// When the memory is looked at: start-up is over, and a reader that does not stop reading would have shown.
const SETTLED: Duration = Duration::from_secs(2);

/// Idle on each broker, then behind the backlog on the embedded one; beside a program that only waits.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let directory = setting.directory()?;
    let by_hand = by_hand_file(directory.path())?;
    let reference = resident(setting, || by_hand.clone())?;
    let own = || Part::FirstOwn {
        url: "memory:".into(),
    };
    let mut lines = vec![line(
        "memory, idle",
        resident(setting, own)?,
        IDLE_LIMIT_MEGABYTES,
        reference,
    )];
    for (what, count, limit) in [
        ("embedded, idle".to_owned(), 1, IDLE_LIMIT_MEGABYTES),
        (
            format!(
                "embedded, behind a backlog of {} (25 MB + {BUFFERS_MEGABYTES} MB of buffers)",
                setting.length.messages(BACKLOG)
            ),
            setting.length.messages(BACKLOG),
            IDLE_LIMIT_MEGABYTES + BUFFERS_MEGABYTES,
        ),
    ] {
        let data = directory.path().join(count.to_string());
        let topic = topic::runtime()?.block_on(Topic::filled(Place::Embedded, &data, count, |number| {
            (order::key(number, 1_000), order::order_json(number))
        }))?;
        let slow = || Part::Slow {
            url: topic.url().into(),
            group: topic::fresh_group(),
        };
        lines.push(line(&what, resident(setting, slow)?, limit, reference));
    }
    Ok(lines)
}

fn line(what: &str, found: Spread, limit: f64, reference: Spread) -> Line {
    Line::new(what, "", (Unit::Megabytes, found), Target::AtMost(limit)).with(
        "a tokio program by hand",
        Unit::Megabytes,
        reference,
    )
}

/// Memory does not drift with the machine's load, so plain repetitions are enough.
fn resident(setting: &Setting<'_>, part: impl Fn() -> Part) -> Result<Spread, BenchError> {
    let mut found = Vec::new();
    for _ in 0..setting.length.rounds() {
        let mut process = Process::start(&part())?;
        process.first_word()?;
        std::thread::sleep(SETTLED);
        found.push(process.resident_megabytes()?);
        process.stop()?;
    }
    Ok(Spread::of(found))
}
