//! Repair: what can be read is kept, and what is lost is said.

use crate::support::*;
use crate::verifying::{compact, look};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tidings_log::faults::{EIO, Fault, Loss, Operation};
use tidings_log::{
    Access, Files, LogError, Lost, Neighbour, PartitionLog, RepairPlan, RepairRequest, RepairStep,
    plan_repair,
};

fn aside() -> PathBuf {
    "topics/damaged/orders/0".into()
}

fn plan_from(files: &Arc<dyn Files>, floor: u64) -> RepairPlan {
    let request = RepairRequest {
        files,
        dir: dir().to_owned(),
        aside: aside(),
        floor,
    };
    plan_repair(&request, &mut |_| {}).unwrap()
}

fn plan(files: &Arc<dyn Files>) -> RepairPlan {
    plan_from(files, 0)
}

/// All records by offset, and what the log says is lost.
fn read_all(log: &PartitionLog) -> (BTreeMap<u64, Rec>, Vec<Lost>) {
    let (found, end) = read_from(log, log.first_offset(), 400);
    end.unwrap();
    let mut lost = Vec::new();
    let mut next = log.first_offset();
    while next < log.next_offset() {
        let chunk = log.read(next, u64::MAX, 400).unwrap();
        lost.extend_from_slice(chunk.lost());
        assert!(chunk.next_offset() > next);
        next = chunk.next_offset();
    }
    (found.into_iter().collect(), lost)
}

/// A frame: the file that it is in, its bytes there, and its offsets.
#[derive(Debug, Clone)]
struct Placed {
    name: String,
    bytes: Range<usize>,
    offsets: Range<u64>,
}

/// A closed log of four segments, and where each frame is.
fn closed() -> (Arc<dyn Files>, Vec<Placed>) {
    let files = memory();
    let log = open(&files, small());
    let mut placed = Vec::new();
    while log.segments() < 5 {
        let next = log.next_offset();
        append_numbers(&log, next..next + 2, 2);
        let name = segment_names(&*files).pop().unwrap();
        let end = contents(&*files, &name).len();
        let start = placed
            .last()
            .filter(|last: &&Placed| last.name == name)
            .map_or(32, |last| last.bytes.end);
        placed.push(Placed {
            name,
            bytes: start..end,
            offsets: next..next + 2,
        });
    }
    log.sync().unwrap();
    drop(log);
    (files, placed)
}

fn next_of(placed: &[Placed]) -> u64 {
    placed.last().unwrap().offsets.end
}

/// After a repair: all of these offsets can be read, the others up to the end are said to be lost.
fn assert_repaired(files: &Arc<dyn Files>, readable: &[u64], next: u64) {
    let report = look(files, Neighbour::None);
    assert_eq!(report.problems, []);
    let log = open(files, small());
    assert!(log.next_offset() >= next, "{} of {next}", log.next_offset());
    let (found, lost) = read_all(&log);
    for (offset, found) in &found {
        assert_eq!(found, &rec(*offset));
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), readable);
    let told = |offset: u64| lost.iter().any(|lost| lost.offsets.contains(&offset));
    for offset in log.first_offset()..log.next_offset() {
        assert_ne!(
            found.contains_key(&offset),
            told(offset),
            "offset {offset}: {lost:?}"
        );
    }
    for from in log.first_offset()..log.next_offset() {
        let chunk = log.read(from, u64::MAX, 1).unwrap();
        let expected = found.range(from..).next().map(|(offset, _)| *offset);
        assert_eq!(chunk.records().first().map(|record| record.offset), expected);
    }
    let next = log.next_offset();
    append_numbers(&log, next..next + 3, 3);
    log.sync().unwrap();
    drop(log);
    assert_eq!(look(files, Neighbour::None).problems, []);
    assert!(plan(files).is_empty(), "{:?}", plan(files));
}

#[test]
fn a_sound_log_needs_nothing() {
    let (files, placed) = closed();
    let plan = plan(&files);
    assert!(plan.is_empty() && plan.losses().is_empty());
    assert_eq!(
        (plan.records(), plan.next_offset()),
        (next_of(&placed), next_of(&placed))
    );
    assert_eq!(plan.apply().unwrap(), Vec::<PathBuf>::new());
    assert!(!files.exists(&aside()).unwrap());
}

#[test]
fn a_flipped_bit_costs_its_frame_and_nothing_else() {
    let (files, placed) = closed();
    for (number, bad) in placed.iter().enumerate() {
        for at in [bad.bytes.start + 1, bad.bytes.start + 20, bad.bytes.end - 1] {
            let files = copy(&*files);
            let mut bytes = contents(&*files, &bad.name);
            bytes[at] ^= 8;
            replace(&*files, &bad.name, &bytes);
            let plan = plan(&files);
            assert_eq!(contents(&*files, &bad.name), bytes, "a plan changes nothing");
            let lost: Vec<_> = plan.losses().iter().map(|loss| loss.offsets.clone()).collect();
            assert_eq!(
                lost,
                std::slice::from_ref(&bad.offsets),
                "frame {number} byte {at}: {plan:?}"
            );
            let kept = plan.apply().unwrap();
            let whole = kept.iter().any(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.starts_with(&bad.name)
            });
            assert!(whole, "{kept:?}");
            let readable: Vec<_> = (0..next_of(&placed))
                .filter(|offset| !bad.offsets.contains(offset))
                .collect();
            assert_repaired(&files, &readable, next_of(&placed));
        }
    }
}

#[test]
fn a_damaged_file_header_costs_no_record() {
    let (files, placed) = closed();
    for name in segment_names(&*files) {
        for at in [0, 8, 12, 22, 28, 31] {
            let files = copy(&*files);
            let mut bytes = contents(&*files, &name);
            bytes[at] ^= 1;
            replace(&*files, &name, &bytes);
            let plan = plan(&files);
            assert!(plan.losses().is_empty(), "{plan:?}");
            plan.apply().unwrap();
            assert_repaired(
                &files,
                &(0..next_of(&placed)).collect::<Vec<_>>(),
                next_of(&placed),
            );
        }
    }
}

#[test]
fn no_offset_below_the_floor_is_given_again_when_the_end_is_gone() {
    let (files, placed) = closed();
    let names = segment_names(&*files);
    let next = next_of(&placed);
    let files = copy(&*files);
    for name in names.iter().skip(2) {
        files.remove_file(&dir().join(name)).unwrap();
        let index = name.replace(".log", ".index");
        files.remove_file(&dir().join(index)).unwrap();
    }
    let plan = plan_from(&files, next + 10);
    let end: u64 = names[2][..20].parse().unwrap();
    assert_eq!(plan.losses()[0].offsets, end..next + 10);
    plan.apply().unwrap();
    assert_repaired(&files, &(0..end).collect::<Vec<_>>(), next + 10);
}

#[test]
fn an_empty_directory_with_a_floor_begins_there() {
    let files = memory();
    files.create_dir_all(dir()).unwrap();
    assert!(plan(&files).is_empty());
    plan_from(&files, 7).apply().unwrap();
    let log = open(&files, small());
    assert_eq!(log.next_offset(), 7);
    assert!(
        plan_from(&files, u64::MAX).is_empty(),
        "a floor beyond all offsets comes from damage"
    );
}

#[test]
fn an_unfinished_write_is_cut_and_counts_as_no_loss() {
    let (files, placed) = closed();
    let last = placed.last().unwrap();
    let index = last.name.replace(".log", ".index");
    files.remove_file(&dir().join(index)).unwrap();
    files.remove_file(&dir().join("synced")).unwrap();
    let bytes = contents(&*files, &last.name);
    replace(&*files, &last.name, &bytes[..last.bytes.end - 2]);
    let plan = plan(&files);
    assert!(plan.losses().is_empty(), "{plan:?}");
    assert!(matches!(plan.steps(), [RepairStep::Cut { .. }, ..]), "{plan:?}");
    let kept = plan.apply().unwrap();
    let put_aside = files.open(&kept[0], Access::ReadOnly).unwrap().len().unwrap();
    assert_eq!(put_aside, last.bytes.len() as u64 - 2);
    assert_repaired(
        &files,
        &(0..last.offsets.start).collect::<Vec<_>>(),
        last.offsets.start,
    );
}

#[test]
fn a_newer_format_is_not_touched() {
    let (files, _) = closed();
    let name = segment_names(&*files).remove(1);
    let mut bytes = contents(&*files, &name);
    bytes[8] = 3;
    let sum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    replace(&*files, &name, &bytes);
    let request = RepairRequest {
        files: &files,
        dir: dir().to_owned(),
        aside: aside(),
        floor: 0,
    };
    let refused = plan_repair(&request, &mut |_| {}).unwrap_err();
    assert!(
        matches!(refused, LogError::NewerVersion { found: 3, .. }),
        "{refused}"
    );
}

#[test]
fn a_compacted_log_is_repaired_and_keeps_what_it_says_is_lost_when_it_is_compacted_again() {
    let files = memory();
    let log = open(&files, small());
    for number in 0..120 {
        append(
            &log,
            &[Rec {
                key: Some(vec![(number % 40) as u8]),
                ..rec(number)
            }],
        );
    }
    compact(&log);
    log.sync().unwrap();
    let (before, _) = read_all(&log);
    drop(log);
    let name = segment_names(&*files).into_iter().rev().nth(2).unwrap();
    let mut bytes = contents(&*files, &name);
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    replace(&*files, &name, &bytes);
    let plan = plan(&files);
    let lost = plan.losses()[0].offsets.clone();
    plan.apply().unwrap();
    let log = open(&files, small());
    let (after, told) = read_all(&log);
    assert!(after.iter().all(|(offset, rec)| before[offset] == *rec));
    assert!(
        before
            .keys()
            .all(|offset| after.contains_key(offset) || lost.contains(offset))
    );
    assert_eq!(
        told.iter().map(|lost| lost.offsets.clone()).collect::<Vec<_>>(),
        [lost]
    );
    for number in 120..200 {
        append(
            &log,
            &[Rec {
                key: Some(vec![(number % 40) as u8]),
                ..rec(number)
            }],
        );
    }
    compact(&log);
    assert_eq!(read_all(&log).1, told);
}

/// What happens to a file: which, how, where, how much.
type Blow = (u8, u8, usize, usize);

/// Damages it, and takes what it hit off the frames that are whole.
fn strike(files: &Arc<dyn Files>, placed: &mut Vec<Placed>, (which, how, at, much): Blow) {
    let names: Vec<_> = files
        .list(dir())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let Some(name) = names.get(usize::from(which) % names.len().max(1)).cloned() else {
        return;
    };
    let mut bytes = contents(&**files, &name);
    let at = 32 + at % bytes.len().max(33).saturating_sub(32).max(1);
    let end = (at + much).min(bytes.len());
    if at >= bytes.len() {
        return;
    }
    let hit = match how % 4 {
        0 => {
            bytes[at] ^= 1 << (much % 8);
            at..at + 1
        }
        1 => {
            bytes[at..end].fill(0);
            at..end
        }
        2 => {
            bytes.truncate(at);
            at..usize::MAX
        }
        _ => {
            files.remove_file(&dir().join(&name)).unwrap();
            placed.retain(|frame| frame.name != name);
            return;
        }
    };
    replace(&**files, &name, &bytes);
    placed.retain(|frame| {
        let is_hit = frame.bytes.start < hit.end && hit.start < frame.bytes.end;
        // Zeros over zeros change nothing, but then the frame may be kept or not: so it counts as whole.
        frame.name != name || !is_hit
    });
}

fn blows() -> impl Strategy<Value = Vec<Blow>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0..700_usize, 1..200_usize), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_happens_to_the_files_every_frame_that_is_whole_is_kept_and_the_rest_is_said(
        blows in blows(),
        crash in prop::option::of((0..7_usize, 0..12_u64, 0..9_u64)),
    ) {
        let (whole, mut placed) = closed();
        let next = next_of(&placed);
        let disk = Arc::new(tidings_log::faults::FaultyFiles::new(copy(&*whole)));
        let files: Arc<dyn Files> = disk.clone();
        for blow in blows {
            strike(&files, &mut placed, blow);
        }
        for name in files.list(dir()).unwrap() {
            // What was done to the files is on the disk.
            files.open(&dir().join(name.name), Access::ReadWrite).unwrap().sync_data().unwrap();
        }
        files.sync_dir(dir()).unwrap();
        // A crash that takes a directory but not the one in it is beyond the layer that injects the faults.
        files.create_dir_all(&aside()).unwrap();
        for parent in aside().ancestors().skip(1) {
            files.sync_dir(parent).unwrap();
        }
        if let Some((operation, after, seed)) = crash {
            let operation = [
                Operation::Create,
                Operation::Write,
                Operation::Sync,
                Operation::Truncate,
                Operation::SyncDirectory,
                Operation::Rename,
                Operation::Remove,
            ][operation];
            disk.inject(Fault::fail(operation, EIO).after(after).forever());
            let _ = plan_from(&files, next).apply();
            disk.heal();
            disk.crash(if seed == 0 { Loss::Unsynced } else { Loss::Some { seed } }).unwrap();
        }
        plan_from(&files, next).apply().unwrap();
        let report = look(&files, Neighbour::None);
        prop_assert_eq!(&report.problems, &[]);
        let log = open(&files, small());
        prop_assert_eq!(log.next_offset(), next);
        let (found, lost) = read_all(&log);
        for frame in &placed {
            for offset in frame.offsets.clone() {
                prop_assert!(found.contains_key(&offset), "{} is lost: {:?}", offset, placed);
            }
        }
        for offset in log.first_offset()..next {
            match found.get(&offset) {
                Some(record) => prop_assert_eq!(record, &rec(offset)),
                None => prop_assert!(lost.iter().any(|lost| lost.offsets.contains(&offset)), "{}", offset),
            }
        }
    }
}
