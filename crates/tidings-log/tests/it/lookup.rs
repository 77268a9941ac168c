//! From times to offsets, and retention.

use crate::support::*;
use tidings_log::{LogError, Retention};

const NOTHING_GOES: Retention = Retention {
    max_age_ms: None,
    max_bytes: None,
    now_ms: 0,
    keep_from: u64::MAX,
};

#[test]
fn a_time_finds_the_first_record_that_reaches_it() {
    let files = memory();
    let log = open(&files, small());
    // Times that go back now and then, as clocks do.
    let times: Vec<i64> = (0..150_i64)
        .map(|number| number * 10 - (number % 13) * 25)
        .collect();
    for (first, times) in times.chunks(4).enumerate() {
        let records: Vec<_> = times
            .iter()
            .map(|time| crate::support::Rec {
                time: *time,
                ..rec(first as u64)
            })
            .collect();
        append(&log, &records);
    }
    log.sync().unwrap();
    let check = |log: &tidings_log::PartitionLog| {
        for time in (-400..1_600).step_by(7).chain([i64::MIN, i64::MAX]) {
            let expected = times
                .iter()
                .position(|other| *other >= time)
                .unwrap_or(times.len());
            assert_eq!(log.offset_for_time(time).unwrap(), expected as u64, "time {time}");
        }
    };
    check(&log);
    drop(log);
    check(&open(&files, small()));
    for name in names_ending(&*files, ".index") {
        files.remove_file(&dir().join(name)).unwrap();
    }
    check(&open(&files, read_only(small())));
    check(&open(&files, small()));
    assert!(
        !names_ending(&*files, ".index").is_empty(),
        "an index that was made again is kept"
    );
}

#[test]
fn an_empty_log_has_no_time() {
    assert_eq!(open(&memory(), small()).offset_for_time(0).unwrap(), 0);
}

#[test]
fn retention_by_size_leaves_at_least_that_much() {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..200, 5);
    let first = log
        .retain(&Retention {
            max_bytes: Some(2_000),
            ..NOTHING_GOES
        })
        .unwrap();
    assert_eq!(first, log.first_offset());
    assert!(
        first > 0 && log.bytes() >= 2_000 && log.bytes() < 2_000 + 700,
        "{} bytes",
        log.bytes()
    );
    assert_numbers(&log);
    let gone = log.read(first - 1, u64::MAX, 100).unwrap_err();
    assert!(
        matches!(gone, LogError::OutOfRange { first: told, .. } if told == first),
        "{gone}"
    );
    log.sync().unwrap();
    drop(log);
    let log = open(&files, small());
    assert_eq!((log.first_offset(), log.next_offset()), (first, 200));
    assert_numbers(&log);
}

#[test]
fn retention_by_age_deletes_segments_whose_records_are_all_older() {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..200, 5);
    kill(log);
    // Opened again, it has to look up how old the segments are.
    let log = open(&files, small());
    let cutoff = rec(100).time;
    let policy = Retention {
        max_age_ms: Some(500),
        now_ms: cutoff + 500,
        ..NOTHING_GOES
    };
    let first = log.retain(&policy).unwrap();
    assert!((80..=100).contains(&first), "{first}");
    assert_eq!(log.offset_for_time(cutoff).unwrap(), 100);
    assert_numbers(&log);
}

#[test]
fn retention_keeps_the_last_segment_and_what_is_still_wanted() {
    let log = open(&memory(), small());
    append_numbers(&log, 0..200, 5);
    let all_goes = Retention {
        max_age_ms: Some(0),
        max_bytes: Some(0),
        now_ms: i64::MAX,
        keep_from: 42,
    };
    let first = log.retain(&all_goes).unwrap();
    assert!(first > 0 && first <= 42, "{first}");
    let first = log
        .retain(&Retention {
            keep_from: u64::MAX,
            ..all_goes
        })
        .unwrap();
    assert_eq!((log.segments(), log.next_offset()), (1, 200));
    assert!(first < 200);
    assert_numbers(&log);
    append_numbers(&log, 200..210, 5);
    assert_numbers(&log);
}

#[test]
fn a_reader_learns_what_the_owner_deleted() {
    let files = memory();
    let owner = open(&files, small());
    append_numbers(&owner, 0..100, 5);
    let reader = open(&files, read_only(small()));
    let first = owner
        .retain(&Retention {
            max_bytes: Some(800),
            ..NOTHING_GOES
        })
        .unwrap();
    let gone = reader.read(0, u64::MAX, 100).unwrap_err();
    assert!(
        matches!(gone, LogError::OutOfRange { first: told, .. } if told == first),
        "{gone}"
    );
    append_numbers(&owner, 100..110, 5);
    reader.refresh().unwrap();
    assert_eq!((reader.first_offset(), reader.next_offset()), (first, 110));
    assert_numbers(&reader);
}
