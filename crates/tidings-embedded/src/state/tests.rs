#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges is meant")]

use super::*;
use crate::deaths;
use tidings_log::DiskFiles;

#[test]
fn progress_and_delayed_messages_survive_reopening() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.redb");
    let progress = Progress {
        watermark: 7,
        finished: vec![9..11],
        attempts: vec![(12, 2)],
    };
    let state = State::on_disk(Arc::new(DiskFiles), &path).unwrap();
    let at = Timestamp::from_millis;
    state
        .store(&Changes {
            progress: vec![("orders", "billing", 3, &progress)],
            puts: vec![(at(20), b"later"), (at(10), b"first"), (at(10), b"second")],
            ..Changes::default()
        })
        .unwrap();
    drop(state);

    let state = State::on_disk(Arc::new(DiskFiles), &path).unwrap();
    assert_eq!(
        state.progress().unwrap(),
        [("orders".to_owned(), "billing".to_owned(), 3, progress)]
    );
    assert_eq!(state.first_due().unwrap(), Some(at(10)));
    let due = state.due(None, at(10), 10, 1 << 20).unwrap();
    let texts: Vec<_> = due.iter().map(|row| row.bytes.as_ref()).collect();
    assert_eq!(texts, [b"first".as_slice(), b"second"]);
    let second = state.due(Some(due[0].due), at(10), 10, 1 << 20).unwrap();
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].due, due[1].due);
    let removed = due.iter().map(|row| row.due).collect();
    state
        .store(&Changes {
            removed,
            puts: vec![(at(20), b"last")],
            ..Changes::default()
        })
        .unwrap();
    let due = state.due(None, at(99), 10, 1 << 20).unwrap();
    let texts: Vec<_> = due.iter().map(|row| row.bytes.as_ref()).collect();
    assert_eq!(texts, [b"later".as_slice(), b"last"]);
}

#[test]
fn a_file_that_is_no_state_is_refused_with_the_cure() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.redb");
    std::fs::write(
        &path,
        b"this is something else, and longer than a header would be",
    )
    .unwrap();
    let refused = State::on_disk(Arc::new(DiskFiles), &path).unwrap_err();
    assert!(
        refused.contains("state.redb") && refused.contains("restore"),
        "{refused}"
    );
}

#[test]
fn deaths_and_the_generation_that_was_counted_are_stored_until_they_are_removed() {
    let state = State::in_memory().unwrap();
    assert_eq!(
        (state.deaths().unwrap(), state.counted_marks().unwrap()),
        (vec![], 0)
    );
    let known = vec![Deaths::of(7)];
    let store = |bytes| {
        let changes = Changes {
            deaths: vec![("orders", "billing", 3, bytes)],
            counted_marks: Some(5),
            ..Changes::default()
        };
        state.store(&changes).unwrap();
        state.deaths().unwrap()
    };
    let row = ("orders".to_owned(), "billing".to_owned(), 3, known.clone());
    assert_eq!(store(deaths::encode(&known)), [row]);
    assert_eq!(state.counted_marks().unwrap(), 5);
    assert_eq!(store(vec![9, 9]), [], "what cannot be read counts anew");
    assert_eq!(store(Vec::new()), []);
}
