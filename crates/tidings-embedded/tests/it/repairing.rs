//! Verification and repair of a broker's directory.

use crate::support::*;
use std::path::{Path, PathBuf};
use tidings_core::{Binder, Message, Outgoing, Progress, Source, Timestamp};
use tidings_embedded::{
    EmbeddedBroker, Fsync, RepairMode, RepairReport, Severity, StateReport, repair_directory,
    verify_directory,
};

fn options_small(root: &Path) -> tidings_embedded::EmbeddedOptions {
    options(root).segment_bytes(4_096)
}

/// Sixty orders in several segments, a group that has finished thirty, and a message for later.
async fn closed(root: &Path) {
    let broker = EmbeddedBroker::open(options_small(root)).unwrap();
    prepare(&broker, "Orders.new", 1).await;
    for number in 0..60 {
        let text = format!("{number}:{}", "x".repeat(300));
        publish(&broker, "Orders.new", 0, text).await.unwrap();
    }
    let mut later = Outgoing::new("Orders.new", Message::new("later"));
    later.due = Some(Timestamp::from_millis(i64::MAX / 2));
    broker.sink().publish(later).await.unwrap();
    let mut source = join(&broker, "billing", "Orders.new").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 30);
    source.commit().await.unwrap();
    drop(source);
    broker.close().await.unwrap();
}

fn partition(root: &Path) -> PathBuf {
    root.join("topics/+orders.new/0")
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(partition(root)).unwrap();
    let mut found: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "log"));
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

fn repair(root: &Path, mode: RepairMode) -> RepairReport {
    repair_directory(root, mode, &mut |_| {}).unwrap()
}

/// Everything below a directory, with its bytes.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

async fn numbers(broker: &EmbeddedBroker) -> Vec<u64> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let batch = broker.read("Orders.new", 0, next, 1 << 20).await.unwrap();
        if batch.next() <= next {
            return all;
        }
        all.extend(
            texts(&batch)
                .iter()
                .filter_map(|text| text.split_once(':')?.0.parse::<u64>().ok()),
        );
        next = batch.next();
    }
}

#[tokio::test]
async fn a_sound_directory_has_no_problems_whether_it_is_open_or_not() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    let before = tree(root.path());
    let mut last = None;
    let report = verify_directory(root.path(), &mut |progress| last = Some(progress)).unwrap();
    assert_eq!(report.all_problems().count(), 0, "{report:?}");
    assert_eq!(
        report.state,
        StateReport::Read {
            positions: 1,
            delayed: 1
        }
    );
    assert_eq!((report.partitions[0].log.records, report.owner), (60, None));
    let last = last.unwrap();
    assert_eq!(last.bytes_done, last.bytes_total);
    assert!(repair(root.path(), RepairMode::Apply).is_empty());
    assert_eq!(tree(root.path()), before, "nothing is written");

    let broker = EmbeddedBroker::open(options_small(root.path())).unwrap();
    publish(&broker, "Orders.new", 0, "more").await.unwrap();
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert_eq!(report.all_problems().count(), 0, "{report:?}");
    assert_eq!(report.state, StateReport::InUse);
    assert_eq!(report.owner, Some(std::process::id().to_string()));
    let refused = repair_directory(root.path(), RepairMode::DryRun, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(refused.contains("stop that process"), "{refused}");
}

#[tokio::test]
async fn a_directory_whose_process_was_killed_is_looked_at_without_a_change() {
    let root = tempfile::tempdir().unwrap();
    let (live, killed) = (root.path().join("live"), root.path().join("killed"));
    let broker = EmbeddedBroker::open(options_small(&live)).unwrap();
    prepare(&broker, "Orders.new", 1).await;
    let mut source = join(&broker, "billing", "Orders.new").await;
    publish(&broker, "Orders.new", 0, "1:").await.unwrap();
    source.commit().await.unwrap();
    copy(&live, &killed);
    let before = tree(&killed);
    let report = verify_directory(&killed, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        report.state,
        StateReport::Read {
            positions: 1,
            delayed: 0
        }
    );
    assert_eq!(tree(&killed), before);
}

#[tokio::test]
async fn after_a_repair_a_group_passes_the_gap_and_gets_everything_else() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    let all = segments(root.path());
    assert!(all.len() > 4);
    // A frame in the fourth segment, and the header of the third.
    let len = std::fs::metadata(&all[3]).unwrap().len() as usize;
    flip(&all[3], len / 2);
    flip(&all[2], 14);
    let before = tree(root.path());
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert!(!report.is_sound());
    let found = report.all_problems().find(|one| one.file == all[3]).unwrap();
    assert!(
        found.offset.is_some() && found.position.is_some() && found.severity == Severity::Damage,
        "{found}"
    );

    let planned = repair(root.path(), RepairMode::DryRun);
    assert_eq!(tree(root.path()), before, "a dry run changes nothing");
    let applied = repair(root.path(), RepairMode::Apply);
    assert_eq!(applied.partitions, planned.partitions);
    assert_eq!(applied.lost_records(), 1);
    let lost = applied.partitions[0]
        .losses
        .iter()
        .find(|loss| loss.offsets.start < loss.offsets.end)
        .unwrap();
    let lost = lost.offsets.start;
    let text = std::fs::read_to_string(applied.file.unwrap()).unwrap();
    assert!(text.contains(&format!("records {lost}..{}", lost + 1)), "{text}");
    for (path, bytes) in &before {
        if path == &all[3] || path == &all[2] {
            assert!(
                applied
                    .aside
                    .iter()
                    .any(|aside| &std::fs::read(aside).unwrap() == bytes),
                "{path:?}"
            );
        }
    }
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert_eq!(report.all_problems().count(), 0, "{report:?}");
    assert_eq!(report.partitions[0].log.lost.len(), 1);
    assert!(repair(root.path(), RepairMode::DryRun).is_empty());

    let broker = EmbeddedBroker::open(options_small(root.path())).unwrap();
    let expected: Vec<_> = (0..60).filter(|number| *number != lost).collect();
    assert_eq!(numbers(&broker).await, expected);
    let mut source = join(&broker, "billing", "Orders.new").await;
    let lane = assigned(&mut source).await.remove(0);
    assert_eq!((lane.next, lane.end), (30, 60));
    let mut seen = 0;
    let mut end = 0;
    while end < 60 {
        let batch = batch(&mut source).await;
        seen += batch.len();
        end = batch.next();
        done(&mut source, lane.lane, lane.epoch, end);
    }
    source.commit().await.unwrap();
    assert_eq!(seen as u64, 30 - u64::from(lost >= 30));
    assert_eq!(stored(&broker, "Orders.new", "billing").await, [Some(60)]);
}

#[tokio::test]
async fn a_log_that_lost_its_end_goes_on_behind_every_position_of_a_group() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    for path in segments(root.path()).into_iter().skip(1) {
        std::fs::remove_file(&path).unwrap();
        let _ = std::fs::remove_file(path.with_extension("index"));
    }
    let first = segments(root.path()).remove(0);
    std::fs::remove_file(first.with_extension("index")).unwrap();
    // As after a power cut, which may take the sync mark.
    std::fs::remove_file(first.with_file_name("synced")).unwrap();
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert!(
        report
            .problems
            .iter()
            .any(|one| one.what.contains("speaks of messages up to 30")),
        "{report:?}"
    );
    repair(root.path(), RepairMode::Apply);
    assert_eq!(
        verify_directory(root.path(), &mut |_| {})
            .unwrap()
            .all_problems()
            .count(),
        0
    );
    let broker = EmbeddedBroker::open(options_small(root.path())).unwrap();
    let position = publish(&broker, "Orders.new", 0, "60:").await.unwrap();
    assert_eq!(position.offset(), 30, "nobody takes it for finished");
    let mut source = join(&broker, "billing", "Orders.new").await;
    assert_eq!(drain(&mut source).await, ["60:"]);
}

#[tokio::test]
async fn files_of_the_directory_itself_are_made_again_or_put_aside() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    std::fs::write(root.path().join("catalog/+orders.new"), "rubbish").unwrap();
    std::fs::write(root.path().join("format"), "rubbish").unwrap();
    std::fs::write(root.path().join("state.redb"), vec![7; 5_000]).unwrap();
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert_eq!(report.state, StateReport::Damaged);
    for name in ["format", "+orders.new", "state.redb"] {
        assert!(
            report.problems.iter().any(|one| one.file.ends_with(name)),
            "{name}: {report:?}"
        );
    }
    let applied = repair(root.path(), RepairMode::Apply);
    let text = applied.to_string();
    assert!(
        text.contains("positions of all groups") && text.contains("Orders.new"),
        "{text}"
    );
    assert_eq!(
        verify_directory(root.path(), &mut |_| {})
            .unwrap()
            .all_problems()
            .count(),
        0
    );
    let broker = EmbeddedBroker::open(options_small(root.path())).unwrap();
    assert_eq!(numbers(&broker).await, (0..60).collect::<Vec<_>>());
    let names: Vec<_> = broker
        .destinations()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["Orders.new"]);
    drop(broker);

    std::fs::write(root.path().join("format"), "tidings-directory 9\n").unwrap();
    let refused = repair_directory(root.path(), RepairMode::Apply, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(refused.contains("version 9"), "{refused}");
    assert!(repair_directory(&root.path().join("nothing"), RepairMode::Apply, &mut |_| {}).is_err());
}

#[tokio::test]
async fn no_flipped_bit_in_the_state_ends_the_program_or_changes_what_is_read_unseen() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    let path = root.path().join("state.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut found = 0;
    for round in 0..120 {
        let mut bytes = whole.clone();
        let at = if round < 40 {
            random.usize(..320)
        } else {
            random.usize(..bytes.len())
        };
        bytes[at] ^= 1 << random.u32(..8);
        std::fs::write(&path, &bytes).unwrap();
        let report = verify_directory(root.path(), &mut |_| {}).unwrap();
        match report.state {
            StateReport::Read { positions, delayed } => assert_eq!((positions, delayed), (1, 1), "byte {at}"),
            _ => found += 1,
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    assert!(found > 0);
}

/// What a row of the state ends with, as documented.
fn checksum((destination, group, partition): (&str, &str, u32), value: &[u8]) -> u32 {
    let partition = partition.to_le_bytes();
    let parts = [destination.as_bytes(), group.as_bytes(), &partition, value];
    parts.iter().fold(0, |sum, part| {
        let sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        crc32c::crc32c_append(sum, part)
    })
}

#[tokio::test]
async fn a_position_that_can_not_be_is_set_to_the_end() {
    let root = tempfile::tempdir().unwrap();
    closed(root.path()).await;
    let broker = disk(root.path(), Fsync::Os);
    let impossible = Progress {
        watermark: 60,
        finished: Vec::new(),
        attempts: Vec::new(),
    };
    broker
        .store_progress("Orders.new", 0, "audit", impossible)
        .await
        .unwrap();
    broker.close().await.unwrap();
    drop(broker);
    let key = ("Orders.new", "audit", 0_u32);
    let table: redb::TableDefinition<'_, (&str, &str, u32), &[u8]> = redb::TableDefinition::new("progress");
    let database = redb::Database::open(root.path().join("state.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    let mut row = vec![1];
    row.extend_from_slice(&(u64::MAX - 1).to_le_bytes());
    row.extend_from_slice(&[0; 8]);
    row.extend_from_slice(&checksum(key, &row).to_le_bytes());
    writing
        .open_table(table)
        .unwrap()
        .insert(key, row.as_slice())
        .unwrap();
    writing
        .open_table(table)
        .unwrap()
        .insert(("Orders.new", "torn", 0), b"\x01torn".as_slice())
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    let report = verify_directory(root.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems.len(), 2, "{report:?}");
    let applied = repair(root.path(), RepairMode::Apply);
    let kept: Vec<_> = applied
        .aside
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert!(
        kept.iter()
            .any(|text| text.contains("torn") && text.contains("01746f726e")),
        "{kept:?}"
    );
    assert_eq!(
        verify_directory(root.path(), &mut |_| {})
            .unwrap()
            .all_problems()
            .count(),
        0
    );
    let broker = disk(root.path(), Fsync::Os);
    assert_eq!(stored(&broker, "Orders.new", "audit").await, [Some(60)]);
    assert_eq!(stored(&broker, "Orders.new", "billing").await, [Some(30)]);
}
