//! Handlers that wait 5 ms, in key order on one partition, and bare tasks that only wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tidings::{Json, Key, on};

use super::knobs;
use super::read::{Reader, Stores};
use crate::apart::job::{Job, Outcome, gauge};
use crate::apart::reading;
use crate::error::BenchError;
use crate::order::Order;

const WAIT: Duration = Duration::from_millis(5);
/// As many as an app has in flight.
const MOST_WAITING: u64 = 10_000;

/// What is known of a key.
#[derive(Debug, Default)]
struct OfKey {
    busy: AtomicBool,
    /// The next turn that may come.
    next: AtomicU64,
}

/// Sees that no key is handled twice at a time, nor out of order.
#[derive(Debug)]
struct KeyOrder {
    keys: Vec<OfKey>,
    violations: AtomicU64,
}

/// The number of a key that [`fixed_key`](crate::order::fixed_key) made.
fn number_of(key: &[u8]) -> Option<usize> {
    std::str::from_utf8(key).ok()?.strip_prefix('k')?.parse().ok()
}

impl KeyOrder {
    fn of(&self, key: &[u8]) -> Option<&OfKey> {
        self.keys.get(number_of(key)?)
    }

    /// Orders are numbered, and keys taken in turn: the turn of a key is the order's number divided by their count.
    fn enter(&self, key: &[u8], order: &Order) -> Option<()> {
        let number: u64 = order.id.strip_prefix("o-")?.parse().ok()?;
        let turn = number / self.keys.len() as u64;
        let of = self.of(key)?;
        let wrong = of.busy.swap(true, Ordering::Relaxed) || of.next.load(Ordering::Relaxed) != turn;
        of.next.store(turn + 1, Ordering::Relaxed);
        self.violations.fetch_add(u64::from(wrong), Ordering::Relaxed);
        Some(())
    }

    fn leave(&self, key: &[u8]) {
        if let Some(of) = self.of(key) {
            of.busy.store(false, Ordering::Relaxed);
        }
    }
}

/// An app whose handler waits.
pub(super) async fn app(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let order = Arc::new(KeyOrder {
        keys: (0..job.keys).map(|_| OfKey::default()).collect(),
        violations: AtomicU64::new(0),
    });
    let seen = order.clone();
    let handler = on(
        job.topic.as_str(),
        move |Json(one): Json<Order>, Key(key): Key| {
            let seen = seen.clone();
            async move {
                if seen.enter(&key, &one).is_none() {
                    seen.violations.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(WAIT).await;
                seen.leave(&key);
                gauge.hit(one.checksum());
            }
        },
    );
    let running = reading::start(job, knobs::binder(job)?, handler).await?;
    let reading = gauge.finished().await?;
    running.drain().await;
    Ok(Outcome {
        violations: order.violations.load(Ordering::Relaxed),
        ..Outcome::of(&reading)?
    })
}

/// What one writes by hand: a thread with the batch call that decodes, and for each key a task with a channel. Nobody
/// retries, nobody counts what is finished, and offsets are stored as soon as a message was taken.
pub(super) async fn keyed_tasks(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let waiting = Arc::new(AtomicU64::new(0));
    let mut channels = Vec::new();
    for _ in 0..job.keys {
        let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel::<Order>();
        channels.push(sender);
        let waiting = waiting.clone();
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                tokio::time::sleep(WAIT).await;
                gauge.hit(order.checksum());
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
    let reader = Reader::new(job, Stores::AtOnce)?;
    let reading = tokio::task::spawn_blocking(move || {
        while !gauge.is_done() {
            reader.batch(|message| {
                let order: Order =
                    serde_json::from_slice(message.payload()).map_err(BenchError::part("decoding"))?;
                let channel = number_of(message.key()).and_then(|number| channels.get(number));
                let channel = channel.ok_or_else(|| BenchError::part("a message")("it has no key"))?;
                waiting.fetch_add(1, Ordering::Relaxed);
                // The task goes on until the channels are gone.
                let _ = channel.send(order);
                Ok(())
            })?;
            while waiting.load(Ordering::Relaxed) > MOST_WAITING {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok::<(), BenchError>(())
    });
    reading.await.map_err(BenchError::part("reading"))??;
    Outcome::of(&gauge.reading()?)
}

/// As many tasks as keys, each waiting as often as its key has messages: what tokio's timers allow.
pub(super) async fn bare_tasks(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..job.keys {
        let rounds = job.total / job.keys;
        tasks.spawn(async move {
            for _ in 0..rounds {
                tokio::time::sleep(WAIT).await;
                gauge.hit(0);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.map_err(BenchError::part("a bare task"))?;
    }
    Outcome::of(&gauge.reading()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order;

    #[test]
    fn what_comes_out_of_order_or_twice_at_a_time_is_counted() {
        let order = KeyOrder {
            keys: vec![OfKey::default(), OfKey::default()],
            violations: AtomicU64::new(0),
        };
        let (zero, one) = (order::fixed_key(0), order::fixed_key(1));
        for (key, number) in [(&zero, 0), (&one, 1), (&zero, 2)] {
            order.enter(key, &Order::numbered(number)).unwrap();
            order.leave(key);
        }
        assert_eq!(order.violations.load(Ordering::Relaxed), 0);
        order.enter(&one, &Order::numbered(5)).unwrap();
        assert_eq!(
            order.violations.load(Ordering::Relaxed),
            1,
            "number 3 was left out"
        );
        order.enter(&one, &Order::numbered(7)).unwrap();
        assert_eq!(
            order.violations.load(Ordering::Relaxed),
            2,
            "number 5 is not done"
        );
        assert!(order.enter(b"k", &Order::numbered(0)).is_none());
    }
}
