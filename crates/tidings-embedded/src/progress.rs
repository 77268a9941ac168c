//! How far each group is in each partition: [`ProgressTable`].

use crate::deaths::{self, is_open};
use crate::lock::{lock, read, write};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use tidings_core::{Deaths, Epoch, Progress};

/// The version of an encoded progress.
const VERSION: u8 = 1;

/// The progress of one group in one partition.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) destination: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) partition: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The assignment that may report now.
    owner: Option<Epoch>,
    reported: Option<Progress>,
    stored: Option<Progress>,
    dirty: bool,
    /// Below this offset messages were handed out. 0 if none was since the broker was opened.
    handed_out: u64,
    /// Somebody has set the progress from outside, and it is not stored. What is reported on top of it speaks of it too.
    is_set: bool,
    /// What was handed out below this may have led to messages that are in doubt since.
    doubtful_below: u64,
    /// Messages that processes died of, or beside; those that are finished are forgotten when that is stored.
    deaths: Vec<Deaths>,
    /// More of them were forgotten than the progress says.
    deaths_clipped: bool,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It counts and was noted as to be stored already.
    Again,
    /// It counts; the entry is to be put on the list of what must be stored.
    First,
    /// The lane belongs to somebody else.
    Ignored,
}

impl Entry {
    /// Who may report from now on. Late reports of earlier assignments are ignored.
    pub(crate) fn assign(&self, epoch: Option<Epoch>) {
        lock(&self.state).owner = epoch;
    }

    /// Takes the partition away from that assignment, if it still has it.
    pub(crate) fn take_from(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        if state.owner == Some(epoch) {
            state.owner = None;
        }
    }

    /// Whether a member reads the partition.
    pub(crate) fn is_owned(&self) -> bool {
        lock(&self.state).owner.is_some()
    }

    /// A report of the assignment `epoch`.
    pub(crate) fn report(&self, epoch: Epoch, progress: Progress) -> Reported {
        let mut state = lock(&self.state);
        if state.owner != Some(epoch) {
            return Reported::Ignored;
        }
        // Also what was never handed out, as when records were skipped: it is taken for that.
        state.handed_out = state.handed_out.max(covered(&progress));
        state.reported = Some(progress);
        state.mark()
    }

    /// A progress that somebody sets from outside; refused while a member reads.
    pub(crate) fn set(&self, progress: Progress) -> Reported {
        let mut state = lock(&self.state);
        if state.owner.is_some() {
            return Reported::Ignored;
        }
        state.reported = Some(progress);
        state.is_set = true;
        state.mark()
    }

    /// Where the group begins, unless it has a position.
    pub(crate) fn begin(&self, start: impl FnOnce() -> Option<u64>) -> Reported {
        let mut state = lock(&self.state);
        if state.reported.is_some() {
            return Reported::Ignored;
        }
        let Some(watermark) = start() else {
            return Reported::Ignored;
        };
        state.reported = Some(Progress {
            watermark,
            ..Progress::default()
        });
        state.mark()
    }

    /// What was reported last.
    pub(crate) fn reported(&self) -> Option<Progress> {
        lock(&self.state).reported.clone()
    }

    /// What is stored.
    pub(crate) fn stored(&self) -> Option<Progress> {
        lock(&self.state).stored.clone()
    }

    /// The watermark that is stored.
    pub(crate) fn stored_watermark(&self) -> Option<u64> {
        lock(&self.state)
            .stored
            .as_ref()
            .map(|progress| progress.watermark)
    }

    /// Messages below that offset are handed out; said before anybody has them.
    pub(crate) fn hand_out(&self, below: u64) {
        let mut state = lock(&self.state);
        state.handed_out = state.handed_out.max(below);
    }

    /// What was acknowledged elsewhere is in doubt. Nothing has been acknowledged there since before this call, so only
    /// what was handed out until now may have led to some of it.
    pub(crate) fn doubt(&self) {
        let mut state = lock(&self.state);
        state.doubtful_below = state.handed_out;
    }

    /// Whether what is reported may be stored while there is something in doubt: everything that was handed out before
    /// that is stored already, so it all comes from what was handed out since.
    ///
    /// Otherwise nothing of it may be, also not that later messages are finished: after a power cut the earlier ones would
    /// be handled again without the later ones of the same key behind them, and what they change would stay changed.
    pub(crate) fn is_beyond_doubt(&self) -> bool {
        let state = lock(&self.state);
        let stored = state.stored.as_ref().map_or(0, |progress| progress.watermark);
        // Whoever has set it may have read by other means, and published what is in doubt.
        !state.is_set && state.doubtful_below <= stored
    }

    /// Takes what must be stored; a report after this is a new one.
    pub(crate) fn take_dirty(&self) -> Option<Progress> {
        let mut state = lock(&self.state);
        state.dirty = false;
        state.reported.clone()
    }

    /// Forgets what it says about offsets from `end` on; the progress if that changed it.
    fn clip(&self, end: u64) -> Option<Progress> {
        let mut state = lock(&self.state);
        let before = state.deaths.len();
        state.deaths.retain(|deaths| deaths.offset < end);
        let fewer = state.deaths.len() < before;
        state.deaths_clipped |= fewer;
        let reported = state.reported.as_mut()?;
        (clip(reported, end) || fewer).then(|| reported.clone())
    }

    /// It is stored.
    pub(crate) fn keep(&self, progress: Progress) {
        let mut state = lock(&self.state);
        state.deaths.retain(|deaths| is_open(&progress, deaths.offset));
        state.deaths_clipped = false;
        if state.reported.as_ref() == Some(&progress) {
            state.is_set = false;
        }
        state.stored = Some(progress);
    }

    /// Messages that processes died of, or beside.
    pub(crate) fn deaths(&self) -> Vec<Deaths> {
        lock(&self.state).deaths.clone()
    }

    /// The same, as they are stored.
    pub(crate) fn set_deaths(&self, deaths: Vec<Deaths>) {
        lock(&self.state).deaths = deaths;
    }

    /// The deaths that are to be stored with a progress; none if there is no change.
    pub(crate) fn deaths_beside(&self, progress: &Progress) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let open = state
            .deaths
            .iter()
            .filter(|deaths| is_open(progress, deaths.offset));
        let open: Vec<_> = open.copied().collect();
        (state.deaths_clipped || open.len() < state.deaths.len()).then(|| deaths::encode(&open))
    }

    /// Forgets everything, unless a member reads the partition: whether it did.
    pub(crate) fn forget(&self) -> bool {
        let mut state = lock(&self.state);
        if state.owner.is_some() {
            return false;
        }
        state.reported = None;
        state.stored = None;
        state.deaths = Vec::new();
        true
    }

    /// Whether it is to stay forgotten: a group that began again in between has a position. What a transaction that
    /// ran meanwhile took for stored is forgotten once more.
    pub(crate) fn stays_forgotten(&self) -> bool {
        let mut state = lock(&self.state);
        if state.reported.is_none() {
            state.stored = None;
        }
        state.reported.is_none()
    }

    /// It could not be stored: whether the entry goes back on the list.
    pub(crate) fn put_back(&self) -> Reported {
        lock(&self.state).mark()
    }
}

impl State {
    fn mark(&mut self) -> Reported {
        if std::mem::replace(&mut self.dirty, true) {
            Reported::Again
        } else {
            Reported::First
        }
    }
}

/// The entries of one destination, by partition: one for each group, and groups are few.
type OfDestination = HashMap<u32, Vec<Arc<Entry>>>;

/// Every group's progress. All of it is in memory: a few hundred bytes per group and partition.
#[derive(Debug, Default)]
pub(crate) struct ProgressTable {
    entries: RwLock<HashMap<Arc<str>, OfDestination>>,
}

impl ProgressTable {
    /// The entry, made if it is missing.
    pub(crate) fn entry(&self, destination: &Arc<str>, group: &Arc<str>, partition: u32) -> Arc<Entry> {
        if let Some(entry) = self.find(destination, group, partition) {
            return entry;
        }
        let mut entries = write(&self.entries);
        let of_destination = entries.entry(destination.clone()).or_default();
        let of_partition = of_destination.entry(partition).or_default();
        // Somebody may have been faster between the two locks.
        if let Some(entry) = of_partition.iter().find(|entry| entry.group == *group) {
            return entry.clone();
        }
        let entry = Arc::new(Entry {
            destination: destination.clone(),
            group: group.clone(),
            partition,
            state: Mutex::default(),
        });
        of_partition.push(entry.clone());
        entry
    }

    /// The entry, if there is one.
    pub(crate) fn find(&self, destination: &str, group: &Arc<str>, partition: u32) -> Option<Arc<Entry>> {
        let entries = read(&self.entries);
        let of_partition = entries.get(destination)?.get(&partition)?;
        of_partition.iter().find(|entry| entry.group == *group).cloned()
    }

    /// All entries of one group in a destination.
    pub(crate) fn of_group(&self, destination: &str, group: &str) -> Vec<Arc<Entry>> {
        let entries = read(&self.entries);
        let of_destination = entries.get(destination).into_iter().flat_map(HashMap::values);
        of_destination
            .flatten()
            .filter(|entry| &*entry.group == group)
            .cloned()
            .collect()
    }

    /// Takes over what was stored before.
    pub(crate) fn load(&self, destination: &Arc<str>, group: &Arc<str>, partition: u32, progress: Progress) {
        let entry = self.entry(destination, group, partition);
        let mut state = lock(&entry.state);
        state.reported = Some(progress.clone());
        state.stored = Some(progress);
    }

    /// Every entry.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let entries = read(&self.entries);
        let of_partitions = entries.values().flat_map(HashMap::values);
        of_partitions.flatten().cloned().collect()
    }

    /// Forgets what every group's progress in that partition says about offsets from `end` on. What was changed.
    pub(crate) fn clip(&self, destination: &str, partition: u32, end: u64) -> Vec<(Arc<Entry>, Progress)> {
        let entries = read(&self.entries);
        let of_partition = entries.get(destination).and_then(|all| all.get(&partition));
        of_partition
            .into_iter()
            .flatten()
            .filter_map(|entry| Some((entry.clone(), entry.clip(end)?)))
            .collect()
    }

    /// Whether a position of any group is stored in that destination that `counts`.
    pub(crate) fn has_group(&self, destination: &str, counts: impl Fn(&str) -> bool) -> bool {
        let entries = read(&self.entries);
        entries.get(destination).is_some_and(|of_destination| {
            of_destination
                .values()
                .flatten()
                .any(|entry| counts(&entry.group) && entry.stored_watermark().is_some())
        })
    }

    /// The lowest stored watermark of any group in that partition.
    pub(crate) fn lowest(&self, destination: &str, partition: u32) -> Option<u64> {
        let entries = read(&self.entries);
        let of_partition = entries.get(destination)?.get(&partition)?;
        of_partition
            .iter()
            .filter_map(|entry| entry.stored_watermark())
            .min()
    }
}

/// Below which offset there is everything that the progress speaks of.
pub(crate) fn covered(progress: &Progress) -> u64 {
    let finished = progress.finished.iter().map(|range| range.end);
    let attempts = progress
        .attempts
        .iter()
        .map(|(offset, _)| offset.saturating_add(1));
    finished
        .chain(attempts)
        .fold(progress.watermark, |highest, end| highest.max(end))
}

/// Forgets finished ranges and attempts from `end` on: records that were there are lost, and their offsets are given
/// to others. Whether there were any.
pub(crate) fn clip(progress: &mut Progress, end: u64) -> bool {
    if covered(progress) <= end.max(progress.watermark) {
        return false;
    }
    progress
        .finished
        .iter_mut()
        .for_each(|range| range.end = range.end.min(end));
    progress.finished.retain(|range| range.start < range.end);
    progress.attempts.retain(|(offset, _)| *offset < end);
    true
}

/// The bytes that are stored: version, watermark, finished ranges, attempts; numbers are little endian.
pub(crate) fn encode(progress: &Progress) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17 + progress.finished.len() * 16 + progress.attempts.len() * 12);
    bytes.push(VERSION);
    bytes.extend_from_slice(&progress.watermark.to_le_bytes());
    bytes.extend_from_slice(&(progress.finished.len() as u32).to_le_bytes());
    for range in &progress.finished {
        bytes.extend_from_slice(&range.start.to_le_bytes());
        bytes.extend_from_slice(&range.end.to_le_bytes());
    }
    bytes.extend_from_slice(&(progress.attempts.len() as u32).to_le_bytes());
    for (offset, attempts) in &progress.attempts {
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&attempts.to_le_bytes());
    }
    bytes
}

/// Reads what [`encode`] wrote; none for anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Progress> {
    let mut rest = bytes;
    if take::<1>(&mut rest)? != [VERSION] {
        return None;
    }
    let watermark = u64::from_le_bytes(take(&mut rest)?);
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    // Nothing is allocated by a count that the bytes do not back.
    let mut finished = Vec::with_capacity(count.min(rest.len() / 16));
    for _ in 0..count {
        finished.push(u64::from_le_bytes(take(&mut rest)?)..u64::from_le_bytes(take(&mut rest)?));
    }
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    let mut attempts = Vec::with_capacity(count.min(rest.len() / 12));
    for _ in 0..count {
        attempts.push((
            u64::from_le_bytes(take(&mut rest)?),
            u32::from_le_bytes(take(&mut rest)?),
        ));
    }
    rest.is_empty().then_some(Progress {
        watermark,
        finished,
        attempts,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(watermark: u64) -> Progress {
        Progress {
            watermark,
            ..Progress::default()
        }
    }

    #[test]
    fn beyond_doubt_is_who_had_stored_everything_that_was_handed_out() {
        let table = ProgressTable::default();
        let entry = table.entry(&"orders".into(), &"billing".into(), 0);
        entry.doubt();
        entry.begin(|| Some(5));
        assert!(entry.is_beyond_doubt(), "nothing was handed out");
        entry.keep(at(5));
        entry.hand_out(7);
        assert!(entry.is_beyond_doubt(), "it was handed out since");
        entry.doubt();
        assert!(!entry.is_beyond_doubt());
        entry.keep(at(6));
        assert!(!entry.is_beyond_doubt());
        entry.keep(at(7));
        assert!(entry.is_beyond_doubt());
        entry.assign(Some(Epoch(1)));
        entry.report(Epoch(1), at(9));
        entry.doubt();
        assert!(!entry.is_beyond_doubt(), "what is reported was handed out");
        entry.keep(at(9));
        entry.assign(None);
        entry.set(at(3));
        assert!(!entry.is_beyond_doubt(), "nobody knows what it is based on");
    }

    #[test]
    fn a_report_of_another_assignment_is_ignored() {
        let table = ProgressTable::default();
        let entry = table.entry(&"orders".into(), &"billing".into(), 0);
        assert_eq!(entry.report(Epoch(1), at(5)), Reported::Ignored);
        entry.assign(Some(Epoch(2)));
        assert_eq!(entry.report(Epoch(1), at(5)), Reported::Ignored);
        assert_eq!(entry.report(Epoch(2), at(7)), Reported::First);
        assert_eq!(entry.report(Epoch(2), at(8)), Reported::Again);
        assert_eq!(entry.reported(), Some(at(8)));
        assert_eq!(entry.stored(), None);
        assert_eq!(entry.set(at(1)), Reported::Ignored, "a member reads it");
    }

    #[test]
    fn deaths_are_forgotten_with_the_progress_that_says_finished_and_with_lost_records() {
        let table = ProgressTable::default();
        let entry = table.entry(&"orders".into(), &"billing".into(), 0);
        entry.set_deaths([3, 5, 9].map(Deaths::of).into());
        assert_eq!(entry.deaths_beside(&at(3)), None, "nothing changes");
        let progress = Progress {
            watermark: 4,
            finished: vec![5..6, 7..8],
            ..Progress::default()
        };
        let rows = entry.deaths_beside(&progress).unwrap();
        assert_eq!(deaths::decode(&rows), Some(vec![Deaths::of(9)]));
        entry.keep(progress.clone());
        assert_eq!(entry.deaths_beside(&progress), None);
        table.load(&entry.destination, &entry.group, 0, progress);
        assert_eq!(table.clip("orders", 0, 9).len(), 1);
        assert_eq!(
            entry.deaths_beside(&at(4)),
            Some(Vec::new()),
            "no bytes remove the row"
        );
    }

    #[test]
    fn the_start_applies_only_without_a_position() {
        let table = ProgressTable::default();
        let entry = table.entry(&"orders".into(), &"billing".into(), 0);
        assert_eq!(entry.begin(|| Some(9)), Reported::First);
        assert_eq!(entry.begin(|| unreachable!()), Reported::Ignored);
        assert_eq!(entry.reported(), Some(at(9)));
    }

    #[test]
    fn what_lies_beyond_the_end_is_forgotten_and_nothing_else() {
        let mut progress = Progress {
            watermark: 1,
            finished: vec![2..4, 5..9, 11..12],
            attempts: vec![(1, 2), (7, 1), (8, 3)],
        };
        assert_eq!(covered(&progress), 12);
        assert!(!clip(&mut progress, 12));
        assert!(clip(&mut progress, 8));
        assert_eq!(
            (&*progress.finished, &*progress.attempts),
            ([2..4, 5..8].as_slice(), [(1, 2), (7, 1)].as_slice())
        );
        assert!(
            !clip(&mut at(9), 3),
            "the position itself is for the lane to judge"
        );
    }

    #[test]
    fn the_lowest_stored_watermark_of_all_groups_counts() {
        let table = ProgressTable::default();
        assert_eq!(table.lowest("orders", 0), None);
        table.load(&"orders".into(), &"a".into(), 0, at(9));
        table.load(&"orders".into(), &"b".into(), 0, at(4));
        table.load(&"orders".into(), &"b".into(), 1, at(1));
        assert_eq!(table.lowest("orders", 0), Some(4));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_encoded_is_decoded_and_nothing_shorter(
            watermark: u64,
            finished in prop::collection::vec(any::<(u64, u64)>(), 0..5),
            attempts in prop::collection::vec(any::<(u64, u32)>(), 0..5)
        ) {
            let finished = finished.into_iter().map(|(start, end)| start..end).collect();
            let progress = Progress { watermark, finished, attempts };
            let bytes = encode(&progress);
            prop_assert_eq!(decode(&bytes), Some(progress));
            for length in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..length]), None);
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
