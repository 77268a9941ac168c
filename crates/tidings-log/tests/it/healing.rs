//! A disk that works again after a failure, while the log stays open.

use crate::support::*;
use std::sync::Arc;
use tidings_log::faults::{EIO, Effect, Fault, FaultyFiles, Loss, Operation};
use tidings_log::{Access, Files, LogError, PartitionLog, Retention};

fn with_ten(disk: &Arc<FaultyFiles>) -> (Arc<dyn Files>, PartitionLog) {
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, single());
    append_numbers(&log, 0..10, 5);
    log.sync().unwrap();
    (files, log)
}

#[test]
fn what_a_failed_sync_left_in_doubt_is_written_again_and_then_the_log_goes_on() {
    let disk = faulty();
    let (files, log) = with_ten(&disk);
    append_numbers(&log, 10..20, 5);
    disk.inject(Fault::fail(Operation::Sync, EIO).times(3));
    log.sync().unwrap_err();
    for _ in 0..2 {
        assert!(log.recover().is_err(), "the disk still fails");
        assert!(matches!(log.sync(), Err(LogError::Poisoned { .. })));
    }
    assert_eq!(log.synced_offset(), 10);
    assert_eq!(log.recover().unwrap(), 20);
    assert_eq!((log.synced_offset(), log.poisoned()), (20, None));
    append_numbers(&log, 20..25, 5);
    log.sync().unwrap();
    kill(log);
    // The system took the pages of the failed sync for written. They are there all the same.
    disk.crash(Loss::Unsynced).unwrap();
    let log = open(&files, single());
    assert_eq!(log.next_offset(), 25);
    assert_numbers(&log);
}

#[test]
fn a_log_whose_doubtful_bytes_are_gone_stays_shut_and_says_from_where_on() {
    let disk = faulty();
    let (files, log) = with_ten(&disk);
    let name = segment_names(&*files).remove(0);
    let kept = contents(&*files, &name).len();
    append_numbers(&log, 10..20, 5);
    disk.inject(Fault::fail(Operation::Sync, EIO));
    log.sync().unwrap_err();
    // As file systems do that drop the pages that they could not write.
    let file = files.open(&dir().join(&name), Access::ReadWrite).unwrap();
    file.write_at(&[0; 30], kept as u64 + 60).unwrap();
    let told = log.recover().unwrap_err();
    assert!(
        matches!(told, LogError::Corrupt { offset: 10, position, .. } if position == kept as u64),
        "{told}"
    );
    assert!(matches!(
        log.append(&mut frame(&recs(20..21))),
        Err(LogError::Poisoned { .. })
    ));
    assert_eq!(log.synced_offset(), 10);
}

#[test]
fn a_torn_write_that_could_not_be_cut_back_is_cut_when_the_disk_works_again() {
    let disk = faulty();
    let (files, log) = with_ten(&disk);
    disk.inject(Fault::new(
        Operation::Write,
        Effect::Torn {
            bytes: 70,
            errno: EIO,
        },
    ));
    disk.inject(Fault::fail(Operation::Truncate, EIO));
    log.append(&mut frame(&recs(10..15))).unwrap_err();
    assert!(log.poisoned().is_some());
    assert_eq!(log.recover().unwrap(), 10);
    append_numbers(&log, 10..20, 5);
    log.sync().unwrap();
    kill(log);
    disk.crash(Loss::Unsynced).unwrap();
    let (log, recovery) = try_open(&files, single()).unwrap();
    assert_eq!((log.next_offset(), recovery.cut), (20, None));
    assert_numbers(&log);
}

#[test]
fn whatever_fails_first_the_log_is_whole_again_after_it_has_recovered() {
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::SyncDirectory,
        Operation::Remove,
        Operation::Truncate,
    ] {
        for after in 0..8 {
            for loss in [Loss::Unsynced, Loss::Some { seed: after }] {
                let disk = faulty();
                let files: Arc<dyn Files> = disk.clone();
                let log = open(&files, small());
                disk.inject(Fault::fail(operation, EIO).after(after).times(4));
                let retention = Retention {
                    max_age_ms: None,
                    max_bytes: Some(1_500),
                    now_ms: 0,
                    keep_from: u64::MAX,
                };
                let mut number = 0;
                while number < 60 {
                    match log.append(&mut frame(&recs(number..number + 4))) {
                        Ok(_) => number += 4,
                        Err(_) => drop(log.recover()),
                    }
                    if log.retain(&retention).is_err() {
                        drop(log.recover());
                    }
                }
                while log.sync().is_err() {
                    drop(log.recover());
                }
                assert_numbers(&log);
                kill(log);
                disk.heal();
                disk.crash(loss).unwrap();
                let log = open(&files, small());
                assert_eq!(log.next_offset(), 60, "{operation:?} after {after}, {loss:?}");
                assert_numbers(&log);
            }
        }
    }
}

#[test]
fn nothing_is_written_again_while_nothing_has_failed() {
    let disk = faulty();
    let (_, log) = with_ten(&disk);
    let before = (disk.count(Operation::Write), disk.count(Operation::Sync));
    assert_eq!(log.recover().unwrap(), 10);
    assert_eq!(
        (disk.count(Operation::Write), disk.count(Operation::Sync)),
        before
    );
}
