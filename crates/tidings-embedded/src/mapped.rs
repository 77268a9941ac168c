//! The one place with unsafe code: cells in a mapped file, [`Mapped`].

use memmap2::MmapRaw;
use std::fs::File;
use std::io;
use tidings_core::{MarkCell, MarkMemory};

/// The cells of a file, shared with the operating system: it has what was stored when the process has died.
#[derive(Debug)]
pub(crate) struct Mapped {
    map: MmapRaw,
    start: usize,
    count: usize,
}

impl Mapped {
    /// Maps a file that has `count` cells from byte `start` on.
    pub(crate) fn new(file: &File, start: usize, count: usize) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        let fits = count
            .checked_mul(size_of::<MarkCell>())
            .and_then(|bytes| bytes.checked_add(start))
            .is_some_and(|end| end <= map.len());
        let aligned = start.is_multiple_of(align_of::<MarkCell>());
        if !fits || !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { map, start, count })
    }
}

impl MarkMemory for Mapped {
    #[allow(
        unsafe_code,
        reason = "the standard library maps no files, and a write per message costs a system call"
    )]
    fn cells(&self) -> &[MarkCell] {
        // SAFETY:
        // - The pointer is valid for reads and writes of all cells: `new` has checked that they end within the map, and
        //   the map lives as long as `self`, which the slice borrows.
        // - It is aligned: a map begins at a page, and `new` has checked `start`.
        // - A cell is two `AtomicU64` in `repr(C)`, for which every content is valid, and which allow for being
        //   changed through a shared reference. Nobody has a reference to the map as anything else.
        // - The file is not made shorter while it is mapped, which would end the process by SIGBUS: it was made by this
        //   process, in a directory whose lock this process holds, and its blocks were written before it was mapped.
        //   Whoever changes files in there behind the owner's back damages the segments too.
        unsafe {
            let first = self.map.as_mut_ptr().add(self.start).cast::<MarkCell>();
            std::slice::from_raw_parts(first, self.count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_in_a_cell_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096 + 64).unwrap();
        let mapped = Mapped::new(&file, 4096, 4).unwrap();
        mapped.cells()[1].move_to(0x0102);
        let mut bytes = [0; 64];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 4096).unwrap();
        assert_eq!(bytes[24..32], 0x0103_u64.to_le_bytes());
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 2);
    }

    #[test]
    fn cells_that_do_not_fit_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        for (start, count) in [(4096, 1), (0, 257), (4, 1), (0, usize::MAX), (usize::MAX - 7, 1)] {
            assert!(Mapped::new(&file, start, count).is_err(), "{start} {count}");
        }
        assert_eq!(Mapped::new(&file, 0, 256).unwrap().cells().len(), 256);
    }
}
