// The flag of a [`Signal`](crate::signal::Signal). The test `signals` reads this file with the atomics of loom and
// tries every order in which two threads can meet here.

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
