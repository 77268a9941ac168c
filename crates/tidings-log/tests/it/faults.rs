//! A disk that fails while the process lives.

use crate::support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_log::faults::{EIO, ENOSPC, Effect, Fault, Loss, Operation};
use tidings_log::{Files, LogError, Retention};

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_it_is_opened_again() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, single());
    append_numbers(&log, 0..10, 5);
    log.sync().unwrap();
    append_numbers(&log, 10..20, 5);
    disk.inject(Fault::fail(Operation::Sync, EIO));
    assert!(matches!(
        log.sync().unwrap_err(),
        LogError::Io { action: "sync", .. }
    ));
    for _ in 0..2 {
        assert!(matches!(log.sync().unwrap_err(), LogError::Poisoned { .. }));
        let mut kept = frame(&recs(20..21));
        assert!(matches!(
            log.append(&mut kept).unwrap_err(),
            LogError::Poisoned { .. }
        ));
        assert_eq!(kept.len(), 1);
    }
    assert_eq!(log.synced_offset(), 10);
    assert!(log.poisoned().unwrap().contains("sync"));
    assert_numbers(&log);
    drop(log);

    // The system holds the pages of the failed sync for written. What opening promises is on the disk all the same.
    let log = open(&files, single());
    assert_eq!(log.synced_offset(), 20);
    append_numbers(&log, 20..25, 5);
    log.sync().unwrap();
    disk.crash(Loss::Unsynced).unwrap();
    let log = open(&files, single());
    assert_eq!(log.next_offset(), 25);
    assert_numbers(&log);
}

#[test]
fn a_full_disk_refuses_records_and_goes_on_when_there_is_room() {
    for options in [single(), small()] {
        let disk = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let log = open(&files, options);
        append_numbers(&log, 0..20, 5);
        disk.inject(
            Fault::new(
                Operation::Write,
                Effect::Torn {
                    bytes: 40,
                    errno: ENOSPC,
                },
            )
            .on_names_ending(".log")
            .times(3),
        );
        let mut waiting = frame(&recs(20..40));
        let mut refused = 0;
        while let Err(error) = log.append(&mut waiting) {
            assert!(error.is_storage_full(), "{error}");
            assert_eq!((log.next_offset(), waiting.len()), (20, 20));
            refused += 1;
        }
        assert_eq!(refused, 3);
        append_numbers(&log, 40..60, 5);
        assert_numbers(&log);
        log.sync().unwrap();
        disk.crash(Loss::Unsynced).unwrap();
        let log = open(&files, options);
        assert_eq!(log.next_offset(), 60);
        assert_numbers(&log);
    }
}

#[test]
fn short_writes_are_continued() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, small());
    disk.inject(Fault::new(Operation::Write, Effect::Short { bytes: 11 }).forever());
    append_numbers(&log, 0..30, 5);
    disk.heal();
    assert_numbers(&log);
}

#[test]
fn a_write_that_can_not_be_cut_back_poisons() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, single());
    append_numbers(&log, 0..5, 5);
    disk.inject(Fault::new(
        Operation::Write,
        Effect::Torn {
            bytes: 70,
            errno: EIO,
        },
    ));
    disk.inject(Fault::fail(Operation::Truncate, EIO));
    log.append(&mut frame(&recs(5..10))).unwrap_err();
    assert!(matches!(
        log.append(&mut frame(&recs(5..10))).unwrap_err(),
        LogError::Poisoned { .. }
    ));
    assert_numbers(&log);
    drop(log);
    let (log, recovery) = try_open(&files, single()).unwrap();
    assert_eq!((log.next_offset(), recovery.cut.unwrap().bytes), (5, 70));
    append_numbers(&log, 5..10, 5);
    assert_numbers(&log);
}

#[test]
fn an_index_that_can_not_be_written_stops_nothing() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, small());
    disk.inject(
        Fault::fail(Operation::Create, ENOSPC)
            .on_names_ending(".index.new")
            .forever(),
    );
    disk.inject(Fault::fail(Operation::Rename, EIO).forever());
    append_numbers(&log, 0..60, 5);
    assert_numbers(&log);
    assert!(names_ending(&*files, ".index").is_empty());
    drop(log);
    assert_numbers(&open(&files, small()));
}

#[test]
fn a_failed_directory_sync_while_a_segment_is_begun_poisons() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, small());
    disk.inject(Fault::fail(Operation::SyncDirectory, EIO));
    let mut number = 0;
    let failed = (0..100).find_map(|_| {
        let outcome = log.append(&mut frame(&[rec(number)]));
        number += u64::from(outcome.is_ok());
        outcome.err()
    });
    let failed = failed.expect("the segment is full after a few records");
    assert!(matches!(failed, LogError::Io { action: "sync", .. }), "{failed}");
    assert!(matches!(log.sync().unwrap_err(), LogError::Poisoned { .. }));
    drop(log);
    let log = open(&files, small());
    assert_eq!(log.next_offset(), number);
    assert_numbers(&log);
}

#[test]
fn a_segment_that_could_not_be_begun_hides_no_later_record() {
    for (remove_fails, loss) in [
        (false, Loss::Nothing),
        (false, Loss::Unsynced),
        (true, Loss::Nothing),
    ] {
        for seed in 0..8 {
            let disk = faulty();
            let files: Arc<dyn Files> = disk.clone();
            let log = open(&files, small());
            append_numbers(&log, 0..4, 4);
            // The header of the new segment does not fit on the disk, and the next record into the old segment does.
            disk.inject(Fault::fail(Operation::Write, ENOSPC).on_names_ending(".log"));
            if remove_fails {
                disk.inject(Fault::fail(Operation::Remove, EIO).on_names_ending(".log"));
            }
            let large = Rec {
                payload: Some(vec![7; 500]),
                ..rec(0)
            };
            log.append(&mut frame(&[large])).unwrap_err();
            let appended = log.append(&mut frame(&recs(4..5))).is_ok();
            assert_eq!(appended, !remove_fails);
            assert_eq!(log.sync().is_ok(), appended);
            let next = log.next_offset();
            kill(log);
            let loss = if loss == Loss::Unsynced {
                Loss::Some { seed }
            } else {
                loss
            };
            disk.crash(loss).unwrap();
            let log = open(&files, small());
            assert_eq!(log.next_offset(), next);
            assert_numbers(&log);
        }
    }
}

#[test]
fn a_sync_that_has_nothing_to_do_leaves_the_disk_alone() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, single());
    append_numbers(&log, 0..5, 5);
    let before = disk.count(Operation::Sync);
    for _ in 0..3 {
        assert_eq!(log.sync().unwrap(), 5);
    }
    assert_eq!(disk.count(Operation::Sync), before + 1);
}

#[test]
fn records_are_appended_and_read_while_a_sync_takes_its_time() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = Arc::new(open(&files, single()));
    append_numbers(&log, 0..5, 5);
    let during = Arc::new(AtomicU64::new(0));
    let (other, seen) = (Arc::clone(&log), Arc::clone(&during));
    // The sync itself appends and reads, and would never end if either waited for it.
    disk.before_sync(move |_| {
        append_numbers(&other, 5..10, 5);
        assert_numbers(&other);
        seen.store(other.next_offset(), Ordering::Relaxed);
    });
    assert_eq!(log.sync().unwrap(), 10.min(log.synced_offset()));
    assert_eq!((during.load(Ordering::Relaxed), log.next_offset()), (10, 10));
    assert_eq!(
        log.synced_offset(),
        5,
        "what came during the sync may have missed it"
    );
    disk.before_sync(|_| {});
    let syncs = disk.count(Operation::Sync);
    assert_eq!(log.sync().unwrap(), 10);
    assert_eq!(
        disk.count(Operation::Sync),
        syncs + 1,
        "and so it is synced again"
    );
}

#[test]
fn a_segment_that_can_not_be_removed_stays_and_so_do_those_behind_it() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, small());
    append_numbers(&log, 0..100, 5);
    disk.inject(Fault::fail(Operation::Remove, EIO));
    let policy = Retention {
        max_age_ms: None,
        max_bytes: Some(0),
        now_ms: 0,
        keep_from: 40,
    };
    assert!(matches!(log.retain(&policy).unwrap_err(), LogError::Io { .. }));
    assert_eq!(log.first_offset(), 0);
    assert_numbers(&log);
    let first = log.retain(&policy).unwrap();
    assert!(first > 0);
    kill(log);
    let log = open(&files, small());
    assert_eq!(log.first_offset(), first);
    assert_numbers(&log);
}

#[test]
fn a_sync_mark_that_cannot_be_written_costs_its_proof_and_nothing_else() {
    for operation in [Operation::Create, Operation::Write] {
        let disk = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let log = open(&files, single());
        disk.inject(Fault::fail(operation, ENOSPC).on_names_ending("synced"));
        for first in (0..20).step_by(5) {
            append_numbers(&log, first..first + 5, 5);
            assert_eq!(log.sync().unwrap(), first + 5);
        }
        kill(log);
        disk.crash(Loss::Unsynced).unwrap();
        let log = open(&files, single());
        assert_eq!(log.next_offset(), 20);
        assert_numbers(&log);
    }
}
