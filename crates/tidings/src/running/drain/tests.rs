//! Drains on brokers that hang, in virtual time.

use super::TAIL;
use super::hanging::{Hang, Hanging};
use crate::binders::{Brokers, Ground};
use crate::plan::{Knowledge, Plan};
use crate::prelude::*;
use crate::running::{Drained, Running};
use crate::start::start;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Clock, DynBinder, Layered};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(5);

/// A service that handles one message and answers it, on two brokers that hang at that question.
async fn running(hang: Option<Hang>) -> Running {
    let answer = async |_: Raw| Output::message(Message::new("paid")).to("receipts");
    let app: App = App::new("shop")
        .add(on("orders", answer).group("billing"))
        .publishes("receipts")
        .channel("audit", |audit| audit.binder("other"));
    let wrap = move |inner: Arc<dyn DynBinder>| match hang {
        Some(at) => Arc::new(Layered(Hanging { inner, at })) as Arc<dyn DynBinder>,
        None => inner,
    };
    let ground = Ground {
        brokers: Brokers::InMemory,
        clock: Clock::virtual_from_now(),
        wrap: Some(Box::new(wrap)),
    };
    let toml = "[app]\ndrain_timeout = \"5s\"\n[binder.other]\nurl = \"memory:\"";
    let config = Config::from_toml(toml, "tidings.toml").expect("it is valid");
    let service = app.with_state(());
    let plan = Plan::new(&service, &config, Knowledge::Whole).expect("no mistakes");
    start(service, plan, ground).await.expect("it can start")
}

async fn drain(hang: Option<Hang>) -> (Drained, Duration) {
    let running = running(hang).await;
    let publisher = running.publisher();
    let order = publisher.send("orders", Message::new("1"));
    order.await.expect("orders can be published");
    // Time for the handler; virtual, so it has all of it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    (running.drain().await, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_soon_after_its_deadline_whatever_the_broker_never_answers() {
    let (drained, took) = drain(None).await;
    assert!(
        drained.finished_in_time && drained.problems.is_empty(),
        "{drained:?}"
    );
    assert!(took < LIMIT, "nothing hangs: {took:?}");
    for hang in [
        Hang::Subscribe,
        Hang::Commit,
        Hang::Leave,
        Hang::Publish,
        Hang::Flush,
        Hang::Close,
    ] {
        let (drained, took) = drain(Some(hang)).await;
        assert!(took <= LIMIT + 3 * TAIL, "{hang:?}: {took:?} {drained:?}");
        let problems = drained.problems.join("; ");
        match hang {
            Hang::Flush => {
                assert!(problems.contains("binder main did not acknowledge"), "{problems}");
                assert!(
                    problems.contains("binder other did not acknowledge"),
                    "{problems}"
                );
            }
            Hang::Close => assert_eq!(
                problems, "binder main did not close in time; binder other did not close in time",
                "both are told to close"
            ),
            Hang::Publish => assert!(!drained.finished_in_time && drained.abandoned == 1, "{drained:?}"),
            Hang::Commit => assert!(!drained.finished_in_time, "{drained:?}"),
            // Nothing was begun, or everything was finished and stored: it is no loss.
            Hang::Subscribe | Hang::Leave => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_service_runs_nothing_more_even_if_its_broker_hangs() {
    for hang in [Hang::Subscribe, Hang::Commit, Hang::Leave] {
        let running = running(Some(hang)).await;
        running.drain().await;
        let billing = running.subscription("billing").unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(1), billing.stopped()).await;
        assert!(ended.is_ok(), "{hang:?}: {:?}", billing.status());
    }
}
