//! How often the source is asked while there is always more to do, and that everything else gets its turn too.

use crate::broker::Broker;
use crate::world::*;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;

/// So many rounds of so many messages at the most pass between two askings.
const MOST: usize = 32 * 256 + 256;

/// What a handler sees of the source.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    /// Messages since it was asked the last time.
    since: usize,
    /// The most and the number of gaps.
    most: usize,
    handled: usize,
    /// Messages that were started while lanes were asked for and not released.
    late: usize,
}

impl Seen {
    fn note(&mut self, broker: &Broker) {
        let asked = broker.asked();
        self.handled += 1;
        if asked == self.asked {
            self.since += 1;
            self.most = self.most.max(self.since);
        } else {
            (self.asked, self.since) = (asked, 1);
        }
    }
}

fn flood(count: u64) -> Broker {
    let broker = Broker::new(1);
    for id in 0..count {
        broker.put("orders", 0, message(id, None));
    }
    broker.batches_of(count as usize);
    broker
}

/// How many may run at once decides whether messages are handled in turn, or started one after the other.
fn run(
    broker: &Broker,
    concurrency: usize,
    handle: impl Fn(u64) + Clone + Send + Sync + 'static,
) -> SubscriptionHandle {
    let subscription = on("orders", move |Raw(payload): Raw| {
        handle(id_of(&payload));
        async { Ok::<_, Failure>(()) }
    });
    let subscription = subscription.concurrency(concurrency).max_in_flight(1_000_000);
    start(spec(broker, subscription, 1))
}

async fn while_there_is_more_to_do(concurrency: usize) {
    let broker = flood(30_000);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handle = run(&broker, concurrency, {
        let (broker, seen) = (broker.clone(), seen.clone());
        move |_| seen.lock().unwrap().note(&broker)
    });
    finished(&broker, &handle).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.handled, 30_000);
    assert!(seen.most <= MOST, "the source waited: {seen:?}");
    assert!(seen.most > 256, "the source is asked after every round: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn while_there_is_more_to_start_the_source_is_asked_now_and_then() {
    while_there_is_more_to_do(4).await;
}

#[tokio::test(start_paused = true)]
async fn while_there_is_more_to_do_in_turn_the_source_is_asked_now_and_then() {
    while_there_is_more_to_do(1).await;
}

#[tokio::test]
async fn the_source_is_asked_every_few_milliseconds_however_slow_the_work_is() {
    let broker = flood(60);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handle = run(&broker, 4, {
        let (broker, seen) = (broker.clone(), seen.clone());
        move |_| {
            seen.lock().unwrap().note(&broker);
            // It blocks the engine, as a handler that computes does.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    finished(&broker, &handle).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.handled, 60);
    // Five take five milliseconds at least, and what a round has begun it ends: a slower machine asks sooner.
    assert!(seen.most <= 8, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn lanes_that_are_asked_for_in_a_flood_are_released_before_it_is_over() {
    let broker = flood(30_000);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handle = run(&broker, 4, {
        let (broker, seen) = (broker.clone(), seen.clone());
        move |id| {
            let mut seen = seen.lock().unwrap();
            seen.note(&broker);
            if id == 1_000 {
                broker.revoke(&[0, 1], Duration::from_secs(10));
            }
            seen.late += usize::from(id > 1_000 && broker.releases() == 0);
        }
    });
    finished(&broker, &handle).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.handled, 30_000, "what came back goes on where it was");
    assert_eq!(broker.releases(), 1);
    assert!(seen.late > 0 && seen.late <= MOST, "{seen:?}");
}

/// Waits for a flag and wakes itself each time that it is looked at. False if that is in vain.
async fn spin(flag: &AtomicBool) -> bool {
    let mut looks = 0;
    poll_fn(|context| {
        looks += 1;
        if flag.load(Atomic::Acquire) || looks == 100_000 {
            return Poll::Ready(looks < 100_000);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

async fn others_go_on_beside(spinning: u64) {
    let broker = Broker::new(1);
    for id in 0..200 {
        broker.put("orders", 0, message(id, Some(&format!("k-{id}"))));
    }
    let (done, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let subscription = on("orders", {
        let (done, end) = (done.clone(), end.clone());
        move |Raw(payload): Raw| {
            let (done, end) = (done.clone(), end.clone());
            async move {
                if id_of(&payload) < spinning {
                    assert!(spin(&end).await, "nobody else was started");
                } else {
                    // Waits once, so it is woken beside the others.
                    tokio::task::yield_now().await;
                    let done = 1 + done.fetch_add(1, Atomic::AcqRel) as u64;
                    end.store(done == 200 - spinning, Atomic::Release);
                }
                Ok::<_, Failure>(())
            }
        }
    });
    let retry = Retry::none();
    let handle = start(spec(&broker, subscription.concurrency(8).retry(retry), 1));
    finished(&broker, &handle).await;
    let status = handle.status();
    assert_eq!((status.handled, status.dead_lettered), (200, 0));
    assert_eq!(done.load(Atomic::Acquire) as u64, 200 - spinning);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_wakes_itself_all_the_time_keeps_nobody_from_starting() {
    others_go_on_beside(1).await;
}

#[tokio::test(start_paused = true)]
async fn several_handlers_that_wake_themselves_all_the_time_keep_nobody_from_starting() {
    others_go_on_beside(7).await;
}
