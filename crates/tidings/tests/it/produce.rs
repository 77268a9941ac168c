//! Parts that only publish.

use crate::events::{Placed, placed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Error, Phase};

#[derive(Clone, Default)]
struct Calls(Arc<AtomicU32>);

#[tokio::test(start_paused = true)]
async fn a_polled_producer_goes_on_after_failures_and_panics_and_stops_with_the_app() -> Result<(), Error> {
    async fn poll(State(calls): State<Calls>) -> Result<Option<Placed>, Failure> {
        match calls.0.fetch_add(1, SeqCst) {
            1 => Err(Failure::transient("the bank is closed")),
            2 => panic!("a mistake"),
            3 => Ok(None),
            call => Ok(Some(placed(&call.to_string()))),
        }
    }
    let calls = Calls::default();
    let app = App::new("shop").add(every(secs(10), poll).to("orders"));
    let test = TestApp::start(app.with_state(calls.clone())).await?;
    test.pass(secs(55)).await;
    let orders: Vec<_> = test
        .events::<Placed>("orders")
        .await?
        .into_iter()
        .map(|order| order.order)
        .collect();
    assert_eq!(orders, ["0", "4", "5"]);
    let status = test.running().producer("poll")?.status();
    assert_eq!((status.published, status.failed), (3, 2));
    assert!(
        status
            .last_failure
            .is_some_and(|(_, text)| text.contains("a mistake"))
    );

    test.running().producer("poll")?.pause();
    test.pass(secs(100)).await;
    assert_eq!(calls.0.load(SeqCst), 6, "nothing is called while it is paused");
    test.running().producer("poll")?.resume();
    test.pass(secs(1)).await;
    assert_eq!(calls.0.load(SeqCst), 7, "missed calls do not pile up");
    assert!(test.stop().await.finished_in_time);
    assert_eq!(calls.0.load(SeqCst), 7);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_published_in_order_and_ends_the_producer() -> Result<(), Error> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let stream = move |_: &()| receiver.lock().unwrap().take().expect("opened once");
    let app: App = App::new("shop")
        .add(from_stream(stream).to("orders").name("feed"))
        .channel("orders", |orders| orders.partitions(1));
    let test = TestApp::start(app.with_state(())).await?;
    for order in 0..20 {
        sender.send(placed(&order.to_string())).await.unwrap();
    }
    drop(sender);
    test.running().producer("feed")?.stopped().await;
    let orders: Vec<_> = test
        .events::<Placed>("orders")
        .await?
        .into_iter()
        .map(|order| order.order)
        .collect();
    assert_eq!(orders, (0..20).map(|order| order.to_string()).collect::<Vec<_>>());
    assert_eq!(test.running().producer("feed")?.status().phase, Phase::Stopped);
    assert!(
        test.running().health().live,
        "a stream that has ended is no illness"
    );
    Ok(())
}
