//! What is gone leaves nothing behind: a test that counts the bytes in use, alone in its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the modules are those of the other tests")]
#![allow(unsafe_code, reason = "an allocator that counts")]

#[path = "it/broker.rs"]
mod broker;
#[path = "it/world.rs"]
mod world;
use broker::Broker;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering as Atomic};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use world::*;

/// The system's allocator, and how much of it is in use.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is passed on as it came; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Atomic::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Atomic::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[tokio::test(start_paused = true)]
async fn rebalances_do_not_grow_the_memory_of_a_subscription_with_parked_messages() {
    let (world, broker) = (World::default(), Broker::new(1));
    let clock = Clock::virtual_from_now();
    let due = clock
        .now()
        .plus(Duration::from_secs(86_400))
        .as_millis()
        .to_string();
    for id in 0..1_000 {
        let parked = message(id, Some(&id.to_string()))
            .with_header(names::DUE, &due)
            .unwrap();
        broker.put("orders.g.retry", 0, parked);
    }
    broker.put("orders", 0, message(5_000, Some("x")));
    let handle = start(spec(&broker, world.subscription().concurrency(4), 1));
    let cycle = async |count| {
        for _ in 0..count {
            tokio::time::sleep(Duration::from_secs(1)).await;
            broker.lose(&[0, 1]);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(handle.status().waiting, 1_000, "all wait again");
    };
    cycle(5).await;
    let before = LIVE.load(Atomic::Relaxed);
    cycle(300).await;
    let grown = LIVE.load(Atomic::Relaxed) - before;
    assert!(
        grown < 1 << 20,
        "300 rebalances later {grown} bytes more are in use"
    );
}
