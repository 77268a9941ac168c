//! The bytes of a file in memory.

const SMALLEST_CHUNK: u64 = 512;
const LARGEST_CHUNK: u64 = 1 << 20;

/// Bytes in pieces that never move. Pieces grow with the file, so that a thousand idle partitions cost little and a
/// busy one has few pieces.
#[derive(Default)]
pub(super) struct Chunks {
    len: u64,
    pieces: Vec<Piece>,
}

struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }
}

impl Chunks {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The piece that holds the byte, if it is there.
    fn find(&self, position: u64) -> usize {
        self.pieces
            .partition_point(|piece| piece.start <= position)
            .saturating_sub(1)
    }

    pub(super) fn copy_to(&self, buffer: &mut [u8], position: u64) -> usize {
        let mut copied = 0;
        for piece in self.pieces.get(self.find(position)..).unwrap_or_default() {
            let at = (position + copied as u64).saturating_sub(piece.start) as usize;
            let (Some(from), Some(to)) = (piece.bytes.get(at..), buffer.get_mut(copied..)) else {
                break;
            };
            copied += copy(to, from);
        }
        copied
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        if position == self.len {
            return self.push(bytes);
        }
        if position > self.len && !bytes.is_empty() {
            self.set_len(position);
        }
        let inside = self.len.saturating_sub(position).min(bytes.len() as u64) as usize;
        let (over, behind) = bytes.split_at(inside);
        self.overwrite(over, position);
        self.push(behind);
    }

    fn overwrite(&mut self, mut bytes: &[u8], mut position: u64) {
        let first = self.find(position);
        for piece in self.pieces.get_mut(first..).unwrap_or_default() {
            let at = (position - piece.start) as usize;
            let Some(to) = piece.bytes.get_mut(at..) else {
                break;
            };
            let count = copy(to, bytes);
            bytes = bytes.get(count..).unwrap_or_default();
            position += count as u64;
            if bytes.is_empty() {
                break;
            }
        }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.pieces.last().is_none_or(|last| last.room() == 0) {
                let capacity = self.len.clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
                self.pieces.push(Piece {
                    start: self.len,
                    bytes: Vec::with_capacity(capacity as usize),
                });
            }
            let Some(last) = self.pieces.last_mut() else {
                return;
            };
            let (now, later) = bytes.split_at(last.room().min(bytes.len()));
            last.bytes.extend_from_slice(now);
            self.len += now.len() as u64;
            bytes = later;
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        while self.len < len {
            let gap = (len - self.len).min(LARGEST_CHUNK);
            self.push(&vec![0; gap as usize]);
        }
        self.pieces.retain(|piece| piece.start < len);
        if let Some(last) = self.pieces.last_mut() {
            last.bytes.truncate((len - last.start) as usize);
        }
        self.len = len;
    }
}

/// Copies as much as both hold.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let count = to.len().min(from.len());
    to.split_at_mut(count).0.copy_from_slice(from.split_at(count).0);
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A place, a length, and what to do there.
    fn writes() -> impl Strategy<Value = Vec<(u64, usize, u8)>> {
        prop::collection::vec((0..3_000_u64, 0..2_000_usize, 0..9_u8), 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn a_file_holds_what_a_vector_would(writes in writes()) {
            let mut file = Chunks::default();
            let mut model: Vec<u8> = Vec::new();
            for (number, (position, len, what)) in (1_u8..).zip(writes) {
                if what == 0 {
                    file.set_len(position);
                    model.resize(position as usize, 0);
                } else {
                    // Mostly at the end, as a log does.
                    let position = if what < 6 { model.len() as u64 } else { position };
                    let end = position as usize + len;
                    file.write(&vec![number; len], position);
                    if len > 0 {
                        model.resize(model.len().max(end), 0);
                        model[position as usize..end].fill(number);
                    }
                }
                prop_assert_eq!(file.len(), model.len() as u64);
                for from in [0, model.len() / 2, model.len(), model.len() + 7] {
                    let mut read = vec![9; model.len() + 1];
                    let count = file.copy_to(&mut read, from as u64);
                    prop_assert_eq!(&read[..count], model.get(from..).unwrap_or_default());
                }
            }
        }
    }
}
