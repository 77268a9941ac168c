// The flags of a [`Signal`](crate::signal::Signal) and of its [`News`](crate::signal::News). The test `signals` reads
// this file with the atomics of loom and tries every order in which threads can meet here.

/// Whether there may be something new, between many who raise it and one who lowers it.
///
/// Who raises has written something before; who lowers looks for it afterwards. Each does its own write, then a fence,
/// then its read. Of the two fences one is first: so either the writer sees that the flag is down and raises it, or the
/// reader sees what was written. A flag that is up is only read by those who raise it: its cache line is not taken
/// away from a reader that is busy anyhow.
#[derive(Debug)]
pub(crate) struct Flag {
    is_up: AtomicBool,
}

impl Flag {
    pub(crate) fn new() -> Self {
        Self {
            is_up: AtomicBool::new(false),
        }
    }

    /// Whether it was down: then the reader has to be woken.
    pub(crate) fn raise(&self) -> bool {
        fence(Ordering::SeqCst);
        !self.is_up.load(Ordering::Relaxed) && !self.is_up.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn lower(&self) {
        self.is_up.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }
}

/// Whether a reader was told that there is something in one place, between many who tell and one who hears.
///
/// Who tells has written something before; who hears looks for it afterwards. Both exchange the same value, one after
/// the other: so either the reader sees what was written, or the writer finds that it has to tell.
#[derive(Debug)]
pub(crate) struct Told {
    was_told: AtomicBool,
}

impl Told {
    pub(crate) fn new() -> Self {
        Self {
            was_told: AtomicBool::new(false),
        }
    }

    /// Whether it was not told yet: then the place is to be put on the reader's list, and the reader woken after that.
    pub(crate) fn tell(&self) -> bool {
        !self.was_told.swap(true, Ordering::AcqRel)
    }

    /// The place was taken from the list, and is about to be looked at.
    pub(crate) fn hear(&self) {
        self.was_told.swap(false, Ordering::AcqRel);
    }
}
