//! What a process leaves in `running.marks`, and what the next one makes of it: copies stand for the killed.

use crate::support::{assigned, copy, disk, done, join, prepare, publish};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tidings_core::{Company, Deaths, Mark, Source};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync};

const FILE: &str = "running.marks";

/// A process that handles messages 1 and 2 of five when it is killed: the one executes, the other waits.
async fn killed(root: &Path) {
    let live = root.join("live");
    let broker = disk(&live, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    for number in 0..5 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 1);
    source.commit().await.unwrap();
    let marked = lane.marks.unwrap();
    let mut marks: Vec<Mark> = marked.board.take();
    marks.reverse();
    marks[0].set(marked.tag.unwrap(), 1, Company::Others);
    marks[1].set(marked.tag.unwrap(), 2, Company::Others);
    marks[1].wait();
    // Finished, and stored so: what is marked of it means nothing.
    marks[2].set(marked.tag.unwrap(), 0, Company::Others);
    // Of a lane that nobody knows.
    marks[3].set(1, 1, Company::Others);
    copy(&live, &root.join("killed"));
}

/// What the next process knows of the last one's end.
async fn deaths(directory: &Path) -> Vec<(u64, u32, u32)> {
    let broker = disk(directory, Fsync::Os);
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    assert!(lane.marks.is_some_and(|marks| marks.tag.is_some()));
    let counts = |deaths: &Deaths| (deaths.offset, deaths.executing, deaths.waiting);
    lane.deaths.iter().map(counts).collect()
}

#[tokio::test]
async fn the_number_of_marks_is_configured_and_may_change_between_two_processes() {
    let root = tempfile::tempdir().unwrap();
    killed(root.path()).await;
    let directory = root.path().join("killed");
    let url = format!("embedded:{}", directory.display());
    for cells in [64, 1_000] {
        let marks = fs::read(directory.join(FILE)).unwrap();
        assert_ne!(marks.len(), 4_096 + cells * 16);
        let options = EmbeddedOptions::from_url(&url).unwrap().max_marks(cells);
        let broker = EmbeddedBroker::open(options).unwrap();
        let mut source = join(&broker, "billing", "orders").await;
        let lane = assigned(&mut source).await.remove(0);
        assert_eq!(lane.deaths.len(), 2, "counted once, and kept");
        assert_eq!(fs::read(directory.join(FILE)).unwrap().len(), 4_096 + cells * 16);
        let board = lane.marks.unwrap().board;
        let mut taken = 0;
        loop {
            let some = board.take();
            if some.is_empty() {
                break;
            }
            taken += some.len();
            // Kept until the end, so that none is given twice.
            std::mem::forget(some);
        }
        assert_eq!(taken, cells);
    }
}

#[tokio::test]
async fn the_next_process_counts_a_death_for_what_was_being_handled_and_counts_it_once() {
    let root = tempfile::tempdir().unwrap();
    killed(root.path()).await;
    let directory = root.path().join("killed");
    let marks = fs::read(directory.join(FILE)).unwrap();
    assert_eq!(deaths(&directory).await, [(1, 1, 0), (2, 0, 1)]);
    assert_eq!(deaths(&directory).await, [(1, 1, 0), (2, 0, 1)]);
    // Killed when it had counted and not emptied the file yet.
    fs::write(directory.join(FILE), marks).unwrap();
    assert_eq!(deaths(&directory).await, [(1, 1, 0), (2, 0, 1)]);
}

#[tokio::test]
async fn what_is_finished_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    killed(root.path()).await;
    let directory = root.path().join("killed");
    let broker = disk(&directory, Fsync::Os);
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 2);
    source.close().await.unwrap();
    drop(source);
    drop(broker);
    assert_eq!(deaths(&directory).await, [(2, 0, 1)]);
}

#[tokio::test]
async fn what_a_power_cut_took_leaves_its_deaths_to_no_other_message() {
    let root = tempfile::tempdir().unwrap();
    let (live, older) = (root.path().join("live"), root.path().join("older"));
    let broker = disk(&live, Fsync::Os);
    prepare(&broker, "orders", 1).await;
    for number in 0..3 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    copy(&live.join("topics/orders"), &older);
    for number in 3..5 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    done(&mut source, lane.lane, lane.epoch, 1);
    source.commit().await.unwrap();
    let marked = lane.marks.unwrap();
    let marks = marked.board.take();
    for (mark, offset) in marks.iter().zip([2, 4]) {
        mark.set(marked.tag.unwrap(), offset, Company::Others);
    }
    // The power is cut now, and the last two messages are gone.
    let directory = root.path().join("killed");
    copy(&live, &directory);
    fs::remove_dir_all(directory.join("topics/orders")).unwrap();
    copy(&older, &directory.join("topics/orders"));

    let broker = disk(&directory, Fsync::Os);
    for offset in 3..5 {
        let position = publish(&broker, "orders", 0, "new").await.unwrap();
        assert_eq!(position.offset(), offset);
    }
    copy(&directory, &root.path().join("again"));
    drop(broker);
    assert_eq!(deaths(&directory).await, [(2, 1, 0)]);
    // Also when the next process is killed at once.
    assert_eq!(deaths(&root.path().join("again")).await, [(2, 1, 0)]);
}

#[tokio::test]
async fn a_clean_end_leaves_no_marks() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Os);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "0").await.unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    let marked = lane.marks.unwrap();
    let marks = marked.board.take();
    marks[0].set(marked.tag.unwrap(), 0, Company::Others);
    assert!(cells(root.path()).iter().any(|byte| *byte != 0));
    use tidings_core::Binder;
    broker.close().await.unwrap();
    let states = cells(root.path());
    assert!(states.chunks(16).all(|cell| cell[8..] == [0; 8]));
    drop(source);
    drop(broker);
    assert_eq!(deaths(root.path()).await, []);
}

fn cells(directory: &Path) -> Vec<u8> {
    fs::read(directory.join(FILE)).unwrap()[4096..].to_vec()
}

type Spoil = fn(&Path);

#[tokio::test]
async fn a_file_of_marks_that_cannot_be_read_costs_the_marks_and_nothing_else() {
    let spoiled: [(&str, Spoil, usize); 8] = [
        ("missing", |path| fs::remove_file(path).unwrap(), 0),
        ("empty", |path| fs::write(path, "").unwrap(), 0),
        ("cut in the header", |path| cut(path, 20), 0),
        ("cut behind the first cell", |path| cut(path, 4096 + 16 + 7), 1),
        ("garbage", |path| fs::write(path, [0xa5; 9_999]).unwrap(), 0),
        (
            "garbage behind the header",
            |path| spoil(path, 4096, &[0xff; 4096]),
            0,
        ),
        ("of another version", |path| spoil(path, 14, b"2"), 0),
        (
            "a directory",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap()
            },
            0,
        ),
    ];
    for (what, spoil, left) in spoiled {
        let root = tempfile::tempdir().unwrap();
        killed(root.path()).await;
        let directory = root.path().join("killed");
        spoil(&directory.join(FILE));
        let broker = disk(&directory, Fsync::Os);
        let mut source = join(&broker, "billing", "orders").await;
        let lane = assigned(&mut source).await.remove(0);
        assert_eq!((lane.next, lane.deaths.len()), (1, left), "{what}");
        let marks = lane.marks.unwrap();
        assert_eq!(marks.board.take().is_empty(), what == "a directory", "{what}");
        let texts = crate::support::drain(&mut source).await;
        assert_eq!(texts, ["1", "2", "3", "4"], "{what}");
    }
}

fn cut(path: &Path, bytes: u64) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

fn spoil(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, at)
        .unwrap();
}
