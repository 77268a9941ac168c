//! Copies of a log that goes on.

use crate::support::*;
use crate::verifying::{compact, look};
use std::path::Path;
use std::sync::Arc;
use tidings_log::{DiskFiles, Files, LinkSealed, LogOptions, Neighbour, PartitionLog, Retention, verify};

#[test]
fn a_frozen_log_is_copied_as_it_was_whatever_happens_to_it_meanwhile() {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..50, 3);
    let frozen = log.freeze();
    let before = log.next_offset();
    append_numbers(&log, before..before + 60, 4);
    compact(&log);
    let policy = Retention {
        max_age_ms: None,
        max_bytes: Some(0),
        now_ms: 0,
        keep_from: u64::MAX,
    };
    assert_eq!(
        log.retain(&policy).unwrap(),
        0,
        "nothing is deleted while it is copied"
    );
    let target: Arc<dyn Files> = memory();
    let mut bytes = 0;
    let copied = frozen
        .copy_to(&target, dir(), LinkSealed::WherePossible, |some| bytes += some)
        .unwrap();
    assert_eq!(
        (copied.first_offset, copied.next_offset, copied.linked),
        (0, 50, 0)
    );
    assert_eq!(copied.bytes, bytes);
    drop(frozen);
    assert!(log.retain(&policy).unwrap() > 0);

    assert_eq!(look(&target, Neighbour::None).problems, []);
    let copy = open(&target, small());
    assert_eq!(copy.next_offset(), 50);
    assert_numbers(&copy);
    append_numbers(&copy, 50..60, 5);
}

#[test]
fn linked_segments_stay_as_they_were_when_the_original_is_compacted_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    let open = |dir: &Path| PartitionLog::open(Arc::clone(&files), dir, small()).unwrap().0;
    let log = open(&from);
    append_numbers(&log, 0..60, 3);
    let copied = log
        .freeze()
        .copy_to(&files, &to, LinkSealed::WherePossible, |_| {})
        .unwrap();
    assert_eq!(copied.linked, copied.segments - 1);
    compact(&log);
    append_numbers(&log, 60..80, 3);
    log.retain(&Retention {
        max_age_ms: None,
        max_bytes: Some(0),
        now_ms: 0,
        keep_from: u64::MAX,
    })
    .unwrap();
    let copy = open(&to);
    assert_numbers(&copy);
    assert_eq!(copy.next_offset(), 60);
    append_numbers(&copy, 60..70, 3);
    compact(&copy);
    drop((log, copy));
    for dir in [&from, &to] {
        assert_eq!(
            verify(&files, dir, Neighbour::None, &mut |_| {})
                .unwrap()
                .problems,
            []
        );
    }
}

#[test]
fn an_empty_log_can_be_copied() {
    let files = memory();
    let log = open(&files, LogOptions::default());
    let target: Arc<dyn Files> = memory();
    log.freeze()
        .copy_to(&target, dir(), LinkSealed::Never, |_| {})
        .unwrap();
    let copy = open(&target, small());
    append_numbers(&copy, 0..5, 5);
    assert_numbers(&copy);
}
