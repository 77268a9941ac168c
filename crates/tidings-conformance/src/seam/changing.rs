//! What a member reads changes while it reads.

use crate::features::Feature;
use crate::member::{Manners, Member, Worker, partitions};
use crate::stage::{Broker, Stage, Verdict, numbers, spec, texts};
use std::collections::BTreeSet;
use std::time::Duration;
use tidings_core::{LaneId, LaneRole, SourceEvent, SourceInput, Start};

fn input(name: &str) -> SourceInput {
    SourceInput {
        destination: name.into(),
        retry: None,
    }
}

fn change(member: &mut Member, names: &[&str]) {
    let inputs: Vec<_> = names.iter().map(|name| input(name)).collect();
    member
        .0
        .change_inputs(&inputs)
        .expect("a broker with patterns can");
}

/// Gives back what is asked for, until the member has let go of so many lanes.
async fn lets_go_of(member: &mut Member, count: usize) -> BTreeSet<LaneId> {
    let mut gone = BTreeSet::new();
    while gone.len() < count {
        match member.next().await.expect("a healthy broker goes on") {
            SourceEvent::Revoking { lanes, .. } => {
                member.commit().await;
                member.0.release(&lanes);
                gone.extend(lanes);
            }
            SourceEvent::Lost(lanes) => gone.extend(lanes),
            SourceEvent::Idle => {}
            other => panic!("{other:?} of what is no longer read"),
        }
    }
    gone
}

/// Two destinations with three messages each.
async fn two(stage: &Stage) -> Broker {
    let broker = stage.open().await;
    for name in ["orders", "refunds"] {
        broker.has(name, 2).await;
        broker.count_up(name, 1, 3).await;
    }
    broker
}

pub(crate) async fn what_is_added_begins_at_its_first_message_and_what_is_removed_is_let_go(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions, Feature::Replay])?;
    let broker = two(&stage).await;
    let mut wanted = spec(Some("billing"), "orders");
    wanted.start = Start::Latest;
    let mut member = broker.member(wanted).await;
    let orders = member.assigned(2).await;
    assert_eq!(orders[1].next, 3, "it began at the latest");
    assert!(member.drain().await.is_empty());
    change(&mut member, &["orders", "refunds"]);
    let refunds = member.assigned(2).await;
    assert!(
        refunds
            .iter()
            .all(|one| &*one.destination == "refunds" && one.next == 0)
    );
    assert_eq!(
        member.drain().await,
        numbers(0..3),
        "what was there before it was added too"
    );
    member.done(refunds[1].lane, refunds[1].epoch, 3);
    member.commit().await;
    broker.publish("orders", 1, "3").await.expect("it is kept");
    assert_eq!(member.take(1).await, ["3"], "what stays goes on");
    member.done(orders[1].lane, orders[1].epoch, 4);
    change(&mut member, &["refunds"]);
    let gone = lets_go_of(&mut member, 2).await;
    assert_eq!(gone, orders.iter().map(|one| one.lane).collect());
    for name in ["orders", "refunds"] {
        broker.publish(name, 1, name).await.expect("it is kept");
    }
    assert_eq!(member.take(1).await, ["refunds"]);
    assert!(
        member.drain().await.is_empty(),
        "nothing of what is no longer read"
    );
    change(&mut member, &["refunds", "orders"]);
    let again = member.assigned(2).await;
    assert_eq!(again[1].next, 4, "where its progress is");
    assert_eq!(member.drain().await, ["orders"]);
    member.close().await;
    Ok(())
}

pub(crate) async fn a_reader_without_a_group_changes_what_it_reads_too(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::Replay])?;
    let broker = two(&stage).await;
    let mut wanted = spec(None, "orders");
    wanted.start = Start::Latest;
    let mut member = broker.member(wanted).await;
    let orders = member.assigned(2).await;
    assert!(member.drain().await.is_empty());
    change(&mut member, &["refunds", "orders"]);
    assert_eq!(partitions(&member.assigned(2).await), [0, 1]);
    assert_eq!(member.take(3).await, numbers(0..3));
    change(&mut member, &["refunds"]);
    let gone = lets_go_of(&mut member, 2).await;
    assert_eq!(gone, orders.iter().map(|one| one.lane).collect());
    for name in ["orders", "refunds"] {
        broker.publish(name, 0, name).await.expect("it is kept");
    }
    assert_eq!(member.take(1).await, ["refunds"]);
    assert!(member.drain().await.is_empty());
    member.close().await;
    Ok(())
}

pub(crate) async fn a_member_that_reads_nothing_is_idle_until_there_is_something(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions])?;
    let broker = two(&stage).await;
    for group in [Some("billing"), None] {
        let mut wanted = spec(group, "orders");
        wanted.inputs.clear();
        let mut member = broker.member(wanted).await;
        assert!(member.drain().await.is_empty());
        for _ in 0..2 {
            change(&mut member, &["orders"]);
            assert_eq!(member.assigned(2).await.len(), 2);
            assert_eq!(member.take(3).await, numbers(0..3));
            change(&mut member, &[]);
            lets_go_of(&mut member, 2).await;
            assert!(member.drain().await.is_empty());
        }
        member.close().await;
    }
    Ok(())
}

pub(crate) async fn what_is_added_brings_its_retry_lane(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::RetryLane])?;
    let broker = two(&stage).await;
    broker.has("refunds.billing.retry", 2).await;
    let mut member = broker.join("billing", "orders").await;
    member.assigned(2).await;
    assert_eq!(member.drain().await, numbers(0..3));
    let with_retry = SourceInput {
        destination: "refunds".into(),
        retry: Some("refunds.billing.retry".into()),
    };
    let inputs = [input("orders"), with_retry];
    member
        .0
        .change_inputs(&inputs)
        .expect("a broker with patterns can");
    let lanes = member.assigned(4).await;
    let of = |role| lanes.iter().filter(move |one| one.role == role);
    assert_eq!((of(LaneRole::Main).count(), of(LaneRole::Retry).count()), (2, 2));
    for main in of(LaneRole::Main) {
        let partner = of(LaneRole::Retry).find(|one| Some(one.lane) == main.partner);
        let partner = partner.expect("each has a partner");
        assert_eq!(
            (partner.partition, partner.partner),
            (main.partition, Some(main.lane))
        );
    }
    member.close().await;
    Ok(())
}

pub(crate) async fn members_that_learn_of_a_destination_one_after_the_other_share_it(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::Patterns, Feature::StoredPositions, Feature::Partitions])?;
    let broker = stage.open().await;
    broker.has("orders", 4).await;
    broker.has("refunds", 4).await;
    let mut workers = [
        Worker::new(broker.join("billing", "orders").await),
        Worker::new(broker.join("billing", "orders").await),
    ];
    let mut handled = Vec::new();
    let wait = Duration::from_millis(20);
    for round in 0..200 {
        if round % 50 == 0 {
            for partition in 0..4 {
                broker.count_up("refunds", partition, 5).await;
            }
        }
        // One learns of it first; the other some rounds later, while messages are handled.
        for (index, worker) in workers.iter_mut().enumerate() {
            if round == 20 + 60 * index {
                change(&mut worker.member, &["orders", "refunds"]);
            }
            handled.extend(worker.work(wait, Manners::Good).await);
        }
        let own: Vec<BTreeSet<_>> = workers.iter().map(|worker| worker.own().collect()).collect();
        assert!(own[0].is_disjoint(&own[1]), "{own:?}");
        let shared = own.iter().all(|own| own.len() == 4);
        if round > 160 && shared && handled.len() >= 80 {
            break;
        }
    }
    for worker in &workers {
        let own: BTreeSet<_> = worker.own().collect();
        assert_eq!(own.len(), 4, "each has its share of both: {own:?}");
    }
    let distinct: BTreeSet<_> = handled.iter().cloned().collect();
    assert_eq!((distinct.len(), handled.len()), (80, 80), "each message once");
    for worker in workers {
        worker.member.close().await;
    }
    // Nothing is left of them.
    let mut late = broker.join("billing", "refunds").await;
    late.assigned(4).await;
    let left: Vec<_> = late.drain_batches().await.iter().flat_map(texts).collect();
    assert!(left.is_empty(), "{left:?}");
    late.close().await;
    Ok(())
}
