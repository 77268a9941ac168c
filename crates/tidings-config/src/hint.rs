//! What was probably meant by a key that does not exist: by its spelling, by its place, by what others call it.

use crate::key::{KeyPath, normal};
use crate::nearest::nearest;
use crate::record::KeyRecord;
use crate::records::{SECTIONS, records, synonyms};

/// Stands for any name in the path of a record.
pub(crate) const ANY_NAME: &str = "<name>";

/// Whether a record lies inside a table.
pub(crate) fn under(record: &KeyRecord, parent: &KeyPath) -> bool {
    let parent = parent.segments();
    record.segments().count() > parent.len()
        && record
            .segments()
            .zip(parent)
            .all(|(known, found)| known == ANY_NAME || known == found)
}

/// What was meant by `rest` inside the table `parent`, as it is written there. `children` are the keys of the table.
pub(crate) fn meant(parent: &KeyPath, rest: &[String], children: &[String]) -> Option<String> {
    let word = rest.first()?;
    known_elsewhere(parent, rest)
        .or_else(|| nearest(word, children.iter().map(String::as_str)).map(str::to_owned))
        .or_else(|| deeper(parent, word))
}

/// A key that others call so, or that is ours with other separators: `batch.size` and `batchSize` are `batch_size`.
pub(crate) fn known_elsewhere(parent: &KeyPath, rest: &[String]) -> Option<String> {
    let wanted = squashed(&rest.join("_"));
    if parent.segments().is_empty() {
        let first = squashed(rest.first().map_or("", String::as_str));
        let section = SECTIONS
            .iter()
            .find(|(_, words)| words.iter().any(|word| squashed(word) == first));
        if let Some((section, _)) = section {
            return Some((*section).to_owned());
        }
    }
    let depth = parent.segments().len();
    let relative = |record: &KeyRecord| record.segments().skip(depth).collect::<Vec<_>>().join(".");
    // `<name>` stands for any name, so what lies below it is not a key of this table.
    let here = || {
        records().iter().filter(|record| {
            under(record, parent) && !record.segments().skip(depth).any(|part| part == ANY_NAME)
        })
    };
    let same = here().find(|record| squashed(&relative(record)) == wanted);
    let called = || here().find(|record| synonyms(record.path).iter().any(|word| squashed(word) == wanted));
    same.or_else(called).map(relative)
}

/// A key of that name further down: `attempts` was written where `retry.attempts` belongs.
fn deeper(parent: &KeyPath, word: &str) -> Option<String> {
    let depth = parent.segments().len();
    let record = records()
        .iter()
        .find(|record| under(record, parent) && record.last() == normal(word))?;
    Some(record.segments().skip(depth).collect::<Vec<_>>().join("."))
}

/// Without case and separators.
fn squashed(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
