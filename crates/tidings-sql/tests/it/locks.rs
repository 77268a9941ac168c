//! What every store of locks must keep, and fences in transactions.

use crate::support::{Home, TestDb, everywhere};
use sqlx::Postgres;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Clock, Lease, LockError, LockRequest, LockStore, MemoryLocks};
use tokio::time::Instant;

/// Two processes that share a store of locks.
struct World {
    one: Arc<dyn LockStore>,
    other: Arc<dyn LockStore>,
}

/// The suite: each promise on memory in virtual time, and on every database.
macro_rules! suite {
    ($($promise:ident)*) => {
        #[tokio::test(start_paused = true)]
        async fn memory_keeps_every_promise() {
            $({
                let locks: Arc<dyn LockStore> = Arc::new(MemoryLocks::new(Clock::virtual_from_now()));
                $promise(World { one: locks.clone(), other: locks }).await;
            })*
        }

        async fn a_database_keeps_every_promise<DB: TestDb>(home: Home) {
            let (one, other) = (home.open::<DB>().await, home.open::<DB>().await);
            let world = || World { one: Arc::new(one.locks()), other: Arc::new(other.locks()) };
            // Each has names of its own, so they need not wait for each other.
            tokio::join!($($promise(world())),*);
        }
    };
}

suite! {
    one_of_many_contenders_gets_it
    tokens_only_grow
    a_paused_holder_has_lost_it_when_it_wakes
    nobody_but_time_ends_what_a_crashed_holder_had
    a_quick_release_does_not_end_the_shortest_time
    a_renewal_counts_from_now
}

everywhere! {
    a_database_keeps_every_promise
    a_fence_keeps_others_out_until_the_transaction_ends
}

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);

fn request(name: &str, at_most: Duration) -> LockRequest {
    LockRequest::new(name, at_most).unwrap()
}

async fn take(locks: &Arc<dyn LockStore>, request: &LockRequest) -> Option<Lease> {
    locks.acquire(request).await.unwrap()
}

/// Tries until it is free.
async fn wait_for(locks: &Arc<dyn LockStore>, request: &LockRequest) -> Lease {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(lease) = take(locks, request).await {
            return lease;
        }
        assert!(Instant::now() < deadline, "{} was never free", request.name());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_lost(locks: &Arc<dyn LockStore>, lease: &Lease) -> bool {
    let renewed = locks.renew(lease, LONG).await;
    let checked = locks.check(lease.name(), lease.token()).await.unwrap();
    assert_eq!(renewed.is_ok(), checked);
    matches!(renewed, Err(LockError::Lost { .. }))
}

async fn one_of_many_contenders_gets_it(world: World) {
    let contenders: Vec<_> = (0..8)
        .map(|number| {
            let locks = if number % 2 == 0 { &world.one } else { &world.other };
            let (locks, wanted) = (locks.clone(), request("many", LONG).holder(format!("{number}")));
            tokio::spawn(async move { take(&locks, &wanted).await.is_some() })
        })
        .collect();
    let mut winners = 0;
    for contender in contenders {
        winners += usize::from(contender.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert!(take(&world.other, &request("another", LONG)).await.is_some());
    let longest = "ü".repeat(127);
    assert!(take(&world.one, &request(&longest, LONG)).await.is_some());
    assert!(take(&world.other, &request(&longest, LONG)).await.is_none());
}

async fn tokens_only_grow(world: World) {
    let wanted = request("tokens", LONG);
    let mut last = 0;
    for locks in [&world.one, &world.other, &world.one] {
        let lease = take(locks, &wanted).await.unwrap();
        assert!(lease.token() > last);
        last = lease.token();
        assert!(locks.check(lease.name(), last).await.unwrap());
        assert!(!locks.check(lease.name(), last + 1).await.unwrap());
        locks.release(lease).await.unwrap();
        assert!(!locks.check("tokens", last).await.unwrap());
    }
}

async fn a_paused_holder_has_lost_it_when_it_wakes(world: World) {
    let asked = Instant::now();
    let paused = take(&world.one, &request("paused", SHORT)).await.unwrap();
    let next = wait_for(&world.other, &request("paused", LONG)).await;
    assert!(next.token() > paused.token());
    assert!(asked.elapsed() + Duration::from_millis(2) >= SHORT);
    assert_eq!(paused.remaining(), Duration::ZERO);
    assert!(is_lost(&world.one, &paused).await);
    // What it gives back is not its own any more.
    world.one.release(paused).await.unwrap();
    assert!(!is_lost(&world.other, &next).await);
}

async fn nobody_but_time_ends_what_a_crashed_holder_had(world: World) {
    let asked = Instant::now();
    let crashed = take(&world.one, &request("crashed", SHORT)).await.unwrap();
    assert!(crashed.remaining() <= SHORT);
    tokio::time::sleep(SHORT).await;
    // Nobody took it, and it is lost all the same.
    while !is_lost_by_check(&world.one, &crashed).await {
        assert!(asked.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked.elapsed() >= SHORT);
    assert!(is_lost(&world.one, &crashed).await);
    assert!(take(&world.other, &request("crashed", SHORT)).await.is_some());
}

async fn is_lost_by_check(locks: &Arc<dyn LockStore>, lease: &Lease) -> bool {
    !locks.check(lease.name(), lease.token()).await.unwrap()
}

async fn a_quick_release_does_not_end_the_shortest_time(world: World) {
    let shortest = Duration::from_secs(1);
    let asked = Instant::now();
    let wanted = request("quick", LONG).at_least(shortest).unwrap();
    let lease = take(&world.one, &wanted).await.unwrap();
    world.one.release(lease.clone()).await.unwrap();
    assert!(is_lost(&world.one, &lease).await);
    let early = take(&world.other, &wanted).await;
    // A machine that stood still for a second has seen nothing.
    assert!(early.is_none() || asked.elapsed() > shortest);
    let next = match early {
        Some(next) => next,
        None => wait_for(&world.other, &wanted).await,
    };
    assert!(next.token() > lease.token());
    // The database counts in whole milliseconds of its own clock.
    assert!(asked.elapsed() + Duration::from_millis(2) >= shortest);
}

async fn a_renewal_counts_from_now(world: World) {
    let first = Duration::from_secs(2);
    let lease = take(&world.one, &request("renewed", first)).await.unwrap();
    let renewed = world.one.renew(&lease, LONG).await.unwrap();
    assert_eq!(renewed.token(), lease.token());
    assert!(renewed.remaining() > LONG - Duration::from_secs(60));
    tokio::time::sleep(first).await;
    assert!(world.other.check("renewed", renewed.token()).await.unwrap());
    assert!(take(&world.other, &request("renewed", SHORT)).await.is_none());
    let shortened = world.one.renew(&renewed, SHORT).await.unwrap();
    assert!(shortened.remaining() <= SHORT);
    wait_for(&world.other, &request("renewed", SHORT)).await;
}

async fn a_fence_keeps_others_out_until_the_transaction_ends<DB: TestDb>(home: Home) {
    let (ours, theirs) = (home.open::<DB>().await, home.open::<DB>().await);
    let (our_locks, their_locks) = (ours.locks(), theirs.locks());
    let wanted = request("fenced", SHORT);
    // Again, where the machine stood still for longer than the lock is held.
    let (lease, mut tx) = loop {
        let Some(lease) = our_locks.acquire(&wanted).await.unwrap() else {
            continue;
        };
        let mut tx = ours.begin().await.unwrap();
        if tx.check_fence("fenced", lease.token()).await.is_ok() {
            break (lease, tx);
        }
    };
    DB::run(&mut tx, "CREATE TABLE night (holder INT)").await.unwrap();
    // The holder is paused in the middle of its transaction, for longer than it has the lock.
    tokio::time::sleep(2 * SHORT).await;
    let taking = their_locks.acquire(&wanted);
    tokio::pin!(taking);
    let early = tokio::time::timeout(SHORT, &mut taking).await;
    assert!(early.is_err(), "somebody else got it: {early:?}");
    tx.commit().await.unwrap();
    let next = taking.await.unwrap().unwrap();
    assert!(next.token() > lease.token());

    // It wakes once more, and is nobody now.
    let mut tx = ours.begin().await.unwrap();
    let fenced = tx.check_fence("fenced", lease.token()).await.unwrap_err();
    assert!(
        matches!(fenced, LockError::Lost { token, .. } if token == lease.token()),
        "{fenced}"
    );
}

#[tokio::test]
async fn a_store_of_locks_that_is_away_says_so() {
    let test = "a_store_of_locks_that_is_away_says_so";
    let Some(server) = brokers::or_skip(test, brokers::Postgres::start(brokers::PostgresOptions::plain()))
    else {
        return;
    };
    let home = Home::on(server.database("tidings").unwrap());
    let options = tidings_sql::SqlOptions::default().timeout(Duration::from_secs(1));
    let locks = home.open_with::<Postgres>(options).await.locks();
    server.kill().unwrap();
    let away = locks.acquire(&request("away", SHORT)).await.unwrap_err();
    assert!(
        matches!(&away, LockError::Unavailable { .. }) && away.to_string().contains("away"),
        "{away}"
    );
}
