use super::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tidings_core::{Clock, Message, Outgoing, Position, Publisher, Receipt, Route, Routes, Sink, names};

/// A broker that refuses the first few messages, for now or for ever, and notes the ids of all.
#[derive(Debug, Default)]
struct Moody {
    refusals: AtomicU32,
    for_ever: bool,
    ids: Mutex<Vec<String>>,
}

impl Sink for Moody {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let id = outgoing
            .message
            .headers()
            .get_str(names::MESSAGE_ID)
            .unwrap()
            .to_owned();
        self.ids.lock().unwrap().push(id);
        let destination = outgoing.destination;
        let refused = self
            .refusals
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok();
        Receipt::ready(match (refused, self.for_ever) {
            (false, _) => Ok(Position::new(destination, 0, 0)),
            (true, false) => Err(PublishError::Unavailable {
                destination,
                reason: "disk full".to_owned(),
            }),
            (true, true) => Err(PublishError::TooLarge {
                destination,
                size: 2,
                limit: 1,
            }),
        })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async { Ok(()) })
    }
}

fn producer(sink: &Arc<Moody>, interval: Duration, call: Call) -> ProducerHandle {
    let mut routes = Routes::default();
    routes.insert(
        "orders",
        Route {
            sink: sink.clone(),
            destination: "orders".into(),
        },
    );
    let clock = Clock::virtual_from_now();
    start_producer(ProducerSpec {
        context: Arc::new(HandlerContext {
            app: "shop".into(),
            subscription: "poll".into(),
            group: None,
            publisher: Publisher::new(Arc::new(routes), clock),
            clock,
        }),
        output: Some("orders".to_owned()),
        work: Work::Every { interval, call },
        publish_timeout: Duration::from_secs(30),
    })
}

/// Publishes one message a call.
fn counting(calls: &Arc<AtomicU32>) -> Call {
    let calls = calls.clone();
    Arc::new(move |_| {
        calls.fetch_add(1, SeqCst);
        Box::pin(async { Ok(Outputs::none().and(Output::message(Message::new("x")))) })
    })
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_for_now_is_published_again_with_the_same_id_before_the_next_call() {
    let sink = Arc::new(Moody {
        refusals: 8.into(),
        ..Moody::default()
    });
    let calls = Arc::new(AtomicU32::new(0));
    let producer = producer(&sink, Duration::from_secs(1), counting(&calls));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        calls.load(SeqCst),
        1,
        "the next call waits until the first message is kept"
    );
    assert!(
        producer
            .status()
            .obstacle
            .is_some_and(|obstacle| obstacle.contains("disk full"))
    );
    while producer.status().published == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ids = sink.ids.lock().unwrap().clone();
    let (first, later) = ids.split_at(9);
    assert!(first.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(!later.contains(&ids[0]), "{ids:?}");
    assert_eq!(producer.status().obstacle, None);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_published_is_counted_and_the_producer_goes_on() {
    let sink = Arc::new(Moody {
        refusals: 1.into(),
        for_ever: true,
        ..Moody::default()
    });
    let calls = Arc::new(AtomicU32::new(0));
    let producer = producer(&sink, Duration::from_secs(1), counting(&calls));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let status = producer.status();
    assert_eq!((status.calls, status.published, status.failed), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_after_the_current_message_is_kept_and_gives_up_at_its_deadline() {
    for (refusals, in_time) in [(3, true), (u32::MAX, false)] {
        let sink = Arc::new(Moody {
            refusals: refusals.into(),
            ..Moody::default()
        });
        let producer = producer(&sink, Duration::from_secs(1), counting(&Arc::default()));
        tokio::time::sleep(Duration::from_millis(10)).await;
        let drained = producer.drain(Instant::now() + Duration::from_secs(60)).await;
        assert_eq!(drained, in_time);
        assert_eq!(producer.status().published, u64::from(in_time));
        assert_eq!(producer.status().phase, Phase::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_changes_nothing() {
    let (sink, calls) = (Arc::new(Moody::default()), Arc::new(AtomicU32::new(0)));
    drop(producer(&sink, Duration::from_secs(1), counting(&calls)));
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(calls.load(SeqCst), 4);
}
