//! Which transactions a look at the table has seen: [`Snapshot`].

/// The transactions that had been committed, in PostgreSQL's words: `10:20:12,15` is everything below 20 except 12, 15 and
/// what is 10 or more and was never committed, which does not come by replication either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The first that had not begun.
    end: u64,
    /// Those that were under way.
    open: Vec<u64>,
}

impl Snapshot {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let _begin = parts.next()?;
        let end = parts.next()?.parse().ok()?;
        let open = parts.next()?.split(',').filter(|one| !one.is_empty());
        let open: Result<_, _> = open.map(str::parse).collect();
        Some(Self {
            end,
            open: open.ok()?,
        })
    }

    /// Whether what that transaction had committed was seen. It is known by its low 32 bits, and not far from the others:
    /// PostgreSQL takes care that it never is.
    pub(crate) fn has_seen(&self, transaction: u32) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
        let ahead = transaction.wrapping_sub(self.end as u32).cast_signed();
        let whole = self.end.wrapping_add_signed(ahead.into());
        ahead < 0 && !self.open.contains(&whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_or_had_not_begun_was_not_seen() {
        let snapshot = Snapshot::parse("10:20:12,15").unwrap();
        let seen: Vec<u32> = (8..23).filter(|one| snapshot.has_seen(*one)).collect();
        assert_eq!(seen, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
        // Beyond 32 bits, on both sides of the turn.
        let turn = 1_u64 << 32;
        let snapshot = Snapshot {
            end: turn + 2,
            open: vec![turn - 2, turn + 1],
        };
        let at = [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 2, 3];
        assert_eq!(
            at.map(|one| snapshot.has_seen(one)),
            [true, false, true, true, false, false, false]
        );
        assert_eq!(Snapshot::parse("5:5:").unwrap().open, Vec::<u64>::new());
        for bad in ["", "5", "5:x:", "5:6:7,y"] {
            assert_eq!(Snapshot::parse(bad), None, "{bad}");
        }
    }
}
