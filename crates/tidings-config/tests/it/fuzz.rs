//! Bytes that nobody meant as a configuration: the harness of the fuzz target over its corpus, over random changes of
//! it, and over noise. A bounded search, so that every run of the tests makes one.

#[path = "../../../../fuzz/harness.rs"]
mod harness;

use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The corpus, by name.
static CORPUS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/load");
    let entries = std::fs::read_dir(directory).expect("the corpus belongs to the repository");
    let mut corpus: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("it can be listed").path();
            let name = path
                .file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(path).expect("it can be read"))
        })
        .collect();
    corpus.sort();
    corpus
});

#[test]
fn every_hostile_input_of_the_corpus_is_read_or_refused() {
    assert!(CORPUS.len() >= 20, "{}", CORPUS.len());
    for (name, data) in CORPUS.iter() {
        // The name of the input stands in the output if it panics.
        println!("{name}");
        harness::load(data);
    }
}

#[test]
fn deep_input_needs_no_deep_stack() {
    // Threads of a runtime have 2 MiB; a debug build uses most of the stack.
    let deep = || {
        for (_, data) in CORPUS
            .iter()
            .filter(|(name, _)| name.contains("deep") || name.contains("flow"))
        {
            harness::load(data);
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(deep);
    thread.unwrap().join().unwrap();
}

/// What is done to an input of the corpus.
#[derive(Debug, Clone)]
enum Change {
    Cut(usize, usize),
    Put(usize, Vec<u8>),
    Repeat(usize, usize, usize),
    /// A part of another input.
    Graft(usize, usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0usize..4_096;
    let text = prop::sample::select(vec![
        "${",
        "}",
        "${PASSWORD}",
        "\"",
        "'''",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a ",
        "<<: ",
        "!!int ",
        ": ",
        "- ",
        "\n",
        "\t",
        "=",
        "=== env\n",
        "TIDINGS__",
        "__",
        "0x",
        "1e9",
        "\u{feff}",
        "\u{0}",
        "null",
        "~",
        "|\n ",
        "#",
        "?",
        "%",
        "\u{1f4a9}",
    ]);
    prop_oneof![
        (at.clone(), 0usize..64).prop_map(|(at, length)| Change::Cut(at, length)),
        (at.clone(), text).prop_map(|(at, text)| Change::Put(at, text.into())),
        (at.clone(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        (at.clone(), 1usize..16, 2usize..200)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        (
            at.clone(),
            any::<prop::sample::Index>().prop_map(|index| index.index(1_000)),
            at,
            1usize..64
        )
            .prop_map(|(at, other, from, length)| Change::Graft(at, other, from, length)),
    ]
}

fn part(data: &[u8], at: usize, length: usize) -> std::ops::Range<usize> {
    let start = at % (data.len() + 1);
    start..(start + length).min(data.len())
}

fn apply(data: &mut Vec<u8>, change: Change) {
    match change {
        Change::Cut(at, length) => drop(data.drain(part(data, at, length))),
        Change::Put(at, bytes) => {
            let at = at % (data.len() + 1);
            data.splice(at..at, bytes);
        }
        Change::Repeat(at, length, times) => {
            let range = part(data, at, length);
            let again = data[range.clone()].repeat(times);
            data.splice(range, again);
        }
        Change::Graft(at, other, from, length) => {
            let other = &CORPUS[other % CORPUS.len()].1;
            let at = at % (data.len() + 1);
            data.splice(at..at, other[part(other, from, length)].iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_change_of_the_corpus_makes_the_loader_panic(
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let mut data = index.get(&CORPUS).1.clone();
        changes.into_iter().for_each(|change| apply(&mut data, change));
        harness::load(&data);
    }

    #[test]
    fn no_bytes_make_the_loader_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        harness::load(&data);
    }

    #[test]
    fn no_yaml_makes_the_loader_panic(text in "y\\PC{0,100}|y[\\[\\]{}=.\"'\\n a-z0-9:&*<!|>#?-]{0,200}") {
        harness::load(text.as_bytes());
    }
}
