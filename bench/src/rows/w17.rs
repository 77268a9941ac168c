//! W17: from exec to the first message handled, and from SIGTERM to the end of an idle service.

use std::cell::RefCell;
use std::time::Duration;

use crate::arms::process::Process;
use crate::arms::topic::{self, Place, Topic};
use crate::child::Part;
use crate::error::BenchError;
use crate::measure::{Figure, Sample};
use crate::order;
use crate::pairs::{Pairs, Spread};
use crate::report::Line;
use crate::rows::{Setting, by_hand_file};
use crate::verdict::{Target, Unit};

/// More than elsewhere: a start is short and uneven.
const ROUNDS: usize = 7;
/// Long enough that nothing of the start is still going on.
const IDLE: Duration = Duration::from_millis(200);

/// Starts and stops on each broker, beside a program that reads one message from a file.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let directory = setting.directory()?;
    let by_hand = by_hand_file(directory.path())?;
    let mut lines = Vec::new();
    for place in Place::ALL {
        let data = directory.path().join(place.name());
        let topic = topic::runtime()?.block_on(Topic::filled(place, &data, 1, |number| {
            (order::key(number, 1), order::order_json(number))
        }))?;
        let part = || match place {
            // Another process cannot see this one's memory, so the child publishes for itself.
            Place::Memory => Part::FirstOwn {
                url: "memory:".into(),
            },
            Place::Embedded => Part::First {
                url: topic.url().into(),
                group: topic::fresh_group(),
            },
        };
        lines.extend(measured(setting, place, part, &by_hand)?);
    }
    Ok(lines)
}

fn measured(
    setting: &Setting<'_>,
    place: Place,
    part: impl Fn() -> Part,
    by_hand: &Part,
) -> Result<[Line; 2], BenchError> {
    let stops = RefCell::new((Vec::new(), Vec::new()));
    let rounds = setting.length.rounds().max(2);
    let pairs = Pairs::run(
        if rounds > 2 { ROUNDS } else { rounds },
        || started_and_stopped(&part(), &mut stops.borrow_mut().0),
        || started_and_stopped(by_hand, &mut stops.borrow_mut().1),
    )?;
    let milliseconds = |figure: Spread| figure.scaled(1e-6);
    let ours = milliseconds(pairs.ours(Figure::WallNanoseconds));
    let reference = milliseconds(pairs.reference(Figure::WallNanoseconds));
    let (ours_stop, reference_stop) = stops.into_inner();
    let name = place.name();
    Ok([
        Line::new(
            format!("{name}, exec to first message handled"),
            "",
            (Unit::Milliseconds, ours),
            Target::AtMost(20.0),
        )
        .with("a tokio program by hand", Unit::Milliseconds, reference),
        Line::new(
            format!("{name}, SIGTERM to exit while idle"),
            "",
            (Unit::Milliseconds, Spread::of(ours_stop)),
            Target::AtMost(100.0),
        )
        .with("by hand", Unit::Milliseconds, Spread::of(reference_stop)),
    ])
}

/// One start and one stop; the sample is the start, and the stop in milliseconds is added to the list.
fn started_and_stopped(part: &Part, stops: &mut Vec<f64>) -> Result<Sample, BenchError> {
    let mut process = Process::start(part)?;
    let wall = process.first_word()?;
    std::thread::sleep(IDLE);
    stops.push(process.stop()?.as_secs_f64() * 1e3);
    Ok(Sample {
        messages: 1,
        wall,
        cpu: Duration::ZERO,
    })
}
