//! A disk that is full, and then has room again: nothing is restarted in between.

use crate::support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Clock, Outgoing, PublishError, Receipt, Source, SourceError};
use tidings_embedded::{EmbeddedBroker, Fsync};
use tidings_log::faults::{EIO, ENOSPC, Effect, Fault, FaultyFiles, Loss, Operation};
use tidings_log::{DiskFiles, Files, MemoryFiles};

fn on_disk() -> Arc<FaultyFiles> {
    Arc::new(FaultyFiles::new(Arc::new(DiskFiles)))
}

fn at(root: &Path, files: &Arc<FaultyFiles>, clock: Clock) -> EmbeddedBroker {
    let options = options(root).fsync(Fsync::Always).clock(clock);
    EmbeddedBroker::open(options.files(files.clone())).unwrap()
}

fn later(broker: &EmbeddedBroker, clock: Clock, payload: &str) -> Receipt {
    let mut outgoing: Outgoing = to("orders", 0, payload);
    outgoing.due = Some(clock.now().plus(Duration::from_secs(600)));
    broker.sink().publish(outgoing)
}

/// Everything that the disk needs room for fails.
fn fill(files: &FaultyFiles, errno: i32) {
    for operation in [Operation::Write, Operation::Create] {
        files.inject(Fault::fail(operation, errno).forever());
    }
}

async fn until_up(broker: &EmbeddedBroker) {
    let up = async {
        while broker.health() != BinderHealth::Up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), up)
        .await
        .unwrap_or_else(|_| panic!("{:?}", broker.health()));
}

#[tokio::test(start_paused = true)]
async fn messages_for_later_are_refused_with_the_cure_and_taken_again_when_there_is_room() {
    for errno in [ENOSPC, EIO] {
        let root = tempfile::tempdir().unwrap();
        let (files, clock) = (on_disk(), Clock::virtual_from_now());
        let broker = at(root.path(), &files, clock);
        prepare(&broker, "orders", 1).await;
        later(&broker, clock, "before").await.unwrap();
        fill(&files, errno);
        for _ in 0..3 {
            let refused = later(&broker, clock, "refused").await.unwrap_err();
            let told = refused.to_string();
            let cure = if errno == ENOSPC {
                "make room"
            } else {
                "look after the disk"
            };
            assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused:?}");
            assert!(told.contains("state.redb") && told.contains(cure), "{told}");
        }
        assert!(matches!(broker.health(), BinderHealth::Down(_)));
        files.heal();
        later(&broker, clock, "after").await.unwrap();
        until_up(&broker).await;
        tokio::time::sleep(Duration::from_secs(601)).await;
        let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
        assert_eq!(drain(&mut source).await, ["before", "after"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_broker_is_healthy_again_by_itself_once_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let (files, clock) = (on_disk(), Clock::virtual_from_now());
    let broker = at(root.path(), &files, clock);
    prepare(&broker, "orders", 1).await;
    fill(&files, ENOSPC);
    later(&broker, clock, "refused").await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(matches!(broker.health(), BinderHealth::Down(_)));
    files.heal();
    until_up(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn positions_that_found_no_room_are_stored_by_themselves_when_there_is_some() {
    let root = tempfile::tempdir().unwrap();
    let (files, clock) = (on_disk(), Clock::virtual_from_now());
    let broker = at(root.path(), &files, clock);
    prepare(&broker, "orders", 1).await;
    for number in 0..5 {
        publish(&broker, "orders", 0, number.to_string()).await.unwrap();
    }
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    fill(&files, ENOSPC);
    done(&mut source, lane.lane, lane.epoch, 3);
    for _ in 0..3 {
        let refused = source.commit().await.unwrap_err();
        assert!(
            matches!(&refused, SourceError::Unavailable { reason } if reason.contains("make room")),
            "{refused}"
        );
    }
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(0)]);
    files.heal();
    until_up(&broker).await;
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(3)]);
    files.crash(Loss::Unsynced).unwrap();
    drop((source, broker));
    let broker = at(root.path(), &files, clock);
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(3)]);
}

/// One failure of that kind at each step of what a few transactions do.
#[tokio::test(start_paused = true)]
async fn at_whatever_step_storing_fails_nothing_acknowledged_is_lost() {
    let kinds = [
        Effect::Fail { errno: ENOSPC },
        Effect::Fail { errno: EIO },
        Effect::Torn {
            bytes: 100,
            errno: ENOSPC,
        },
        Effect::Short { bytes: 100 },
    ];
    let mut failures = 0;
    for operation in [
        Operation::Write,
        Operation::Sync,
        Operation::Truncate,
        Operation::Read,
    ] {
        for (after, kind) in [0, 1, 2, 3, 4, 6, 8, 11]
            .into_iter()
            .flat_map(|after| kinds.map(|kind| (after, kind)))
        {
            if matches!(kind, Effect::Short { .. }) && operation != Operation::Write {
                continue;
            }
            let what = format!("{operation:?} after {after}, {kind:?}");
            failures += fail_once(operation, after, kind, &what).await;
        }
    }
    assert!(failures > 40, "hardly anything failed: {failures}");
}

/// How many messages were refused.
async fn fail_once(operation: Operation, after: u64, kind: Effect, what: &str) -> usize {
    let root = tempfile::tempdir().unwrap();
    // In memory, because there are many of them; the directory on the disk holds the lock only.
    let memory = MemoryFiles::new();
    memory.create_dir_all(root.path()).unwrap();
    let files = Arc::new(FaultyFiles::new(Arc::new(memory)));
    let clock = Clock::virtual_from_now();
    let broker = at(root.path(), &files, clock);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "now").await.unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    let fault = Fault::new(operation, kind).on_names_ending("state.redb");
    files.inject(fault.after(after).times(2));
    let (mut kept, mut refused) = (vec!["now".to_owned()], Vec::new());
    for number in 0..8 {
        let payload = format!("{number}:{}", "x".repeat(3_000));
        match later(&broker, clock, &payload).await {
            Ok(_) => kept.push(payload),
            Err(_) => refused.push(payload),
        }
    }
    done(&mut source, lane.lane, lane.epoch, 1);
    let stored_before = source.commit().await.is_ok();
    files.heal();
    let loss = if after.is_multiple_of(2) {
        Loss::Unsynced
    } else {
        Loss::Some { seed: after }
    };
    files.crash(loss).unwrap();
    drop((source, broker));

    let broker = at(root.path(), &files, clock);
    if stored_before {
        assert_eq!(stored(&broker, "orders", "billing").await, [Some(1)], "{what}");
    }
    tokio::time::sleep(Duration::from_secs(601)).await;
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    let found = drain(&mut source).await;
    for payload in &kept {
        assert!(found.contains(payload), "{what}: lost {}", &payload[..1]);
    }
    // What was refused may be there: a failed sync leaves it open. Nothing else may.
    assert!(
        found
            .iter()
            .all(|one| kept.contains(one) || refused.contains(one)),
        "{what}: a phantom"
    );
    refused.len()
}
