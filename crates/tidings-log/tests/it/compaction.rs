//! Compaction by key, against a map that needs no log.

use crate::support::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tidings_log::faults::{EIO, ENOSPC, Fault, Loss, Operation};
use tidings_log::{Compacted, Compaction, Files, LinkSealed, LogError, PartitionLog, Retention};

const DAY: u64 = 24 * 3600 * 1_000;
/// The test's present: long after every timestamp of a record.
const NOW: i64 = 1_700_000_000_000;

fn go(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn compact_at(log: &PartitionLog, now_ms: i64, max_key_bytes: usize) -> Result<Compacted, LogError> {
    log.compact(Compaction {
        tombstone_retention_ms: DAY,
        now_ms,
        max_key_bytes,
        min_dirty_percent: 0,
        throttle: &mut go,
    })
}

fn compact(log: &PartitionLog) -> Compacted {
    compact_at(log, NOW, 1 << 20).unwrap()
}

fn keyed(key: Option<u8>, number: u64, tombstone: bool) -> Rec {
    Rec {
        time: 1_000 + number as i64,
        key: key.map(|key| vec![b'k', key]),
        headers: Vec::new(),
        payload: (!tombstone).then(|| format!("value {number}").into_bytes()),
    }
}

/// What was appended, by offset, and from which offset on nothing may be missing.
struct Model {
    records: Vec<Rec>,
    tombstones_may_go: bool,
}

impl Model {
    fn last_of(&self, below: u64) -> BTreeMap<&[u8], u64> {
        let records = self.records.iter().take(below as usize);
        (0..)
            .zip(records)
            .filter_map(|(offset, rec)| Some((rec.key.as_deref()?, offset)))
            .collect()
    }

    /// What stands in the log is what was appended, and everything that must be there is.
    fn check(&self, log: &PartitionLog) -> BTreeMap<u64, Rec> {
        let (found, end) = read_from(log, log.first_offset(), 300);
        end.unwrap();
        let present: BTreeMap<u64, Rec> = found.into_iter().collect();
        for (offset, rec) in &present {
            assert_eq!(rec, &self.records[*offset as usize], "offset {offset}");
        }
        let last = self.last_of(log.next_offset());
        for offset in log.first_offset()..log.next_offset() {
            let rec = &self.records[offset as usize];
            let Some(key) = rec.key.as_deref() else {
                assert!(present.contains_key(&offset), "{offset} has no key");
                continue;
            };
            if last[key] != offset || present.contains_key(&offset) {
                continue;
            }
            assert!(
                rec.payload.is_none() && self.tombstones_may_go,
                "the last record of a key is missing: {offset}"
            );
            let older = present
                .keys()
                .filter(|other| self.records[**other as usize].key.as_deref() == Some(key));
            assert_eq!(older.count(), 0, "a deleted value came back: {key:?}");
        }
        self.check_lookups(log, &present);
        present
    }

    fn check_lookups(&self, log: &PartitionLog, present: &BTreeMap<u64, Rec>) {
        for from in log.first_offset()..=log.next_offset() {
            let chunk = log.read(from, u64::MAX, 1).unwrap();
            let expected = present.range(from..).next().map(|(offset, _)| *offset);
            assert_eq!(chunk.records().first().map(|record| record.offset), expected);
            assert!(chunk.next_offset() > from || from == log.next_offset());
            let time = 1_000 + from as i64;
            let found = log.offset_for_time(time).unwrap();
            let expected = present.iter().find(|(_, rec)| rec.time >= time);
            assert_eq!(found, expected.map_or(log.next_offset(), |(offset, _)| *offset));
        }
    }
}

fn fill(log: &PartitionLog, records: &[Rec]) -> Model {
    for some in records.chunks(5) {
        append(log, some);
    }
    log.sync().unwrap();
    Model {
        records: records.to_vec(),
        tombstones_may_go: false,
    }
}

#[test]
fn the_last_record_of_each_key_stays_with_its_offset_and_the_older_ones_go() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..200)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    let before = log.bytes();
    let done = compact(&log);
    assert!(
        done.passes == 1 && done.removed > 100 && log.bytes() < before / 2,
        "{done:?} {before} {}",
        log.bytes()
    );
    let present = model.check(&log);
    assert_eq!(present.len() as u64, 200 - done.removed);
    assert_eq!(
        compact(&log),
        Compacted::default(),
        "a second time there is nothing to do"
    );
    drop(log);
    let log = open(&files, small());
    assert_eq!(model.check(&log), present);
    assert_eq!(
        compact(&log),
        Compacted::default(),
        "which is known after opening too"
    );
    append(&log, &[keyed(Some(1), 200, false)]);
    assert_eq!(log.next_offset(), 201);
}

#[test]
fn records_without_a_key_and_those_of_the_last_segment_stay() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..100)
        .map(|number| keyed((number % 2 == 0).then_some(1), number, false))
        .collect();
    let model = fill(&log, &records);
    compact(&log);
    let present = model.check(&log);
    let last_base: u64 = segment_names(&*files).pop().unwrap()[..20].parse().unwrap();
    assert!((last_base..100).all(|offset| present.contains_key(&offset)));
    let single = open(&memory(), single());
    fill(&single, &records);
    assert_eq!(compact(&single), Compacted::default());
}

#[test]
fn a_tombstone_stays_for_its_time_after_what_it_deletes_is_gone() {
    let files = memory();
    let log = open(&files, small());
    let mut records: Vec<_> = (0..50)
        .map(|number| keyed(Some((number % 5) as u8), number, false))
        .collect();
    records.extend((50..55).map(|number| keyed(Some((number % 5) as u8), number, true)));
    records.extend((55..100).map(|number| keyed(None, number, false)));
    let mut model = fill(&log, &records);
    compact(&log);
    let present = model.check(&log);
    assert_eq!(
        present.range(..55).map(|(offset, _)| *offset).collect::<Vec<_>>(),
        [50, 51, 52, 53, 54]
    );
    compact_at(&log, NOW + DAY as i64 - 1, 1 << 20).unwrap();
    assert_eq!(
        model.check(&log),
        present,
        "their time counts from when they were first seen"
    );
    model.tombstones_may_go = true;
    drop(log);
    let log = open(&files, small());
    let done = compact_at(&log, NOW + DAY as i64 + 1_000, 1 << 20).unwrap();
    assert_eq!(done.removed, 5);
    assert_eq!(model.check(&log).range(..55).count(), 0);
    compact_at(&log, NOW + 2 * DAY as i64, 1 << 20).unwrap();
    assert_eq!(
        compact_at(&log, NOW + 3 * DAY as i64, 1 << 20).unwrap(),
        Compacted::default()
    );
}

#[test]
fn keys_that_do_not_fit_into_memory_take_several_passes() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..300)
        .map(|number| keyed(Some((number * 7 % 40) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    let done = compact_at(&log, NOW, 64 * 6).unwrap();
    assert!(done.passes > 5, "{done:?}");
    let present = model.check(&log);
    let last = model.last_of(300);
    let base: u64 = segment_names(&*files).pop().unwrap()[..20].parse().unwrap();
    // What a segment that gets records still supersedes goes only with the next one.
    let expected = model.last_of(base);
    for offset in present.keys().filter(|offset| **offset < base) {
        let key = model.records[*offset as usize].key.as_deref().unwrap();
        assert_eq!(expected[key], *offset, "{last:?}");
    }
}

#[test]
fn little_that_is_new_is_not_worth_a_pass() {
    let log = open(&memory(), small());
    let records: Vec<_> = (0..200)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    fill(&log, &records);
    compact(&log);
    for number in 200..230 {
        append(&log, &[keyed(None, number, false)]);
    }
    let when = |min_dirty_percent| {
        log.compact(Compaction {
            tombstone_retention_ms: DAY,
            now_ms: NOW,
            max_key_bytes: 1 << 20,
            min_dirty_percent,
            throttle: &mut go,
        })
        .unwrap()
    };
    assert_eq!(when(95), Compacted::default());
    assert_eq!(when(5).passes, 1);
}

#[test]
fn it_ends_when_it_is_told_to_and_goes_on_later() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..200)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    for most in (0..6_000).step_by(300) {
        let mut left = most as u64;
        let mut throttle = |bytes: u64| match left.checked_sub(bytes) {
            Some(less) => {
                left = less;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        };
        log.compact(Compaction {
            tombstone_retention_ms: DAY,
            now_ms: NOW,
            max_key_bytes: 1 << 20,
            min_dirty_percent: 0,
            throttle: &mut throttle,
        })
        .unwrap();
        model.check(&log);
        assert_eq!(names_ending(&*files, ".new"), Vec::<String>::new());
    }
    assert!(!compact(&log).ended_early);
    model.check(&log);
}

#[test]
fn readers_and_followers_go_on_while_segments_are_replaced() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..200)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    let follower = try_open(&files, read_only(small())).unwrap().0;
    model.check(&follower);
    let mut next = 0;
    let mut seen = 0;
    let mut throttle = |_| {
        // In the midst of everything somebody reads, with a hint from the file that is about to go.
        let chunk = log.read(next, u64::MAX, 64).unwrap();
        seen += chunk.len();
        next = chunk.next_offset() % 200;
        follower.read(next, u64::MAX, 64).unwrap();
        ControlFlow::Continue(())
    };
    log.compact(Compaction {
        tombstone_retention_ms: DAY,
        now_ms: NOW,
        max_key_bytes: 640,
        min_dirty_percent: 0,
        throttle: &mut throttle,
    })
    .unwrap();
    assert!(seen > 100);
    follower.refresh().unwrap();
    model.check(&log);
    let later = try_open(&files, read_only(small())).unwrap().0;
    assert_eq!(model.check(&later), model.check(&log));
}

#[test]
fn where_a_reader_was_in_the_old_file_is_not_looked_for_in_the_new_one() {
    let log = open(&memory(), small());
    let records: Vec<_> = (0..100)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    // Each leaves the log knowing where the offset behind it stands, of the last eight.
    let ends: Vec<_> = (6..70)
        .step_by(9)
        .map(|first| log.read(first, u64::MAX, 1).unwrap().next_offset())
        .collect();
    assert_eq!(ends.len(), 8);
    compact(&log);
    for end in ends {
        log.read(end, u64::MAX, 1).unwrap();
    }
    model.check(&log);
}

#[test]
fn a_deleted_value_does_not_come_back_wherever_an_earlier_compaction_was_ended() {
    for most in 1..150 {
        let files = memory();
        let log = open(&files, small());
        let mut records: Vec<_> = (0..60)
            .map(|number| {
                // Five values and then their deletions, and never again one of these keys.
                let key = number / 10 * 5 + number % 5;
                keyed(Some(key as u8), number, number % 10 >= 5)
            })
            .collect();
        records.extend((60..80).map(|number| keyed(None, number, false)));
        let mut model = fill(&log, &records);
        let mut left = most;
        let mut throttle = |_| {
            left -= 1_i32;
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let first = Compaction {
            tombstone_retention_ms: DAY,
            now_ms: NOW,
            // One key.
            max_key_bytes: 64,
            min_dirty_percent: 0,
            throttle: &mut throttle,
        };
        let ended = log.compact(first).unwrap().ended_early;
        model.tombstones_may_go = true;
        for day in [2, 4] {
            compact_at(&log, NOW + day * DAY as i64, 1 << 20).unwrap();
            model.check(&log);
        }
        assert_eq!(ended, left <= 0);
    }
}

#[test]
fn a_damaged_segment_stops_it_and_nothing_is_lost() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..100)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    fill(&log, &records);
    let name = segment_names(&*files).remove(2);
    let mut bytes = contents(&*files, &name);
    let at = bytes.len() - 3;
    bytes[at] ^= 4;
    replace(&*files, &name, &bytes);
    let error = compact_at(&log, NOW, 1 << 20).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    assert_eq!(contents(&*files, &name), bytes, "it is left as it is");
}

#[test]
fn retention_and_compaction_go_together() {
    let files = memory();
    let log = open(&files, small());
    let records: Vec<_> = (0..200)
        .map(|number| keyed(Some((number % 7) as u8), number, false))
        .collect();
    let model = fill(&log, &records);
    let policy = Retention {
        max_age_ms: None,
        max_bytes: Some(2_000),
        now_ms: NOW,
        keep_from: u64::MAX,
    };
    let mut throttle = |_| {
        log.retain(&policy).unwrap();
        ControlFlow::Continue(())
    };
    log.compact(Compaction {
        tombstone_retention_ms: DAY,
        now_ms: NOW,
        max_key_bytes: 1 << 20,
        min_dirty_percent: 0,
        throttle: &mut throttle,
    })
    .unwrap();
    assert!(log.first_offset() > 0);
    model.check(&log);
    drop(log);
    model.check(&open(&files, small()));
    assert_eq!(names_ending(&*files, ".new"), Vec::<String>::new());
}

/// Key (0 is none) and whether it is a tombstone.
fn steps() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0..6_u8, prop::bool::weighted(0.2)), 30..120)
}

const OPERATIONS: [Operation; 6] = [
    Operation::Create,
    Operation::Write,
    Operation::Sync,
    Operation::SyncDirectory,
    Operation::Rename,
    Operation::Read,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_crash_at_any_step_loses_the_last_record_of_a_key_or_brings_a_deleted_one_back(
        steps in steps(),
        faults in prop::collection::vec((0..OPERATIONS.len(), 0..60_u64, 0..4_u64), 1..5),
        key_bytes in 64..600_usize,
    ) {
        let disk = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let mut records: Vec<Rec> = Vec::new();
        let mut numbers = 0_u64..;
        let rounds = steps.chunks(steps.len().div_ceil(faults.len()));
        for (round, (some, (operation, after, loss))) in rounds.zip(&faults).enumerate() {
            let log = open(&files, small());
            for ((key, tombstone), number) in some.iter().zip(&mut numbers) {
                records.push(keyed((*key > 0).then_some(*key), number, *tombstone && *key > 0));
            }
            for new in records[log.next_offset() as usize..].to_vec().chunks(3) {
                append(&log, new);
            }
            log.sync().unwrap();
            let errno = if round % 2 == 0 { EIO } else { ENOSPC };
            disk.inject(Fault::fail(OPERATIONS[*operation], errno).after(*after).forever());
            // Each round is two days later: tombstones that were seen before may go.
            let now = NOW + round as i64 * 2 * DAY as i64;
            let _ = compact_at(&log, now, key_bytes);
            disk.heal();
            let model = Model { records: records.clone(), tombstones_may_go: true };
            if *loss == 0 {
                model.check(&log);
                drop(log);
            } else {
                kill(log);
                let loss = if *loss == 1 { Loss::Unsynced } else { Loss::Some { seed: *after + *loss } };
                disk.crash(loss).unwrap();
            }
            let log = open(&files, small());
            prop_assert_eq!(log.next_offset(), records.len() as u64);
            model.check(&log);
            prop_assert_eq!(names_ending(&*files, ".new"), Vec::<String>::new());
        }
    }
}

#[test]
fn a_copy_that_is_under_way_keeps_the_last_record_of_each_key_that_it_had_when_it_began() {
    for link in [LinkSealed::WherePossible, LinkSealed::Never] {
        let files = memory();
        let log = open(&files, small());
        let records: Vec<_> = (0..60)
            .map(|number| keyed(Some(number as u8 % 30), number, false))
            .collect();
        let model = fill(&log, &records);
        let frozen = log.freeze();
        let newer: Vec<_> = (60..120)
            .map(|number| keyed(Some(number as u8 % 30), number, false))
            .collect();
        for some in newer.chunks(5) {
            append(&log, some);
        }
        assert!(compact(&log).ended_early, "it waits for the copy");
        let target = memory();
        frozen.copy_to(&target, dir(), link, |_| {}).unwrap();
        drop(frozen);
        let copy = open(&target, small());
        assert_eq!(copy.next_offset(), 60);
        model.check(&copy);
        assert!(!compact(&log).ended_early, "it goes on when the copy is there");
    }
}
