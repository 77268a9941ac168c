//! Reading: what is delivered, in what pieces, and beside whom.

use crate::support::*;
use std::sync::Arc;
use std::thread;
use tidings_log::{DiskFiles, Files, FrameBuilder, LogError, LogOptions, PartitionLog};

#[test]
fn what_is_appended_comes_back_over_segments_and_openings() {
    let temporary = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Files> = Arc::new(DiskFiles);
    for (files, dir) in [(disk, temporary.path().join("a/b")), (memory(), dir().to_owned())] {
        let (log, recovery) = PartitionLog::open(Arc::clone(&files), &dir, small()).unwrap();
        assert_eq!(
            (recovery.first_offset, recovery.next_offset, recovery.segments),
            (0, 0, 1)
        );
        append_numbers(&log, 0..100, 7);
        assert!(log.segments() > 5, "{log:?}");
        assert_numbers(&log);
        assert_eq!(log.sync().unwrap(), 100);
        drop(log);
        let (log, recovery) = PartitionLog::open(files, &dir, small()).unwrap();
        assert_eq!(
            (recovery.next_offset, recovery.cut, recovery.verified_bytes),
            (100, None, 0)
        );
        assert_numbers(&log);
        append_numbers(&log, 100..120, 3);
        assert_numbers(&log);
        log.remove().unwrap();
        assert!(!dir.exists());
    }
}

#[test]
fn reads_begin_and_end_at_any_offset() {
    for options in [small(), single()] {
        let log = open(&memory(), options);
        append_numbers(&log, 0..60, 6);
        for from in 0..=60 {
            for up_to in [from, from + 1, from + 5, 60, u64::MAX] {
                let chunk = log.read(from, up_to, 1).unwrap();
                let offsets: Vec<_> = chunk.records().iter().map(|record| record.offset).collect();
                // One byte asks for one frame, of six records, as far as they are wanted.
                let end = up_to.min(60).min((from / 6 + 1) * 6);
                assert_eq!(
                    offsets,
                    (from..end.max(from)).collect::<Vec<_>>(),
                    "{from}..{up_to}"
                );
                assert_eq!(chunk.next_offset(), end.max(from));
            }
        }
    }
}

#[test]
fn a_chunk_keeps_to_its_limit_except_for_one_frame() {
    let log = open(&memory(), single());
    append_numbers(&log, 0..60, 6);
    append(&log, &vec![rec(3); 1_000]);
    for from in [0, 3, 6, 30] {
        let chunk = log.read(from, u64::MAX, 700).unwrap();
        assert!(
            chunk.memory_bytes() <= 700 && chunk.len() >= 6,
            "{chunk:?} from {from}"
        );
    }
    let large = log.read(60, u64::MAX, 700).unwrap();
    assert_eq!(large.len(), 1_000);
    let (memory, records) = large.into_parts();
    let payload = records.last().unwrap().payload.unwrap();
    assert_eq!(
        memory[payload.start as usize..][..payload.len as usize],
        rec(3).payload.unwrap()
    );
}

#[test]
fn offsets_that_are_not_in_the_log_are_out_of_range() {
    let log = open(&memory(), small());
    append_numbers(&log, 0..10, 5);
    assert!(log.read(10, u64::MAX, 100).unwrap().is_empty());
    let above = log.read(11, u64::MAX, 100).unwrap_err();
    let LogError::OutOfRange {
        requested: 11,
        first: 0,
        next: 10,
    } = above
    else {
        panic!("{above}")
    };
}

#[test]
fn an_empty_frame_appends_nothing() {
    let log = open(&memory(), small());
    append_numbers(&log, 0..3, 3);
    let bytes = log.bytes();
    assert_eq!(log.append(&mut FrameBuilder::default()).unwrap(), 3..3);
    assert_eq!(log.bytes(), bytes);
}

#[test]
fn a_frame_over_the_logs_limit_is_refused_and_kept() {
    let log = open(
        &memory(),
        LogOptions {
            max_frame_bytes: 200,
            ..single()
        },
    );
    let mut large = frame(&vec![rec(4); 20]);
    let size = large.bytes() as u64;
    let refused = log.append(&mut large).unwrap_err();
    assert!(
        matches!(refused, LogError::TooLarge { size: told, limit: 200 } if told == size),
        "{refused}"
    );
    assert_eq!((large.len(), log.next_offset()), (20, 0));
}

#[test]
fn a_lower_frame_limit_still_reads_what_is_there() {
    let files = memory();
    let log = open(&files, single());
    append_numbers(&log, 0..50, 50);
    kill(log);
    let log = open(
        &files,
        LogOptions {
            max_frame_bytes: 100,
            ..single()
        },
    );
    assert_eq!(log.next_offset(), 50);
    assert_numbers(&log);
}

#[test]
fn readers_see_whole_frames_while_the_owner_appends() {
    let temporary = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 20_000,
        ..LogOptions::default()
    };
    let (log, _) = PartitionLog::open(Arc::new(DiskFiles), temporary.path(), options).unwrap();
    let log = Arc::new(log);
    const LAST: u64 = 6_000;
    thread::scope(|scope| {
        for step in [200, 9_000] {
            let log = Arc::clone(&log);
            scope.spawn(move || {
                let mut next = 0;
                while next < LAST {
                    let (found, end) = read_from(&log, next, step);
                    end.unwrap();
                    for (offset, record) in found {
                        assert_eq!((offset, &record), (next, &rec(next)));
                        next += 1;
                    }
                    thread::yield_now();
                }
            });
        }
        for first in (0..LAST).step_by(12) {
            append_numbers(&log, first..first + 12, 12);
            if first % 600 == 0 {
                log.sync().unwrap();
            }
        }
    });
    assert!(log.segments() > 10);
}

#[test]
fn a_reader_follows_a_running_owner_and_changes_nothing() {
    let files = memory();
    assert!(
        try_open(&files, read_only(small())).is_err(),
        "there is no directory yet"
    );
    files.create_dir_all(dir()).unwrap();
    let reader = open(&files, read_only(small()));
    assert_eq!((reader.next_offset(), reader.segments()), (0, 0));
    assert!(reader.read(0, u64::MAX, 100).unwrap().is_empty());

    let owner = open(&files, small());
    for first in (0..200).step_by(4) {
        append_numbers(&owner, first..first + 4, 4);
        let before = files.list(dir()).unwrap();
        assert_eq!(reader.refresh().unwrap(), first + 4);
        assert_eq!(files.list(dir()).unwrap(), before);
        assert_numbers(&reader);
    }
    assert_eq!(reader.segments(), owner.segments());
    let refused = reader.append(&mut frame(&recs(0..1))).unwrap_err();
    assert!(matches!(refused, LogError::ReadOnly { .. }), "{refused}");
    assert!(matches!(reader.sync().unwrap_err(), LogError::ReadOnly { .. }));
    assert!(matches!(reader.remove().unwrap_err(), LogError::ReadOnly { .. }));
    assert_numbers(&owner);
}

#[test]
fn a_reader_stops_before_a_torn_end_and_leaves_it() {
    let files = memory();
    let owner = open(&files, single());
    append_numbers(&owner, 0..20, 5);
    kill(owner);
    let name = segment_names(&*files).remove(0);
    let whole = contents(&*files, &name);
    let torn = &whole[..whole.len() - 3];
    replace(&*files, &name, torn);
    let (reader, recovery) = try_open(&files, read_only(single())).unwrap();
    assert_eq!((reader.next_offset(), recovery.cut.unwrap().offset), (15, 15));
    assert_numbers(&reader);
    assert_eq!(contents(&*files, &name), torn);
    replace(&*files, &name, &whole);
    assert_eq!(reader.refresh().unwrap(), 20);
    assert_numbers(&reader);
}

#[test]
fn a_reader_beside_a_busy_owner_sees_neither_garbage_nor_damage() {
    let temporary = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 20_000,
        ..LogOptions::default()
    };
    let disk: Arc<dyn Files> = Arc::new(DiskFiles);
    let (owner, _) = PartitionLog::open(Arc::clone(&disk), temporary.path(), options).unwrap();
    const LAST: u64 = 6_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 0;
            while next < LAST {
                // Opened anew and refreshed in turn: both meet frames that are half written.
                let (reader, _) =
                    PartitionLog::open(Arc::clone(&disk), temporary.path(), read_only(options)).unwrap();
                for _ in 0..5 {
                    let (found, end) = read_from(&reader, next, 5_000);
                    end.unwrap();
                    for (offset, record) in found {
                        assert_eq!((offset, &record), (next, &rec(next)));
                        next += 1;
                    }
                    reader.refresh().unwrap();
                }
            }
        });
        for first in (0..LAST).step_by(12) {
            append_numbers(&owner, first..first + 12, 12);
            if first % 600 == 0 {
                owner.sync().unwrap();
            }
        }
    });
}
