//! The least that could be called a log in memory: what no broker that keeps every message can be faster than.
//!
//! A mutex around pieces of memory. Publishing reads the clock and copies a timestamp, a block of headers of the usual
//! size and the payload there, and gives the offset; nothing is encoded, checked, or made: no id, no trace. Reading copies
//! what is new, decodes it and remembers its position, and sleeps when there is nothing; it is woken by the first message
//! since it looked. So messages have offsets, can be read again, and a group could go on where it was.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tidings_core::Timestamp;
use tokio::sync::Notify;

use crate::arms::gauge::{Gauge, Reading};
use crate::arms::topic;
use crate::error::BenchError;
use crate::order::{self, Small};

const PIECE_BYTES: usize = 64 << 10;
/// What id, correlation and trace take in a message that was published.
const HEADERS: [u8; 205] = [b'h'; 205];
/// Bytes before the headers: the timestamp and the length of the payload.
const FRONT: usize = 12;

#[derive(Default)]
struct Log {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    /// All that was ever published.
    pieces: Vec<Vec<u8>>,
    next: u64,
    /// Up to where it was read: messages, pieces, bytes of the piece after them.
    read: (u64, usize, usize),
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, payload: &[u8]) -> u64 {
        let timestamp = Timestamp::now().as_millis();
        let mut state = self.lock();
        let bytes = FRONT + HEADERS.len() + payload.len();
        if state
            .pieces
            .last()
            .is_none_or(|piece| piece.len() + bytes > PIECE_BYTES)
        {
            state.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        if let Some(piece) = state.pieces.last_mut() {
            piece.extend_from_slice(&timestamp.to_le_bytes());
            piece.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            piece.extend_from_slice(&HEADERS);
            piece.extend_from_slice(payload);
        }
        let offset = state.next;
        state.next += 1;
        let is_first = offset == state.read.0;
        drop(state);
        if is_first {
            self.more.notify_one();
        }
        offset
    }

    /// Copies what is new of one piece; none when nothing is.
    fn read(&self, copy: &mut Vec<u8>) -> bool {
        copy.clear();
        let mut state = self.lock();
        let (_, piece, at) = state.read;
        let new = state
            .pieces
            .get(piece)
            .and_then(|piece| piece.get(at..))
            .unwrap_or_default();
        copy.extend_from_slice(new);
        let is_last = piece + 1 >= state.pieces.len();
        state.read = match is_last {
            true => (state.next, piece, at + copy.len()),
            false => (state.read.0, piece + 1, 0),
        };
        !copy.is_empty() || !is_last
    }
}

/// One thread publishes one message after the other, another decodes them.
pub(crate) fn two_threads(messages: u64, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    let log = Log::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..messages {
                std::hint::black_box(log.append(&order::small_json()));
            }
        });
        topic::runtime()?.block_on(async {
            let mut copy = Vec::with_capacity(PIECE_BYTES);
            while !gauge.is_done() {
                match log.read(&mut copy) {
                    true => decode(&copy, gauge)?,
                    false => log.more.notified().await,
                }
            }
            gauge.reading()
        })
    })
}

fn decode(mut records: &[u8], gauge: &'static Gauge) -> Result<(), BenchError> {
    let cut = || BenchError::part("the log by hand")("a record is cut");
    while !records.is_empty() {
        let length = records.get(8..FRONT).and_then(|bytes| bytes.try_into().ok());
        let length = u32::from_le_bytes(length.ok_or_else(cut)?) as usize;
        let (record, rest) = records
            .split_at_checked(FRONT + HEADERS.len() + length)
            .ok_or_else(cut)?;
        let payload = record.get(FRONT + HEADERS.len()..).unwrap_or_default();
        let small: Small = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
        gauge.hit(small.id + u64::from(small.quantity));
        records = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arms::gauge::Watch;

    #[test]
    fn every_message_is_decoded_once() {
        let gauge = Gauge::leaked(0, 2_000, Watch::Time);
        gauge.begin();
        let reading = two_threads(2_000, gauge).unwrap();
        let small: Small = serde_json::from_slice(&order::small_json()).unwrap();
        let each = small.id + u64::from(small.quantity);
        assert_eq!(reading.checksum, 2_000 * each);
    }
}
