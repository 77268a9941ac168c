//! Virtual time that stands aside while a database works: [`RealTime`], [`in_real_time`].
//!
//! With a paused clock tokio lets time pass as soon as no task has anything to do. It cannot see that one waits for the
//! thread of a SQLite or for the answer of a server; so before that has come, every timeout around it has passed.

use std::cell::Cell;
use tidings_core::AtWork;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// What is at work on the runtime of a thread. A clock can be paused on a runtime of one thread only.
#[derive(Debug, Clone, Copy, Default)]
struct Works {
    count: usize,
    /// The clock was paused before, and is to be again.
    paused: bool,
}

thread_local! {
    static WORKS: Cell<Works> = const { Cell::new(Works { count: 0, paused: false }) };
}

/// Time is real while anything is at work.
#[derive(Debug, Clone, Copy)]
pub(super) struct RealTime;

impl AtWork for RealTime {
    fn begins(&self) {
        let mut works = WORKS.get();
        if works.count == 0 {
            works.paused = is_paused();
            if works.paused {
                tokio::time::resume();
            }
        }
        works.count += 1;
        WORKS.set(works);
    }

    fn ends(&self) {
        let mut works = WORKS.get();
        works.count = works.count.saturating_sub(1);
        if works.count == 0
            && std::mem::take(&mut works.paused)
            && Handle::try_current().is_ok()
            && !is_paused()
        {
            tokio::time::pause();
        }
        WORKS.set(works);
    }
}

/// Nobody can be asked; but a clock that runs does not show the same moment twice.
fn is_paused() -> bool {
    let (before, begun) = (Instant::now(), std::time::Instant::now());
    while begun.elapsed().is_zero() {
        std::hint::spin_loop();
    }
    Instant::now() == before
}

/// Does something that waits for the world outside, such as a database, in real time. Under
/// `#[tokio::test(start_paused = true)]` a timeout around it would pass at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let answer = tidings::test::in_real_time(async {
///     let slow = tokio::task::spawn_blocking(|| 42);
///     tokio::time::timeout(std::time::Duration::from_secs(5), slow).await
/// });
/// assert_eq!(answer.await.unwrap().unwrap(), 42);
/// # }
/// ```
pub async fn in_real_time<T>(work: impl Future<Output = T>) -> T {
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            RealTime.ends();
        }
    }
    RealTime.begins();
    let _until = Until;
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_real_while_anything_is_at_work() {
        assert!(is_paused());
        in_real_time(async {
            assert!(!is_paused());
            in_real_time(async { assert!(!is_paused()) }).await;
            assert!(!is_paused());
        })
        .await;
        assert!(is_paused());
        tokio::time::resume();
        in_real_time(async {}).await;
        assert!(!is_paused());
    }
}
