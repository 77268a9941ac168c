//! A file that is read and never written: [`Overlay`].

use crate::lock::lock;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

/// Writes go into memory, in pieces of this many bytes.
const PIECE: u64 = 4 << 10;
/// More than this is not kept: putting a state right that was not closed writes a few pages, whatever its size.
const MOST_PIECES: usize = 16 << 10;

/// A file below, and above it what was written over it, in memory. redb writes when it opens a file that was not closed
/// properly; with this it can be looked at without changing it.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: File,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    len: u64,
    /// Up to there the file below counts.
    below: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            above: Mutex::new(Above {
                len,
                below: len,
                pieces: BTreeMap::new(),
            }),
        })
    }

    fn read_below(&self, below: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let there = usize::try_from(below.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = out.len().min(there);
        self.file
            .read_exact_at(out.get_mut(..len).unwrap_or_default(), offset)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.above).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = lock(&self.above);
        let end = offset.saturating_add(out.len() as u64);
        if end > above.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(above.below, offset, out)?;
        for (piece, bytes) in above.pieces.range(offset / PIECE..end.div_ceil(PIECE)) {
            let start = piece * PIECE;
            let (from, to) = (offset.max(start), end.min(start + PIECE));
            let source = bytes.get((from - start) as usize..(to - start) as usize);
            let target = out.get_mut((from - offset) as usize..(to - offset) as usize);
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = lock(&self.above);
        above.below = above.below.min(len);
        above.len = len;
        above.pieces.retain(|piece, _| piece * PIECE < len);
        if let Some(last) = above.pieces.get_mut(&(len / PIECE)) {
            last.iter_mut()
                .skip((len % PIECE) as usize)
                .for_each(|byte| *byte = 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = lock(&self.above);
        let end = offset.saturating_add(data.len() as u64);
        above.len = above.len.max(end);
        for piece in offset / PIECE..end.div_ceil(PIECE) {
            let start = piece * PIECE;
            if !above.pieces.contains_key(&piece) {
                if above.pieces.len() >= MOST_PIECES {
                    return Err(io::Error::other(
                        "the state needs more repair than can be looked at in memory",
                    ));
                }
                let mut bytes = vec![0; PIECE as usize];
                self.read_below(above.below, start, &mut bytes)?;
                above.pieces.insert(piece, bytes);
            }
            let (from, to) = (offset.max(start), end.min(start + PIECE));
            let source = data.get((from - offset) as usize..(to - offset) as usize);
            let target = above
                .pieces
                .get_mut(&piece)
                .and_then(|bytes| bytes.get_mut((from - start) as usize..(to - start) as usize));
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_reads_like_a_file_that_was_written_and_the_file_stays(
            steps in prop::collection::vec((0..20_000_u64, 0..9_000_usize, 0..5_u8), 1..12)
        ) {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("file");
            let before: Vec<u8> = (0..10_000_u32).map(|number| number as u8 | 1).collect();
            std::fs::write(&path, &before).unwrap();
            let overlay = Overlay::open(&path).unwrap();
            let mut model = before.clone();
            for (offset, len, what) in steps {
                if what == 0 {
                    overlay.set_len(offset).unwrap();
                    model.resize(offset as usize, 0);
                } else {
                    overlay.write(offset, &vec![what; len]).unwrap();
                    let end = offset as usize + len;
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].fill(what);
                }
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
                let mut read = vec![9; model.len()];
                overlay.read(0, &mut read).unwrap();
                prop_assert_eq!(&read, &model);
                prop_assert!(overlay.read(1, &mut read).is_err() || read.is_empty());
            }
            prop_assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }
}
