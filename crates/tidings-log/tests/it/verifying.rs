//! What a verification finds: every flipped bit, and nothing in a log that is as it should be.

use crate::support::*;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tidings_log::{Compaction, Files, LogReport, Neighbour, PartitionLog, Severity, verify};

pub(crate) fn look(files: &Arc<dyn Files>, neighbour: Neighbour) -> LogReport {
    verify(files, dir(), neighbour, &mut |_| {}).unwrap()
}

fn check(files: &Arc<dyn Files>) -> LogReport {
    look(files, Neighbour::None)
}

pub(crate) fn compact(log: &PartitionLog) {
    log.compact(Compaction {
        tombstone_retention_ms: u64::MAX,
        now_ms: 1_700_000_000_000,
        max_key_bytes: 1 << 20,
        min_dirty_percent: 0,
        throttle: &mut |_| ControlFlow::Continue(()),
    })
    .unwrap();
}

/// Two compacted segments, a plain one, and one that was closed with a checkpoint.
fn closed() -> Arc<dyn Files> {
    let files = memory();
    let log = open(&files, small());
    let keyed = |number: u64| Rec {
        key: Some(vec![(number % 3) as u8]),
        ..rec(number)
    };
    while log.segments() < 3 {
        append(&log, &[keyed(log.next_offset()), keyed(log.next_offset() + 1)]);
    }
    compact(&log);
    while log.segments() < 5 {
        append(&log, &[rec(log.next_offset())]);
    }
    append(&log, &[rec(log.next_offset())]);
    log.sync().unwrap();
    drop(log);
    files
}

#[test]
fn a_sound_log_has_no_problems_and_its_numbers_are_told() {
    let files = closed();
    let mut read = 0;
    let report = verify(&files, dir(), Neighbour::None, &mut |bytes| read += bytes).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.is_sound());
    let log = open(&files, small());
    let (found, end) = read_from(&log, 0, 1_000);
    end.unwrap();
    assert_eq!(report.records, found.len() as u64);
    assert_eq!((report.first_offset, report.next_offset), (0, log.next_offset()));
    assert_eq!(
        (report.segments, report.rewritten, report.bytes),
        (5, 2, log.bytes())
    );
    assert_eq!(read, report.bytes, "progress tells of each byte once");
}

#[test]
fn every_single_flipped_bit_is_found_where_it_is() {
    let files = closed();
    let names = files.list(dir()).unwrap().into_iter().map(|entry| entry.name);
    let names: Vec<_> = names.collect();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".index")).count(),
        5,
        "{names:?}"
    );
    for name in names {
        let whole = contents(&*files, &name);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            replace(&*files, &name, &flipped);
            let report = check(&files);
            let found = report.problems.iter().find(|one| one.file.ends_with(&name));
            let found = found.unwrap_or_else(|| panic!("bit {bit} of {name}: {report:?}"));
            let expected = if name.ends_with(".index") || name == "synced" {
                Severity::Harmless
            } else {
                Severity::Damage
            };
            assert_eq!(found.severity, expected, "bit {bit} of {name}: {found}");
            if let Some(position) = found.position.filter(|_| expected == Severity::Damage) {
                assert!(position <= bit as u64 / 8, "bit {bit} of {name}: {found}");
            }
        }
        replace(&*files, &name, &whole);
    }
    assert_eq!(check(&files).problems, []);
}

#[test]
fn a_missing_segment_and_a_shorter_file_are_found_with_the_offsets() {
    let files = closed();
    let names = segment_names(&*files);
    for name in &names {
        let damaged = copy(&*files);
        damaged.remove_file(&dir().join(name)).unwrap();
        let report = check(&damaged);
        let first = name == &names[0];
        assert_eq!(
            report.is_sound(),
            first,
            "retention deletes from the oldest on: {name} {report:?}"
        );
        let whole = contents(&*files, name);
        for len in [0, 20, 40, whole.len() / 2, whole.len() - 1] {
            let damaged = copy(&*files);
            damaged
                .open(&dir().join(name), tidings_log::Access::ReadWrite)
                .unwrap()
                .truncate(len as u64)
                .unwrap();
            let report = check(&damaged);
            assert!(!report.is_sound(), "{name} cut to {len}: {report:?}");
            let found = report.problems.iter().find(|one| one.offset.is_some()).unwrap();
            assert!(
                found.cure.contains("repair") && found.file.ends_with(name),
                "{found}"
            );
        }
    }
}

#[test]
fn an_unfinished_write_is_no_damage_and_beside_its_owner_no_problem() {
    let files = memory();
    let log = open(&files, single());
    append_numbers(&log, 0..20, 5);
    let name = segment_names(&*files).remove(0);
    let whole = contents(&*files, &name);
    let torn = memory();
    torn.create_dir_all(dir()).unwrap();
    torn.create(&dir().join(&name)).unwrap();
    replace(&*torn, &name, &whole[..whole.len() - 3]);
    let report = check(&torn);
    assert!(report.is_sound());
    assert_eq!((report.problems.len(), report.problems[0].offset), (1, Some(15)));
    assert_eq!(look(&torn, Neighbour::Owner).problems, []);
    kill(log);
}

#[test]
fn a_running_owner_disturbs_nothing() {
    let files = memory();
    let log = Arc::new(open(&files, small()));
    append_numbers(&log, 0..40, 4);
    let writer = std::thread::spawn({
        let log = Arc::clone(&log);
        move || {
            for round in 0..150 {
                let next = log.next_offset();
                append_numbers(&log, next..next + 4, 4);
                if round % 20 == 7 {
                    compact(&log);
                }
                if round % 25 == 3 {
                    log.retain(&tidings_log::Retention {
                        max_age_ms: None,
                        max_bytes: Some(4_000),
                        now_ms: 0,
                        keep_from: u64::MAX,
                    })
                    .unwrap();
                }
            }
        }
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let report = look(&files, Neighbour::Owner);
        assert!(report.is_sound(), "{:?}", report.problems);
        looks += 1;
    }
    writer.join().unwrap();
}

#[test]
fn hostile_files_give_problems_and_no_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let files = closed();
    let names: Vec<_> = files
        .list(dir())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    for _ in 0..200 {
        let hostile = copy(&*files);
        for name in &names {
            let mut bytes = contents(&*hostile, name);
            for _ in 0..random.usize(..6) {
                let at = random.usize(..bytes.len());
                let len = random.usize(..40).min(bytes.len() - at);
                bytes[at..at + len]
                    .iter_mut()
                    .for_each(|byte| *byte = random.u8(..));
            }
            replace(&*hostile, name, &bytes);
        }
        hostile.create(&dir().join("note.txt")).unwrap();
        let report = check(&hostile);
        assert!(
            report
                .problems
                .iter()
                .any(|one| one.file.ends_with(Path::new("note.txt")))
        );
    }
}

#[test]
fn a_file_that_claims_frames_without_end_is_judged_in_time() {
    let files = memory();
    let log = open(&files, single());
    append_numbers(&log, 0..4, 4);
    kill(log);
    let name = segment_names(&*files).remove(0);
    let mut bytes = contents(&*files, &name);
    let seed = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    // Thousands of headers that are right, each of a frame that reaches to the end of the file and is not whole.
    let (count, len) = (4_000, 4_000 * 56_u32);
    bytes.truncate(32);
    for number in 0..count {
        let mut header = [0_u8; 56];
        header[..4].copy_from_slice(&[0x9d, b'T', b'F', 0xf1]);
        header[12..16].copy_from_slice(&(len - number * 56 - 56).to_le_bytes());
        header[16..24].copy_from_slice(&u64::from(number).to_le_bytes());
        header[24..28].copy_from_slice(&1_u32.to_le_bytes());
        let sum = crc32c::crc32c_append(seed, &header[8..]);
        header[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(&header);
    }
    replace(&*files, &name, &bytes);
    assert!(!check(&files).problems.is_empty());
}
