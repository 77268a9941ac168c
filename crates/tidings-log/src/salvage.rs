//! Everything of a segment that can be read, also behind damage.

use crate::damage::Search;
use crate::files::LogFile;
use crate::format::frame::Flaw;
use crate::format::segment;
use crate::walk::{Frame, Walk, Walked};
use std::io;

/// How many times over its own length a file is searched for frames. Only a file that was made to be slow needs more:
/// one with very many headers of very large frames that are not whole.
const MOST_ROUNDS: u64 = 8;

/// A place where a frame should be and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The first byte, and the byte at which reading goes on.
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// The offset that belongs there, and the one with which reading goes on; the same when nobody knows.
    pub(crate) offset: u64,
    pub(crate) next: u64,
    pub(crate) flaw: Flaw,
}

/// Reads the frames of a segment in order, and goes on behind what is damaged.
pub(crate) struct Salvage<'a> {
    file: &'a dyn LogFile,
    seed: u32,
    end: u64,
    walk: Walk<'a>,
    /// How many bytes may still be read in search of frames.
    budget: u64,
}

/// What comes next.
pub(crate) enum Piece<'s> {
    Frame(Frame<'s>),
    Bad(Bad),
    End,
}

impl<'a> Salvage<'a> {
    /// Begins where the first frame should be, with the offset that it should have.
    pub(crate) fn new((file, seed): (&'a dyn LogFile, u32), start: (u64, u64), end: u64) -> Self {
        Self {
            file,
            seed,
            end,
            walk: Walk::new(file, seed, start, end),
            budget: end.saturating_mul(MOST_ROUNDS).saturating_add(1 << 20),
        }
    }

    pub(crate) fn step(&mut self) -> io::Result<Piece<'_>> {
        let (position, offset) = self.walk.place();
        // Asked twice, because a borrow of the walk that is handed out can't be given up again.
        let flaw = match self.walk.step()? {
            Walked::End => return Ok(Piece::End),
            Walked::Flaw(flaw) => Some(flaw),
            Walked::Frame(_) => None,
        };
        let Some(flaw) = flaw else {
            return Ok(match self.walk.last() {
                Some(frame) => Piece::Frame(frame),
                None => Piece::End,
            });
        };
        let (end, next) = self.find_next(position, offset, flaw)?;
        self.walk = Walk::new(self.file, self.seed, (end, next), self.end);
        Ok(Piece::Bad(Bad {
            position,
            end,
            offset,
            next,
            flaw,
        }))
    }

    /// The next whole frame with an offset that has not been yet; the file's end without one, with the offset that the
    /// last header there speaks of.
    fn find_next(&mut self, position: u64, offset: u64, flaw: Flaw) -> io::Result<(u64, u64)> {
        if let Flaw::Order { found } = flaw
            && found > offset
        {
            return Ok((position, found));
        }
        let mut search = Search::new((self.file, self.seed), self.end);
        let mut place = position;
        let mut known = offset;
        while let Some((found, header)) = search.next(place)? {
            let complete = header.total() <= self.end - found;
            known = known.max(header.next());
            if complete && header.base >= offset && self.budget > 0 {
                self.budget = self.budget.saturating_sub(header.total());
                if found > position && search.is_whole(found, &header)? {
                    return Ok((found, header.base));
                }
            }
            place = found + 1;
        }
        Ok((self.end, known))
    }
}

/// Behind a damaged header, the seed with which the first frame can be read.
pub(crate) fn likely_seed(file: &dyn LogFile, seeds: [u32; 2], base: u64, end: u64) -> u32 {
    let [first, second] = seeds;
    let reads = |seed| {
        let mut salvage = Salvage::new((file, seed), (segment::LEN as u64, base), end);
        loop {
            match salvage.step() {
                Ok(Piece::Frame(_)) => return true,
                Ok(Piece::Bad(_)) => {}
                Ok(Piece::End) | Err(_) => return false,
            }
        }
    };
    if first != second && !reads(first) && reads(second) {
        second
    } else {
        first
    }
}
