//! W23's second half: how fast much is opened, and what memory it takes while nobody uses it.

use std::path::Path;
use std::time::Duration;

use tidings_core::{Binder, Message, Outgoing, Timestamp};
use tidings_embedded::EmbeddedBroker;

use crate::arms::process::Process;
use crate::arms::topic;
use crate::child::Part;
use crate::error::BenchError;
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::{Setting, w23};
use crate::verdict::{Target, Unit};

const TOPICS: u32 = 10_000;
const PARTITIONS: u32 = 4;
const DELAYED: u64 = 1_000_000;
/// How many messages for later are published before their receipts are awaited.
const BATCH: u64 = 10_000;
/// So many segments of 64 MiB are ten gigabytes.
const SEGMENTS: u64 = 160;
const SEGMENT_BYTES: u64 = 64 << 20;
const OPENING_MILLISECONDS: f64 = 1_000.0;
/// Of memory for a partition that nobody uses.
const PARTITION_KIB: f64 = 4.0;
/// Beyond an idle broker, whatever waits in its files.
const DELAYED_MEGABYTES: f64 = 16.0;
const SETTLED: Duration = Duration::from_secs(2);

/// What a child that opened a directory took.
struct Opened {
    milliseconds: Spread,
    megabytes: Spread,
}

/// A directory with nothing in it, with ten thousand topics, unused and used, with messages for later, and with a long
/// log.
pub(super) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let directory = setting.directory()?;
    let runtime = topic::runtime()?;
    let place = |name: &str| directory.path().join(name);
    let make = |name: &str, topics| w23::open(&runtime, &place(name), topics, PARTITIONS);
    let topics = setting.length.messages(u64::from(TOPICS)) as u32;

    close(&runtime, make("nothing", 0)?)?;
    let nothing = open(setting, &place("nothing"), "idle")?;
    close(&runtime, make("topics", topics)?)?;
    let unused = open(setting, &place("topics"), "idle")?;
    // The first use of a log syncs it twice, so these are fewer.
    let few = (topics / 40).max(1);
    close(&runtime, make("used", few)?)?;
    let used = open(setting, &place("used"), "use-all")?;

    let delayed = setting.length.messages(DELAYED);
    let broker = make("delayed", 1)?;
    runtime.block_on(delay(&broker, delayed))?;
    close(&runtime, broker)?;
    let waiting = open(setting, &place("delayed"), "idle")?;

    close(&runtime, make("long", 1)?)?;
    lengthen(&place("long"))?;
    let long = open(setting, &place("long"), "use-all")?;

    let per_partition = |opened: &Opened, topics: u32| {
        let partitions = f64::from(topics * PARTITIONS);
        let kib = |megabytes: f64| (megabytes - nothing.megabytes.median) * 1_024.0 / partitions;
        let spread = opened.megabytes;
        Spread {
            median: kib(spread.median),
            low: kib(spread.low),
            high: kib(spread.high),
        }
    };
    let memory = |what: &str, opened: &Opened, topics: u32| {
        let target = Target::AtMost(PARTITION_KIB);
        Line::new(what, "", (Unit::Kibibytes, per_partition(opened, topics)), target)
            .with("resident", Unit::Megabytes, opened.megabytes)
            .with("with nothing", Unit::Megabytes, nothing.megabytes)
    };
    let opening = |what: String, opened: &Opened| {
        let target = Target::AtMost(OPENING_MILLISECONDS);
        Line::new(what, "", (Unit::Milliseconds, opened.milliseconds), target).with(
            "with nothing",
            Unit::Milliseconds,
            nothing.milliseconds,
        )
    };
    Ok(vec![
        memory(
            "memory of a partition that was not used since the start",
            &unused,
            topics,
        ),
        memory("memory of an idle partition that was used", &used, few),
        opening(
            format!("exec to open: {topics} topics of {PARTITIONS} partitions"),
            &unused,
        ),
        opening(format!("exec to open: {delayed} messages for later"), &waiting),
        Line::new(
            format!("memory beyond an idle broker's: {delayed} messages for later"),
            "",
            (
                Unit::Megabytes,
                waiting.megabytes.shifted(-nothing.megabytes.median),
            ),
            Target::AtMost(DELAYED_MEGABYTES),
        ),
        opening("exec to open and append: 10 GB of log".to_owned(), &long),
    ])
}

fn close(runtime: &tokio::runtime::Runtime, broker: EmbeddedBroker) -> Result<(), BenchError> {
    runtime
        .block_on(Binder::close(&broker))
        .map_err(BenchError::part("closing the broker"))
}

fn open(setting: &Setting<'_>, directory: &Path, doing: &str) -> Result<Opened, BenchError> {
    let (mut milliseconds, mut megabytes) = (Vec::new(), Vec::new());
    for _ in 0..setting.length.rounds() {
        let mut process = Process::start(&Part::Open {
            directory: directory.to_string_lossy().into_owned(),
            doing: doing.to_owned(),
        })?;
        milliseconds.push(process.first_word()?.as_secs_f64() * 1e3);
        std::thread::sleep(SETTLED);
        megabytes.push(process.resident_megabytes()?);
        process.stop()?;
    }
    Ok(Opened {
        milliseconds: Spread::of(milliseconds),
        megabytes: Spread::of(megabytes),
    })
}

async fn delay(broker: &EmbeddedBroker, count: u64) -> Result<(), BenchError> {
    let sink = Binder::sink(broker);
    let due = Timestamp::now().plus(Duration::from_secs(30 * 86_400));
    let mut number = 0;
    while number < count {
        let end = (number + BATCH).min(count);
        let batch = (number..end).map(|number| {
            let mut outgoing = Outgoing::new("topic-0", Message::new(format!("later {number}")));
            outgoing.due = Some(due.plus(Duration::from_millis(number)));
            outgoing
        });
        topic::publish_batch(&sink, batch.collect()).await?;
        number = end;
    }
    Ok(())
}

/// Puts segments before the only one, which hold what a hole in a file holds: only reading would find out.
fn lengthen(directory: &Path) -> Result<(), BenchError> {
    let partition = directory.join("topics/topic-0/0");
    std::fs::create_dir_all(&partition).map_err(BenchError::file(&partition))?;
    let segment = |base: u64| partition.join(format!("{base:020}.log"));
    let file = |base: u64| std::fs::File::create(segment(base)).map_err(BenchError::file(&partition));
    for number in 0..SEGMENTS {
        file(number * 1_000)?
            .set_len(SEGMENT_BYTES)
            .map_err(BenchError::file(&partition))?;
    }
    // The last one, which the broker begins when it finds it empty.
    file(SEGMENTS * 1_000).map(drop)
}
