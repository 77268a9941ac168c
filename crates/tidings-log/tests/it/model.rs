//! Random calls against a list of records.

use crate::support::*;
use proptest::prelude::*;
use std::sync::Arc;
use tidings_log::faults::{EIO, ENOSPC, Effect, Fault, FaultyFiles, Loss, Operation};
use tidings_log::{Files, LogError, PartitionLog, Retention};

#[derive(Debug, Clone)]
enum Call {
    Append(Vec<Rec>),
    Sync,
    Read { from: u64, up_to: u64, max_bytes: usize },
    Time(i64),
    Retain { max_bytes: u64, keep_from: u64 },
    Close,
    Kill,
    Crash { seed: u64 },
    Fault(Fault),
}

fn record() -> impl Strategy<Value = Rec> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    // Runs of zeros look like sectors that were never written.
    let payload = prop_oneof![3 => bytes(60), 1 => (0..1_500_usize).prop_map(|len| vec![0; len])];
    let parts = (
        0..2_000_i64,
        prop::option::of(bytes(10)),
        bytes(10),
        prop::option::of(payload),
    );
    parts.prop_map(|(time, key, headers, payload)| Rec {
        time,
        key,
        headers,
        payload,
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    let operation = prop::sample::select(vec![
        Operation::Write,
        Operation::Sync,
        Operation::SyncDirectory,
        Operation::Create,
        Operation::Rename,
        Operation::Truncate,
        Operation::Remove,
    ]);
    let effect = prop_oneof![
        prop::sample::select(vec![EIO, ENOSPC]).prop_map(|errno| Effect::Fail { errno }),
        (0..300_usize).prop_map(|bytes| Effect::Torn { bytes, errno: ENOSPC }),
    ];
    (operation, effect, 0..4_u64)
        .prop_map(|(operation, effect, after)| Fault::new(operation, effect).after(after))
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => prop::collection::vec(record(), 1..8).prop_map(Call::Append),
        3 => Just(Call::Sync),
        4 => (0..60_u64, 0..80_u64, 1..2_000_usize)
            .prop_map(|(from, up_to, max_bytes)| Call::Read { from, up_to, max_bytes }),
        2 => (0..2_100_i64).prop_map(Call::Time),
        1 => (0..3_000_u64, 0..60_u64).prop_map(|(max_bytes, keep_from)| Call::Retain { max_bytes, keep_from }),
        1 => Just(Call::Close),
        1 => Just(Call::Kill),
        2 => any::<u64>().prop_map(|seed| Call::Crash { seed }),
        2 => fault().prop_map(Call::Fault),
    ]
}

/// The log, and what it must hold.
struct Pair {
    disk: Arc<FaultyFiles>,
    log: Option<PartitionLog>,
    /// Every record since offset 0, also those that retention deleted.
    records: Vec<Rec>,
    first: u64,
    synced: u64,
    /// What a failed append may have left all the same, to be found when the log is opened again.
    in_doubt: Vec<Rec>,
}

impl Pair {
    fn new() -> Self {
        let disk = faulty();
        let files: Arc<dyn Files> = disk.clone();
        let log = Some(open(&files, small()));
        Self {
            disk,
            log,
            records: Vec::new(),
            first: 0,
            synced: 0,
            in_doubt: Vec::new(),
        }
    }

    fn log(&self) -> &PartitionLog {
        self.log.as_ref().unwrap()
    }

    fn next(&self) -> u64 {
        self.records.len() as u64
    }

    fn apply(&mut self, call: Call) {
        match call {
            Call::Append(records) => self.append(records),
            Call::Sync => {
                if let Ok(synced) = self.log().sync() {
                    assert_eq!(synced, self.next());
                    self.synced = synced;
                }
            }
            Call::Read {
                from,
                up_to,
                max_bytes,
            } => self.read(from, up_to, max_bytes),
            Call::Time(time) => self.time(time),
            Call::Retain { max_bytes, keep_from } => self.retain(max_bytes, keep_from),
            Call::Close => {
                self.log = None;
                self.reopen(self.next());
            }
            Call::Kill => {
                kill(self.log.take().unwrap());
                self.disk.crash(Loss::Nothing).unwrap();
                self.reopen(self.next());
            }
            Call::Crash { seed } => {
                self.synced = self.log().synced_offset();
                kill(self.log.take().unwrap());
                self.disk.crash(Loss::Some { seed }).unwrap();
                self.reopen(self.synced);
            }
            Call::Fault(fault) => self.disk.inject(fault),
        }
        let log = self.log();
        assert_eq!((log.first_offset(), log.next_offset()), (self.first, self.next()));
        assert!(log.synced_offset() <= self.next());
    }

    fn append(&mut self, records: Vec<Rec>) {
        match self.log().append(&mut frame(&records)) {
            Ok(offsets) => {
                assert_eq!(offsets, self.next()..self.next() + records.len() as u64);
                self.records.extend(records);
            }
            Err(LogError::Poisoned { .. }) => {}
            Err(_) => self.in_doubt = records,
        }
    }

    fn read(&self, from: u64, up_to: u64, max_bytes: usize) {
        let chunk = match self.log().read(from, up_to, max_bytes) {
            Ok(chunk) => chunk,
            Err(error) => {
                assert!(from < self.first || from > self.next(), "{error}");
                assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
                return;
            }
        };
        let end = from.max(up_to.min(self.next()));
        assert_eq!(chunk.is_empty(), from == end);
        for (offset, record) in (from..end).zip(chunk.records()) {
            let expected = &self.records[offset as usize];
            assert_eq!(record.offset, offset);
            assert_eq!(chunk.payload(record), expected.payload.as_deref());
        }
    }

    fn time(&self, time: i64) {
        let kept = self.records.iter().enumerate().skip(self.first as usize);
        let expected = kept
            .map(|(offset, record)| (offset as u64, record.time))
            .find(|(_, other)| *other >= time);
        let expected = expected.map_or(self.next(), |(offset, _)| offset);
        assert_eq!(self.log().offset_for_time(time).unwrap(), expected);
    }

    fn retain(&mut self, max_bytes: u64, keep_from: u64) {
        let policy = Retention {
            max_age_ms: None,
            max_bytes: Some(max_bytes),
            now_ms: 0,
            keep_from,
        };
        let _ = self.log().retain(&policy);
        let first = self.log().first_offset();
        assert!(
            first <= keep_from.max(self.first),
            "{first} is gone, but {keep_from} is wanted"
        );
        self.first = first;
    }

    fn reopen(&mut self, at_least: u64) {
        self.disk.heal();
        let files: Arc<dyn Files> = self.disk.clone();
        let log = open(&files, small());
        self.records.append(&mut self.in_doubt);
        let next = log.next_offset();
        assert!(
            (at_least..=self.next()).contains(&next),
            "{next}, at least {at_least}"
        );
        self.records.truncate(next as usize);
        assert!(
            log.first_offset() <= self.first,
            "something that was kept is gone"
        );
        self.first = log.first_offset();
        let (found, end) = read_from(&log, self.first, 500);
        end.unwrap();
        let expected = (self.first..).zip(self.records.iter().skip(self.first as usize).cloned());
        assert!(found.into_iter().eq(expected), "what is read is what was written");
        self.synced = next;
        self.log = Some(log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_log_does_what_a_list_does_through_faults_and_crashes(calls in prop::collection::vec(call(), 1..60)) {
        let mut pair = Pair::new();
        for call in calls {
            pair.apply(call);
        }
        pair.apply(Call::Close);
    }
}
