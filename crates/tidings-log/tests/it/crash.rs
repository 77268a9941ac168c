//! Crashes of the machine: what was synced survives, the rest is a beginning of what was appended.

use crate::support::*;
use std::sync::Arc;
use tidings_log::faults::{EIO, Fault, Loss, Operation};
use tidings_log::{DiskFiles, Files, Retention};

#[test]
fn what_was_synced_survives_whatever_else_is_lost_torn_or_reordered() {
    let mut cuts = 0;
    for seed in 0..300 {
        let disk = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut synced = 0;
        let mut next = 0;
        for _ in 0..4 {
            let log = open(&files, small());
            assert!(
                (synced..=next).contains(&log.next_offset()),
                "seed {seed}: {log:?}, synced {synced}"
            );
            assert_numbers(&log);
            for _ in 0..random.u32(..12) {
                let first = log.next_offset();
                append_numbers(&log, first..first + random.u64(1..30), 30);
                if random.u8(..4) == 0 {
                    log.sync().unwrap();
                }
            }
            next = log.next_offset();
            synced = log.synced_offset();
            kill(log);
            disk.crash(Loss::Some { seed: random.u64(..) }).unwrap();
        }
        let (log, recovery) = try_open(&files, small()).unwrap();
        assert!((synced..=next).contains(&log.next_offset()), "seed {seed}");
        assert_numbers(&log);
        cuts += usize::from(recovery.cut.is_some());
    }
    assert!(cuts > 30, "the crashes hardly tore anything: {cuts} of 300");
}

#[test]
fn a_killed_process_loses_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    let disk: Arc<dyn Files> = Arc::new(DiskFiles);
    for round in 0..5 {
        let (log, recovery) = tidings_log::PartitionLog::open(Arc::clone(&disk), &dir, small()).unwrap();
        assert_eq!((log.next_offset(), recovery.cut), (round * 50, None));
        assert_numbers(&log);
        append_numbers(&log, round * 50..round * 50 + 50, 7);
        kill(log);
    }
}

#[test]
fn a_crash_at_any_step_of_beginning_a_segment_loses_nothing_synced() {
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::SyncDirectory,
        Operation::Rename,
    ] {
        for after in 0..12 {
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some { seed: after }] {
                let disk = faulty();
                let files: Arc<dyn Files> = disk.clone();
                let log = open(&files, small());
                disk.inject(Fault::fail(operation, EIO).after(after).forever());
                let mut number = 0;
                while number < 60 && log.append(&mut frame(&recs(number..number + 4))).is_ok() {
                    number += 4;
                }
                let synced = log.sync().unwrap_or(log.synced_offset());
                kill(log);
                disk.heal();
                disk.crash(loss).unwrap();
                let log = open(&files, small());
                let next = log.next_offset();
                assert!(
                    (synced..=number).contains(&next),
                    "{operation:?} after {after}, {loss:?}: {next}"
                );
                assert_numbers(&log);
                append_numbers(&log, next..next + 8, 4);
                assert_numbers(&log);
            }
        }
    }
}

#[test]
fn a_crash_during_retention_leaves_a_log_without_gaps() {
    for after in 0..20 {
        for loss in [Loss::Unsynced, Loss::Some { seed: after }] {
            let disk = faulty();
            let files: Arc<dyn Files> = disk.clone();
            let log = open(&files, small());
            append_numbers(&log, 0..100, 4);
            log.sync().unwrap();
            disk.inject(Fault::fail(Operation::Remove, EIO).after(after).forever());
            let policy = Retention {
                max_age_ms: None,
                max_bytes: Some(0),
                now_ms: 0,
                keep_from: u64::MAX,
            };
            let retained = log.retain(&policy);
            kill(log);
            disk.heal();
            disk.crash(loss).unwrap();
            let log = open(&files, small());
            assert_eq!(log.next_offset(), 100);
            if let Ok(first) = retained {
                assert_eq!(log.first_offset(), first, "what is deleted stays deleted");
            }
            assert_numbers(&log);
        }
    }
}

#[test]
fn a_directory_that_was_just_created_survives_a_crash() {
    let disk = faulty();
    let files: Arc<dyn Files> = disk.clone();
    let log = open(&files, small());
    append_numbers(&log, 0..4, 4);
    log.sync().unwrap();
    kill(log);
    disk.crash(Loss::Unsynced).unwrap();
    assert!(files.exists(dir()).unwrap());
    assert_eq!(open(&files, small()).next_offset(), 4);
}
