//! How many letters are asked for at once: [`Pages`].

/// The first page: who wants one letter does not have thousands moved.
const FIRST: u64 = 16;
/// Each page is so many times larger than the one before.
const GROWTH: u64 = 4;
/// No page is larger.
const LARGEST: u64 = 8_192;

/// The sizes of pages. They grow, as far as the letters seen so far say that a page of them fits into the memory for it.
#[derive(Debug)]
pub(super) struct Pages {
    bytes: u64,
    last: u64,
    largest_letter: u64,
    is_new: bool,
}

impl Pages {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            last: 0,
            largest_letter: 1,
            is_new: true,
        }
    }

    /// Whether nothing was read yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What was read comes again: large pages at once.
    pub(super) fn begin_again(&mut self) {
        self.last = LARGEST;
    }

    pub(super) fn saw(&mut self, bytes: usize) {
        self.largest_letter = self.largest_letter.max(bytes as u64);
    }

    /// How many letters the next page has, if so many are wanted.
    pub(super) fn next(&mut self, wanted: u64) -> u16 {
        self.is_new = false;
        let grown = (self.last * GROWTH).clamp(FIRST, LARGEST);
        let fits = (self.bytes / self.largest_letter).max(1);
        self.last = grown.min(fits);
        u16::try_from(self.last.min(wanted).max(1)).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_as_far_as_their_letters_fit_into_memory() {
        let mut pages = Pages::new(1 << 20);
        let mut sizes = |bytes, count| -> Vec<u16> {
            (0..count)
                .map(|_| {
                    pages.saw(bytes);
                    pages.next(1_000_000)
                })
                .collect()
        };
        assert_eq!(sizes(100, 6), [16, 64, 256, 1_024, 4_096, 8_192]);
        assert_eq!(sizes(10_000, 2), [104, 104]);
        assert_eq!(sizes(100 << 20, 2), [1, 1]);
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted() {
        let mut pages = Pages::new(1 << 20);
        assert!(pages.is_new());
        assert_eq!(pages.next(3), 3);
        assert!(!pages.is_new());
        assert_eq!(pages.next(1_000), 64);
    }

    #[test]
    fn thirty_two_pages_hold_a_hundred_thousand_letters_of_a_kilobyte() {
        let mut pages = Pages::new(8 << 20);
        pages.saw(1_024);
        let all: u64 = (0..32).map(|_| u64::from(pages.next(u64::MAX))).sum();
        assert!(all > 200_000, "{all}");
    }
}
