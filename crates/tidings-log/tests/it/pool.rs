//! Many logs with few open files.

use crate::support::*;
use std::path::PathBuf;
use std::sync::Arc;
use tidings_log::faults::{EIO, Fault, FaultyFiles, Loss, Operation};
use tidings_log::{LogError, LogOptions, PartitionLog, PooledFiles, Retention};

fn pooled(limit: usize) -> (Arc<FaultyFiles>, Arc<PooledFiles>) {
    let disk = faulty();
    let pool = Arc::new(PooledFiles::new(disk.clone(), limit));
    (disk, pool)
}

fn logs(files: &Arc<PooledFiles>, count: usize) -> Vec<PartitionLog> {
    logs_of(files, count, small())
}

fn logs_of(files: &Arc<PooledFiles>, count: usize, options: LogOptions) -> Vec<PartitionLog> {
    let place = |number: usize| PathBuf::from(format!("topics/orders/{number}"));
    (0..count)
        .map(|number| {
            let opened = PartitionLog::open(files.clone(), &place(number), options);
            opened.unwrap().0
        })
        .collect()
}

#[test]
fn a_hundred_logs_are_written_and_read_with_eight_open_files() {
    let (disk, files) = pooled(8);
    let logs = logs(&files, 100);
    for round in 0..5 {
        for log in &logs {
            append_numbers(log, round * 10..round * 10 + 10, 5);
            assert!(files.open_files() <= 8, "{}", files.open_files());
        }
    }
    for log in &logs {
        assert_numbers(log);
        log.sync().unwrap();
    }
    assert!(files.open_files() <= 8);
    logs.into_iter().for_each(kill);
    disk.crash(Loss::Unsynced).unwrap();
    let logs = self::logs(&files, 100);
    for log in &logs {
        assert_eq!(log.next_offset(), 50);
        assert_numbers(log);
    }
    drop(logs);
    assert_eq!(files.open_files(), 0);
}

#[test]
fn files_in_use_are_not_opened_again_and_again() {
    let (disk, files) = pooled(16);
    let logs = logs(&files, 8);
    let before = (disk.count(Operation::Open), disk.count(Operation::Sync));
    for _ in 0..50 {
        for log in &logs {
            log.append(&mut frame(&recs(0..1))).unwrap();
            log.sync().unwrap();
        }
    }
    let opened = disk.count(Operation::Open) - before.0;
    let synced = disk.count(Operation::Sync) - before.1;
    assert!(
        opened <= synced,
        "new segments are opened by creating them, and a mark at most once a sync: {opened}, {synced}"
    );
}

#[test]
fn a_sync_mark_is_opened_once_where_there_is_room_and_takes_no_place_from_a_log() {
    // For eight logs and their marks, for some of the marks, and for none.
    for (limit, most, fewest) in [(32, 8, 8), (14, 150, 8), (8, 160, 160)] {
        let (disk, files) = pooled(limit);
        let logs = logs_of(&files, 8, single());
        // A name without an extension is that of a mark.
        let opened = |name| disk.count_of(Operation::Open, name) + disk.count_of(Operation::Create, name);
        let before = (opened("log"), opened(""));
        for round in 0..20 {
            for log in &logs {
                append_numbers(log, round..round + 1, 1);
                log.sync().unwrap();
                assert!(files.open_files() <= limit);
            }
        }
        let made = disk.count_of(Operation::Create, "");
        assert_eq!(made, 8, "the first is made");
        // One that is made was looked for before.
        let marks = opened("") - before.1 - made;
        assert!((fewest..=most).contains(&marks), "{marks} with {limit}");
        assert_eq!(opened("log"), before.0, "with {limit}");
        assert_eq!(disk.count_of(Operation::Sync, ""), 0, "a mark is worth no sync");
        logs.into_iter().for_each(kill);
    }
}

#[test]
fn a_sync_that_failed_before_a_file_was_closed_is_told_and_poisons() {
    let (disk, files) = pooled(4);
    let logs = logs(&files, 1);
    append_numbers(&logs[0], 0..4, 4);
    disk.inject(Fault::fail(Operation::Sync, EIO).on_names_ending("orders/0/00000000000000000000.log"));
    // Others are opened until it had to be closed.
    let others = (1..20).map(|number| {
        let place = PathBuf::from(format!("topics/orders/x{number}"));
        PartitionLog::open(files.clone(), &place, small()).unwrap().0
    });
    let others: Vec<_> = others.collect();
    let told = logs[0].sync().unwrap_err();
    assert!(matches!(told, LogError::Io { action: "sync", .. }), "{told}");
    assert!(logs[0].poisoned().is_some());
    assert_eq!(logs[0].synced_offset(), 0);
    assert_eq!(logs[0].recover().unwrap(), 4);
    drop(others);
}

#[test]
fn a_segment_that_retention_removed_while_it_was_closed_is_out_of_range_and_no_damage() {
    let (_, files) = pooled(2);
    let logs = logs(&files, 6);
    append_numbers(&logs[0], 0..100, 4);
    let reader = PartitionLog::open(
        files.clone(),
        &PathBuf::from("topics/orders/0"),
        read_only(small()),
    )
    .unwrap()
    .0;
    assert!(!reader.read(0, 1, 1).unwrap().is_empty());
    for log in &logs[1..] {
        append_numbers(log, 0..4, 4);
    }
    let policy = Retention {
        max_age_ms: None,
        max_bytes: Some(0),
        now_ms: 0,
        keep_from: u64::MAX,
    };
    let first = logs[0].retain(&policy).unwrap();
    assert!(first > 0);
    let told = reader.read(0, 1, 1).unwrap_err();
    assert!(matches!(told, LogError::OutOfRange { .. }), "{told}");
}
