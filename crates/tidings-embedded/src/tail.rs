//! The end of a partition that is nowhere but in memory: [`Tail`].
//!
//! What a broker in memory acknowledges is lost with the process whatever it does, so a message need not be in the log
//! for its receipt: it gets its offset and stands in an open frame behind the log's end. Whoever looks at the log first
//! puts the frame there. So many messages share one checksum, one header, one append and one wake-up, however they were
//! published.

use crate::frames::{self, Frames};
use crate::lock::lock;
use crossbeam_utils::CachePadded;
use std::sync::{Mutex, MutexGuard, TryLockError};
use tidings_core::Message;
use tidings_log::{FrameBuilder, LogError, PartitionLog};

/// A frame of so many bytes goes to the log if nobody else is just putting one there.
pub(crate) const ENOUGH_BYTES: usize = READ_BYTES - (8 << 10);
/// The most that is read of a partition in memory at once, unless a message is larger: what was just written is still
/// in a processor's cache then, and so is what is read until it is handled; and memory of this size is used again,
/// where larger pieces come from the system and go back to it each time.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Messages that have their offsets and are not in the log yet.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    open: CachePadded<Mutex<Open>>,
    /// Held until what was taken from `open` is in the log, so that frames get there in order and nobody takes the
    /// log's end for the partition's meanwhile. In it: a frame that the log refused, which comes before all others.
    closing: CachePadded<Mutex<FrameBuilder>>,
}

#[derive(Debug, Default)]
struct Open {
    frame: FrameBuilder,
    /// The offset of the next message, once there was one.
    next: Option<u64>,
}

/// A message that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) offset: u64,
    /// Nothing stood in the frame before it. Whoever reads has looked since it was woken, and must be woken again; with
    /// the messages that come behind this one, nobody needs to be.
    pub(crate) is_first: bool,
}

impl Tail {
    /// Gives a message the next offset and keeps it. `log` is the partition's, which only its tail is appended to.
    pub(crate) fn push(
        &self,
        log: &PartitionLog,
        frames: &Frames,
        timestamp_ms: i64,
        message: &Message,
    ) -> Result<Kept, LogError> {
        let mut open = lock(&self.open);
        if !frames::has_room(&open.frame, message) {
            open = self.make_room(open, log, frames)?;
        }
        let is_first = open.frame.is_empty();
        if is_first {
            open.frame = frames.take();
        }
        frames::push(&mut open.frame, timestamp_ms, message)?;
        let offset = open.next.unwrap_or_else(|| log.next_offset());
        open.next = Some(offset + 1);
        let is_enough = open.frame.bytes() >= frames.enough;
        drop(open);
        if is_enough {
            self.close_if_free(log, frames);
        }
        Ok(Kept { offset, is_first })
    }

    /// Somebody is slow to put an earlier frame into the log, and this one is as large as a frame gets.
    #[cold]
    fn make_room<'a>(
        &'a self,
        mut open: MutexGuard<'a, Open>,
        log: &PartitionLog,
        frames: &Frames,
    ) -> Result<MutexGuard<'a, Open>, LogError> {
        // Others may fill it again before this thread comes back; it is their turn then.
        while !open.frame.is_empty() {
            drop(open);
            self.close(log, frames)?;
            open = lock(&self.open);
        }
        Ok(open)
    }

    /// Puts everything that was kept before the call into the log.
    ///
    /// # Errors
    /// What the log says; the messages stay here, and the next call tries again.
    pub(crate) fn close(&self, log: &PartitionLog, frames: &Frames) -> Result<(), LogError> {
        self.append(&mut lock(&self.closing), log, frames)
    }

    fn close_if_free(&self, log: &PartitionLog, frames: &Frames) {
        let mut closing = match self.closing.try_lock() {
            Ok(closing) => closing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // An error concerns whoever needs the log, or the room that the frame takes: they try again and are told.
        let _ = self.append(&mut closing, log, frames);
    }

    fn append(
        &self,
        refused: &mut FrameBuilder,
        log: &PartitionLog,
        frames: &Frames,
    ) -> Result<(), LogError> {
        if !refused.is_empty() {
            log.append(refused)?;
        }
        let mut frame = std::mem::take(&mut lock(&self.open).frame);
        if frame.is_empty() {
            return Ok(());
        }
        match log.append(&mut frame) {
            Ok(_) => frames.give(frame),
            Err(error) => {
                *refused = frame;
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use tidings_log::faults::{ENOSPC, Fault, FaultyFiles, Operation};
    use tidings_log::{Files, LogOptions, MemoryFiles};

    fn log(files: Arc<dyn Files>) -> PartitionLog {
        PartitionLog::open(files, Path::new("orders/0"), LogOptions::default())
            .unwrap()
            .0
    }

    fn in_memory() -> PartitionLog {
        log(Arc::new(MemoryFiles::new()))
    }

    fn message(number: u64) -> Message {
        Message::new(number.to_string())
    }

    /// What the log holds, as numbers.
    fn numbers(log: &PartitionLog) -> Vec<u64> {
        let mut all = Vec::new();
        while (all.len() as u64) < log.next_offset() {
            let chunk = log.read(all.len() as u64, log.next_offset(), 1 << 20).unwrap();
            let (memory, records) = chunk.into_parts();
            all.extend(records.iter().map(|record| {
                let span = record.payload.unwrap();
                let bytes = &memory[span.start as usize..][..span.len as usize];
                std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap()
            }));
        }
        all
    }

    #[test]
    fn only_the_first_message_since_somebody_looked_is_news() {
        let (tail, log, frames) = (Tail::default(), in_memory(), Frames::new(1 << 20));
        let mut push = |number| tail.push(&log, &frames, 0, &message(number)).unwrap();
        assert_eq!((push(0).offset, push(1).offset), (0, 1));
        tail.close(&log, &frames).unwrap();
        assert_eq!(log.next_offset(), 2);
        let kept = [2, 3, 4].map(&mut push);
        assert_eq!(kept.map(|kept| kept.is_first), [true, false, false]);
        assert_eq!(kept.map(|kept| kept.offset), [2, 3, 4]);
        assert_eq!(log.next_offset(), 2);
        tail.close(&log, &frames).unwrap();
        assert_eq!(numbers(&log), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn messages_of_a_frame_that_the_log_refused_come_before_those_that_were_kept_later() {
        let faulty = Arc::new(FaultyFiles::new(Arc::new(MemoryFiles::new())));
        let (tail, log, frames) = (Tail::default(), log(faulty.clone()), Frames::new(1 << 20));
        let push = |number| tail.push(&log, &frames, 0, &message(number)).unwrap().offset;
        assert_eq!(push(0), 0);
        faulty.inject(Fault::fail(Operation::Write, ENOSPC).times(2));
        assert!(tail.close(&log, &frames).is_err());
        assert_eq!(push(1), 1);
        assert!(tail.close(&log, &frames).is_err());
        assert_eq!(push(2), 2);
        tail.close(&log, &frames).unwrap();
        assert_eq!(numbers(&log), [0, 1, 2]);
    }

    #[test]
    fn what_nobody_reads_goes_to_the_log_in_frames_of_bounded_size() {
        let (tail, log, frames) = (Tail::default(), in_memory(), Frames::new(1 << 20));
        for number in 0..20_000 {
            tail.push(&log, &frames, 0, &message(number)).unwrap();
            assert!(lock(&tail.open).frame.bytes() < ENOUGH_BYTES);
        }
        assert!(log.next_offset() > 10_000);
    }

    #[test]
    fn a_frame_that_nobody_closes_is_closed_when_it_is_as_large_as_one_gets() {
        let (tail, log, frames) = (Tail::default(), in_memory(), Frames::new(1 << 20));
        let large = Message::new(vec![0; 100_000]);
        // Somebody is about to close frames, for as long as this goes on.
        let slow = lock(&tail.closing);
        std::thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                for offset in 0..20 {
                    let kept = tail.push(&log, &frames, 0, &large).unwrap();
                    assert_eq!(kept.offset, offset);
                    assert!(lock(&tail.open).frame.bytes() <= frames::FRAME_BYTES);
                }
            });
            while lock(&tail.open).frame.bytes() + large.size() < frames::FRAME_BYTES {
                std::thread::yield_now();
            }
            drop(slow);
            publisher.join().unwrap();
        });
        tail.close(&log, &frames).unwrap();
        assert_eq!(log.next_offset(), 20);
    }

    #[test]
    fn whoever_looks_sees_everything_that_was_kept_before_in_the_order_of_the_offsets() {
        const EACH: u64 = 20_000;
        let (tail, log, frames) = (Tail::default(), in_memory(), Frames::new(1 << 20));
        let (kept, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let publish = || {
            for _ in 0..EACH {
                // The payload is the offset that it must get.
                let offset = {
                    let next = kept.load(Ordering::Acquire);
                    tail.push(&log, &frames, 0, &message(next)).unwrap().offset
                };
                assert_eq!(kept.fetch_add(1, Ordering::AcqRel), offset);
            }
        };
        let look = || {
            while !done.load(Ordering::Acquire) {
                let before = kept.load(Ordering::Acquire);
                tail.close(&log, &frames).unwrap();
                let end = log.next_offset();
                assert!(end >= before, "{before} were kept, and the log ends at {end}");
            }
        };
        std::thread::scope(|scope| {
            let publisher = scope.spawn(publish);
            let looking = [scope.spawn(look), scope.spawn(look)];
            publisher.join().unwrap();
            done.store(true, Ordering::Release);
            looking.into_iter().for_each(|one| one.join().unwrap());
        });
        tail.close(&log, &frames).unwrap();
        assert_eq!(numbers(&log), (0..EACH).collect::<Vec<_>>());
    }
}
