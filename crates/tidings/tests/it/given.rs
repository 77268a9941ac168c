//! Services on a broker that the program opened itself.

use crate::events::{Placed, Seen, placed};
use std::sync::Arc;
use tidings::embedded::{EmbeddedBroker, EmbeddedOptions};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{
    Binder, BinderError, BinderHealth, Capabilities, Clock, DestinationInfo, DestinationSpec, DynBinder,
    Error, PartitionPosition, PublishError, Publisher, RecordBatch,
};
use tidings_core::{BoxFuture, DynSource, Progress, Sink, SourceSpec};

async fn note(Json(order): Json<Placed>, State(seen): State<Seen>) {
    seen.note(order.order);
}

#[tokio::test(start_paused = true)]
async fn two_services_share_a_given_broker_and_leave_it_open() -> Result<(), Error> {
    let clock = Clock::virtual_from_now();
    let options =
        EmbeddedOptions::from_url("memory:").and_then(|options| EmbeddedBroker::open(options.clock(clock)));
    let broker = options.expect("a private broker in memory");
    let shared: Arc<dyn DynBinder> = Arc::new(broker.clone());
    let seen = Seen::default();
    let app = |group: &str| {
        App::new("shop")
            .add(on("orders", note).group(group))
            .with_state(seen.clone())
    };
    let first = TestApp::start_on(app("first"), Config::default(), shared.clone(), clock).await?;
    let second = TestApp::start_on(app("second"), Config::default(), shared, clock).await?;
    first.publish("orders", &placed("1")).await?;
    first.settled().await?;
    second.settled().await?;
    assert_eq!(seen.all(), ["1", "1"]);
    assert!(first.stop().await.finished_in_time);
    second.publish("orders", &placed("2")).await?;
    second.settled().await?;
    assert_eq!(
        seen.all(),
        ["1", "1", "2"],
        "the first service left the broker open, and its group"
    );
    assert_eq!(Binder::health(&broker), BinderHealth::Up);
    Ok(())
}

/// A broker that can do nothing.
#[derive(Debug)]
struct Bare;

impl DynBinder for Bare {
    fn kind(&self) -> &'static str {
        "bare"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn sink(&self) -> Arc<dyn Sink> {
        unreachable!("refused before anything is published")
    }

    fn prepare(&self, _: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        unreachable!("refused before anything is prepared")
    }

    fn subscribe(&self, _: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        unreachable!("refused before anything is read")
    }

    fn positions<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        unreachable!("refused before anything is read")
    }

    fn store_progress<'a>(
        &'a self,
        _: &'a str,
        _: u32,
        _: &'a str,
        _: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        unreachable!("refused before anything is stored")
    }

    fn read<'a>(
        &'a self,
        _: &'a str,
        _: u32,
        _: u64,
        _: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        unreachable!("refused before anything is read")
    }

    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>> {
        unreachable!("refused before anything is listed")
    }

    fn health(&self) -> BinderHealth {
        BinderHealth::Up
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        unreachable!("the program's own broker is the program's to close")
    }
}

#[tokio::test]
async fn what_the_broker_cannot_do_is_refused_at_the_part_that_needs_it() {
    let app = App::new("shop")
        .add(on("orders", note).group("billing"))
        .add(on("orders", note).start(Start::Offset(7)).name("replay"))
        .add(on("orders", note).name("live"));
    let service = app.with_state(Seen::default());
    let error = service
        .start_on(Config::default(), Arc::new(Bare), Clock::System)
        .await
        .unwrap_err();
    let problems: Vec<_> = error
        .wiring_mistakes()
        .iter()
        .map(|mistake| mistake.problem().to_owned())
        .collect();
    let [group, replay] = &problems[..] else {
        panic!("{error}")
    };
    assert!(
        group.contains("\"billing\" has a group whose position is stored, and bare has none"),
        "{group}"
    );
    assert!(
        replay.contains("\"replay\" starts at an offset or a time, and bare has none"),
        "{replay}"
    );
    assert!(
        error
            .wiring_mistakes()
            .iter()
            .all(|mistake| mistake.place().starts_with(file!())),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_on_a_broker_without_them_is_refused_with_the_cure_and_publishes_nothing()
-> Result<(), Error> {
    let seen = Seen::default();
    let app = App::new("shop")
        .add(on("orders", note).group("billing"))
        .with_state(seen.clone());
    let test = TestApp::start(app).await?;
    let publisher = test.running().publisher();
    let refused: Result<(), PublishError> = publisher
        .transaction("orders", async |tx: Publisher| {
            tx.publish("orders", &placed("1")).await?;
            Ok(())
        })
        .await;
    let said = refused.expect_err("it cannot").to_string();
    assert!(said.contains("transactions") && said.contains("Kafka"), "{said}");
    test.settled().await?;
    assert_eq!(seen.all(), [""; 0]);
    Ok(())
}
