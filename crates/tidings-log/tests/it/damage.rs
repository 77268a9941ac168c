//! Bytes that change or vanish: never garbage, and nothing that was promised is skipped in silence.

use crate::support::*;
use std::sync::Arc;
use tidings_log::{Files, LogError, LogOptions, Neighbour, PartitionLog, RepairRequest, plan_repair, verify};

/// A log of several segments that is closed properly, so that all of it is known to be on the disk.
fn closed() -> Arc<dyn Files> {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..40, 4);
    log.sync().unwrap();
    drop(log);
    files
}

/// One segment, whose process was killed. `sync_every` frames were synced.
fn killed(sync_every: usize) -> Arc<dyn Files> {
    let files = memory();
    let log = open(&files, single());
    for (number, first) in (0..40).step_by(4).enumerate() {
        append_numbers(&log, first..first + 4, 4);
        if number % sync_every == sync_every - 1 {
            log.sync().unwrap();
        }
    }
    kill(log);
    files
}

/// What a damaged log does: how far it can be read, whatever stops it. Panics on any record that is not the true one.
fn readable(files: &Arc<dyn Files>, options: LogOptions) -> (u64, Result<(), LogError>) {
    let log = match try_open(files, options) {
        Ok((log, _)) => log,
        Err(error) => return (0, Err(error)),
    };
    let (found, end) = read_from(&log, log.first_offset(), 300);
    for (number, (offset, record)) in (log.first_offset()..).zip(&found) {
        assert_eq!((*offset, record), (number, &rec(number)));
    }
    (found.len() as u64, end)
}

fn is_told(error: &LogError) -> bool {
    matches!(error, LogError::Corrupt { .. } | LogError::NewerVersion { .. })
}

fn for_each_flip(files: &Arc<dyn Files>, end: &str, mut check: impl FnMut(Arc<dyn Files>, &str, usize)) {
    for name in names_ending(&**files, end) {
        let bytes = contents(&**files, &name);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let copy = copy(&**files);
            replace(&*copy, &name, &flipped);
            check(copy, &name, at);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_closed_log_is_told_or_harmless() {
    let files = closed();
    for options in [small(), read_only(small())] {
        for_each_flip(&files, "", |files, name, at| {
            let (found, end) = readable(&files, options);
            match end {
                Ok(()) => assert_eq!(found, 40, "byte {at} of {name}"),
                Err(error) => assert!(is_told(&error), "byte {at} of {name}: {error}"),
            }
        });
    }
}

#[test]
fn a_flipped_bit_in_a_segment_of_a_closed_log_is_always_told() {
    let files = closed();
    for_each_flip(&files, ".log", |files, name, at| {
        let (found, end) = readable(&files, small());
        // Nothing can be missed in a file that holds no record yet.
        let is_empty_file = contents(&*files, name).len() == 32;
        assert!(
            end.is_err() || (is_empty_file && found == 40),
            "byte {at} of {name}"
        );
    });
}

#[test]
fn a_flipped_bit_after_a_kill_is_told_where_a_sync_or_a_later_frame_proves_it() {
    for sync_every in [1, 3, 100] {
        let files = killed(sync_every);
        let (last_frame, end) = frame_places(&files)[9];
        for_each_flip(&files, ".log", |files, name, at| {
            match readable(&files, single()) {
                (_, Err(error)) => assert!(is_told(&error), "byte {at} of {name}: {error}"),
                // The last frame alone can't be told from one that was never finished, unless it was synced.
                (found, Ok(())) => assert!(
                    sync_every != 1 && found == 36 && (last_frame..end).contains(&at),
                    "byte {at}: {found}"
                ),
            }
        });
    }
}

#[test]
fn after_a_kill_a_synced_log_cut_at_any_byte_is_told_and_an_unsynced_end_is_cut() {
    for sync_every in [1, 3] {
        let files = killed(sync_every);
        let places = frame_places(&files);
        let synced = if sync_every == 1 { places[9].1 } else { places[8].1 };
        let name = segment_names(&*files).remove(0);
        let bytes = contents(&*files, &name);
        for len in 0..bytes.len() {
            let files = copy(&*files);
            replace(&*files, &name, &bytes[..len]);
            match try_open(&files, single()) {
                Err(error) => assert!(len < synced && is_told(&error), "cut at {len}: {error}"),
                Ok((log, _)) => assert!(len >= synced && log.next_offset() == 36, "cut at {len}"),
            }
        }
    }
}

#[test]
fn a_sync_mark_that_is_broken_or_gone_or_of_another_file_is_ignored() {
    let files = killed(1);
    let other = contents(&*killed(1), "synced");
    let bytes = contents(&*files, "synced");
    let flips = (0..bytes.len()).map(|at| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped
    });
    let cuts = (0..bytes.len()).map(|len| bytes[..len].to_vec());
    for mark in flips.chain(cuts).chain([other]) {
        let files = copy(&*files);
        replace(&*files, "synced", &mark);
        let (log, recovery) = try_open(&files, single()).unwrap();
        assert_eq!((log.next_offset(), recovery.cut), (40, None));
        // The opening has synced everything, so the mark is true again.
        let mark = contents(&*files, "synced");
        assert_eq!(mark.len(), 44);
        assert_eq!(mark[24..32], (frame_places(&files)[9].1 as u64).to_le_bytes());
    }
}

#[test]
fn the_last_synced_frame_of_a_killed_log_is_damage_with_place_and_cure_and_can_be_repaired() {
    let files = killed(1);
    let (start, _) = frame_places(&files)[9];
    let name = segment_names(&*files).remove(0);
    let mut bytes = contents(&*files, &name);
    bytes[start + 60] ^= 4;
    replace(&*files, &name, &bytes);
    for options in [single(), read_only(single())] {
        let error = try_open(&files, options).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, LogError::Corrupt { position, offset: 36, .. } if position == start as u64),
            "{text}"
        );
        assert!(text.contains(&name) && text.contains("restore"), "{text}");
    }
    let report = verify(&files, dir(), Neighbour::None, &mut |_| {}).unwrap();
    assert!(!report.is_sound(), "{report:?}");
    let request = RepairRequest {
        files: &files,
        dir: dir().to_owned(),
        aside: "aside".into(),
        floor: 0,
    };
    let plan = plan_repair(&request, &mut |_| {}).unwrap();
    let lost: Vec<_> = plan.losses().iter().map(|loss| loss.offsets.clone()).collect();
    assert!(
        matches!(lost.as_slice(), [range] if *range == (36..40)),
        "{lost:?}"
    );
    plan.apply().unwrap();
    assert!(
        verify(&files, dir(), Neighbour::None, &mut |_| {})
            .unwrap()
            .is_sound()
    );
    let log = open(&files, single());
    assert_eq!(log.next_offset(), 40);
}

#[test]
fn a_bit_that_flips_under_an_open_log_is_told() {
    let files = killed(1);
    let name = segment_names(&*files).remove(0);
    let bytes = contents(&*files, &name);
    let log = open(&files, single());
    for at in 32..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        replace(&*files, &name, &flipped);
        let (found, end) = read_from(&log, 0, 300);
        assert!(end.is_err_and(|error| is_told(&error)), "byte {at}");
        for (number, (offset, record)) in (0..).zip(&found) {
            assert_eq!((*offset, record), (number, &rec(number)));
        }
    }
}

/// Where the frames of the only segment begin and end.
fn frame_places(files: &Arc<dyn Files>) -> Vec<(usize, usize)> {
    let bytes = contents(&**files, &segment_names(&**files)[0]);
    let mut places = Vec::new();
    let mut at = 32;
    while at < bytes.len() {
        let body = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap());
        places.push((at, at + 56 + body as usize));
        at += 56 + body as usize;
    }
    places
}

#[test]
fn a_file_cut_at_any_byte_gives_the_whole_frames_before_and_goes_on() {
    let files = killed(100);
    let places = frame_places(&files);
    let name = segment_names(&*files).remove(0);
    let bytes = contents(&*files, &name);
    for len in 0..bytes.len() {
        let files = copy(&*files);
        replace(&*files, &name, &bytes[..len]);
        let (log, recovery) = try_open(&files, single()).unwrap();
        let whole = places.iter().filter(|(_, end)| *end <= len).count() as u64 * 4;
        assert_eq!(log.next_offset(), whole, "cut at {len}");
        let boundary = len == 32 || len == 0 || places.iter().any(|(_, end)| *end == len);
        assert_eq!(
            recovery.cut.is_none_or(|cut| cut.bytes == 0),
            boundary,
            "cut at {len}"
        );
        append_numbers(&log, whole..whole + 4, 4);
        log.sync().unwrap();
        drop(log);
        let log = open(&files, single());
        assert_eq!(log.next_offset(), whole + 4);
        assert_numbers(&log);
    }
}

#[test]
fn a_closed_log_cut_at_any_byte_is_told() {
    let files = closed();
    for name in segment_names(&*files) {
        let bytes = contents(&*files, &name);
        for len in 0..bytes.len() {
            let files = copy(&*files);
            replace(&*files, &name, &bytes[..len]);
            let (found, end) = readable(&files, small());
            let holds_records = bytes.len() > 32;
            assert!(
                end.is_err_and(|error| is_told(&error)) || !holds_records,
                "{name} cut at {len}: {found}"
            );
        }
    }
}

#[test]
fn a_missing_segment_is_told() {
    let files = closed();
    let names = segment_names(&*files);
    assert!(names.len() > 3);
    for name in &names[1..] {
        let files = copy(&*files);
        files.remove_file(&dir().join(name)).unwrap();
        let (_, end) = readable(&files, small());
        assert!(
            end.is_err_and(|error| error.to_string().contains("missing")),
            "{name}"
        );
    }
    let files = copy(&*files);
    for name in &names {
        files.remove_file(&dir().join(name)).unwrap();
    }
    let error = try_open(&files, small()).unwrap_err();
    assert!(
        is_told(&error) && error.to_string().contains("missing"),
        "{error}"
    );
}

#[test]
fn the_newest_segment_of_a_killed_log_is_missed_where_it_was_synced() {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..40, 4);
    log.sync().unwrap();
    kill(log);
    let last = segment_names(&*files).pop().unwrap();
    files.remove_file(&dir().join(&last)).unwrap();
    // What said that there is another.
    for index in names_ending(&*files, ".index") {
        files.remove_file(&dir().join(index)).unwrap();
    }
    let error = try_open(&files, small()).unwrap_err().to_string();
    assert!(error.contains(&last) && error.contains("missing"), "{error}");
    let report = verify(&files, dir(), Neighbour::None, &mut |_| {}).unwrap();
    assert!(!report.is_sound(), "{report:?}");
    // Nor does a log without any segment begin anew at offset 0.
    for name in segment_names(&*files) {
        files.remove_file(&dir().join(name)).unwrap();
    }
    let error = try_open(&files, small()).unwrap_err().to_string();
    assert!(error.contains(&last) && error.contains("missing"), "{error}");
}

#[test]
fn the_message_names_the_file_the_place_and_the_cure() {
    let files = killed(1);
    let (at, _) = frame_places(&files)[2];
    let name = segment_names(&*files).remove(0);
    let mut bytes = contents(&*files, &name);
    bytes[at + 80] ^= 1;
    replace(&*files, &name, &bytes);
    let error = try_open(&files, single()).unwrap_err();
    let LogError::Corrupt {
        position, offset: 8, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(position, at as u64);
    let text = error.to_string();
    assert!(
        text.contains(&name) && text.contains("checksum") && text.contains("restore"),
        "{text}"
    );
}

/// Five frames of about 2,060 bytes, some of them followed by a sync. Then the second loses a sector.
fn with_a_lost_sector(sync_after: Option<usize>) -> Arc<dyn Files> {
    let files = memory();
    let log = open(&files, single());
    let large = Rec {
        payload: Some(vec![7; 2_000]),
        ..rec(0)
    };
    for number in 0..5 {
        append(&log, std::slice::from_ref(&large));
        if sync_after == Some(number) {
            log.sync().unwrap();
        }
    }
    kill(log);
    let name = segment_names(&*files).remove(0);
    let mut bytes = contents(&*files, &name);
    bytes[2_560..3_072].fill(0);
    replace(&*files, &name, &bytes);
    files
}

#[test]
fn a_sector_that_was_never_written_is_a_crash_and_not_damage() {
    let (log, recovery) = try_open(&with_a_lost_sector(None), single()).unwrap();
    let cut = recovery.cut.unwrap();
    assert_eq!((log.next_offset(), cut.offset), (1, 1));
    assert!(cut.bytes > 8_000, "{cut:?}");
}

#[test]
fn a_sector_that_was_synced_and_is_gone_is_damage() {
    for options in [single(), read_only(single())] {
        let error = try_open(&with_a_lost_sector(Some(2)), options).unwrap_err();
        assert!(matches!(error, LogError::Corrupt { offset: 1, .. }), "{error}");
    }
}

#[test]
fn a_payload_that_looks_like_a_frame_does_not_turn_a_torn_write_into_damage() {
    let files = memory();
    let log = open(&files, single());
    append_numbers(&log, 0..4, 4);
    // A real frame of this very file, with a later offset than any that is there.
    append_numbers(&log, 4..8, 4);
    let name = segment_names(&*files).remove(0);
    let (start, end) = frame_places(&files)[1];
    let mut forged = contents(&*files, &name)[start..end].to_vec();
    forged[16..24].copy_from_slice(&100_u64.to_le_bytes());
    forged[48..56].copy_from_slice(&1_000_000_u64.to_le_bytes());
    let sum = crc32c::crc32c(&forged[8..56]);
    forged[4..8].copy_from_slice(&sum.to_le_bytes());
    append(
        &log,
        &[Rec {
            payload: Some(forged.repeat(20)),
            ..rec(8)
        }],
    );
    kill(log);
    let whole = contents(&*files, &name);
    replace(&*files, &name, &whole[..whole.len() - 5]);
    let (log, recovery) = try_open(&files, single()).unwrap();
    assert_eq!((log.next_offset(), recovery.cut.unwrap().offset), (8, 8));
}

#[test]
fn frames_of_another_file_are_never_delivered() {
    let [mine, other] = [closed(), closed()];
    let name = segment_names(&*mine).remove(0);
    let mut bytes = contents(&*mine, &name);
    let foreign = contents(&*other, &name);
    assert_eq!(bytes.len(), foreign.len());
    bytes[32..].copy_from_slice(&foreign[32..]);
    replace(&*mine, &name, &bytes);
    let (found, end) = readable(&mine, small());
    assert!(found == 0 && end.is_err_and(|error| is_told(&error)));
}

#[test]
fn any_bytes_at_all_are_opened_or_refused_without_a_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..300 {
        let files = closed();
        let names = names_ending(&*files, "");
        let name = &names[random.usize(..names.len())];
        let mut bytes = contents(&*files, name);
        let keep = if round % 2 == 0 { 32.min(bytes.len()) } else { 0 };
        random.fill(&mut bytes[keep..]);
        bytes.truncate(random.usize(keep..=bytes.len()));
        replace(&*files, name, &bytes);
        let _ = (readable(&files, small()), readable(&files, read_only(small())));
        if let Ok((log, _)) = try_open(&files, small()) {
            let _: (u64, &PartitionLog) = (log.offset_for_time(1_100).unwrap_or_default(), &log);
        }
    }
}
