//! Bits that flip in any file of a broker's directory while nobody looks.

use crate::support::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings_core::{Binder, Clock, Outgoing, Progress};
use tidings_embedded::{EmbeddedBroker, Fsync};

/// Messages in a partition, positions of two groups, and messages for later.
async fn filled(root: &Path, clock: Clock) {
    let broker = EmbeddedBroker::open(options(root).fsync(Fsync::Os).clock(clock)).unwrap();
    prepare(&broker, "orders", 1).await;
    for number in 0..10 {
        publish(&broker, "orders", 0, format!("now {number}"))
            .await
            .unwrap();
        let mut outgoing: Outgoing = to("orders", 0, format!("later {number}"));
        outgoing.due = Some(clock.now().plus(Duration::from_secs(60)));
        broker.sink().publish(outgoing).await.unwrap();
    }
    for (group, watermark) in [("billing", 7), ("audit", 3)] {
        let progress = Progress {
            watermark,
            finished: vec![8..9],
            attempts: vec![(7, 2)],
        };
        broker.store_progress("orders", 0, group, progress).await.unwrap();
    }
    broker.close().await.unwrap();
}

/// What a broker over these files shows, or what it refuses with.
async fn look(root: &Path, clock: Clock) -> Result<BTreeSet<String>, String> {
    let opened = EmbeddedBroker::open(options(root).fsync(Fsync::Os).clock(clock));
    let broker = opened.map_err(|error| error.to_string())?;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let found = found(&broker).await;
    let health = format!("{:?}", broker.health());
    // Whatever was found, closing may say what could not be kept, and must come to an end.
    drop(broker.close().await);
    found.map_err(|error| format!("{error}; {health}"))
}

async fn found(broker: &EmbeddedBroker) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    for group in ["billing", "audit"] {
        let positions = broker.positions("orders", Some(group)).await;
        let positions = positions.map_err(|error| error.to_string())?;
        found.insert(format!("{group} {:?}", positions[0].progress));
    }
    let mut next = 0;
    loop {
        let batch = broker.read("orders", 0, next, 1 << 20).await;
        let batch = batch.map_err(|error| error.to_string())?;
        if batch.is_empty() {
            break;
        }
        found.extend(texts(&batch));
        next = batch.records().last().map_or(next, |record| record.offset + 1);
    }
    match broker.health() {
        tidings_core::BinderHealth::Up => Ok(found),
        down => Err(format!("{down:?}")),
    }
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Places of that file: all of a small one, of a large one those that hold something, in even steps.
fn places(bytes: &[u8], most: usize) -> Vec<usize> {
    let all: Vec<_> = (0..bytes.len())
        .filter(|place| bytes.len() < 4096 || bytes[*place] != 0)
        .collect();
    let step = (all.len() / most).max(1);
    all.into_iter().step_by(step).collect()
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_in_any_file_is_told_with_file_and_cure_or_changes_nothing() {
    // With TIDINGS_FLIPS a run looks at more places of each file than CI has time for.
    let most = std::env::var("TIDINGS_FLIPS").map_or(60, |most| most.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let (whole, live) = (root.path().join("whole"), root.path().join("live"));
    let clock = Clock::virtual_from_now();
    filled(&whole, clock).await;
    copy(&whole, &live);
    let expected = look(&live, clock).await.unwrap();
    assert_eq!(expected.len(), 22);
    let mut files = Vec::new();
    files_below(&whole, &mut files);
    let (mut told, mut tried) = (0, 0);
    for file in &files {
        let name = file.strip_prefix(&whole).unwrap();
        let bytes = std::fs::read(file).unwrap();
        for place in places(&bytes, most) {
            std::fs::remove_dir_all(&live).unwrap();
            copy(&whole, &live);
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            std::fs::write(live.join(name), flipped).unwrap();
            tried += 1;
            match look(&live, clock).await {
                Ok(found) => assert_eq!(found, expected, "byte {place} of {}", name.display()),
                Err(reason) => {
                    told += 1;
                    assert_told(&reason, name, place);
                }
            }
        }
    }
    assert!(told * 4 > tried, "{told} of {tried} were told");
}

fn assert_told(reason: &str, file: &Path, place: usize) {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let names_it = reason.contains(&name);
    let cure = ["restore", "use the release", "use the version"]
        .iter()
        .any(|cure| reason.contains(cure));
    assert!(names_it && cure, "byte {place} of {}: {reason}", file.display());
}
