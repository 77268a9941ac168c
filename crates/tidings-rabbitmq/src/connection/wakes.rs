//! Wakes that are kept until lapin has gone through what it has read: [`Late`].
//!
//! lapin wakes whoever waits for deliveries with the first one of a read, and goes on to the others. Where both share a core, the
//! one that was woken takes the turn, finds one message and waits again: for sixty messages of one read there were more than
//! twenty switches. So wakes on lapin's thread are kept from a read on until the thread comes back to its
//! [stream](super::stream::Stream), which has told it to.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Wake, Waker};

thread_local! {
    /// Of lapin's thread; on any other nothing is kept.
    static KEPT: Kept = const { Kept(RefCell::new(None)) };
}

struct Kept(RefCell<Option<Vec<Waker>>>);

impl Kept {
    /// Whether it is kept.
    fn take(&self, waker: &Waker) -> bool {
        // Another's code, so before the borrow.
        let waker = waker.clone();
        let mut kept = self.0.borrow_mut();
        let Some(kept) = &mut *kept else { return false };
        if !kept.iter().any(|known| known.will_wake(&waker)) {
            kept.push(waker);
        }
        true
    }

    fn let_go(&self) {
        // What is woken may wake others.
        let kept = self.0.borrow_mut().take();
        kept.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What lapin calls its thread. On no other is anything kept, since no other is known to come back to the stream.
const THREAD: &str = "lapin-io-loop";

/// Keeps wakes on this thread from now on, until [`let_go`] or its end.
pub(super) fn keep() {
    if std::thread::current().name() != Some(THREAD) {
        return;
    }
    let _ = KEPT.try_with(|kept| kept.0.borrow_mut().get_or_insert_default().is_empty());
}

/// Wakes whom it was kept from, and keeps nothing more.
pub(super) fn let_go() {
    let _ = KEPT.try_with(Kept::let_go);
}

/// Who waits for deliveries, as lapin knows it.
#[derive(Debug, Default)]
pub(crate) struct Late(Option<(Waker, Waker)>);

impl Late {
    /// Wakes that one, now or when what was read is gone through.
    pub(crate) fn of(&mut self, waker: &Waker) -> &Waker {
        let known = self.0.take().filter(|(known, _)| known.will_wake(waker));
        let late = || (waker.clone(), Waker::from(Arc::new(Waking(waker.clone()))));
        &self.0.insert(known.unwrap_or_else(late)).1
    }
}

struct Waking(Waker);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !KEPT.try_with(|kept| kept.take(&self.0)).unwrap_or(false) {
            self.0.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_lapins_thread(run: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(run);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn a_wake_is_kept_while_something_is_gone_through_and_never_lost() {
        on_lapins_thread(|| {
            let count = Arc::new(Count::default());
            let waker = Waker::from(count.clone());
            let woken = || count.0.load(Ordering::Relaxed);
            let mut late = Late::default();
            late.of(&waker).wake_by_ref();
            assert_eq!(woken(), 1, "nothing is kept");
            keep();
            late.of(&waker).wake_by_ref();
            late.of(&waker).wake_by_ref();
            assert_eq!(woken(), 1);
            let elsewhere = late.of(&waker).clone();
            std::thread::spawn(move || elsewhere.wake()).join().unwrap();
            assert_eq!(woken(), 2, "another thread keeps nothing");
            let_go();
            assert_eq!(woken(), 3, "once for all that were kept");
            late.of(&waker).wake_by_ref();
            assert_eq!(woken(), 4);
            let ends = late.of(&waker).clone();
            on_lapins_thread(move || {
                keep();
                ends.wake();
            });
            assert_eq!(woken(), 5, "the thread has ended");
            let other = Waker::from(Arc::new(Count::default()));
            late.of(&other).wake_by_ref();
            assert_eq!(woken(), 5, "it is another's now");
        });
        let count = Arc::new(Count::default());
        keep();
        Late::default().of(&Waker::from(count.clone())).wake_by_ref();
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            1,
            "this thread is none that comes back"
        );
    }
}
