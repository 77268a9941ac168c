//! Every way in which a crash can take what was not synced, for logs so small that all of them can be tried.

use crate::support::*;
use std::sync::Arc;
use tidings_log::faults::{FaultyFiles, Loss};
use tidings_log::{Files, FrameBuilder, LogOptions, PartitionLog};

/// A record of that many bytes and its offset in each of them.
fn frame_of(offset: u64, bytes: usize) -> FrameBuilder {
    let mut frame = FrameBuilder::default();
    frame
        .push(1, None, b"", Some(&vec![offset as u8 + 1; bytes]))
        .unwrap();
    frame
}

/// Opens after each possible crash and checks what is there. Returns how many crashes there were, and how many of them
/// cut something.
fn crash_in_every_way(options: LogOptions, sizes: &[usize], synced: u64) -> (u64, u64) {
    let (mut number, mut cuts) = (0, 0);
    loop {
        let disk: Arc<FaultyFiles> = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let log = open(&files, options);
        for (offset, bytes) in sizes.iter().enumerate() {
            log.append(&mut frame_of(offset as u64, *bytes)).unwrap();
            if offset as u64 + 1 == synced {
                log.sync().unwrap();
            }
        }
        let durable = log.synced_offset();
        kill(log);
        let more = disk.crash(Loss::Chosen { number }).unwrap();
        let (log, recovery) = try_open(&files, options).unwrap_or_else(|error| panic!("{number}: {error}"));
        cuts += u64::from(recovery.cut.is_some());
        check(&log, sizes, durable, number);
        // It goes on behind what is left.
        let next = log.next_offset();
        log.append(&mut frame_of(next, 5)).unwrap();
        log.sync().unwrap();
        number += 1;
        if !more {
            return (number, cuts);
        }
    }
}

fn check(log: &PartitionLog, sizes: &[usize], durable: u64, number: u64) {
    let next = log.next_offset();
    assert!(
        (durable..=sizes.len() as u64).contains(&next),
        "way {number}: {next} of {durable} synced"
    );
    let (found, end) = read_from(log, 0, 1 << 20);
    end.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|(_, record)| record.payload.unwrap())
        .collect();
    let expected: Vec<_> = (0..next)
        .zip(sizes)
        .map(|(offset, bytes)| vec![offset as u8 + 1; *bytes])
        .collect();
    assert_eq!(found, expected, "way {number}");
}

#[test]
fn of_all_subsets_of_unsynced_sectors_none_loses_what_was_synced_or_shows_garbage() {
    // Frames that end within sectors, at their borders, and over several.
    for (sizes, synced) in [
        (&[100, 400, 300, 700, 20, 1_500][..], 1),
        (&[450, 450, 450, 450, 450, 450, 450, 450][..], 2),
        (&[2_000, 10, 10, 10, 1_000][..], 0),
    ] {
        let (ways, cuts) = crash_in_every_way(single(), sizes, synced);
        assert!(ways >= 64 && cuts > ways / 4, "{ways} ways, {cuts} cuts");
    }
}

#[test]
fn of_all_subsets_around_a_new_segment_none_loses_what_was_synced_or_shows_garbage() {
    let options = LogOptions {
        segment_bytes: 1_500,
        ..small()
    };
    let (ways, _) = crash_in_every_way(options, &[300, 600, 500, 900, 400, 100], 1);
    assert!(ways >= 16, "{ways}");
}
