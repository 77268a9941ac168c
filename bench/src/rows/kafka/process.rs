//! W17 and W18 on Kafka: start, stop, and resident memory.

use std::time::Duration;

use crate::apart::cores;
use crate::apart::job::{Arm, Job};
use crate::apart::peers::{Peer, spring, stream};
use crate::arms::process::Process;
use crate::child::Part;
use crate::error::BenchError;
use crate::kafka::server::{Server, server, unique};
use crate::pairs::Spread;
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const STARTS: usize = 7;
const IDLE: Duration = Duration::from_millis(300);
const SETTLED: Duration = Duration::from_secs(3);
const BACKLOG: u64 = 1_000_000;
/// librdkafka's queue (`queued.max.messages.kbytes`), and ours before the handlers.
const BUFFERS_MEGABYTES: f64 = 16.0 + 6.0;

fn part(server: &Server, doing: &str, topic: &str) -> Part {
    Part::Kafka {
        doing: doing.to_owned(),
        servers: server.servers(),
        topic: topic.to_owned(),
        group: unique("group"),
    }
}

/// W17: exec to the first message handled, beside the batch call by hand, which joins a group as well.
pub(in crate::rows) fn start(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let server = server()?;
    let (topic, _) = server.orders(1, 0, 1)?;
    let starts = if setting.length.rounds() > 1 { STARTS } else { 2 };
    let (mut added, mut all, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_hand = Vec::new();
    let mut once = |doing: &str| -> Result<f64, BenchError> {
        let part = part(server, doing, &topic);
        let mut process = cores::on_the_clients(|| Process::start(&part))??;
        let first = process.first_word()?.as_secs_f64() * 1e3;
        std::thread::sleep(IDLE);
        let stopped = process.stop()?.as_secs_f64() * 1e3;
        if doing == "first" {
            stops.push(stopped);
        }
        Ok(first)
    };
    for _ in 0..starts {
        let (ours, theirs) = (once("first")?, once("first-by-hand")?);
        added.push(ours - theirs);
        all.push(ours);
        by_hand.push(theirs);
    }
    Ok(vec![
        Line::new(
            "exec to first message handled, beyond the join of a group",
            "the batch call by hand, which joins as well",
            (Unit::Milliseconds, Spread::of(added)),
            Target::AtMost(150.0),
        )
        .with("ours", Unit::Milliseconds, Spread::of(all))
        .with("by hand", Unit::Milliseconds, Spread::of(by_hand)),
        Line::new(
            "SIGTERM to exit while idle",
            "",
            (Unit::Milliseconds, Spread::of(stops)),
            Target::AtMost(100.0),
        ),
    ])
}

/// W18: idle, and behind a backlog.
pub(in crate::rows) fn memory(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let server = server()?;
    let backlog = setting.length.messages(BACKLOG);
    let mut lines = Vec::new();
    for (what, count, limit) in [
        ("idle".to_owned(), 1, 25.0),
        (
            format!("behind a backlog of {backlog} (25 MB + {BUFFERS_MEGABYTES} MB of buffers)"),
            backlog,
            25.0 + BUFFERS_MEGABYTES,
        ),
    ] {
        let (topic, _) = server.orders(count, 0, 1)?;
        let resident = |doing: &str| -> Result<Spread, BenchError> {
            let mut found = Vec::new();
            for _ in 0..setting.length.rounds() {
                let part = part(server, doing, &topic);
                let mut process = cores::on_the_clients(|| Process::start(&part))??;
                process.first_word()?;
                std::thread::sleep(SETTLED);
                found.push(process.resident_megabytes()?);
                process.stop()?;
            }
            Ok(Spread::of(found))
        };
        let ours = (Unit::Megabytes, resident("slow")?);
        let by_hand = resident("slow-by-hand")?;
        lines.push(Line::new(what, "", ours, Target::AtMost(limit)).with(
            "the batch call by hand, its queue bounded alike",
            Unit::Megabytes,
            by_hand,
        ));
    }
    Ok(lines)
}

/// W17 and W18 of other libraries.
pub(in crate::rows) fn java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let peers = super::the_peers()?;
    let server = server()?;
    let (topic, _) = server.orders(1, 0, 1)?;
    let once = |peer: Peer| {
        let job = Job {
            warm: 0,
            group: unique("peer"),
            ..server.job(Arm::App, &topic, 1)
        };
        peers.run(peer, &job)
    };
    let mut lines = Vec::new();
    for peer in [
        spring("Spring Kafka", "start", "first"),
        stream("Spring Cloud Stream", "start", "first"),
    ] {
        let (mut first, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..setting.length.rounds() {
            let outcome = once(peer)?;
            first.push(outcome.first_ms);
            memory.push(outcome.rss_mb);
        }
        let line = |what: &str, unit, found| {
            Line::new(
                format!("{}, {what}", peer.name),
                "",
                (unit, Spread::of(found)),
                Target::None,
            )
        };
        lines.push(line("exec to first message handled", Unit::Milliseconds, first));
        lines.push(line("resident memory, idle", Unit::Megabytes, memory));
    }
    Ok(lines)
}
