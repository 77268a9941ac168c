//! Work that may wait for the broker, on threads of its own: [`background`], [`asked`], and clients that are taken apart
//! there: [`Held`].
//!
//! Not on tokio's pool for such work: a runtime waits for the pool when it ends, and a service would end when the broker
//! pleases.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Runs something that may wait for the broker. False if no thread can be started.
pub(crate) fn background(name: &'static str, work: impl FnOnce() + Send + 'static) -> bool {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    if let Err(error) = &spawned {
        tracing::error!(name, %error, "no thread can be started");
    }
    spawned.is_ok()
}

/// The same, with what came of it; an error if no thread can be started, or it panicked.
pub(crate) fn asked<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, answer) = oneshot::channel();
    background(name, move || {
        // Whoever asked may have stopped waiting.
        let _ = tell.send(work());
    });
    answer
}

/// What has a client of librdkafka in it. To take one apart joins its threads, which takes as long as the broker or the
/// name service does: whoever lets go of it last does not wait for that.
pub(crate) struct Held<T: Send + Sync + 'static>(Option<Arc<T>>);

impl<T: Send + Sync + 'static> Held<T> {
    pub(crate) fn new(held: Arc<T>) -> Self {
        Self(Some(held))
    }
}

impl<T: Send + Sync + 'static> Deref for Held<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        self.0.as_ref().expect("it is taken when this is dropped only")
    }
}

impl<T: Send + Sync + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        // Of all who let go at once exactly one gets it.
        if let Some(last) = self.0.take().and_then(Arc::into_inner) {
            background("tidings-kafka-dispose", move || drop(last));
        }
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};

    /// Says on which thread it is dropped.
    struct Told(mpsc::Sender<ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(current().id());
        }
    }

    #[test]
    fn whoever_lets_go_last_does_not_take_it_apart_here() {
        let (tell, told) = mpsc::channel();
        let first = Held::new(Arc::new(Told(tell)));
        let second = Held::new(first.clone());
        drop(first);
        assert!(told.try_recv().is_err(), "it is held yet");
        drop(second);
        assert_ne!(told.recv().expect("it is dropped"), current().id());
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_no_wait_for_ever() {
        let answer = asked("test", || 7).await;
        assert_eq!(answer.expect("it answers"), 7);
        let failed: Result<(), _> = asked("test", || panic!("a bug")).await;
        assert!(failed.is_err());
    }
}
